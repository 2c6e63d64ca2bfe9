//! `dlq show`.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};

use super::{Context, Failure, Letter, read};
use crate::cli::output::printable;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The dead letter's id: `dlq-id`.
    id: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut found: Option<Letter> = None;
    read(context, |letter| {
        if letter.id == arguments.id {
            found = Some(letter);
        }
        found.is_none()
    })?;
    let Some(letter) = found else {
        return Err(Failure::failed(format!(
            "there is no dead letter {} in {}; `dlq list` shows those there are",
            arguments.id, context.config.kafka.dlq_topic
        )));
    };
    let payload = letter.record.payload.as_deref();
    let document = payload.and_then(|payload| serde_json::from_slice::<Value>(payload).ok());
    let shown = json!({
        "letter": letter,
        "key": letter.record.key.as_deref().map(text),
        "headers": letter.record.headers.iter().map(|(name, value)| json!({
            "name": text(name), "value": value.as_deref().map(text),
        })).collect::<Vec<_>>(),
        "payload": document.clone().or_else(|| payload.map(|payload| text(payload).into())),
    });
    context.output.one(&shown, || human(&letter, document.as_ref()));
    Ok(ExitCode::SUCCESS)
}

fn human(letter: &Letter, document: Option<&Value>) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = writeln!(out, "dead letter {} at {}", printable(&letter.id), letter.at);
    for (name, value) in &letter.record.headers {
        let value = value.as_deref().map_or_else(|| "(null)".to_owned(), |value| printable(&text(value)));
        let _ = writeln!(out, "  {}: {value}", printable(&text(name)));
    }
    let key = letter.record.key.as_deref().map_or_else(|| "(none)".to_owned(), |key| printable(&text(key)));
    let _ = writeln!(out, "key: {key}");
    let payload = match (document, letter.record.payload.as_deref()) {
        (Some(document), _) => serde_json::to_string_pretty(document).unwrap_or_default(),
        (None, Some(payload)) => format!("(no JSON) {}", printable(&text(payload))),
        (None, None) => "(none)".to_owned(),
    };
    let _ = write!(out, "payload: {payload}");
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
