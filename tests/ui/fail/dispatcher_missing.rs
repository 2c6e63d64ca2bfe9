#![allow(non_snake_case)]

use order_runtime::prelude::*;

#[event_processor("ThingDone")]
pub async fn EventProcessor_ThingDone(event: Event<Value>) -> Result<(), Failed> {
    let _ = event.data;
    Ok(())
}

fn main() {}
