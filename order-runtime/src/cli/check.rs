//! `check`.

use std::{path::Path, process::ExitCode, time::Duration};

use serde::Serialize;

use super::{Context, Failure};
use crate::{
    broker::{
        embedded,
        kafka::{self, MetadataClient},
    },
    config::{Embedded, KafkaConfig, StoreUrl},
    model::TopicPattern,
    store::{
        postgres::PostgresStore,
        sqlite::{Mode, SqliteStore},
    },
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

fn check_store(context: &Context) -> Result<String, String> {
    match &context.config.store {
        StoreUrl::Memory => Ok("memory: gone on exit".to_owned()),
        StoreUrl::Postgres(url) => super::block_on(async {
            let prepared = PostgresStore::check(url.expose(), &context.dispatcher.entities).await;
            let note = |prepared| if prepared { "" } else { ": the first run creates its tables" };
            let detail = |prepared| format!("{}{}", context.config.store, note(prepared));
            Ok(prepared.map(detail).map_err(|error| error.to_string()))
        })
        .unwrap_or_else(|failure| Err(failure.to_string())),
        StoreUrl::Sqlite(path) if path.exists() => {
            let store = SqliteStore::open(path, &context.dispatcher.entities, Mode::ReadOnly);
            store.map(|_| format!("{}", path.display())).map_err(|error| error.to_string())
        }
        StoreUrl::Sqlite(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if folder.is_dir() {
                Ok(format!("the first run creates {}", path.display()))
            } else {
                Err(format!("the store's folder {} does not exist; create it, or set STORE_URL", folder.display()))
            }
        }
    }
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
