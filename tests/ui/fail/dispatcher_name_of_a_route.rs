#![allow(non_snake_case, non_camel_case_types)]

order_runtime::dispatcher!(name = "stats");

fn main() {}
