//! `dlq`: dead letters, from the topic in which they lie to what operators have done with them.

mod audit;
mod edit;
mod list;
mod replay;
mod set_aside;
mod show;

use std::{process::ExitCode, sync::Arc};

use super::{Context, Failure, actor, block_on, output::printable, progress::Progress, store};
use crate::{
    broker::kafka::KafkaPublisher,
    dead_letters::{Aside, Desk, DeskError, KafkaSource, Selection},
    store::Store,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List dead letters, and count them by reason, event and error code.
    List(list::Arguments),
    /// Show one dead letter whole, and what this build would do with it.
    Show(show::Arguments),
    /// Send dead letters to the topic that they came from; what was killed goes on when it is asked for again.
    Replay(replay::Arguments),
    /// Correct a dead letter and send it again, as the same event.
    Edit(edit::Arguments),
    /// Set dead letters aside: they are left out until --parked asks for them.
    Park(set_aside::Arguments),
    /// Take parked dead letters back.
    Unpark(set_aside::Arguments),
    /// Forget dead letters: they are left out for good, and their bytes go with the topic's retention.
    Purge(set_aside::Arguments),
    /// Show what operators have done, with dead letters and else: who, when, what, and to how many.
    Audit(audit::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(arguments) => list::run(context, arguments),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Replay(arguments) => replay::run(context, &arguments),
        Command::Edit(arguments) => edit::run(context, &arguments),
        Command::Park(arguments) => set_aside::run(context, arguments, Aside::Park),
        Command::Unpark(arguments) => set_aside::run(context, arguments, Aside::Unpark),
        Command::Purge(arguments) => set_aside::run(context, arguments, Aside::Purge),
        Command::Audit(arguments) => audit::run(context, &arguments),
    }
}

/// Works at a desk that only looks. Without a store it still does, and says what is then not known.
fn looking<T>(context: &Context, work: impl AsyncFnOnce(&Desk) -> Result<T, Failure>) -> Result<T, Failure> {
    block_on(async {
        let store = match store::to_read(context).await {
            Ok(store) => Some(store),
            Err(why) => {
                context.output.hint(format!("what became of letters is not known: {why}"));
                None
            }
        };
        at_desk(context, store, work).await
    })
}

/// Works at a desk that deals with letters, beside a service that may run.
fn acting<T>(
    context: &Context,
    work: impl AsyncFnOnce(&Desk, &KafkaPublisher) -> Result<T, Failure>,
) -> Result<T, Failure> {
    block_on(async {
        let store = store::to_write(context).await?;
        let publisher = KafkaPublisher::new(&context.config.kafka)?;
        at_desk(context, Some(store), async |desk| work(desk, &publisher).await).await
    })
}

async fn at_desk<T>(
    context: &Context,
    store: Option<Arc<dyn Store>>,
    work: impl AsyncFnOnce(&Desk) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let desk = Desk {
        source: KafkaSource::new(&context.config.kafka),
        store: store.clone(),
        registry: context.registry()?,
        topics: context.config.kafka.topics.clone(),
        budget: None,
    };
    let result = work(&desk).await;
    if let Some(store) = store {
        store.close().await;
    }
    result
}

/// Refuses a command that selects nothing: it must not select everything.
fn demand(selection: &Selection, all: bool) -> Result<(), Failure> {
    if selection.is_given() || all {
        return Ok(());
    }
    Err(Failure::wrong_use("name letters by their ids or by conditions, or say --all"))
}

/// Fails where letters were named that are not there; what was done with the others is told before.
fn known(unknown: &[String]) -> Result<(), Failure> {
    if unknown.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = unknown.iter().map(|id| printable(id)).collect();
    Err(DeskError::Unknown(ids.join(", ")).into())
}

/// How far a pass over the topic is.
fn reading(context: &Context) -> impl FnMut(u64, u64) {
    let progress = Progress::new(context.output, "records", Some(0));
    move |read, of| progress.reach_of(read, of)
}
