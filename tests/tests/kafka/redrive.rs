//! Replays of dead letters by an operator, on a real Kafka.

use std::{collections::BTreeMap, time::Instant};

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, Service, events, until};
use serde_json::{Value, json};

/// The number of letters of each kind.
const EACH: usize = 20;

/// A service with two kinds of dead letters: shipments of unpaid orders, and unknown events.
async fn with_letters(broker: &Broker) -> (Deployment, Service) {
    let deployment = Deployment::with_partitions(broker, 2).await;
    let order = |number| format!("order-{number}");
    let created = (0..EACH).map(|number| NewRecord::json(&order(number), &events::created(&order(number))));
    let shipped = (0..EACH).map(|number| NewRecord::json(&order(number), &events::shipped(&order(number))));
    let unknown =
        (0..EACH).map(|number| NewRecord::json(&order(number), &events::event("OrderLost", json!({"n": number}))));
    deployment.events().produce_all(created.chain(shipped).chain(unknown)).await;
    let service = deployment.start_ready().await;
    letters_lie(&deployment, 2 * EACH).await;
    (deployment, service)
}

async fn letters_lie(deployment: &Deployment, count: usize) {
    until("the dead letters lie in their topic", PATIENCE, async || {
        let lie = deployment.dead_letters().read().len();
        if lie == count { Ok(()) } else { Err(format!("{lie} of {count}")) }
    })
    .await;
}

/// Runs `dlq` with JSON output.
async fn dlq(deployment: &Deployment, arguments: &[&str]) -> Value {
    let arguments = ["dlq"].into_iter().chain(arguments.iter().copied()).chain(["--yes", "--output", "json"]);
    deployment.run(arguments).await.expect_code(0).json()
}

/// The number of times that each dead letter was replayed, by its id.
fn replays(deployment: &Deployment) -> BTreeMap<String, usize> {
    let mut sent = BTreeMap::new();
    for id in deployment.events().read().iter().filter_map(|record| record.header("dlq-id")) {
        *sent.entry(id).or_default() += 1;
    }
    sent
}

#[tokio::test]
async fn a_dry_run_reports_and_filter_cap_and_rate_bound_a_replay() {
    let Some(broker) = super::broker().await else { return };
    let (deployment, service) = with_letters(&broker).await;

    let dry = dlq(&deployment, &["replay", "--all", "--dry-run"]).await;
    let counts = json!([
        {"reason": "rejected", "event": "OrderShipped", "errorCode": "forbidden", "letters": EACH},
        {"reason": "unknown_event", "event": "OrderLost", "errorCode": "unknown_event", "letters": EACH},
    ]);
    assert_eq!((&dry["replayed"], &dry["counts"]), (&json!(2 * EACH), &counts));
    assert!(replays(&deployment).is_empty(), "a dry run sends nothing");

    // Ten of one reason, five per second: the first is sent at once, the last after at least 1.8 s.
    let start = Instant::now();
    let capped = dlq(&deployment, &["replay", "--reason", "rejected", "--max", "10", "--rate", "5"]).await;
    assert!(start.elapsed().as_millis() >= 1_800, "the rate is kept: {:?}", start.elapsed());
    assert_eq!((&capped["replayed"], replays(&deployment).len()), (&json!(10), 10));
    letters_lie(&deployment, 2 * EACH + 10).await;

    let listed = dlq(&deployment, &["list", "--reason", "rejected"]).await;
    assert_eq!((&listed["matching"], &listed["others"]), (&json!(EACH), &json!({"superseded": 10})));
    let audit = dlq(&deployment, &["audit"]).await;
    assert_eq!((&audit[0]["action"], &audit[0]["letters"]), (&json!("replay"), &json!(10)));
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_killed_replay_continues_and_sends_at_most_a_batch_twice() {
    let Some(broker) = super::broker().await else { return };
    let (deployment, service) = with_letters(&broker).await;
    // Without the service, replayed events are not handled, so they do not fail again and become new letters.
    assert!(service.terminate().await.success());
    let known = ["replay", "--event", "OrderLost"];

    // Slow enough that some are left when it is killed.
    let slow = ["dlq"].into_iter().chain(known).chain(["--rate", "5", "--yes"]);
    let mut replaying = deployment.spawn(slow);
    until("some are replayed", PATIENCE, async || {
        let sent = replays(&deployment).len();
        if sent >= 4 { Ok(()) } else { Err(format!("{sent} have left")) }
    })
    .await;
    replaying.kill();
    let before = replays(&deployment).len();
    assert!(before < EACH, "it was killed before the end: {before}");

    let rest = dlq(&deployment, &known).await;
    let sent = replays(&deployment);
    let total: usize = sent.values().sum();
    assert_eq!(sent.len(), EACH, "none is left out: {rest}");
    assert!(total - EACH <= 2, "{} were sent twice, a batch is 2", total - EACH);
    assert_eq!(dlq(&deployment, &known).await["replayed"], 0, "nothing is left to do");
    eprintln!("killed after {before} of {EACH}; sent twice: {}", total - EACH);
}

#[tokio::test]
async fn a_letter_that_fails_each_time_is_not_replayed_forever() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 1).await;
    deployment.events().produce([NewRecord::json("order-1", &events::event("OrderLost", json!({})))]).await;
    let service = deployment.start_ready().await;
    letters_lie(&deployment, 1).await;
    for round in 1..=2 {
        assert_eq!(dlq(&deployment, &["replay", "--all", "--max-replays", "2"]).await["replayed"], 1);
        letters_lie(&deployment, 1 + round).await;
    }
    let stopped = dlq(&deployment, &["replay", "--all", "--max-replays", "2"]).await;
    assert_eq!((&stopped["replayed"], &stopped["leftOut"]["loop_guard"]), (&json!(0), &json!(1)));
    assert_eq!(replays(&deployment).values().copied().collect::<Vec<_>>(), [2]);
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_corrected_letter_counts_once_and_others_are_set_aside() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 1).await;
    let mut wrong = events::created("order-1");
    wrong["data"]["currency"] = json!(7);
    let lost = events::event("OrderLost", json!({}));
    // The first has an id from its producer, the second has none.
    let mut nameless = events::created("order-2");
    nameless["data"]["currency"] = json!(7);
    nameless.as_object_mut().expect("an object").remove("eventId");
    let records = [("order-1", &wrong), ("order-2", &nameless), ("order-3", &lost)];
    deployment.events().produce(records.map(|(key, event)| NewRecord::json(key, event))).await;
    let service = deployment.start_ready().await;
    letters_lie(&deployment, 3).await;
    let letters = deployment.dead_letters().read();
    let id_of = |key: &str| {
        let letter = letters.iter().find(|letter| letter.key.as_deref() == Some(key.as_bytes())).expect("a letter");
        letter.header("dlq-id").expect("an id")
    };

    for (order, event) in [("order-1", &wrong), ("order-2", &nameless)] {
        let id = id_of(order);
        let still_wrong = deployment.run(["dlq", "edit", &id, &event.to_string(), "--yes"]).await.expect_code(1);
        assert!(still_wrong.stderr.contains("$.data.currency"), "{still_wrong:?}");
        let mut right = event.clone();
        right["data"]["currency"] = json!("EUR");
        let edited = dlq(&deployment, &["edit", &id, &right.to_string()]).await;
        assert!(edited["diff"].as_str().is_some_and(|diff| diff.contains("+    \"currency\": \"EUR\"")), "{edited}");
        until("the correction is applied", PATIENCE, async || {
            let order = service.ask(&format!("/orders/{order}")).await;
            if order.body["version"] == 1 { Ok(()) } else { Err(order.body.to_string()) }
        })
        .await;
        deployment.run(["dlq", "edit", &id, &right.to_string(), "--yes"]).await.expect_code(1);
        let again = dlq(&deployment, &["replay", &id, "--again"]).await;
        assert_eq!(again["leftOut"], json!({"settled_since": 1}), "{again}");
    }

    let lost = id_of("order-3");
    assert_eq!(dlq(&deployment, &["park", &lost, "--note", "look later"]).await["letters"], 1);
    assert_eq!(dlq(&deployment, &["replay", "--all"]).await["replayed"], 0);
    assert_eq!(dlq(&deployment, &["list", "--parked"]).await["letters"][0]["mark"]["note"], "look later");
    // The same operations over HTTP.
    assert_eq!(service.get("/dlq?parked=true").await["letters"][0]["id"], lost);
    let shown = service.get(&format!("/dlq/{lost}")).await;
    assert!(shown["trial"]["errors"][0]["message"].as_str().is_some_and(|why| why.contains("OrderLost")), "{shown}");
    assert_eq!(dlq(&deployment, &["purge", &lost]).await["letters"], 1);
    assert_eq!(service.get("/dlq").await["others"], json!({"replayed": 2, "purged": 1}));
    assert!(service.terminate().await.success());
}
