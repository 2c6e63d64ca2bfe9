#![allow(non_snake_case, non_camel_case_types)]

order_runtime::dispatcher!(name = "things");

mod first {
    use order_runtime::prelude::*;

    #[event_processor("ThingDone")]
    pub async fn EventProcessor_ThingDone(_event: Event<Value>) -> Result<(), Failed> {
        Ok(())
    }
}

mod second {
    use order_runtime::prelude::*;

    #[event_processor("ThingDone")]
    pub async fn EventProcessor_ThingDone(_event: Event<Value>) -> Result<(), Failed> {
        Ok(())
    }
}

fn main() {}
