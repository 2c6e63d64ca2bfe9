//! The librdkafka properties of every client. The user's properties for all clients override the service's own, and the user's
//! properties for one side override both. Properties that the service depends on cannot be set: see `config::properties`.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::error::BrokerError;
use crate::config::KafkaConfig;

/// The largest record that the producer accepts. Its default is below the limit of a topic, which the broker enforces.
const PRODUCER_RECORD_BYTES: &str = "67108864";

/// The properties of every client.
const COMMON: &[(&str, &str)] = &[
    // Detects dead peers behind NAT.
    ("socket.keepalive.enable", "true"),
    // With the default of 10 s, a client may stay disconnected after a short outage, and past the delivery time-out.
    ("reconnect.backoff.max.ms", "1000"),
    // Finds new topics and partitions soon; the default is five minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
    // A wrong name must not create a topic.
    ("allow.auto.create.topics", "false"),
];

const CONSUMER: &[(&str, &str)] = &[
    // librdkafka commits stored offsets in the background, and when partitions are revoked.
    ("enable.auto.commit", "true"),
    ("auto.commit.interval.ms", "1000"),
    // Only the service stores offsets, after an event's outcome is durable.
    ("enable.auto.offset.store", "false"),
    // Every partition is assigned with an offset. The engine decides about an offset that is out of range.
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    // Keeps librdkafka's queue small; the default is 64 MB in 100,000 records. Measured on a backlog of 3,000,000 records in 8
    // partitions: 45 MiB of memory in total instead of 61 with 3,072, at nine tenths of the speed.
    ("queued.max.messages.kbytes", "1536"),
    // One fetch response serves 8 partitions, so that they advance together. With 1 MiB of each, one partition was ahead, and the
    // store wrote a quarter more bytes per event, since the last inserts found their pages full.
    ("fetch.message.max.bytes", "393216"),
    // librdkafka requests the next response while the last one is processed. With 1,000 records, it waits for it half of the
    // time; with 10,000, it holds 9 MiB more at the same speed.
    ("queued.min.messages", "4000"),
    // A fetch requests the partitions that have capacity at the moment. If they have no new records, the broker holds back its
    // response for this long, and the others wait: with the default of 500, a service on SQLite was idle for a fifth of the time.
    ("fetch.wait.max.ms", "100"),
    // With a small queue, the default of 1 s would be a pause each time after it was full.
    ("fetch.queue.backoff.ms", "5"),
    // The statistics report whether a broker is connected.
    ("statistics.interval.ms", "5000"),
];

/// Properties of the classic group protocol alone.
const CLASSIC: &[(&str, &str)] =
    &[("partition.assignment.strategy", "cooperative-sticky"), ("session.timeout.ms", "45000")];

const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // Chooses the same partition as Java's producers. Several producers of a topic keep the order of a key only if they agree.
    ("partitioner", "murmur2_random"),
    // Records for a topic that does not exist wait for it this long. The default of 30 s equals the delivery time-out.
    ("topic.metadata.propagation.max.ms", "10000"),
    ("linger.ms", "5"),
    // A topic's size limit applies to compressed batches: a dead letter is its event plus some headers, and most events compress
    // well. Compression costs nothing: without it, the system needs more time (10.4 CPU-s per million dead letters instead of
    // 9.0).
    ("compression.type", "lz4"),
    ("queue.buffering.max.messages", "10000"),
    ("message.max.bytes", PRODUCER_RECORD_BYTES),
    // The first dead letter may create the dead-letter topic, if the broker allows it.
    ("allow.auto.create.topics", "true"),
];

/// The group protocol that the user has set, in lower case.
pub(super) fn group_protocol(config: &KafkaConfig) -> Option<String> {
    let wanted = config.consumer_properties.get("group.protocol").or_else(|| config.properties.get("group.protocol"));
    wanted.map(|value| value.expose().to_ascii_lowercase())
}

/// Whether a leaving member notifies its group, in a way that the service can observe. A member of the newer protocol does not,
/// because it keeps its id. A static member does not, because its partitions wait for its return.
pub(super) fn shows_leaving(config: &KafkaConfig, embedded: bool) -> bool {
    let is_static = [&config.consumer_properties, &config.properties]
        .into_iter()
        .any(|properties| properties.contains_key("group.instance.id"));
    let classic = group_protocol(config).map_or(!embedded, |protocol| protocol == "classic");
    classic && !is_static
}

/// The properties of the group member. The embedded broker rebalances classic groups slowly, so the newer protocol is used there.
pub(super) fn member(config: &KafkaConfig, embedded: bool) -> ClientConfig {
    let mut client = base(config, "consumer", CONSUMER);
    let protocol = group_protocol(config).unwrap_or_else(|| if embedded { "consumer" } else { "classic" }.to_owned());
    if protocol == "classic" {
        set_all(&mut client, CLASSIC);
    }
    client.set("group.id", &config.group_id);
    set_users(&mut client, &config.consumer_properties);
    if protocol == "consumer" {
        client.set("group.protocol", "consumer");
        // The broker decides on these; librdkafka refuses to start if they are set.
        for property in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
            client.remove(property);
        }
    }
    client
}

/// The properties of a separate client for requests that would disturb the member. It has the group's id to read committed
/// offsets, and does not join the group.
pub(super) fn metadata(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config, "metadata", &[]);
    client.set("group.id", &config.group_id).set("enable.auto.commit", "false");
    client
}

/// The properties of a client for requests about topic settings.
pub(super) fn admin(config: &KafkaConfig) -> ClientConfig {
    base(config, "admin", &[])
}

/// The properties of a reader of topic ranges, outside of any group.
pub(super) fn reader(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config, "reader", CONSUMER);
    client
        // librdkafka requires a group id for manual assignment; no group of this name is ever created.
        .set("group.id", format!("{}-reader-{}", config.group_id, uuid::Uuid::new_v4()))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("statistics.interval.ms", "0");
    client
}

/// The properties of the producer. It never gives up a single record, because the next record of the same key could overtake it.
/// [`delivery_timeout`] is enforced by replacing the producer, with all its records.
pub(super) fn producer(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config, "producer", PRODUCER);
    set_users(&mut client, &config.producer_properties);
    for name in DELIVERY_TIMEOUT {
        client.remove(name);
    }
    client.set("message.timeout.ms", "0");
    client
}

/// Two names of one property.
const DELIVERY_TIMEOUT: [&str; 2] = ["message.timeout.ms", "delivery.timeout.ms"];
/// The default delivery time-out. The relay handles longer outages; its records stay in the store.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
/// The delivery time-out for 0, with which librdkafka means no limit.
const NO_DELIVERY_LIMIT: Duration = Duration::from_mins(5);

/// How long the producer may try to deliver a record.
pub(super) fn delivery_timeout(config: &KafkaConfig) -> Duration {
    let set = |name: &&str| config.producer_properties.get(*name)?.expose().parse().ok();
    match DELIVERY_TIMEOUT.iter().find_map(set) {
        Some(0) => NO_DELIVERY_LIMIT,
        Some(milliseconds) => Duration::from_millis(milliseconds),
        None => DELIVERY_LIMIT,
    }
}

/// The time limits of a rebalance. librdkafka's callback must return before the poll interval has passed; otherwise, the group
/// removes the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RebalanceLimits {
    /// Until then, the cluster must have reported where partitions begin and end.
    pub(super) cluster: Duration,
    /// Until then, the engine must have answered too.
    pub(super) engine: Duration,
}

/// The limits on a rebalance that follow from `max.poll.interval.ms`.
pub(super) fn rebalance_limits(config: &KafkaConfig) -> RebalanceLimits {
    const DEFAULT_MS: u64 = 300_000;
    let name = "max.poll.interval.ms";
    let set = config.consumer_properties.get(name).and_then(|value| value.expose().parse().ok());
    let interval = Duration::from_millis(set.unwrap_or(DEFAULT_MS));
    // The last request to the cluster may begin just before its limit. The remaining fifth is a reserve for the return.
    RebalanceLimits { cluster: interval * 2 / 5, engine: interval * 4 / 5 }
}

/// How long a member may take to drain revoked partitions: half of the session time-out, but between 1 s and 20 s.
pub(crate) fn drain_limit(config: &KafkaConfig) -> Duration {
    let session = config
        .consumer_properties
        .get("session.timeout.ms")
        .and_then(|value| value.expose().parse().ok())
        .unwrap_or(45_000_u64);
    Duration::from_millis((session / 2).clamp(1_000, 20_000))
}

/// Checks whether librdkafka accepts the properties, without connecting.
///
/// # Errors
/// The first property of each client that librdkafka rejects.
pub fn check(config: &KafkaConfig) -> Result<(), Vec<BrokerError>> {
    let clients = [member(config, false), producer(config)];
    let errors: Vec<_> = clients
        .iter()
        .filter_map(|client| client.create_native_config().err())
        .map(|error| BrokerError::creation(&error, config))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn base(config: &KafkaConfig, role: &str, own: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers);
    client.set("client.id", format!("{}{}", client_id(config, role), std::process::id()));
    set_all(&mut client, COMMON);
    set_all(&mut client, own);
    set_users(&mut client, &config.properties);
    client
}

/// The prefix of the service's client ids, if the user sets none.
pub(super) fn client_id(config: &KafkaConfig, role: &str) -> String {
    format!("{}-{role}-", config.group_id)
}

fn set_all(client: &mut ClientConfig, properties: &[(&str, &str)]) {
    for (name, value) in properties {
        client.set(*name, *value);
    }
}

fn set_users(client: &mut ClientConfig, properties: &std::collections::BTreeMap<String, crate::config::Secret>) {
    for (name, value) in properties {
        client.set(name, value.expose());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    fn with(properties: &[(&str, &str)]) -> KafkaConfig {
        let mut config = Config::default().kafka;
        let secret = |(name, value): &(&str, &str)| ((*name).to_owned(), Secret::new(*value));
        config.consumer_properties = properties.iter().map(secret).collect();
        config
    }

    #[test]
    fn the_properties_match_the_guarantees() {
        let member = member(&with(&[]), false);
        for (property, value) in [
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("allow.auto.create.topics", "false"),
        ] {
            assert_eq!(member.get(property), Some(value), "{property}");
        }
        let producer = producer(&with(&[]));
        assert_eq!((producer.get("enable.idempotence"), producer.get("acks")), (Some("true"), Some("all")));
    }

    #[test]
    fn the_newer_group_protocol_removes_the_properties_of_the_classic_one() {
        let config =
            with(&[("group.protocol", "CONSUMER"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")]);
        let member = member(&config, false);
        assert_eq!(member.get("group.protocol"), Some("consumer"));
        for property in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
            assert_eq!(member.get(property), None, "{property}");
        }
        assert_eq!(check(&config), Ok(()));
    }

    #[test]
    fn the_embedded_broker_gets_the_newer_protocol_unless_the_user_says_otherwise() {
        assert_eq!(member(&with(&[]), true).get("group.protocol"), Some("consumer"));
        assert_eq!(member(&with(&[("group.protocol", "classic")]), true).get("group.protocol"), Some("classic"));
    }

    #[test]
    fn draining_ends_before_the_session_does() {
        assert_eq!(drain_limit(&with(&[("session.timeout.ms", "6000")])).as_millis(), 3_000);
        assert!(drain_limit(&with(&[])).as_millis() < 45_000);
    }

    #[test]
    fn answers_are_waited_for_as_long_as_the_producer_tries() {
        let timeout = |set: &[(&str, &str)]| {
            let mut config = Config::default().kafka;
            config.producer_properties =
                set.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
            delivery_timeout(&config).as_secs()
        };
        assert_eq!(timeout(&[]), 30);
        assert_eq!(timeout(&[("delivery.timeout.ms", "120000")]), 120);
        assert_eq!(timeout(&[("message.timeout.ms", "120000")]), 120);
        assert_eq!(timeout(&[("delivery.timeout.ms", "0")]), 300);
    }

    #[test]
    fn the_producer_gives_no_record_up_before_those_behind_it() {
        let mut config = Config::default().kafka;
        config.producer_properties.insert("delivery.timeout.ms".to_owned(), Secret::new("120000"));
        let producer = producer(&config);
        assert_eq!((producer.get("message.timeout.ms"), producer.get("delivery.timeout.ms")), (Some("0"), None));
        assert_eq!(check(&config), Ok(()));
    }

    #[test]
    fn properties_for_both_sides_apply_to_both() {
        let mut config = Config::default().kafka;
        let set = [("message.max.bytes", "2000000"), ("allow.auto.create.topics", "false"), ("client.id", "mine")];
        config.properties = set.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        for client in [member(&config, false), producer(&config), reader(&config), metadata(&config), admin(&config)] {
            for (name, value) in set {
                assert_eq!(client.get(name), Some(value), "{name} of {:?}", client.get("group.id"));
            }
        }
        config.producer_properties.insert("message.max.bytes".to_owned(), Secret::new("3000000"));
        assert_eq!(producer(&config).get("message.max.bytes"), Some("3000000"), "one side overrides both");
    }

    #[test]
    fn a_rebalance_ends_before_the_poll_interval_does() {
        for (interval, set) in [(300_000, None), (6_000, Some("6000")), (3_600_000, Some("3600000"))] {
            let config = with(&set.map(|value| ("max.poll.interval.ms", value)).into_iter().collect::<Vec<_>>());
            let limits = rebalance_limits(&config);
            assert!(limits.cluster < limits.engine && limits.engine < Duration::from_millis(interval), "{limits:?}");
        }
    }

    #[test]
    fn refused_properties_are_named() {
        let errors = check(&with(&[("fetch.min.bytes", "many")])).expect_err("not a number");
        assert_eq!(errors, [BrokerError::Property { property: "fetch.min.bytes".to_owned() }]);
    }
}
