#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[schema]
pub struct INPUT_DoThing {
    pub thing_id: String,
}

#[usecase]
pub async fn USECASE_DoThing(input: INPUT_DoThing) {
    let _ = input;
}

fn main() {}
