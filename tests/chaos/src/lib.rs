//! A domain made for tests: ledgers whose entries are numbers, and events that say how their processor misbehaves.
//!
//! What was applied twice, not at all or out of turn stands in the ledger itself, so a test needs no second opinion.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types, reason = "the naming table of the project")]

order_runtime::dispatcher!(name = "ledgers", entity = Ledger);
