//! `dlq park`, `dlq unpark` and `dlq purge`.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use super::{Context, Failure, ProgressLine, acting, actor, demand, known};
use crate::{
    cli::output,
    dead_letters::{AsideSummary, Disposition, LetterSelection, SetAside},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    selection: LetterSelection,
    /// Every open letter, or with --parked every parked one.
    #[arg(long)]
    all: bool,
    /// The reason, kept with the letters.
    #[arg(long, default_value = "")]
    note: String,
    /// Only count the letters.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(context: &Context, arguments: Arguments, how: Disposition) -> Result<ExitCode, Failure> {
    let Arguments { selection, all, note, dry_run } = arguments;
    demand(&selection, all)?;
    let go = |dry_run: bool, selection: LetterSelection| {
        acting(context, async |service, _| {
            let bar = ProgressLine::new(context.output, "records", Some(0));
            let progress = |_: &AsideSummary, read, of| bar.reach_of(read, of);
            let what = SetAside { how, note: note.clone(), dry_run };
            Ok(service.set_aside(&actor(), selection, &what, &CancellationToken::new(), progress).await?)
        })
    };
    if how == Disposition::Purge && !dry_run && !context.yes {
        let summary = go(true, selection.clone())?;
        if summary.letters == 0 {
            known(&summary.unknown_ids)?;
        }
        if !output::agrees(&format!("purge {} dead letters for good?", summary.letters)) {
            return Err(Failure::wrong_use(
                "nothing is purged without confirmation; give --yes, or preview with --dry-run",
            ));
        }
    }
    let summary = go(dry_run, selection)?;
    let verb = match (how, dry_run) {
        (Disposition::Park, false) => "parked",
        (Disposition::Unpark, false) => "unparked",
        (Disposition::Purge, false) => "purged",
        (Disposition::Park, true) => "would park",
        (Disposition::Unpark, true) => "would unpark",
        (Disposition::Purge, true) => "would purge",
    };
    context.output.one(&summary, || format!("{verb} {} dead letters", summary.letters))?;
    known(&summary.unknown_ids)?;
    Ok(ExitCode::SUCCESS)
}
