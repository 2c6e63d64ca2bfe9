#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[schema]
pub struct INPUT_DoThing {
    pub thing_id: String,
}

#[schema]
pub struct OUTPUT_DoThing {
    pub thing_id: String,
}

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
pub struct CONTRACT_HELPER_DoThing_V0;

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {
    async fn find(&self, id: &str) -> Result<bool, DoThingError> {
        Ok(!id.is_empty())
    }
}

#[usecase]
pub async fn USECASE_DoThing(
    input: INPUT_DoThing,
    things: &mut CONTRACT_HELPER_DoThing_V0,
) -> Result<OUTPUT_DoThing, DoThingError> {
    let _ = things;
    Ok(OUTPUT_DoThing { thing_id: input.thing_id })
}

fn main() {}
