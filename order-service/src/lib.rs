//! The order domain: entities, features, and the processors of its events.
//!
//! `dispatcher!` makes every file below `src/` a module. `events/` has one function for each event, `orders/features/` one folder
//! for each feature.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types, reason = "the project's naming rules")]

order_runtime::dispatcher!(name = "orders", sample = crate::orders::sample::order_life);
