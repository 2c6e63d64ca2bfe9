//! `dlq replay`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use regex_lite::Regex;
use serde::Serialize;

use super::{Context, Failure, Filter, Letter, read};
use crate::{
    broker::{OutgoingRecord, kafka::KafkaPublisher},
    cli::{output, publish::Sender},
    engine::dead_letter::is_own_header,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Only the dead letter of this id.
    #[arg(long)]
    id: Option<String>,
    /// The most events in a second.
    #[arg(long, value_name = "EVENTS")]
    rate: Option<f64>,
    /// Only say what would be replayed.
    #[arg(long)]
    dry_run: bool,
}

/// What would be, or was, replayed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    dry_run: bool,
    replayed: usize,
    /// By reason, then event.
    by_reason: BTreeMap<String, BTreeMap<String, usize>>,
    /// Records that are no dead letters of this service.
    unusable: usize,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut summary = Summary { dry_run: arguments.dry_run, ..Summary::default() };
    let mut seen = BTreeSet::new();
    let mut letters = Vec::new();
    let max = arguments.filter.max.unwrap_or(usize::MAX);
    let topics = &context.config.kafka.topics;
    read(context, |letter| {
        let wanted = arguments.id.as_ref().is_none_or(|id| *id == letter.id) && arguments.filter.takes(&letter);
        if wanted && !is_ours(&letter, topics) {
            summary.unusable += 1;
        // A crash may have repeated a record; its id is the same, and it is replayed once.
        } else if wanted && letters.len() < max && seen.insert(letter.id.clone()) {
            letters.push(letter);
        }
        letters.len() < max
    })?;
    for letter in &letters {
        *summary.by_reason.entry(letter.reason.clone()).or_default().entry(letter.event_name.clone()).or_default() += 1;
    }
    summary.replayed = letters.len();
    if arguments.dry_run || letters.is_empty() {
        context.output.one(&summary, || human(&summary));
        return Ok(ExitCode::SUCCESS);
    }
    if !context.yes && !output::agrees(&format!("replay {} dead letters?", letters.len())) {
        return Err(Failure::wrong_use("nothing is replayed without a yes; give --yes, or look first with --dry-run"));
    }
    super::super::block_on(async {
        let publisher = KafkaPublisher::new(&context.config.kafka)?;
        let mut sender = Sender::new(publisher, arguments.rate);
        for letter in letters {
            sender.send(record(letter)).await.map_err(Failure::failed)?;
        }
        sender.finish().await.map_err(Failure::failed)?;
        Ok(())
    })?;
    context.output.one(&summary, || human(&summary));
    Ok(ExitCode::SUCCESS)
}

/// Whether a record is a dead letter of this service. Whoever may write to the topic may write anything, and must not choose
/// with it where the service writes.
fn is_ours(letter: &Letter, topics: &[String]) -> bool {
    let has_id = letter.id.len() == 32 && letter.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lay_somewhere = letter.origin.partition.parse::<u16>().is_ok() && letter.origin.offset.parse::<u64>().is_ok();
    has_id && lay_somewhere && topics.iter().any(|known| is_named(known, &letter.origin.topic))
}

/// Whether a topic is the one that is configured, or one that the pattern means.
fn is_named(known: &str, topic: &str) -> bool {
    if known.starts_with('^') { Regex::new(known).is_ok_and(|pattern| pattern.is_match(topic)) } else { known == topic }
}

/// The event as it came, to the topic that it came from, under its key. Its id lets the service know it again.
fn record(letter: Letter) -> OutgoingRecord {
    let mut headers = letter.record.headers;
    headers.retain(|(name, _)| !is_own_header(name));
    headers.push((b"dlq-id".to_vec(), Some(letter.id.into_bytes())));
    OutgoingRecord {
        // Not by the key: another client's partitioner may have chosen, and the key's order is that partition's.
        partition: letter.origin.partition.parse().ok(),
        topic: letter.origin.topic,
        key: letter.record.key,
        payload: letter.record.payload,
        headers,
        timestamp: None,
    }
}

fn human(summary: &Summary) -> String {
    let verb = if summary.dry_run { "would replay" } else { "replayed" };
    let mut lines = vec![format!("{verb} {} dead letters", summary.replayed)];
    for (reason, events) in &summary.by_reason {
        for (event, count) in events {
            let event = if event.is_empty() { "(no event)" } else { event };
            lines.push(format!("  {count:>8}  {}  {}", output::printable(reason), output::printable(event)));
        }
    }
    if summary.unusable > 0 {
        lines.push(format!(
            "  {} records are left out: they are no dead letters, or not from a topic of KAFKA_TOPIC",
            summary.unusable
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::RecordBatch;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn letter(headers: &[(&str, &[u8])]) -> Letter {
        let mut batch = RecordBatch::default();
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(*value)));
        batch.push(7, Some(1), Some(b"key"), Some(b"payload"), headers);
        Letter::of("dlq", 0, &batch.get(0).expect("one record"))
    }

    #[test]
    fn only_what_the_service_wrote_is_replayed() {
        let topics = ["things".to_owned(), "^more-.*".to_owned()];
        let whole: [(&str, &[u8]); 4] =
            [("dlq-id", ID.as_bytes()), ("dlq-topic", b"things"), ("dlq-partition", b"3"), ("dlq-offset", b"42")];
        assert!(is_ours(&letter(&whole), &topics));
        for missing in 0..whole.len() {
            let mut headers = whole.to_vec();
            headers.remove(missing);
            assert!(!is_ours(&letter(&headers), &topics), "without {}", whole[missing].0);
        }
        let changed: [(&str, &[u8], bool); 12] = [
            ("dlq-topic", b"more-things", true),
            ("dlq-topic", b"elsewhere", false),
            ("dlq-topic", b"less-more-things", false),
            ("dlq-topic", b"things\0", false),
            ("dlq-topic", b"\xff", false),
            ("dlq-id", b"short", false),
            ("dlq-id", b"0123456789abcdef0123456789abcde\xff", false),
            ("dlq-partition", b"-1", false),
            ("dlq-partition", b"three", false),
            ("dlq-partition", b"99999999999", false),
            ("dlq-offset", b"", false),
            ("dlq-offset", b"-7", false),
        ];
        for (name, value, expected) in changed {
            let headers = whole.map(|(known, was)| (known, if known == name { value } else { was }));
            assert_eq!(is_ours(&letter(&headers), &topics), expected, "{name}: {}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_replay_is_the_record_to_where_it_lay() {
        let sent = record(letter(&[
            ("trace", b"\xff"),
            ("dlq-id", ID.as_bytes()),
            ("dlq-topic", b"things"),
            ("dlq-partition", b"3"),
            ("dlq-reason", b"rejected"),
        ]));
        assert_eq!((sent.topic.as_str(), sent.partition), ("things", Some(3)));
        assert_eq!((sent.key.as_deref(), sent.payload.as_deref()), (Some(&b"key"[..]), Some(&b"payload"[..])));
        let expected = [("trace", &b"\xff"[..]), ("dlq-id", ID.as_bytes())];
        assert_eq!(sent.headers, expected.map(|(name, value)| (name.as_bytes().to_vec(), Some(value.to_vec()))));
    }
}
