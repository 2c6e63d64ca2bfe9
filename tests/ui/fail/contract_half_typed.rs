#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[interface]
pub trait INTERFACE_HELPER_DoThing {
    fn find(&self) -> u32;
}

#[contract]
pub struct CONTRACT_HELPER_DoThing_V0;

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {
    fn find(&self) -> u32 {
        let found = ;
        found
    }
}

fn main() {}
