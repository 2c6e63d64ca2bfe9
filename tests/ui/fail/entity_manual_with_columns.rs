#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[entity(table = "things", storage = manual)]
pub struct Thing {
    #[key]
    pub thing_id: String,
    #[column(json)]
    pub parts: Vec<u32>,
}

fn main() {}
