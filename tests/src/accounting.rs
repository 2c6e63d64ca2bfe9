//! Checks that every record has exactly one outcome: orders over HTTP, dead letters in their topic.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use crate::{
    deployment::Deployment,
    oracle::{self, Expected, OrderState},
    service::Service,
    topic::Record,
    wait::until,
};

/// The headers of every dead letter. Event, id and processor are further headers if they are known.
const ALWAYS: [&str; 13] = [
    "dlq-id",
    "dlq-topic",
    "dlq-partition",
    "dlq-offset",
    "dlq-timestamp",
    "dlq-consumer-group",
    "dlq-reason",
    "dlq-error-code",
    "dlq-error-message",
    "dlq-attempts",
    "dlq-first-failed-at",
    "dlq-replays",
    "dlq-service-version",
];

/// The maximum length of `dlq-error-message` in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// The maximum number of differences that a failed test lists.
const NAMED: usize = 10;

/// Waits until the outcome of every record in the topic matches the oracle, and checks each dead letter. Returns the oracle's
/// expectation.
pub async fn settled(deployment: &Deployment, service: &Service, deadline: Duration) -> Expected {
    settled_by(deployment, &[service], deadline).await
}

/// [`settled`] for several instances.
pub async fn settled_by(deployment: &Deployment, services: &[&Service], deadline: Duration) -> Expected {
    let records = deployment.events().read();
    let expected = oracle::expect(&records);
    until("everything is accounted for", deadline, async || {
        // Reading everything is expensive, so it starts only when the service reports no work left.
        for service in services {
            let stats = service.get("/stats").await;
            // If there are more instances than partitions, some have no partition and no lag.
            let partitions = service.get("/partitions").await;
            let idle = partitions.as_array().is_some_and(Vec::is_empty);
            if (stats["lag"] != 0 && !idle) || stats["waiting"] != 0 {
                return Err(format!("/stats is {stats}"));
            }
        }
        let differences = differences(&expected, &orders(services[0]).await, &deployment.dead_letters().read());
        if differences.is_empty() { Ok(()) } else { Err(listed(&differences)) }
    })
    .await;
    check_dead_letters(deployment, &records, &deployment.dead_letters().read());
    expected
}

/// All orders of the read model, page by page.
pub async fn orders(service: &Service) -> BTreeMap<String, OrderState> {
    let mut orders = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = service.get(&format!("/orders?limit=100{after}")).await;
        let rows = rows(&page);
        for row in rows {
            let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("an order without {name}: {row}"));
            let version = row["version"].as_u64().unwrap_or_else(|| panic!("an order without a version: {row}"));
            let state = OrderState { status: text("status").to_lowercase(), version };
            let earlier = orders.insert(text("orderId").to_owned(), state);
            assert_eq!(earlier, None, "two pages show the same order: {row}");
        }
        let Some(last) = rows.last() else { return orders };
        after = format!("&after={}", last["orderId"].as_str().unwrap_or_default());
    }
}

/// The rows of a page: the page itself if it is a list, otherwise the list in it.
fn rows(page: &Value) -> &[Value] {
    let list = page.as_array().or_else(|| page.as_object()?.values().find_map(Value::as_array));
    list.unwrap_or_else(|| panic!("a page without a list: {page}"))
}

fn differences(expected: &Expected, orders: &BTreeMap<String, OrderState>, dead: &[Record]) -> Vec<String> {
    let mut differences = Vec::new();
    for (id, wanted) in &expected.orders {
        match orders.get(id) {
            Some(found) if found == wanted => {}
            Some(found) => differences.push(format!("order {id} is {found:?}, expected {wanted:?}")),
            None => differences.push(format!("order {id} is missing, expected {wanted:?}")),
        }
    }
    for id in orders.keys().filter(|id| !expected.orders.contains_key(*id)) {
        differences.push(format!("order {id} exists, but no event in the topic creates it"));
    }
    let found: BTreeMap<(i32, i64), String> =
        dead.iter().map(|letter| (origin(letter), letter.header("dlq-reason").unwrap_or_default())).collect();
    for (place, reason) in &expected.dead_letters {
        match found.get(place) {
            Some(found) if found == reason => {}
            Some(found) => differences.push(format!("{place:?} is dead-lettered as {found}, expected {reason}")),
            None => differences.push(format!("{place:?} is not dead-lettered, expected {reason}")),
        }
    }
    for (place, reason) in found.iter().filter(|(place, _)| !expected.dead_letters.contains_key(place)) {
        differences.push(format!("{place:?} is dead-lettered as {reason}, but is valid or a repeat"));
    }
    differences
}

/// Checks that each letter contains its source record byte for byte and has all headers, and that each source record has one
/// `dlq-id`. A crash may repeat a letter, but never issue a second one.
fn check_dead_letters(deployment: &Deployment, records: &[Record], dead: &[Record]) {
    let sources: BTreeMap<(i32, i64), &Record> =
        records.iter().map(|record| ((record.partition, record.offset), record)).collect();
    let mut ids: BTreeMap<(i32, i64), BTreeSet<String>> = BTreeMap::new();
    for letter in dead {
        let place = origin(letter);
        let source = sources.get(&place).unwrap_or_else(|| panic!("a dead letter without a source record: {letter:?}"));
        assert_eq!(letter.key, source.key, "the key of the dead letter of {place:?}");
        assert_eq!(letter.payload, source.payload, "the payload of the dead letter of {place:?}");
        assert!(
            letter.headers.starts_with(&source.headers),
            "the headers of the dead letter of {place:?}: {:?} do not begin with {:?}",
            letter.headers,
            source.headers
        );
        for name in ALWAYS {
            assert!(letter.header(name).is_some(), "the dead letter of {place:?} has no {name}: {:?}", letter.headers);
        }
        let header = |name: &str| letter.header(name).unwrap_or_default();
        assert_eq!(header("dlq-topic"), deployment.events().name());
        assert_eq!(header("dlq-consumer-group"), deployment.group());
        assert!(header("dlq-error-message").len() <= LONGEST_MESSAGE, "{:?}", letter.headers);
        ids.entry(place).or_default().insert(header("dlq-id"));
    }
    let all: BTreeSet<&String> = ids.values().flatten().collect();
    for (place, ids) in &ids {
        assert_eq!(ids.len(), 1, "{place:?} has more than one dlq-id: {ids:?}");
    }
    assert_eq!(all.len(), ids.len(), "two records share one dlq-id");
}

/// The partition and offset of a dead letter's source record.
fn origin(letter: &Record) -> (i32, i64) {
    let number = |name: &str| letter.header(name).and_then(|text| text.parse::<i64>().ok());
    let partition = number("dlq-partition").and_then(|partition| i32::try_from(partition).ok());
    match (partition, number("dlq-offset")) {
        (Some(partition), Some(offset)) => (partition, offset),
        _ => panic!("a dead letter without its partition and offset: {:?}", letter.headers),
    }
}

fn listed(differences: &[String]) -> String {
    let named = &differences[..differences.len().min(NAMED)];
    format!("{} differences:\n  {}", differences.len(), named.join("\n  "))
}
