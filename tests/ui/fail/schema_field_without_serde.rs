#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[derive(Debug, Clone, PartialEq)]
pub struct Opaque;

#[schema]
pub struct INPUT_DoThing {
    pub thing: Opaque,
}

fn main() {}
