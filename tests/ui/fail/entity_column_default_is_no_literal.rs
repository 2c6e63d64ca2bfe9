#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[entity(table = "things")]
pub struct Thing {
    #[key]
    pub thing_id: String,
    #[column(since = 2, default = b'x')]
    pub status: String,
}

fn main() {}
