//! `dlq list`.

use std::process::ExitCode;

use super::{Context, Failure, counted, read_only, read_progress};
use crate::dead_letters::{ListRequest, Listing};

pub(super) fn run(context: &Context, request: ListRequest) -> Result<ExitCode, Failure> {
    let listing = read_only(context, async |service| Ok(service.list(request, read_progress(context)).await?))?;
    if context.output.is_json() {
        context.output.one(&listing, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["ID", "WRITTEN", "STATE", "REASON", "CODE", "EVENT", "FROM", "MESSAGE"];
    context.output.rows(&header, &listing.letters, |classified| {
        let letter = &classified.letter;
        vec![
            letter.id.clone(),
            letter.time.map_or_else(|| "-".to_owned(), |time| time.to_string()),
            classified.state.as_str().to_owned(),
            letter.reason.clone(),
            letter.error_code.clone(),
            letter.event_name.clone(),
            letter.origin.to_string(),
            letter.error_message.clone(),
        ]
    })?;
    context.output.hint(summary(&listing, &context.config.kafka.dlq_topic));
    Ok(ExitCode::SUCCESS)
}

fn summary(listing: &Listing, topic: &str) -> String {
    let noun = if listing.matching == 1 { "dead letter" } else { "dead letters" };
    let shown = listing.letters.len();
    let more = if listing.matching > shown as u64 {
        format!("; these are the latest {shown}, --max lists more")
    } else {
        String::new()
    };
    let mut lines = vec![format!("{} {noun} in {topic}{more}", listing.matching)];
    lines.extend(counted(&listing.counts));
    if !listing.others.is_empty() {
        let others: Vec<String> =
            listing.others.iter().map(|(state, count)| format!("{count} {}", state.as_str())).collect();
        lines.push(format!("  not listed: {}; --all lists them as well", others.join(", ")));
    }
    if listing.unusable > 0 {
        lines.push(format!(
            "  {} of them cannot be replayed as they are; `dlq show` gives the reason",
            listing.unusable
        ));
    }
    lines.join("\n")
}
