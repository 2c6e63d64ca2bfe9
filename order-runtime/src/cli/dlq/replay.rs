//! `dlq replay`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

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
    /// Records without what a replay needs: an id and a topic.
    unusable: usize,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut summary = Summary { dry_run: arguments.dry_run, ..Summary::default() };
    let mut seen = BTreeSet::new();
    let mut letters = Vec::new();
    let max = arguments.filter.max.unwrap_or(usize::MAX);
    read(context, |letter| {
        let wanted = arguments.id.as_ref().is_none_or(|id| *id == letter.id) && arguments.filter.takes(&letter);
        if wanted && (letter.id.is_empty() || letter.origin.topic.is_empty()) {
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
        lines.push(format!("  {} records say neither who they are nor where they came from", summary.unusable));
    }
    lines.join("\n")
}
