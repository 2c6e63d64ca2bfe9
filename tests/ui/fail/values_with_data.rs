#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[values]
pub enum Status {
    New,
    Failed(String),
}

fn main() {}
