#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[entity(table = "things")]
pub struct Thing {
    #[key(text)]
    pub thing_id: String,
}

fn main() {}
