//! The world around the service breaks, in every way that one machine allows; after each, the accounting.
//!
//! This is the short form of `cargo xtask chaos`: the same rounds with fewer events.

mod kills;
