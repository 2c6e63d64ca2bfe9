//! `dlq show`.

use std::{fmt::Write as _, process::ExitCode};

use super::{Context, Failure, read_only};
use crate::{
    cli::output::{escaped, printable},
    dead_letters::Shown,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The dead letter's id.
    id: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let shown = read_only(context, async |service| Ok(service.show(&arguments.id, None).await?))?;
    context.output.one(&shown, || as_text(&shown))?;
    Ok(ExitCode::SUCCESS)
}

fn as_text(shown: &Shown) -> String {
    let letter = &shown.classified.letter;
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<10} {}", printable(text));
    };
    line("letter", &format!("{} at {}", letter.id, letter.at));
    let state = shown.classified.state.as_str();
    match &shown.classified.mark {
        Some(mark) => line("state", &format!("{state} by {} at {} {}", mark.by, mark.at, mark.note)),
        None => line("state", state),
    }
    line("from", &letter.origin.to_string());
    line("event", &format!("{} {}", letter.event_name, letter.event_id));
    line("error", &format!("{} {}: {}", letter.reason, letter.error_code, letter.error_message));
    line("attempts", &format!("{} by {}, after {} replays", letter.attempts, letter.processor, letter.replays));
    for earlier in &shown.earlier {
        let before = &earlier.letter;
        line("earlier", &format!("{} {}: {}", before.reason, before.error_code, before.error_message));
    }
    for (name, value) in &shown.headers {
        line("header", &format!("{name}: {}", value.as_deref().unwrap_or("(null)")));
    }
    line("key", letter.key.as_deref().unwrap_or("(none)"));
    line("this build", &shown.trial.to_string());
    if let Some(outcome) = shown.event_outcome {
        line("its event", outcome.as_str());
    }
    if let Some(defect) = shown.defect {
        line("replay", &format!("refused: {}", defect.text()));
    }
    let payload = match (&shown.payload, &shown.payload_text) {
        (Some(json), _) => escaped(&json.pretty()),
        (None, Some(text)) => format!("(not JSON) {}", printable(text)),
        (None, None) => "(none)".to_owned(),
    };
    let _ = write!(out, "payload    {payload}");
    out
}
