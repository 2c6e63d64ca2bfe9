//! `dlq`: dead letters, read from their topic.

mod letter;
mod list;
mod replay;
mod show;

use std::process::ExitCode;

use self::letter::{Filter, Letter};
use super::{Context, Failure};
use crate::broker::kafka::TopicReader;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List dead letters.
    List(Filter),
    /// Show one dead letter whole.
    Show(show::Arguments),
    /// Send dead letters to the topic that they came from.
    Replay(replay::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(filter) => list::run(context, &filter),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Replay(arguments) => replay::run(context, &arguments),
    }
}

/// Passes every dead letter of the topic to `each`, until that answers false.
fn read(context: &Context, mut each: impl FnMut(Letter) -> bool) -> Result<(), Failure> {
    let topic = &context.config.kafka.dlq_topic;
    let mut reader = TopicReader::open(&context.config.kafka, topic)?;
    let all = reader.at_most();
    let mut seen = 0_u64;
    while let Some((partition, batch)) = reader.next_record()? {
        seen += 1;
        if seen.is_multiple_of(1_000) {
            context.output.progress(format!("{seen} of at most {all} dead letters"));
        }
        for record in batch.iter() {
            if !each(Letter::of(topic, partition, &record)) {
                context.output.progress_done();
                return Ok(());
            }
        }
    }
    context.output.progress_done();
    Ok(())
}
