//! `replay`: runs a range of a topic through this build again.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use super::{
    Context, Failure, block_on, operator_name,
    output::{self, printable},
    progress::ProgressLine,
    store,
};
use crate::{
    broker::kafka::{MetadataClient, TopicReader},
    dead_letters::start_audit,
    engine::Settings,
    model::{RecordBatch, TopicPattern},
    range_replay::{self, Range, RangeReplay, RangeSelection, RecordSource, Report, ranges},
    service,
    store::AuditRow,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: RangeSelection,
    /// Change nothing, and report outcomes that differ from the stored ones. From offset 0 on, every event runs as if for the
    /// first time; from a later offset on, an event that the store has as handled is a repeat.
    #[arg(long)]
    shadow: bool,
}

impl RecordSource for TopicReader {
    fn next_record(&mut self) -> Result<Option<(i32, RecordBatch)>, String> {
        Self::next_record(self).map_err(|error| error.to_string())
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = &context.config;
    let topic = &arguments.selection.topic;
    if !arguments.shadow && !TopicPattern::any_matches(&config.kafka.topics, topic) {
        let why =
            format!("{topic} is not in KAFKA_TOPIC, so this service does not read it; only --shadow can replay it");
        return Err(Failure::wrong_use(why));
    }
    let retention = (!arguments.shadow).then_some(config.store_retention);
    let metadata = MetadataClient::new(&config.kafka)?;
    let found = ranges(&metadata, &arguments.selection, retention).map_err(Failure::failed)?;
    context.output.hint(reported(&found));
    let question = format!("run these records of {topic} through this build again?");
    if !arguments.shadow && !found.is_empty() && !context.yes && !output::agrees(&question) {
        return Err(Failure::wrong_use(
            "nothing is replayed without confirmation; give --yes, or preview with --shadow",
        ));
    }
    let registry = context.registry()?;
    let report = block_on(async {
        let store = if arguments.shadow { store::to_read(context).await? } else { store::to_write(context).await? };
        let reader = TopicReader::open_ranges(
            &config.kafka,
            topic,
            found.iter().map(|range| (range.id.partition, range.from, range.to)),
        )?;
        let asked =
            serde_json::json!({"topic": topic, "ranges": found.iter().map(Range::to_string).collect::<Vec<_>>()});
        let entry = (!arguments.shadow).then(|| start_audit(&operator_name(), "replay_range", &asked));
        if let Some(entry) = &entry {
            store.mark(entry.clone(), Vec::new()).await?;
        }
        let replay = RangeReplay {
            registry,
            entities: context.dispatcher.entities.clone(),
            settings: Settings {
                topics: vec![TopicPattern::named(topic)],
                ..service::settings(config, &context.dispatcher)
            },
            store: Arc::clone(&store),
            ranges: found,
            shadow: arguments.shadow,
        };
        let progress = ProgressLine::new(context.output, "records", Some(0));
        let report = replay.run(reader, |now| show(&progress, now)).await;
        drop(progress);
        if let (Ok(report), Some(entry)) = (&report, entry) {
            store.mark(AuditRow { letters: report.handled + report.dead_lettered, ..entry }, Vec::new()).await?;
        }
        store.close().await;
        report.map_err(Failure::failed)
    })?;
    context.output.one(&report, || as_text(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the progress. Waiting events do not count as done: their back-offs may take minutes after the last record is read.
fn show(progress: &ProgressLine, now: range_replay::RangeProgress) {
    progress.set_position_of(now.taken.saturating_sub(now.waiting), now.all);
    progress.set_message(match now.waiting {
        0 => String::new(),
        1 => "1 event waits for its next attempt".to_owned(),
        waiting => format!("{waiting} events wait for their next attempt"),
    });
}

fn reported(ranges: &[Range]) -> String {
    if ranges.is_empty() {
        return "this range has no records".to_owned();
    }
    ranges.iter().map(Range::to_string).collect::<Vec<_>>().join("\n")
}

fn as_text(report: &Report) -> String {
    let verb = if report.shadow { "would be" } else { "are" };
    let mut lines = vec![format!(
        "{} records: {} {verb} handled, {} skipped as repeats or by their processors, {} dead-lettered",
        report.records, report.handled, report.skipped, report.dead_lettered
    )];
    if report.held > 0 {
        lines.push(format!("  {} would be held for an operator; the replay dropped them", report.held));
    }
    if report.shadow {
        let different: u64 = report.different.values().sum();
        lines.push(format!(
            "  {} as in the store, {different} different, {} unknown to the store",
            report.same, report.unknown
        ));
        lines.extend(counted(&report.different));
        for example in &report.examples {
            let event = format!("{} {}", printable(&example.event_name), printable(&example.event_id));
            let code = printable(&example.error_code);
            let (was, would) = (example.was.as_str(), example.would_be.as_str());
            lines.push(format!("    {} {event}: was {was}, would be {would} {code}", example.partition));
        }
    }
    lines.join("\n")
}

fn counted(different: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    different.iter().map(|(kind, count)| format!("  {count:>8}  {kind}"))
}
