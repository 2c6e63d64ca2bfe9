#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[event_processor("thing_done", retry = 3, timeout = "soon")]
pub fn handle(event: String, other: &str) {
    let _ = (event, other);
}

fn main() {}
