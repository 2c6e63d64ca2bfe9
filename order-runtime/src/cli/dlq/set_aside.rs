//! `dlq park`, `dlq unpark` and `dlq purge`.

use std::process::ExitCode;

use super::{Context, Failure, acting, actor, reading};
use crate::{
    cli::output,
    dead_letters::{Aside, Selection},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Every letter that lies open, or with --parked every parked one.
    #[arg(long)]
    all: bool,
    /// Why, for those who come after you.
    #[arg(long, default_value = "")]
    note: String,
    /// Only say how many it would be.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(context: &Context, arguments: Arguments, how: Aside) -> Result<ExitCode, Failure> {
    let Arguments { selection, all, note, dry_run } = arguments;
    if !selection.is_given() && !all {
        return Err(Failure::wrong_use("name letters by their ids or by conditions, or say --all"));
    }
    let go = |dry_run: bool, selection: Selection| {
        acting(context, async |desk, _| {
            Ok(desk.set_aside(&actor(), selection, how, &note, dry_run, reading(context)).await?)
        })
    };
    if how == Aside::Purge && !dry_run && !context.yes {
        let letters = go(true, selection.clone())?;
        if !output::agrees(&format!("forget {letters} dead letters for good?")) {
            return Err(Failure::wrong_use(
                "nothing is purged without a yes; give --yes, or look first with --dry-run",
            ));
        }
    }
    let letters = go(dry_run, selection)?;
    let verb = match (how, dry_run) {
        (Aside::Park, false) => "parked",
        (Aside::Unpark, false) => "took back",
        (Aside::Purge, false) => "purged",
        (Aside::Park, true) => "would park",
        (Aside::Unpark, true) => "would take back",
        (Aside::Purge, true) => "would purge",
    };
    context
        .output
        .one(&serde_json::json!({"letters": letters, "dryRun": dry_run}), || format!("{verb} {letters} dead letters"));
    Ok(ExitCode::SUCCESS)
}
