//! `dlq replay`.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use super::{
    Context, Failure, ProgressLine, counted, operator_name, read_only, refuse_unknown, require_selection,
    with_publisher,
};
use crate::{
    cli::output,
    dead_letters::{LetterReplay, Summary},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    request: LetterReplay,
    /// Only the dead letter with this id; the same as the argument ID.
    #[arg(long)]
    id: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { mut request, id } = arguments;
    request.selection.ids.extend(id);
    require_selection(&request.selection)?;
    if request.dry_run {
        return reported(context, &count(context, &request)?);
    }
    if !context.yes {
        let summary = count(context, &request)?;
        context.output.hint(as_text(&summary));
        if summary.replayed == 0 {
            refuse_unknown(&summary.unknown_ids)?;
            return Ok(ExitCode::SUCCESS);
        }
        if !output::agrees(&format!("replay {} dead letters?", summary.replayed)) {
            return Err(Failure::wrong_use(
                "nothing is replayed without confirmation; give --yes, or preview with --dry-run",
            ));
        }
    }
    let summary = with_publisher(context, async |service, publisher| {
        let stop = CancellationToken::new();
        let bar = ProgressLine::new(context.output, "records", Some(0));
        let progress = |summary: &Summary, read, of| {
            bar.set_position_of(read, of);
            bar.set_message(format!("{} replayed", summary.replayed));
        };
        Ok(service.replay(publisher, &operator_name(), &request, &stop, progress).await?)
    })?;
    reported(context, &summary)
}

fn reported(context: &Context, summary: &Summary) -> Result<ExitCode, Failure> {
    context.output.one(summary, || as_text(summary))?;
    refuse_unknown(&summary.unknown_ids)?;
    Ok(ExitCode::SUCCESS)
}

fn count(context: &Context, request: &LetterReplay) -> Result<Summary, Failure> {
    read_only(context, async |service| {
        let bar = ProgressLine::new(context.output, "records", Some(0));
        let progress = |_: &Summary, read, of| bar.set_position_of(read, of);
        Ok(service.count(request, &CancellationToken::new(), progress).await?)
    })
}

fn as_text(summary: &Summary) -> String {
    let verb = if summary.dry_run { "would replay" } else { "replayed" };
    let noun = if summary.replayed == 1 { "dead letter" } else { "dead letters" };
    let mut lines = vec![format!("{verb} {} {noun}", summary.replayed)];
    lines.extend(counted(&summary.counts));
    lines.extend(summary.left_out.iter().map(|(why, count)| format!("  {count:>8}  left out: {}", why.text())));
    if summary.by_key > 0 {
        let by_key = summary.by_key;
        lines.push(format!(
            "  {by_key:>8}  of them came from a partition that no longer exists; their keys choose the partition"
        ));
    }
    if summary.without_id > 0 {
        let without = summary.without_id;
        lines.push(format!(
            "  {without:>8}  of them have no event id; if a crash publishes one of them twice, it counts twice"
        ));
    }
    lines.join("\n")
}
