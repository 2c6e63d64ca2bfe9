//! A domain with features that the order domain does not use: two entities, an interface with two contracts, and a processor
//! whose emitted event comes back to the service.
//!
//! The program is also its own service: with arguments it runs them as a command, without arguments it is the test.

#![allow(non_camel_case_types, reason = "the project's naming rules")]
#![allow(unreachable_pub, missing_docs, clippy::pedantic, reason = "an undocumented domain in one file")]

use std::process::{Command, ExitCode};

use order_runtime::prelude::*;
use order_tests::{PATIENCE, Service, eventually, free_port};

order_runtime::dispatcher!(name = "things");

/// An entity that counts how often it was done.
#[entity(table = "things")]
pub struct Thing {
    #[key]
    thing_id: String,
    done: u32,
}

/// An entity that counts its things.
#[entity(table = "shelves")]
pub struct Shelf {
    #[key]
    shelf_id: String,
    things: u32,
}

#[schema]
pub struct INPUT_DoThing {
    pub thing_id: String,
    pub shelf_id: String,
}

#[schema]
pub struct OUTPUT_DoThing {
    pub done: u32,
}

#[interface]
pub trait INTERFACE_HELPER_DoThing {
    async fn add(&self, id: String) -> u32;
}

#[contract]
pub struct CONTRACT_HELPER_DoThing_V0 {
    things: WorkingSet<Thing>,
}

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {
    async fn add(&self, id: String) -> u32 {
        add(&self.things, id, 1).await
    }
}

/// The second contract counts in tens.
#[contract]
pub struct CONTRACT_HELPER_DoThing_V1 {
    things: WorkingSet<Thing>,
}

#[contract]
impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V1 {
    async fn add(&self, id: String) -> u32 {
        add(&self.things, id, 10).await
    }
}

async fn add(things: &WorkingSet<Thing>, id: String, more: u32) -> u32 {
    let mut thing = things.get(&id).await.unwrap_or(Thing { thing_id: id, done: 0 });
    thing.done += more;
    things.put(thing.clone());
    thing.done
}

#[usecase]
pub async fn USECASE_DoThing(
    input: INPUT_DoThing,
    things: &mut dyn INTERFACE_HELPER_DoThing,
) -> Result<OUTPUT_DoThing, Failed> {
    Ok(OUTPUT_DoThing { done: things.add(input.thing_id).await })
}

/// Does the thing, and emits an event for the processor below.
#[event_processor("ThingDone")]
pub async fn EventProcessor_ThingDone(
    event: Event<INPUT_DoThing>,
    do_thing: SERVICE_DoThing,
    events: Emitter,
) -> Result<(), Failed> {
    let shelf = event.data.shelf_id.clone();
    do_thing.run(event.data).await?;
    events.version(2).emit("ThingShelved", &shelf, &serde_json::json!({ "shelfId": shelf }))?;
    Ok(())
}

#[event_processor("ThingShelved", version = 2)]
pub async fn EventProcessor_ThingShelved(event: Event<Value>, shelves: WorkingSet<Shelf>) -> Result<(), Failed> {
    let id = event.data["shelfId"].as_str().unwrap_or_default().to_owned();
    let mut shelf = shelves.get(&id).await.unwrap_or(Shelf { shelf_id: id, things: 0 });
    shelf.things += 1;
    shelves.put(shelf);
    Ok(())
}

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 && std::env::var_os("STORE_URL").is_some() {
        return order_runtime::run(dispatcher());
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        two_entities_share_a_store_and_an_emitted_event_comes_back().await;
        configuration_chooses_the_contract().await;
    });
    ExitCode::SUCCESS
}

/// The folder and the ports of a service.
struct Place {
    folder: tempfile::TempDir,
    port: u16,
    broker: u16,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), port: free_port(), broker: free_port() }
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("things.db")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("APP_RELOAD", "False")
            .env("APP_PORT", self.port.to_string())
            .env("KAFKA_BROKER_URL", format!("127.0.0.1:{}", self.broker))
            .env("STORE_URL", format!("sqlite://{}", self.store().display()));
        command
    }

    async fn start(&self, settings: &[(&str, &str)]) -> Service {
        let mut service = Service::spawn(self.command(&["run"]).envs(settings.iter().copied()), self.port);
        service.wait_ready(PATIENCE).await;
        service
    }

    /// Publishes an event with the command, and returns its key.
    fn publish(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[&["publish", "--output", "json"], arguments].concat()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let published: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        published["key"].clone()
    }
}

async fn two_entities_share_a_store_and_an_emitted_event_comes_back() {
    let place = Place::new();
    let service = place.start(&[]).await;
    assert_eq!(place.publish(&["ThingDone", r#"{"thingId": "t1", "shelfId": "s1"}"#]), "t1");
    // Events of the second entity have a key too.
    assert_eq!(place.publish(&["ThingShelved", r#"{"shelfId": "s1"}"#, "--event-version", "2"]), "s1");
    eventually("all three events are handled", PATIENCE, async || service.stat("ok").await == 3).await;
    assert_eq!(service.stat("deadLettered").await, 0);
    let thing = service.get("/things/t1").await;
    assert_eq!((&thing["done"], &thing["version"]), (&10.into(), &1.into()), "the highest contract is the default");
    let shelf = service.get("/shelves/s1").await;
    assert_eq!(shelf["things"], 2, "one by the command, one by the emitted event");
    assert_eq!(service.get("/shelves").await, serde_json::json!([shelf]), "each entity has a read model of its own");
    assert_eq!(service.terminate().await.code(), Some(0));
}

async fn configuration_chooses_the_contract() {
    let place = Place::new();
    let service = place.start(&[("APP_CONTRACTS", r#"{"DoThing": 0}"#)]).await;
    place.publish(&["ThingDone", r#"{"thingId": "t1", "shelfId": "s1"}"#]);
    eventually("both events are handled", PATIENCE, async || service.stat("ok").await == 2).await;
    assert_eq!(service.get("/things/t1").await["done"], 1);
    assert_eq!(service.terminate().await.code(), Some(0));
}
