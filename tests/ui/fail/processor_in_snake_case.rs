#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

#[event_processor("thing_done")]
pub async fn EventProcessor_thing_done(event: Event<Value>) -> Result<(), Failed> {
    let _ = event.data;
    Ok(())
}

fn main() {}
