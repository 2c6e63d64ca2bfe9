#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[event_processor("ThingDone", timeout = "10m")]
pub async fn EventProcessor_ThingDone(event: Event<Value>) -> Result<(), Failed> {
    let _ = event.data;
    Ok(())
}

fn main() {}
