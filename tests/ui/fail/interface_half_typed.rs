#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[interface]
pub trait INTERFACE_HELPER_DoThing {
    fn find(&self) -> ;
}

fn main() {}
