//! `dlq audit`.

use std::process::ExitCode;

use super::{Context, Failure, block_on, store};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Maximum number of records to show, latest first.
    #[arg(long, default_value_t = 100)]
    max: usize,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let rows = block_on(async {
        let store = store::to_read(context).await?;
        let rows = store.audit(arguments.max).await;
        store.close().await;
        Ok(rows?)
    })?;
    context.output.rows(&["AT", "BY", "ACTION", "COUNT", "SELECTION"], &rows, |row| {
        vec![row.at.to_string(), row.by.clone(), row.action.clone(), row.letters.to_string(), row.selection.clone()]
    })?;
    Ok(ExitCode::SUCCESS)
}
