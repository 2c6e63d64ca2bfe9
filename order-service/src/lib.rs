//! What the business does: entities, features, and the events that call them.
//!
//! Every file below `src/` is a module by being there. `events/` has one function for each event, `orders/features/` one folder for each feature.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types, reason = "the naming table of the project")]

order_runtime::dispatcher!(name = "orders", entity = Order, sample = crate::orders::sample::order_life);
