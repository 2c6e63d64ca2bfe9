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

#[usecase]
pub async fn USECASE_DoThing(
    input: INPUT_DoThing,
    things: &dyn INTERFACE_HELPER_DoThing,
) -> Result<OUTPUT_DoThing, DoThingError> {
    let _ = things;
    Ok(OUTPUT_DoThing { thing_id: input.thing_id })
}

fn main() {}
