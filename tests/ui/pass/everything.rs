//! Every attribute in its ordinary shape, with warnings denied.
#![deny(warnings)]
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::pedantic,
    reason = "what the attributes write is tried here, not how a domain is written"
)]
#![allow(non_camel_case_types)]

use order_runtime::prelude::*;

order_runtime::dispatcher!(name = "things");

/// What is to be done.
#[schema]
pub struct INPUT_DoThing {
    /// To what.
    #[garde(length(min = 1))]
    pub thing_id: String,
    #[serde(rename = "howOften", default)]
    #[garde(range(max = 10))]
    pub times: u32,
}

/// How it went.
#[schema]
pub struct OUTPUT_DoThing {
    pub thing_id: String,
}

/// A feature may be called by a word that marks a kind elsewhere.
#[schema]
pub struct INPUT_RecordOutput {
    #[garde(length(min = 1))]
    pub thing_id: String,
}

#[schema]
pub struct OUTPUT_RecordOutput {
    pub thing_id: String,
}

#[usecase]
pub async fn USECASE_RecordOutput(input: INPUT_RecordOutput) -> Result<OUTPUT_RecordOutput, Failed> {
    Ok(OUTPUT_RecordOutput { thing_id: input.thing_id })
}

/// A schema may be an enum.
#[schema]
#[serde(tag = "kind")]
pub enum INPUT_SortThing {
    Up { thing_id: String },
    Down { thing_id: String },
}

#[derive(Debug, thiserror::Error, Failure)]
pub enum DoThingError {
    #[error("thing {0} is not there yet")]
    #[failure(retry)]
    NotYet(String),
    #[error("no")]
    #[failure(dead_letter)]
    No,
    #[error("done before")]
    #[failure(skip)]
    Done { when: u32 },
    #[error("somebody has to look")]
    #[failure(park_key)]
    Look,
    #[error("nothing works")]
    #[failure(stop)]
    Broken,
}

#[interface]
pub trait INTERFACE_HELPER_DoThing {
    /// Whether it is there.
    async fn find(&self, id: &str) -> Result<bool, DoThingError>;
    fn keep(&mut self, id: String);
    /// A default is allowed.
    fn limit(&self) -> u32 {
        3
    }
}

#[contract]
pub struct CONTRACT_HELPER_DoThing_V0 {
    clock: Clock,
}

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {
    async fn find(&self, id: &str) -> Result<bool, DoThingError> {
        Ok(!id.is_empty() && self.clock.ticks())
    }

    fn keep(&mut self, _id: String) {}
}

/// A second one, which configuration may choose.
#[contract]
pub struct CONTRACT_HELPER_DoThing_V12;

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V12 {
    async fn find(&self, _id: &str) -> Result<bool, DoThingError> {
        Err(DoThingError::No)
    }

    fn keep(&mut self, _id: String) {}
}

/// Something that processors and contracts may take.
#[derive(Injectable)]
pub struct Clock {}

impl Clock {
    fn ticks(&self) -> bool {
        true
    }
}

/// Does the thing.
#[usecase]
pub async fn USECASE_DoThing(
    input: INPUT_DoThing,
    things: &mut dyn INTERFACE_HELPER_DoThing,
) -> Result<OUTPUT_DoThing, DoThingError> {
    if !things.find(&input.thing_id).await? || input.times > things.limit() {
        return Err(DoThingError::NotYet(input.thing_id));
    }
    things.keep(input.thing_id.clone());
    Ok(OUTPUT_DoThing { thing_id: input.thing_id })
}

/// A use case that needs nothing of the world.
#[usecase]
pub async fn USECASE_SortThing(input: INPUT_SortThing) -> Result<OUTPUT_SortThing, Failed> {
    match input {
        INPUT_SortThing::Up { thing_id } | INPUT_SortThing::Down { thing_id } => Ok(OUTPUT_SortThing { thing_id }),
    }
}

#[schema]
pub struct OUTPUT_SortThing {
    pub thing_id: String,
}

/// Every argument.
#[event_processor(
    "ThingDone",
    version = 2,
    retries = 4,
    backoff = "50ms..2s",
    timeout = "5s",
    on_exhausted = "park_key"
)]
pub async fn EventProcessor_ThingDone(
    event: Event<INPUT_DoThing>,
    do_thing: SERVICE_DoThing,
    clock: Clock,
) -> Result<(), DoThingError> {
    let _ = clock.ticks();
    do_thing.run(event.data).await?;
    Ok(())
}

#[event_processor("ThingSorted", retries = 0, on_exhausted = "stop")]
pub async fn EventProcessor_ThingSorted(
    event: Event<INPUT_SortThing>,
    sort_thing: SERVICE_SortThing,
) -> Result<(), Failed> {
    sort_thing.run(event.data).await.map(drop)
}

#[event_processor("ThingSeen")]
async fn EventProcessor_ThingSeen(event: Event<Value>) -> Result<(), Failed> {
    match event.data["thingId"].as_str() {
        Some(_) => Ok(()),
        None => Err(Failed::dead_letter("no_thing", "the event names no thing")),
    }
}

fn main() {
    let failed = [DoThingError::No, DoThingError::Done { when: 1 }, DoThingError::Look, DoThingError::Broken];
    assert_eq!(failed.map(|error| error.code().into_owned()), ["no", "done", "look", "broken"]);
    assert_eq!(dispatcher().name, "things");
}
