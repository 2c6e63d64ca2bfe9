//! `processors`.

use std::process::ExitCode;

use super::{Context, Failure};
use crate::registry::ProcessorView;

pub(super) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let registry = context.registry()?;
    let rows: Vec<ProcessorView> = registry.processors().iter().map(|entry| ProcessorView::of(entry)).collect();
    let header = ["EVENT", "VERSION", "PROCESSOR", "INPUT", "USES", "ON FAILURE", "AT", "SUMMARY"];
    context.output.rows(&header, &rows, |row| {
        let retry = &row.retry;
        vec![
            row.event.to_owned(),
            row.version.to_string(),
            row.processor.to_owned(),
            row.input.to_owned(),
            row.arguments.join(", "),
            format!(
                "{} retries, {}..{}, then {}; {} an attempt",
                retry.retries, retry.backoff, retry.backoff_max, retry.on_exhausted, retry.timeout
            ),
            row.at.clone(),
            row.summary.to_owned(),
        ]
    })?;
    Ok(ExitCode::SUCCESS)
}
