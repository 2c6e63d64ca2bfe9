#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[schema]
pub struct INPUT_DoThing {
    pub thing_id: String,
}

#[event_processor("ThingDone")]
pub async fn EventProcessor_ThingDone(event: INPUT_DoThing) -> Result<(), Failed> {
    let _ = event;
    Ok(())
}

fn main() {}
