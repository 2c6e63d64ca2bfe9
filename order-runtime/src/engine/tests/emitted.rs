//! Events that processors emit.

use serde_json::Value;

use super::rig::{Rig, partition};

#[tokio::test]
async fn emitted_events_leave_with_the_effects_of_their_cause() {
    let rig = Rig::start().await;
    rig.send_as("cause", "Added", "a", 1, "emit");
    let emitted = rig.dead_letters(2).await;
    let ids: Vec<String> = emitted
        .iter()
        .zip(1..)
        .map(|(record, number)| {
            assert_eq!((&*record.topic, record.key.as_deref()), ("things", Some(&b"echo"[..])));
            let payload: Value = serde_json::from_slice(record.payload.as_deref().expect("a payload")).expect("JSON");
            assert_eq!((&payload["eventName"], &payload["data"]), (&"Echoed".into(), &number.into()));
            payload["eventId"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0], crate::identity::emitted_id("cause", 0), "the same id after every repeat");

    rig.send_as("cause", "Added", "a", 1, "emit");
    rig.settled().await;
    assert_eq!(rig.broker.published().len(), 2, "a repeat emits nothing");
}

#[tokio::test]
async fn a_failed_event_emits_nothing() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "emit_and_reject");
    let letters = rig.dead_letters(1).await;
    assert_eq!(&*letters[0].topic, "things-dlq");
}

#[tokio::test]
async fn an_emitted_event_that_comes_back_without_a_processor_is_skipped() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "emit");
    let emitted = rig.dead_letters(2).await;
    for record in &emitted {
        rig.broker.append_record(&partition(), record);
    }
    rig.settled().await;
    assert_eq!(rig.broker.published().len(), 2, "{:?}", rig.broker.published());
    assert_eq!((rig.stats().skipped, rig.stats().dead_lettered), (2, 0));

    // An unknown event of another producer is still dead-lettered.
    rig.send("Echoed", "a", 1, "");
    rig.settled().await;
    assert_eq!(rig.stats().dead_lettered, 1);
}

#[tokio::test]
async fn an_emitted_event_that_comes_back_is_handled_by_its_processor() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "emit_to_itself");
    let emitted = rig.dead_letters(2).await;
    let versions = emitted.iter().map(|record| {
        let payload: Value = serde_json::from_slice(record.payload.as_deref().expect("a payload")).expect("JSON");
        payload["version"].as_u64()
    });
    assert_eq!(versions.collect::<Vec<_>>(), [Some(2), Some(1)]);
    for record in &emitted {
        rig.broker.append_record(&partition(), record);
    }
    rig.settled().await;
    let stats = rig.stats();
    assert_eq!((stats.ok, stats.skipped, stats.dead_lettered), (2, 1, 0), "version 2 has no processor here");
    assert_eq!(rig.counter("echo").await, Some((2, 1)));
}
