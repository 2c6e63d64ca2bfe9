//! `waiting`: waiting keys and their release.

mod remote;

use std::process::ExitCode;

use super::{Context, Failure, actor, block_on, output, store};
use crate::{
    engine::{
        observe::OrphanCause,
        release::{KeySelection, WaitingKey},
    },
    model::PartitionId,
};

/// Maximum number of waiting events that a list reads.
const MOST: usize = 100_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the waiting keys, with the reason and the time of the next attempt.
    List,
    /// Retry keys now; asks the running service.
    Retry(Which),
    /// Dead-letter the first waiting event of keys, so that their later events continue; asks the running service. With --topic
    /// alone: dead-letter every waiting event of a topic that no instance reads any more.
    DeadLetter(Given),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("keys").required(true).args(["key", "all"]))]
pub(super) struct Which {
    /// The Kafka key.
    key: Option<String>,
    /// Every waiting key.
    #[arg(long)]
    all: bool,
    /// Only keys of this topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only keys of this partition.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true, args = ["key", "all", "topic"])]
pub(super) struct Given {
    /// The Kafka key.
    #[arg(conflicts_with = "all")]
    key: Option<String>,
    /// Every waiting key.
    #[arg(long)]
    all: bool,
    /// Only keys of this topic; without a key and --all, every waiting event of the topic, if no instance reads it.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only keys of this partition.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

pub(super) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List => list(context),
        Command::Retry(Which { key, all, topic, partition }) => {
            release(context, &KeySelection { key, topic, partition, all }, "retry")
        }
        Command::DeadLetter(Given { key, all, topic, partition }) => {
            let selection = KeySelection { key, topic, partition, all };
            if selection.is_of_topic() {
                give_up(context, &selection)
            } else {
                release(context, &selection, "dead-letter")
            }
        }
    }
}

fn list(context: &Context) -> Result<ExitCode, Failure> {
    let keys = block_on(async {
        let store = store::to_read(context).await?;
        let rows = store.waiting(MOST).await.map_err(Failure::failed);
        store.close().await;
        // The configuration alone tells only this cause; the running service knows the other causes.
        let topics = &context.config.kafka.topics;
        let is_read = |id: &PartitionId| topics.iter().any(|entry| entry.matches(&id.topic));
        Ok(WaitingKey::of(rows?, |id| (!is_read(id)).then_some(OrphanCause::NotConfigured)))
    })?;
    let header = ["KEY", "AT", "STATE", "DUE", "SINCE", "EVENTS", "ATTEMPTS", "CODE", "MESSAGE"];
    context.output.rows(&header, &keys, |key| {
        vec![
            key.key.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}@{}", key.topic, key.partition, key.offset),
            if key.orphaned.is_some() { "orphaned" } else { key.state }.to_owned(),
            key.due.map_or_else(|| "-".to_owned(), |due| due.to_string()),
            key.since.to_string(),
            key.events.to_string(),
            key.attempts.to_string(),
            key.error_code.clone(),
            key.error_message.clone(),
        ]
    })?;
    Ok(ExitCode::SUCCESS)
}

fn release(context: &Context, selection: &KeySelection, how: &str) -> Result<ExitCode, Failure> {
    if how == "dead-letter" && selection.all && !context.yes {
        let question = "Dead-letter the first event of every waiting key?";
        if !output::agrees(question) {
            return Err(Failure::wrong_use("nothing is done without confirmation; give --yes"));
        }
    }
    let released = block_on(remote::ask(&context.config, how, selection, "released"))?;
    context.output.one(&serde_json::json!({"released": released}), || format!("released {released} keys"))?;
    Ok(ExitCode::SUCCESS)
}

/// Dead-letters every waiting event of an orphaned topic.
fn give_up(context: &Context, selection: &KeySelection) -> Result<ExitCode, Failure> {
    let topic = selection.topic.as_deref().unwrap_or_default();
    if !context.yes {
        let question = format!("Dead-letter every waiting event of the topic {topic} whose partition has no owner?");
        if !output::agrees(&question) {
            return Err(Failure::wrong_use("nothing is done without confirmation; give --yes"));
        }
    }
    let events = block_on(remote::ask(&context.config, "dead-letter", selection, "events"))?;
    context.output.one(&serde_json::json!({"events": events}), || format!("{events} events became dead letters"))?;
    Ok(ExitCode::SUCCESS)
}
