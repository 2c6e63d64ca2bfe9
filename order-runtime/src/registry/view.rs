//! Processors as the command line and HTTP show them.

use serde::Serialize;

use super::ProcessorEntry;

/// One processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorView {
    /// The event's name.
    pub event: &'static str,
    /// The event's version.
    pub version: u32,
    /// The function's name.
    pub processor: &'static str,
    /// The schema of its data; `Value` if it accepts any data.
    pub input: &'static str,
    /// The types of its arguments after the event: services and others.
    pub arguments: &'static [&'static str],
    /// File and line of its declaration.
    pub at: String,
    /// What happens after a failure.
    pub retry: RetryView,
    /// The first line of its documentation.
    pub summary: &'static str,
}

/// A retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryView {
    /// Attempts after the first.
    pub retries: u32,
    /// The delay before the first retry, such as `100ms`.
    pub backoff: String,
    /// The longest delay between two attempts.
    pub backoff_max: String,
    /// The longest an attempt may take.
    pub timeout: String,
    /// The treatment of the event after the last failed attempt.
    pub on_exhausted: String,
}

impl ProcessorView {
    /// The view of an entry.
    pub fn of(entry: &ProcessorEntry) -> Self {
        let policy = entry.policy;
        Self {
            event: entry.event,
            version: entry.version,
            processor: entry.name,
            input: entry.input.unwrap_or("Value"),
            arguments: entry.arguments,
            at: entry.place.to_string(),
            retry: RetryView {
                retries: policy.retries,
                backoff: humantime::format_duration(policy.backoff).to_string(),
                backoff_max: humantime::format_duration(policy.backoff_max).to_string(),
                timeout: humantime::format_duration(policy.timeout).to_string(),
                on_exhausted: policy.on_exhausted.to_string(),
            },
            summary: entry.summary,
        }
    }
}
