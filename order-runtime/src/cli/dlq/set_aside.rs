//! `dlq park`, `dlq unpark` and `dlq purge`.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use super::{Context, Failure, ProgressLine, operator_name, refuse_unknown, require_selection, with_publisher};
use crate::{
    cli::output,
    dead_letters::{AsideSummary, Disposition, SetAside},
};

pub(super) fn run(context: &Context, how: Disposition, request: &SetAside) -> Result<ExitCode, Failure> {
    require_selection(&request.selection)?;
    let go = |request: &SetAside| {
        with_publisher(context, async |service, _| {
            let bar = ProgressLine::new(context.output, "records", Some(0));
            let progress = |_: &AsideSummary, read, of| bar.set_position_of(read, of);
            Ok(service.set_aside(&operator_name(), how, request, &CancellationToken::new(), progress).await?)
        })
    };
    if how == Disposition::Purge && !request.dry_run && !context.yes {
        let summary = go(&SetAside { dry_run: true, ..request.clone() })?;
        if summary.letters == 0 {
            refuse_unknown(&summary.unknown_ids)?;
        }
        if !output::agrees(&format!("purge {} dead letters for good?", summary.letters)) {
            return Err(Failure::wrong_use(
                "nothing is purged without confirmation; give --yes, or preview with --dry-run",
            ));
        }
    }
    let summary = go(request)?;
    let verb = match (how, summary.dry_run) {
        (Disposition::Park, false) => "parked",
        (Disposition::Unpark, false) => "unparked",
        (Disposition::Purge, false) => "purged",
        (Disposition::Park, true) => "would park",
        (Disposition::Unpark, true) => "would unpark",
        (Disposition::Purge, true) => "would purge",
    };
    context.output.one(&summary, || format!("{verb} {} dead letters", summary.letters))?;
    refuse_unknown(&summary.unknown_ids)?;
    Ok(ExitCode::SUCCESS)
}
