#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[id(length = 32)]
pub struct ThingId(String);

fn main() {}
