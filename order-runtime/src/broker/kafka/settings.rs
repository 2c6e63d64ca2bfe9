//! The properties of every client: ours, over them those that the user sets for all clients, and over these the user's for one
//! side. Properties that the service depends on cannot be set: see `config::properties`.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::error::BrokerError;
use crate::config::KafkaConfig;

/// The largest record that the producer takes. Its own default is below what a topic takes; how much that is, its broker says.
const PRODUCER_RECORD_BYTES: &str = "67108864";

/// What every client has.
const COMMON: &[(&str, &str)] = &[
    // Dead peers behind NAT are noticed.
    ("socket.keepalive.enable", "true"),
    // The default of 10 s outlives short outages and the delivery time-out.
    ("reconnect.backoff.max.ms", "1000"),
    // New topics and partitions are found soon; the default is five minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
    // A wrong name must not make a topic.
    ("allow.auto.create.topics", "false"),
];

const CONSUMER: &[(&str, &str)] = &[
    // Stored offsets are committed in the background and, by librdkafka itself, when partitions are given back …
    ("enable.auto.commit", "true"),
    ("auto.commit.interval.ms", "1000"),
    // … and only we store them: after an event's outcome is durable.
    ("enable.auto.offset.store", "false"),
    // Every partition is assigned with an offset; what is out of range is the engine's to decide.
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    // What lies ready beside the inboxes stays small; the default is 64 MB in 100,000 records. Measured on a backlog of 3,000,000
    // records in 8 partitions: 45 MiB of memory in all for 61 with 3,072, at nine tenths of the speed.
    ("queued.max.messages.kbytes", "1536"),
    // One answer of the broker serves 8 partitions, so that they go in step: where one was ahead, as with 1 MiB of each, a store
    // wrote a quarter more bytes an event, since what was inserted last found its pages full.
    ("fetch.message.max.bytes", "393216"),
    // The next answer is asked for while the last one is worked off; with 1,000 records, librdkafka waits for it half of the time,
    // and with 10,000 it holds 9 MiB more at the same speed.
    ("queued.min.messages", "4000"),
    // A question goes to the partitions that have room at the moment. Where those have no news, the broker keeps it back for so
    // long, and the others wait: with the default of 500, a service on SQLite stood still for a fifth of the time.
    ("fetch.wait.max.ms", "100"),
    // With a small queue the default of 1 s is a pause after each time that it was full.
    ("fetch.queue.backoff.ms", "5"),
    // Whether a broker is connected is read from them.
    ("statistics.interval.ms", "5000"),
];

/// What only the classic group protocol knows.
const CLASSIC: &[(&str, &str)] =
    &[("partition.assignment.strategy", "cooperative-sticky"), ("session.timeout.ms", "45000")];

const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // The partition that Java's producers choose: several producers of a topic keep the order of a key only where they agree.
    ("partitioner", "murmur2_random"),
    // Where a topic does not exist, its records wait for it this long; the default of 30 s is as long as a delivery may take.
    ("topic.metadata.propagation.max.ms", "10000"),
    ("linger.ms", "5"),
    // A topic's limit is on what is packed: a dead letter is its event and some headers more, and most events pack well. Nor does
    // it cost anything: what is sent plain takes the system longer (10.4 CPU-s per million dead letters for 9.0).
    ("compression.type", "lz4"),
    ("queue.buffering.max.messages", "10000"),
    ("message.max.bytes", PRODUCER_RECORD_BYTES),
    // The topic of dead letters may be made by the first one, where the broker allows it.
    ("allow.auto.create.topics", "true"),
];

/// The group protocol that the user wants, in lower case.
pub(super) fn group_protocol(config: &KafkaConfig) -> Option<String> {
    let wanted = config.consumer_properties.get("group.protocol").or_else(|| config.properties.get("group.protocol"));
    wanted.map(|value| value.expose().to_ascii_lowercase())
}

/// Whether a member that ends tells its group, and shows that it has: not one of the newer protocol, which keeps its id,
/// and not a static one, whose partitions wait for its return.
pub(super) fn shows_leaving(config: &KafkaConfig, embedded: bool) -> bool {
    let is_static = [&config.consumer_properties, &config.properties]
        .into_iter()
        .any(|properties| properties.contains_key("group.instance.id"));
    let classic = group_protocol(config).map_or(!embedded, |protocol| protocol == "classic");
    classic && !is_static
}

/// The group member. The embedded broker is slow in rebalancing classic groups, so there it uses the newer protocol.
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
        // The broker decides on these; librdkafka refuses to start when they are set.
        for property in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
            client.remove(property);
        }
    }
    client
}

/// A client beside the member, for questions that would disturb it. It has the group's id, to read committed offsets, and
/// joins nothing.
pub(super) fn metadata(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config, "metadata", &[]);
    client.set("group.id", &config.group_id).set("enable.auto.commit", "false");
    client
}

/// A client for questions about settings of topics.
pub(super) fn admin(config: &KafkaConfig) -> ClientConfig {
    base(config, "admin", &[])
}

/// A reader of a range of a topic, outside of any group.
pub(super) fn reader(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config, "reader", CONSUMER);
    client
        // librdkafka wants a name to assign partitions by hand; no group of that name ever comes to be.
        .set("group.id", format!("{}-reader-{}", config.group_id, uuid::Uuid::new_v4()))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("statistics.interval.ms", "0");
    client
}

/// The producer. It gives no record up by itself: where one of a key was given up and the next was not, that one would overtake
/// it. [`delivery_timeout`] is kept by giving up the producer with all that it has.
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
/// Longer outages are the relay's affair, whose records lie in the store.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
/// What stands for the 0 with which librdkafka means no limit at all.
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

/// How long a rebalance may take, in parts: all that happens within librdkafka's callback, which must return before the poll
/// interval has passed, or the group gives the member up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RebalanceLimits {
    /// Until then the cluster must have said where partitions begin and end.
    pub(super) cluster: Duration,
    /// Until then the engine must have answered, too.
    pub(super) engine: Duration,
}

/// The limits on a rebalance that follow from `max.poll.interval.ms`.
pub(super) fn rebalance_limits(config: &KafkaConfig) -> RebalanceLimits {
    const DEFAULT_MS: u64 = 300_000;
    let name = "max.poll.interval.ms";
    let set = config.consumer_properties.get(name).and_then(|value| value.expose().parse().ok());
    let interval = Duration::from_millis(set.unwrap_or(DEFAULT_MS));
    // The last question to the cluster may begin just before its limit, and what is left is for the way back.
    RebalanceLimits { cluster: interval * 2 / 5, engine: interval * 4 / 5 }
}

/// The time that a member may need to give partitions back, in milliseconds: below the session time-out.
pub(crate) fn drain_limit(config: &KafkaConfig) -> Duration {
    let session = config
        .consumer_properties
        .get("session.timeout.ms")
        .and_then(|value| value.expose().parse().ok())
        .unwrap_or(45_000_u64);
    Duration::from_millis((session / 2).clamp(1_000, 20_000))
}

/// Whether librdkafka takes the properties, without connecting to anybody.
///
/// # Errors
/// The first property of each client that it refuses.
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

/// What the name of a client of the service begins with, where the user sets none.
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
    fn what_the_service_promises_stands_in_the_properties() {
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
    fn the_newer_group_protocol_clears_what_it_does_not_know() {
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
    fn what_is_set_for_both_sides_is_in_force_on_both() {
        let mut config = Config::default().kafka;
        let set = [("message.max.bytes", "2000000"), ("allow.auto.create.topics", "false"), ("client.id", "mine")];
        config.properties = set.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        for client in [member(&config, false), producer(&config), reader(&config), metadata(&config), admin(&config)] {
            for (name, value) in set {
                assert_eq!(client.get(name), Some(value), "{name} of {:?}", client.get("group.id"));
            }
        }
        config.producer_properties.insert("message.max.bytes".to_owned(), Secret::new("3000000"));
        assert_eq!(producer(&config).get("message.max.bytes"), Some("3000000"), "one side goes over both");
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
