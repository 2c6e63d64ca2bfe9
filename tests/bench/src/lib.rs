//! A domain that only counts, so that the benchmark measures the runtime: decoding, validation, dispatch, dead letters, commits.
//!
//! Four processors take four types with the same fields. Each checks that the event's id is a UUID, and adds one to its event's
//! count and the event's total to its sum. [`meter`] measures the time and the cost.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types, reason = "the project's naming rules")]

order_runtime::dispatcher!(name = "counts");
