#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[id(max_bytes = 32)]
pub enum ThingId {
    One,
}

fn main() {}
