#![allow(non_snake_case, non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

pub struct Things;

impl Things {
    #[event_processor("ThingDone")]
    pub async fn EventProcessor_ThingDone(&self, event: Event<Value>) -> Result<(), Failed> {
        let _ = event.data;
        Ok(())
    }
}

fn main() {}
