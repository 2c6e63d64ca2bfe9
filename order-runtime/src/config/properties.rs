//! `KAFKA_…` variables that are properties of librdkafka.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use super::{
    KafkaConfig, Secret,
    librdkafka::{Kind, PROPERTIES, Side},
    parse,
    report::{SettingInForce, SettingProblem, Warning, printable},
    source::Layers,
};

/// Properties that would break a guarantee of the service, or that have a setting of their own.
const REFUSED: &[(&str, &str)] = &[
    ("acks", ACKNOWLEDGED),
    ("auto.commit.enable", OFFSETS),
    ("auto.offset.reset", "set KAFKA_AUTO_OFFSET_RESET"),
    ("bootstrap.servers", "set KAFKA_BROKER_URL"),
    ("delivery.report.only.error", ACKNOWLEDGED),
    ("enable.auto.commit", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("enable.idempotence", "the service's producer is always idempotent"),
    ("enable.partition.eof", "the service finds the ends of logs by itself"),
    ("enabled_events", CLIENT),
    ("group.id", "set KAFKA_GROUP_ID"),
    ("log.queue", CLIENT),
    ("message.send.max.retries", RETRIES),
    ("metadata.broker.list", "set KAFKA_BROKER_URL"),
    ("offset.store.method", OFFSETS),
    ("offset.store.path", OFFSETS),
    ("offset.store.sync.interval.ms", OFFSETS),
    ("plugin.library.paths", "it would load a library into the service"),
    ("queuing.strategy", "events of a key keep their order"),
    ("request.required.acks", ACKNOWLEDGED),
    ("retries", RETRIES),
    ("statistics.interval.ms", CLIENT),
    ("test.mock.num.brokers", "it would replace the brokers; KAFKA_EMBEDDED starts the development broker"),
    ("transactional.id", "the service has no Kafka transactions"),
];
const OFFSETS: &str = "the service alone decides when an offset is committed";
const CLIENT: &str = "the service sets it itself, to read the state of its clients";
const RETRIES: &str = "the next record of its key would overtake a record that is given up; KAFKA_PRODUCER_DELIVERY_TIMEOUT_MS limits the time";
const ACKNOWLEDGED: &str = "the service relies on the acknowledgement of all in-sync replicas";

/// Partitioners that place keys like Java's producers, as the default does.
const PARTITIONERS: [&str; 2] = ["murmur2", "murmur2_random"];

/// Free texts that are not secrets. Every other free text is treated as a secret.
const PLAIN: &[&str] = &[
    "broker.version.fallback",
    "client.id",
    "client.rack",
    "debug",
    "group.instance.id",
    "group.remote.assignor",
    "linger.ms",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.ms",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.sigalgs.list",
    "topic.blacklist",
];

const TLS: bool = cfg!(any(feature = "tls", feature = "tls-vendored"));

#[derive(Debug, Clone, Copy)]
struct Property {
    name: &'static str,
    side: Side,
    kind: Kind,
}

/// Properties by the part of their variable after `KAFKA_`.
static BY_VARIABLE: LazyLock<HashMap<String, Property>> = LazyLock::new(|| {
    let entry = |&(name, side, kind): &(&'static str, Side, Kind)| {
        (name.to_ascii_uppercase().replace('.', "_"), Property { name, side, kind })
    };
    PROPERTIES.iter().map(entry).collect()
});

/// The meaning of a variable's name.
#[derive(Debug, Clone, Copy)]
struct Meant {
    /// The side that the variable names, if it does.
    side: Option<Side>,
    property: Property,
}

fn meaning(variable: &str) -> Option<Meant> {
    let rest = variable.strip_prefix("KAFKA_")?;
    let (side, rest) = match (rest.strip_prefix("CONSUMER_"), rest.strip_prefix("PRODUCER_")) {
        (Some(rest), _) => (Some(Side::Consumer), rest),
        (_, Some(rest)) => (Some(Side::Producer), rest),
        _ => (None, rest),
    };
    // Some properties end in `.file` themselves, so the whole name is tried first.
    let property = BY_VARIABLE.get(rest).or_else(|| BY_VARIABLE.get(rest.strip_suffix("_FILE")?))?;
    Some(Meant { side, property: *property })
}

/// The variables of all properties.
pub(super) fn variables() -> impl Iterator<Item = String> {
    BY_VARIABLE.keys().map(|rest| format!("KAFKA_{rest}"))
}

/// Whether the variable is a property of librdkafka.
pub(super) fn is_property(variable: &str) -> bool {
    meaning(variable).is_some()
}

/// Whether the variable is a property whose value is a secret.
pub(super) fn may_hold_secret(variable: &str) -> bool {
    // A setting of the service takes precedence over the property of the same name.
    !super::is_setting(variable) && meaning(variable).is_some_and(|meant| is_secret(meant.property))
}

/// Reads every property that is set into `kafka`.
pub(super) fn read(
    layers: &Layers,
    kafka: &mut KafkaConfig,
    problems: &mut Vec<SettingProblem>,
    warnings: &mut Vec<Warning>,
) -> Vec<SettingInForce> {
    // By variable without _FILE, so that a variable and its _FILE form count once.
    let mut wanted: BTreeMap<(bool, String), Meant> = BTreeMap::new();
    for name in layers.layers.iter().flat_map(|layer| layer.texts.keys()) {
        if let Some(meant) = meaning(name)
            && !super::is_setting(name)
        {
            let side = match meant.side {
                Some(Side::Consumer) => "CONSUMER_",
                Some(Side::Producer) => "PRODUCER_",
                Some(Side::Both) | None => "",
            };
            let variable = format!("KAFKA_{side}{}", meant.property.name.to_ascii_uppercase().replace('.', "_"));
            // A value for one side overrides a value for both, so it comes later.
            wanted.insert((meant.side.is_some(), variable), meant);
        }
    }
    let mut in_force = Vec::new();
    for ((_, variable), meant) in wanted {
        let names = [variable.clone(), format!("{variable}_FILE")];
        let Some(raw) = layers.find(&names, problems, warnings) else { continue };
        if raw.text.is_empty() {
            continue;
        }
        let Property { name, kind, .. } = meant.property;
        let secret = is_secret(meant.property);
        let text = raw.text.expose();
        let bare = parse::unquoted(text);
        let checked = check(meant, text).or_else(|expected| match bare.map(|bare| check(meant, bare)) {
            Some(Ok(value)) => {
                warnings.push(Warning::new(&raw.name, super::QUOTES_REMOVED));
                Ok(value)
            }
            _ => Err(expected),
        });
        match checked {
            Ok(value) => {
                if name == "partitioner" && !PARTITIONERS.contains(&value.as_str()) {
                    warnings.push(Warning::new(
                        &raw.name,
                        "keys go to other partitions than with Java's producers: if both write to a topic, a key's events lose \
                         their order; the default is murmur2_random",
                    ));
                }
                if kind == Kind::Text && bare.is_some() && raw.is_of_environment() {
                    warnings.push(Warning::new(&raw.name, super::QUOTES_KEPT));
                }
                let value_shown = if secret || raw.from_file { "***".to_owned() } else { printable(&value) };
                in_force.push(SettingInForce { name: variable, value: Some(value_shown), origin: raw.origin });
                place(kafka, meant).insert(name.to_owned(), Secret::new(value));
            }
            Err(expected) => {
                let quoted = raw.quotable(secret || kind == Kind::Callback);
                problems.push(SettingProblem::wrong(&raw.name, quoted, &raw.origin, expected));
            }
        }
    }
    in_force
}

fn place(kafka: &mut KafkaConfig, meant: Meant) -> &mut BTreeMap<String, Secret> {
    // librdkafka would log a warning about a property that only the other kind of client has.
    match meant.side.unwrap_or(meant.property.side) {
        Side::Both => &mut kafka.properties,
        Side::Consumer => &mut kafka.consumer_properties,
        Side::Producer => &mut kafka.producer_properties,
    }
}

fn is_secret(property: Property) -> bool {
    property.kind == Kind::Text && !PLAIN.contains(&property.name)
}

/// The value in librdkafka's form, or the form that is expected instead.
fn check(meant: Meant, text: &str) -> Result<String, String> {
    let Property { name, side, kind } = meant.property;
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("no value: {why}"));
    }
    match (meant.side, side) {
        (Some(Side::Consumer), Side::Producer) => return Err("no value: it is a property of producers".to_owned()),
        (Some(Side::Producer), Side::Consumer) => return Err("no value: it is a property of consumers".to_owned()),
        _ => {}
    }
    if !TLS && needs_tls(name, text) {
        return Err("a build with TLS for this; build with `--features tls`".to_owned());
    }
    match kind {
        Kind::Boolean => parse::boolean(text).map(|value| value.to_string()).map_err(|expected| expected.0),
        Kind::Integer(least, most) => {
            parse::number(text.trim(), least, most).map(|value: i64| value.to_string()).map_err(|expected| expected.0)
        }
        Kind::Choice(choices) => match choices.iter().find(|choice| choice.eq_ignore_ascii_case(text.trim())) {
            Some(choice) => Ok((*choice).to_owned()),
            None => Err(format!("one of {}", choices.join(", "))),
        },
        Kind::Text => Ok(text.to_owned()),
        Kind::Callback => Err("no value: librdkafka accepts it from code only".to_owned()),
    }
}

/// Whether the value needs OpenSSL. Without it, librdkafka would fail to create the client, with an error that does not give the
/// reason.
fn needs_tls(name: &str, text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    match name {
        "security.protocol" => text.ends_with("SSL"),
        "sasl.mechanism" | "sasl.mechanisms" => text.contains("SCRAM") || text.contains("OAUTHBEARER"),
        _ => name.starts_with("ssl.") || name.starts_with("sasl.oauthbearer."),
    }
}
