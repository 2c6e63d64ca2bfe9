//! A domain for tests: ledgers whose entries are numbers, and events that script the failures of their processor.
//!
//! A ledger shows by itself which entries are repeated, missing or out of order.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types, reason = "the project's naming rules")]

order_runtime::dispatcher!(name = "ledgers");
