#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[contract]
pub struct CONTRACT_HELPER_DoThing_V0;

#[contract]
impl CONTRACT_HELPER_DoThing_V0 {
    pub fn find(&self) {}
}

fn main() {}
