#![allow(non_snake_case, non_camel_case_types)]

pub struct Thing;

order_runtime::dispatcher!(name = "things", entity = Thing);

fn main() {}
