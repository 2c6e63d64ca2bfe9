//! The expansions mean what they mean, whatever the user's names mean; `Box` aside, which async-trait names as it is.
#![deny(warnings)]
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "what the attributes write is tried here, not how a domain is written"
)]
#![allow(non_camel_case_types, dead_code)]

order_runtime::dispatcher!(name = "things");

/// A module of every name that an expansion could stumble over.
mod core {}
mod std {}
mod alloc {}
mod linkme {}
mod serde {}
mod schemars {}
mod serde_json {}
mod order_runtime_ {}

mod shadowed {
    use order_runtime::prelude::{
        Event, Failed, Failure, Value, contract, event_processor, interface, schema, usecase,
    };

    pub struct Result;
    pub struct Option;
    pub struct Send;
    pub struct Ok;
    pub struct Err;
    pub struct Some;
    pub struct None;
    pub struct Clone;
    pub struct Debug;
    pub struct Delivery;
    pub struct Schema;
    pub struct Injectable;
    pub struct Outcome;
    pub struct REGISTRATION;
    pub struct __p;

    #[schema]
    pub struct INPUT_DoThing {
        pub thing_id: ::std::string::String,
    }

    #[schema]
    pub struct OUTPUT_DoThing {
        pub thing_id: ::std::string::String,
    }

    #[derive(::core::fmt::Debug, ::thiserror::Error, Failure)]
    pub enum DoThingError {
        #[error("not yet")]
        #[failure(retry)]
        NotYet,
    }

    #[interface]
    pub trait INTERFACE_HELPER_DoThing {
        async fn find(&self, id: &str) -> ::core::result::Result<bool, DoThingError>;
    }

    #[contract]
    pub struct CONTRACT_HELPER_DoThing_V0;

    #[contract]
    impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {
        async fn find(&self, id: &str) -> ::core::result::Result<bool, DoThingError> {
            ::core::result::Result::Ok(!id.is_empty())
        }
    }

    #[usecase]
    pub async fn USECASE_DoThing(
        input: INPUT_DoThing,
        things: &mut dyn INTERFACE_HELPER_DoThing,
    ) -> ::core::result::Result<OUTPUT_DoThing, DoThingError> {
        things.find(&input.thing_id).await?;
        ::core::result::Result::Ok(OUTPUT_DoThing { thing_id: input.thing_id })
    }

    #[event_processor("ThingDone")]
    pub async fn EventProcessor_ThingDone(
        event: Event<INPUT_DoThing>,
        do_thing: SERVICE_DoThing,
    ) -> ::core::result::Result<(), DoThingError> {
        do_thing.run(event.data).await?;
        ::core::result::Result::Ok(())
    }

    /// Arguments that are called like what an expansion could call its own.
    #[event_processor("ThingSeen")]
    pub async fn EventProcessor_ThingSeen(
        delivery: Event<Value>,
        event: SERVICE_DoThing,
    ) -> ::core::result::Result<(), Failed> {
        let _ = (delivery, event);
        ::core::result::Result::Ok(())
    }
}

fn main() {}
