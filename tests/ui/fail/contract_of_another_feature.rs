#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[derive(Debug, thiserror::Error, Failure)]
pub enum DoThingError {
    #[error("not yet")]
    #[failure(retry)]
    NotYet,
}

#[interface]
pub trait INTERFACE_HELPER_DoThing {
    async fn find(&self, id: &str) -> Result<bool, DoThingError>;
}

#[contract]
pub struct CONTRACT_HELPER_OtherThing_V0;

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_OtherThing_V0 {
    async fn find(&self, id: &str) -> Result<bool, DoThingError> {
        Ok(!id.is_empty())
    }
}

fn main() {}
