//! Records that the broker refuses stay in the outbox, unchanged, and delay no other records.

use std::sync::Arc;

use super::rig::Rig;
use crate::broker::PublishError;

fn refused(topic: &str) -> PublishError {
    PublishError::Refused { topic: topic.to_owned(), reason: "there is no such topic".to_owned() }
}

#[tokio::test]
async fn a_topic_that_takes_nothing_holds_back_no_other_topic() {
    let rig = Rig::start().await;
    rig.broker.refuse(|record| (&*record.topic == "elsewhere").then(|| refused("elsewhere")));
    rig.send("Added", "a", 1, "emit_elsewhere");
    rig.until("the event is handled", |rig| rig.stats().ok == 1).await;
    for letters in 1..=3 {
        rig.send("Added", "b", 1, "reject");
        rig.until("its dead letter", |rig| rig.broker.published().len() == letters).await;
    }
    let health = rig.engine.operations().health();
    assert!(health.not_ready.iter().any(|reason| reason.contains("elsewhere")), "{:?}", health.not_ready);
    assert_eq!(health.not_live, Vec::<String>::new());

    rig.broker.refuse(|_| None);
    rig.until("the emitted events", |rig| rig.broker.published().len() == 5).await;
    rig.until("ready again", |rig| rig.engine.operations().health().not_ready.is_empty()).await;
    assert_eq!(rig.stats().unpublished, 0);
}

#[tokio::test]
async fn an_emitted_event_never_leaves_without_its_headers() {
    let rig = Rig::start().await;
    rig.broker.refuse(|record| {
        let too_large = &*record.topic == "elsewhere" && !record.headers.is_empty();
        too_large.then(|| PublishError::TooLarge { topic: record.topic.to_string() })
    });
    let payload =
        serde_json::json!({"eventId": "e", "eventName": "Added", "data": {"id": "a", "then": "emit_elsewhere"}});
    let context = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    rig.broker.append(&super::rig::partition(), Some("a"), &payload.to_string(), &context);
    rig.send("Added", "b", 1, "reject");
    rig.until("the dead letter", |rig| rig.broker.published().iter().any(|r| &*r.topic == "things-dlq")).await;
    rig.until("it is reported", |rig| !rig.engine.operations().health().not_ready.is_empty()).await;
    assert_eq!(rig.broker.published().len(), 1, "the emitted events stay unchanged: {:?}", rig.broker.published());
    let health = rig.engine.operations().health();
    assert!(
        health.not_ready.iter().any(|reason| reason.contains("elsewhere") && reason.contains("max.message.bytes")),
        "{:?}",
        health.not_ready
    );
}

#[tokio::test]
async fn a_store_that_fails_the_relay_is_named_and_the_broker_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(crate::store::conformance::fixture::sqlite(&folder.path().join("store.db")));
    crate::store::Store::close(&*store).await;
    let (broker, _events) = crate::broker::memory::MemoryBroker::new();
    let outbox = Arc::default();
    let relay = tokio::spawn(crate::engine::outbox::relay(store, broker, Arc::clone(&outbox)));
    let reported = async {
        loop {
            let reported = format!("{:?}", crate::engine::outbox::OutboxState::trouble(&outbox));
            if reported.contains("wait in") {
                return reported;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let reported = tokio::time::timeout(std::time::Duration::from_secs(10), reported).await.expect("a report");
    assert!(reported.contains("the store") && !reported.contains("the broker"), "{reported}");
    relay.abort();
}
