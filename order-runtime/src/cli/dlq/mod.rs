//! `dlq`: operations on dead letters, and the audit of them.

mod audit;
mod edit;
mod list;
mod replay;
mod set_aside;
mod show;

use std::{process::ExitCode, sync::Arc};

use super::{Context, Failure, block_on, operator_name, output::printable, progress::ProgressLine, store};
use crate::{
    broker::kafka::KafkaPublisher,
    dead_letters::{
        Counts, DeadLetterError, DeadLetterService, Disposition, KafkaSource, LetterSelection, ListRequest, SetAside,
    },
    store::Store,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List dead letters and count them by reason, event and error code.
    List(ListRequest),
    /// Show one dead letter in full, and how this build would handle it.
    Show(show::Arguments),
    /// Send dead letters back to the topics that they came from; run the same command again to continue an interrupted replay.
    Replay(replay::Arguments),
    /// Correct a dead letter and send it again as the same event.
    Edit(edit::Arguments),
    /// Set dead letters aside: they are left out unless --parked is given.
    Park(SetAside),
    /// Undo the parking of dead letters.
    Unpark(SetAside),
    /// Leave dead letters out for good; the topic's retention deletes their bytes.
    Purge(SetAside),
    /// Show the audit of all operator actions: who, when, which action, and on how many letters or keys.
    Audit(audit::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(request) => list::run(context, request),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Replay(arguments) => replay::run(context, arguments),
        Command::Edit(arguments) => edit::run(context, &arguments),
        Command::Park(request) => set_aside::run(context, Disposition::Park, &request),
        Command::Unpark(request) => set_aside::run(context, Disposition::Unpark, &request),
        Command::Purge(request) => set_aside::run(context, Disposition::Purge, &request),
        Command::Audit(arguments) => audit::run(context, &arguments),
    }
}

/// Opens the dead-letter service read-only. Without a store, the marks are reported as unknown.
fn read_only<T>(
    context: &Context,
    work: impl AsyncFnOnce(&DeadLetterService) -> Result<T, Failure>,
) -> Result<T, Failure> {
    block_on(async {
        let store = match store::to_read(context).await {
            Ok(store) => Some(store),
            Err(why) => {
                context.output.hint(format!("the states of the letters are unknown: {why}"));
                None
            }
        };
        with_service(context, store, work).await
    })
}

/// Opens the dead-letter service with a publisher. An order service may run beside it.
fn with_publisher<T>(
    context: &Context,
    work: impl AsyncFnOnce(&DeadLetterService, &KafkaPublisher) -> Result<T, Failure>,
) -> Result<T, Failure> {
    block_on(async {
        let store = store::to_write(context).await?;
        let publisher = KafkaPublisher::new(&context.config.kafka)?;
        with_service(context, Some(store), async |service| work(service, &publisher).await).await
    })
}

async fn with_service<T>(
    context: &Context,
    store: Option<Arc<dyn Store>>,
    work: impl AsyncFnOnce(&DeadLetterService) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let service = DeadLetterService {
        source: KafkaSource::new(&context.config.kafka),
        store: store.clone(),
        registry: context.registry()?,
        topics: context.config.kafka.topics.clone(),
        budget: None,
    };
    let result = work(&service).await;
    if let Some(store) = store {
        store.close().await;
    }
    result
}

/// Refuses an empty selection: it must not select every letter.
fn require_selection(selection: &LetterSelection) -> Result<(), Failure> {
    if selection.is_given() {
        return Ok(());
    }
    Err(Failure::wrong_use("select letters by their ids or by conditions, or give --all"))
}

/// Fails if given ids match no letter. The caller prints the result for the other letters first.
fn refuse_unknown(unknown: &[String]) -> Result<(), Failure> {
    if unknown.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = unknown.iter().map(|id| printable(id)).collect();
    Err(DeadLetterError::Unknown(ids.join(", ")).into())
}

/// Numbers of letters by reason, event and error code, one line each.
fn counted(counts: &Counts) -> impl Iterator<Item = String> {
    counts.rows().map(|(reason, event, code, count)| {
        let event = if event.is_empty() { "(no event)" } else { event };
        format!("  {count:>8}  {}  {}  {}", printable(reason), printable(event), printable(code))
    })
}

/// Shows the progress of a pass over the topic.
fn read_progress(context: &Context) -> impl FnMut(u64, u64) {
    let progress = ProgressLine::new(context.output, "records", Some(0));
    move |read, of| progress.set_position_of(read, of)
}
