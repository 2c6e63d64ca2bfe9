//! `waiting`: keys that wait, and their release.

mod remote;

use std::process::ExitCode;

use super::{Context, Failure, actor, block_on, output, store};
use crate::{
    config::may_be_topic,
    engine::{
        observe::OrphanCause,
        release::{KeySelection, WaitingKey},
    },
    model::PartitionId,
};

/// Waiting events that are read for a list.
const MOST: usize = 100_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the keys that wait: why, and until when.
    List,
    /// Try keys again at once; asks the running service.
    Retry(Which),
    /// Make dead letters of the first events of keys, and let the later ones go on; asks the running service. With --topic alone:
    /// of everything that waits of a topic that no instance reads any more.
    DeadLetter(Given),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("keys").required(true).args(["key", "all"]))]
pub(super) struct Which {
    /// The Kafka key.
    key: Option<String>,
    /// Every key that waits.
    #[arg(long)]
    all: bool,
    /// Only of this topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only of this partition.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true, args = ["key", "all", "topic"])]
pub(super) struct Given {
    /// The Kafka key.
    #[arg(conflicts_with = "all")]
    key: Option<String>,
    /// Every key that waits.
    #[arg(long)]
    all: bool,
    /// Only of this topic; without a key and --all, everything that waits of it, where no instance reads it.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only of this partition.
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
        // The configuration is known without asking anybody; the running service knows more.
        let topics = &context.config.kafka.topics;
        let is_read = |id: &PartitionId| topics.iter().any(|entry| may_be_topic(entry, &id.topic));
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
        let question = "Make dead letters of the first event of every key that waits?";
        if !output::agrees(question) {
            return Err(Failure::wrong_use("nothing is done; say --yes to do it without being asked"));
        }
    }
    let released = block_on(remote::ask(&context.config, how, selection, "released"))?;
    context.output.one(&serde_json::json!({"released": released}), || format!("released {released} keys"))?;
    Ok(ExitCode::SUCCESS)
}

/// Gives up everything that waits of an orphaned topic.
fn give_up(context: &Context, selection: &KeySelection) -> Result<ExitCode, Failure> {
    let topic = selection.topic.as_deref().unwrap_or_default();
    if !context.yes {
        let question = format!("Make dead letters of every event that waits of the topic {topic} without an owner?");
        if !output::agrees(&question) {
            return Err(Failure::wrong_use("nothing is done; say --yes to do it without being asked"));
        }
    }
    let events = block_on(remote::ask(&context.config, "dead-letter", selection, "events"))?;
    context.output.one(&serde_json::json!({"events": events}), || format!("{events} events became dead letters"))?;
    Ok(ExitCode::SUCCESS)
}
