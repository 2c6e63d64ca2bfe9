//! Processors as the command line and HTTP show them.

use serde::Serialize;

use super::ProcessorEntry;

/// One processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessorView {
    /// The event's name.
    pub(crate) event: &'static str,
    /// The event's version.
    pub(crate) version: u32,
    /// The function's name.
    pub(crate) processor: &'static str,
    /// The schema of its data; `Value` if it accepts any data.
    pub(crate) input: &'static str,
    /// The types of its arguments after the event: services and others.
    pub(crate) arguments: &'static [&'static str],
    /// File and line of its declaration.
    pub(crate) at: String,
    /// What happens after a failure.
    pub(crate) retry: RetryView,
    /// The first line of its documentation.
    pub(crate) summary: &'static str,
}

/// A retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryView {
    /// Attempts after the first.
    pub(crate) retries: u32,
    /// The delay before the first retry, such as `100ms`.
    pub(crate) backoff: String,
    /// The longest delay between two attempts.
    pub(crate) backoff_max: String,
    /// The longest an attempt may take.
    pub(crate) timeout: String,
    /// The treatment of the event after the last failed attempt.
    pub(crate) on_exhausted: String,
}

impl ProcessorView {
    /// The view of an entry.
    pub(crate) fn of(entry: &ProcessorEntry) -> Self {
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
