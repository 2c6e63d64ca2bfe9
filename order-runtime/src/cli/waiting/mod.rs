//! `waiting`: waiting keys and their release.

mod remote;

use std::process::ExitCode;

use clap::ArgGroup;

use super::{Context, Failure, block_on, operator_name, output, store};
use crate::{
    engine::{
        observe::OrphanCause,
        release::{KeySelection, Release, Released, WaitingKey},
    },
    model::{PartitionId, TopicPattern},
};

/// Maximum number of waiting events that a list reads.
const MOST: usize = 100_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the waiting keys, with the reason and the time of the next attempt.
    List,
    /// Retry keys now; asks the running service.
    #[command(group = ArgGroup::new("keys").required(true).args(["key", "all"]))]
    Retry(KeySelection),
    /// Dead-letter the first waiting event of keys, so that their later events continue; asks the running service. With --topic
    /// alone: dead-letter every waiting event of a topic that no instance reads any more.
    #[command(
        group = ArgGroup::new("keys").required(true).multiple(true).args(["key", "all", "topic"]),
        mut_arg("topic", |topic| topic.help(OF_TOPIC))
    )]
    DeadLetter(KeySelection),
}

/// The help of `waiting dead-letter --topic`.
const OF_TOPIC: &str =
    "Only keys of this topic; without a key and --all, every waiting event of the topic, if no instance reads it";

pub(super) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List => list(context),
        Command::Retry(selection) => release(context, Release::Retry, &selection),
        Command::DeadLetter(selection) => release(context, Release::DeadLetter, &selection),
    }
}

fn list(context: &Context) -> Result<ExitCode, Failure> {
    let keys = block_on(async {
        let store = store::to_read(context).await?;
        let rows = store.waiting(MOST).await.map_err(Failure::failed);
        store.close().await;
        // The configuration alone shows only this cause; the running service knows the other causes.
        let topics = &context.config.kafka.topics;
        let orphaned =
            |id: &PartitionId| (!TopicPattern::any_matches(topics, &id.topic)).then_some(OrphanCause::NotConfigured);
        Ok(WaitingKey::of(rows?, orphaned))
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

fn release(context: &Context, how: Release, selection: &KeySelection) -> Result<ExitCode, Failure> {
    let question = match (how, &selection.topic) {
        (Release::DeadLetter, Some(topic)) if selection.is_of_topic() => {
            Some(format!("Dead-letter every waiting event of the topic {topic} whose partition has no owner?"))
        }
        (Release::DeadLetter, _) if selection.all => {
            Some("Dead-letter the first event of every waiting key?".to_owned())
        }
        _ => None,
    };
    if let Some(question) = question
        && !context.yes
        && !output::agrees(&question)
    {
        return Err(Failure::wrong_use("nothing is done without confirmation; give --yes"));
    }
    let released = block_on(remote::ask(&context.config, how, selection))?;
    context.output.one(&released, || match released {
        Released::Keys(keys) => format!("released {keys} keys"),
        Released::Events(events) => format!("{events} events became dead letters"),
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn keys_must_be_selected_explicitly() {
        for (arguments, accepted) in [
            ("retry", false),
            ("retry --topic t", false),
            ("retry key", true),
            ("retry --all --topic t --partition 1", true),
            ("retry key --all", false),
            ("dead-letter", false),
            ("dead-letter --partition 1", false),
            ("dead-letter key --topic t", true),
            ("dead-letter --all", true),
            ("dead-letter key --all", false),
            ("dead-letter --topic t", true),
        ] {
            let parsed = Cli::try_parse_from(["program", "waiting"].into_iter().chain(arguments.split(' ')));
            assert_eq!(parsed.is_ok(), accepted, "{arguments}: {:?}", parsed.err());
        }
    }
}
