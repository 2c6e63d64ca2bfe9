#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[derive(Debug, Failure)]
#[failure(retry)]
pub struct NotYet;

fn main() {}
