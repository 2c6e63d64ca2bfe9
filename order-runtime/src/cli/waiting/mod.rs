//! `waiting`: keys that wait, and their release.

mod remote;

use std::process::ExitCode;

use super::{Context, Failure, block_on, output, store};
use crate::engine::release::{Selection, WaitingKey};

/// Waiting events that are read for a list.
const MOST: usize = 100_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the keys that wait: why, and until when.
    List,
    /// Try keys again at once; asks the running service.
    Retry(Which),
    /// Make dead letters of the first events of keys, and let the later ones go on; asks the running service.
    DeadLetter(Which),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false, args = ["key", "all"])]
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

pub(super) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List => list(context),
        Command::Retry(which) => release(context, which, "retry"),
        Command::DeadLetter(which) => release(context, which, "dead-letter"),
    }
}

fn list(context: &Context) -> Result<ExitCode, Failure> {
    let keys = block_on(async {
        let store = store::to_read(context).await?;
        let rows = store.waiting(MOST).await.map_err(Failure::failed);
        store.close().await;
        Ok(WaitingKey::of(rows?))
    })?;
    let header = ["KEY", "AT", "STATE", "DUE", "SINCE", "EVENTS", "ATTEMPTS", "CODE", "MESSAGE"];
    context.output.rows(&header, &keys, |key| {
        vec![
            key.key.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}@{}", key.topic, key.partition, key.offset),
            key.state.to_owned(),
            key.due.map_or_else(|| "-".to_owned(), |due| due.to_string()),
            key.since.to_string(),
            key.events.to_string(),
            key.attempts.to_string(),
            key.error_code.clone(),
            key.error_message.clone(),
        ]
    });
    Ok(ExitCode::SUCCESS)
}

fn release(context: &Context, which: Which, how: &str) -> Result<ExitCode, Failure> {
    let Which { key, all, topic, partition } = which;
    let selection = Selection { key, topic, partition, all };
    if how == "dead-letter" && selection.all && !context.yes {
        let question = "Make dead letters of the first event of every key that waits?";
        if !output::agrees(question) {
            return Err(Failure::wrong_use("nothing is done; say --yes to do it without being asked"));
        }
    }
    let released = block_on(remote::release(&context.config, how, &selection))?;
    context.output.one(&serde_json::json!({"released": released}), || format!("released {released} keys"));
    Ok(ExitCode::SUCCESS)
}
