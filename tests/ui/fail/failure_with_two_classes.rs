#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[derive(Debug, thiserror::Error, Failure)]
pub enum DoThingError {
    #[error("not yet")]
    #[failure(retry)]
    #[failure(skip)]
    NotYet,
}

fn main() {}
