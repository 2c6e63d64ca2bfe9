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

#[usecase]
pub async fn USECASE_DoThing(input: INPUT_DoThing) -> Result<OUTPUT_DoThing, DoThingError> {
    Ok(OUTPUT_DoThing { thing_id: input.thing_id })
}

#[event_processor("ThingDone")]
pub async fn EventProcessor_ThingDone(
    event: Event<INPUT_DoThing>,
    do_thing: &SERVICE_DoThing,
) -> Result<(), DoThingError> {
    do_thing.run(event.data).await?;
    Ok(())
}

fn main() {}
