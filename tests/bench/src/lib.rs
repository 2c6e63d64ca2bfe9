//! A domain that only counts, so that what is measured is the runtime: decoding, validation, dispatch, dead letters, commits.
//!
//! Four processors take four types that happen to have the same fields. Each checks that the event's id is a UUID, adds one to
//! its event's count and the event's total to its sum. [`meter`] says when that begins and ends, and what it cost.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types, reason = "the naming table of the project")]

order_runtime::dispatcher!(name = "counts");
