//! `check`.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;

use super::{Context, Failure};
use crate::{
    broker::{
        embedded,
        kafka::{self, MetadataClient},
    },
    config::{Embedded, KafkaConfig},
    model::TopicPattern,
};

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

impl Finding {
    fn of<E: ToString>(what: &'static str, result: Result<String, E>) -> Self {
        match result {
            Ok(detail) => Self { what, ok: true, detail },
            Err(error) => Self { what, ok: false, detail: error.to_string() },
        }
    }
}

pub(super) fn run(context: &Context) -> Result<ExitCode, Failure> {
    // The command runs only with a valid configuration, so the first finding is always ok.
    let mut findings = vec![Finding { what: "configuration", ok: true, detail: "every setting is valid".to_owned() }];
    findings.push(Finding::of(
        "declarations",
        context.registry().map(|registry| format!("{} processors", registry.processors().len())),
    ));
    findings.push(Finding::of("store", check_store(context)));
    let kafka = &context.config.kafka;
    match kafka::check(kafka) {
        Ok(()) => {
            findings.extend(super::block_on(async { Ok(check_broker(kafka, context.config.store_retention).await) })?);
        }
        Err(errors) => findings.extend(errors.into_iter().map(|error| Finding::of("Kafka properties", Err(error)))),
    }
    context.output.rows(&["WHAT", "", "DETAIL"], &findings, |finding| {
        vec![finding.what.to_owned(), if finding.ok { "ok" } else { "WRONG" }.to_owned(), finding.detail.clone()]
    })?;
    Ok(if findings.iter().all(|finding| finding.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_store(context: &Context) -> Result<String, Failure> {
    let check = context.config.store.check(&context.dispatcher.entities);
    super::block_on(async { check.await.map_err(Failure::failed) })
}

async fn check_broker(kafka: &KafkaConfig, ids: Duration) -> Vec<Finding> {
    if kafka.embedded != Embedded::Never
        && embedded::loopback_address(&kafka.brokers).is_some()
        && embedded::is_free(&kafka.brokers).await
    {
        let detail = format!("nothing listens at {}; `run` starts the embedded broker there", kafka.brokers);
        return vec![Finding { what: "broker", ok: true, detail }];
    }
    let asked = kafka.clone();
    let asked = tokio::task::spawn_blocking(move || ask_broker(&asked)).await;
    let (mut findings, is_real) = asked.unwrap_or_else(|error| (vec![Finding::of("broker", Err(error))], false));
    if is_real {
        let detail = match kafka::outlasting(kafka, ids).await {
            Ok(outlasting) if outlasting.is_empty() => {
                "no topic keeps records for longer than event ids are remembered".to_owned()
            }
            // A longer retention is a valid choice, so the finding is ok.
            Ok(outlasting) => outlasting.join("\n"),
            Err(error) => error.to_string(),
        };
        findings.push(Finding { what: "retention", ok: true, detail });
        if let Ok(Some(why)) = kafka::compacted(kafka).await {
            findings.push(Finding { what: "dead letters", ok: false, detail: why });
        }
    }
    findings
}

/// Checks the broker and its topics; also returns whether it is a real broker and not the embedded one.
fn ask_broker(kafka: &KafkaConfig) -> (Vec<Finding>, bool) {
    let metadata = match MetadataClient::new(kafka) {
        Ok(metadata) => metadata,
        Err(error) => return (vec![Finding::of("broker", Err(error))], false),
    };
    let identity = match metadata.identity() {
        Ok(identity) => identity,
        Err(error) => return (vec![Finding::of("broker", Err(error))], false),
    };
    let answers = format!("{} answers as cluster {}", kafka.brokers, identity.cluster);
    let mut findings = vec![Finding::of("broker", Ok::<_, String>(answers))];
    for topic in kafka.topics.iter().filter_map(TopicPattern::name) {
        let found = match metadata.partitions(topic) {
            Ok(Some(count)) => Ok(format!("{topic}: {count} partitions")),
            Ok(None) => Err(format!("the topic {topic} does not exist; create it, or correct KAFKA_TOPIC")),
            Err(error) => Err(error.to_string()),
        };
        findings.push(Finding::of("topic", found));
    }
    let dead_letters = match metadata.partitions(&kafka.dlq_topic) {
        Ok(Some(count)) => Ok(format!("{}: {count} partitions", kafka.dlq_topic)),
        // The first dead letter may create the topic, so its absence is not an error yet.
        Ok(None) => Ok(format!(
            "the topic {} does not exist yet; create it if the broker does not create topics itself",
            kafka.dlq_topic
        )),
        Err(error) => Err(error.to_string()),
    };
    findings.push(Finding::of("dead letters", dead_letters));
    (findings, !identity.embedded)
}
