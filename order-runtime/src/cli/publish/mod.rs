//! `publish`.

mod sample;
mod sender;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    process::ExitCode,
};

use self::sample::{Mix, Sample};
pub(super) use self::sender::EventSender;
use super::{Context, Failure, progress::ProgressLine};
use crate::{
    broker::kafka::{KafkaPublisher, MetadataClient},
    dispatch::Violation,
    exposition::otlp::Otlp,
    ingest::{Accepted, Ingest},
    telemetry::{ObservedPublisher, metrics::Metrics},
};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["event", "sample"]))]
pub(super) struct Arguments {
    /// The event's name.
    event: Option<String>,
    /// The event's data: JSON, @FILE for a file with one JSON document, or - for JSON lines from standard input.
    #[arg(requires = "event", value_name = "JSON|@FILE|-")]
    data: Option<String>,
    /// The record's key; by default the id in the data.
    #[arg(long, requires = "event")]
    key: Option<String>,
    /// The event's version.
    #[arg(long, requires = "event", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    event_version: u32,
    /// Maximum number of events per second.
    #[arg(long, value_name = "EVENTS", value_parser = crate::dead_letters::rate)]
    rate: Option<f64>,
    /// Publish the complete lives of COUNT sample entities, interleaved, instead of one event.
    #[arg(long, value_name = "COUNT")]
    sample: Option<u64>,
    /// Seed of the sample: the same seed makes the same sample; random by default.
    #[arg(long, requires = "sample")]
    seed: Option<u64>,
    /// Bad events to add for each good one, from 0 to 1.
    #[arg(long, requires = "sample", default_value_t = 0.0, value_parser = share)]
    bad_rate: f64,
    /// Duplicates to add for each good event, from 0 to 1.
    #[arg(long, requires = "sample", default_value_t = 0.0, value_parser = share)]
    duplicate_rate: f64,
}

fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    value.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let registry = context.registry()?;
    let ingest = Ingest::new(registry, &context.dispatcher, context.topic()?);
    match (&arguments.event, &arguments.data, arguments.sample) {
        (_, _, Some(count)) => publish_sample(context, &ingest, &arguments, count),
        (Some(_), None, None) => Err(Failure::wrong_use(
            "the event has no data; give it as JSON, as @FILE, or as - for JSON lines from standard input",
        )),
        (Some(event), Some(data), None) if data == "-" => publish_lines(context, &ingest, &arguments, event),
        (Some(event), Some(data), None) => {
            let data = match data.strip_prefix('@') {
                Some(path) => fs::read_to_string(path)
                    .map_err(|error| Failure::failed(format!("cannot read the file {path}: {error}")))?,
                None => data.clone(),
            };
            let accepted =
                ingest.data(event, arguments.event_version, &data, arguments.key.as_deref()).map_err(|violations| {
                    Failure::failed(format!("the event is not published:\n{}", listed(&violations)))
                })?;
            publish_one(context, accepted)
        }
        (None, ..) => Err(Failure::wrong_use("give the name of an event, or --sample")),
    }
}

fn publish_one(context: &Context, Accepted { id, record }: Accepted) -> Result<ExitCode, Failure> {
    let key = record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
    let topic = record.topic.clone();
    super::block_on(async {
        let mut outlet = Outlet::open(context, None).await?;
        let place = outlet.sender.send_one(record).await.map_err(Failure::failed)?;
        outlet.finish().await?;
        let result = serde_json::json!({
            "eventId": id, "key": key, "topic": topic, "partition": place.partition, "offset": place.offset,
        });
        context.output.one(&result, || {
            let key = key.as_deref().map_or_else(|| "without a key".to_owned(), |key| format!("under the key {key}"));
            format!("published {id} {key} to {topic}/{}, offset {}", place.partition, place.offset)
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Publishes the valid lines of standard input, and reports the violations of each other line.
fn publish_lines(context: &Context, ingest: &Ingest, arguments: &Arguments, event: &str) -> Result<ExitCode, Failure> {
    super::block_on(async {
        let mut outlet = Outlet::open(context, arguments.rate).await?;
        let mut wrong = 0_u64;
        let progress = ProgressLine::new(context.output, "events", None);
        for (number, line) in (1_u64..).zip(BufReader::new(io::stdin()).split(b'\n')) {
            let line = line.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let checked = match str::from_utf8(&line) {
                Ok(text) => ingest.data(event, arguments.event_version, text, arguments.key.as_deref()),
                Err(error) => {
                    Err(vec![Violation { path: "$.data".to_owned(), message: format!("is not UTF-8: {error}") }])
                }
            };
            match checked {
                Ok(accepted) => {
                    outlet.sender.send(accepted.record).await.map_err(Failure::failed)?;
                    progress.add(1);
                }
                Err(violations) => {
                    wrong += 1;
                    let reported = format!("line {number} is not published:\n{}", listed(&violations));
                    progress.suspend(|| context.output.hint(reported));
                }
            }
        }
        let sent = outlet.finish().await?;
        drop(progress);
        context.output.one(&serde_json::json!({"published": sent, "refused": wrong}), || {
            format!("published {sent} events, refused {wrong}")
        })?;
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn publish_sample(context: &Context, ingest: &Ingest, arguments: &Arguments, count: u64) -> Result<ExitCode, Failure> {
    let Some(life) = context.dispatcher.sample else {
        return Err(Failure::wrong_use("this service has no samples; `dispatcher!` names no sample function"));
    };
    // Small enough to type again.
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    let mix = Mix { bad: arguments.bad_rate, duplicates: arguments.duplicate_rate };
    let mut sample = Sample::new(ingest, life, seed, count, mix);
    super::block_on(async {
        let mut outlet = Outlet::open(context, arguments.rate).await?;
        let progress = ProgressLine::new(context.output, "lives", Some(count));
        let mut sent = 0_u64;
        while let Some(record) = sample.next().map_err(Failure::failed)? {
            outlet.sender.send(record).await.map_err(Failure::failed)?;
            sent += 1;
            if sent.is_multiple_of(1_000) {
                progress.set_position(sample.begun());
                progress.set_message(format!("{sent} events"));
            }
        }
        outlet.finish().await?;
        drop(progress);
        let made = sample.made();
        context.output.one(&made, || {
            format!(
                "published {} good events of {count} lives, {} bad ones and {} duplicates (seed {seed})",
                made.good, made.bad, made.duplicates
            )
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Sends events, and starts their traces if traces are exported.
struct Outlet {
    sender: EventSender,
    otlp: Option<Otlp>,
}

impl Outlet {
    /// Connects first, so that an unavailable broker is reported at once and not after the first event has timed out.
    async fn open(context: &Context, rate: Option<f64>) -> Result<Self, Failure> {
        let kafka = context.config.kafka.clone();
        let asked = tokio::task::spawn_blocking(move || MetadataClient::new(&kafka)?.identity()).await;
        asked.map_err(Failure::failed)??;
        let publisher = KafkaPublisher::new(&context.config.kafka)?;
        let group = &context.config.kafka.group_id;
        let otlp = Otlp::start(&context.config.otlp, &context.dispatcher, group).map_err(Failure::wrong_use)?;
        let tracer = otlp.as_ref().and_then(Otlp::tracer);
        let sender = EventSender::new(ObservedPublisher::new(publisher, Metrics::new(0), tracer), rate);
        Ok(Self { sender, otlp })
    }

    /// Sends the remaining events; returns how many were sent in total.
    async fn finish(self) -> Result<u64, Failure> {
        let sent = self.sender.finish().await;
        if let Some(otlp) = self.otlp {
            otlp.end().await;
        }
        sent.map_err(Failure::failed)
    }
}

fn listed(violations: &[Violation]) -> String {
    let lines: Vec<String> =
        violations.iter().map(|violation| format!("  {}: {}", violation.path, violation.message)).collect();
    lines.join("\n")
}
