//! `dlq list`.

use std::process::ExitCode;

use super::{Context, Failure, Filter, read};

pub(super) fn run(context: &Context, filter: &Filter) -> Result<ExitCode, Failure> {
    let mut letters = Vec::new();
    let max = filter.max.unwrap_or(usize::MAX);
    if max > 0 {
        read(context, |letter| {
            if filter.takes(&letter) {
                letters.push(letter);
            }
            letters.len() < max
        })?;
    }
    let header = ["ID", "WRITTEN", "REASON", "CODE", "EVENT", "FROM", "MESSAGE"];
    context.output.rows(&header, &letters, |letter| {
        vec![
            letter.id.clone(),
            letter.time.map_or_else(|| "-".to_owned(), |time| time.to_string()),
            letter.reason.clone(),
            letter.error_code.clone(),
            letter.event_name.clone(),
            letter.origin.to_string(),
            letter.error_message.clone(),
        ]
    });
    let noun = if letters.len() == 1 { "dead letter" } else { "dead letters" };
    context.output.hint(format!("{} {noun} in {}", letters.len(), context.config.kafka.dlq_topic));
    Ok(ExitCode::SUCCESS)
}
