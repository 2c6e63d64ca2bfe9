//! A trial of an event in this build: it is decoded and checked as before a processor, but no processor is called.

use std::borrow::Cow;

use serde::Serialize;

use crate::{decode, dispatch::Violation, ingest, model::RecordRef, registry::Registry};

/// How this build would handle an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub(crate) enum Trial {
    /// A processor would be called with it.
    Handled {
        /// The processor's name.
        processor: &'static str,
    },
    /// It would be dead-lettered again before any processor is called.
    Invalid {
        /// All violations, with their JSON paths.
        errors: Vec<Violation>,
    },
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Handled { processor } => write!(f, "would be handled by {processor}"),
            Self::Invalid { errors } => f.write_str(&reported(errors)),
        }
    }
}

/// All violations on one line.
pub(super) fn reported(errors: &[Violation]) -> String {
    let errors: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.path, error.message)).collect();
    format!("still invalid: {}", errors.join("; "))
}

/// The producer's event id, if there is one, and how this build would handle the event.
pub(super) fn trial(registry: &Registry, record: &RecordRef<'_>) -> (Option<String>, Trial) {
    let envelope = match decode::decode(record) {
        Ok(envelope) => envelope,
        Err(error) => {
            let errors = vec![Violation { path: "$".to_owned(), message: error.message }];
            return (None, Trial::Invalid { errors });
        }
    };
    let trial = match ingest::check(registry, &envelope.name, envelope.version, &envelope.data) {
        Ok(entry) => Trial::Handled { processor: entry.name },
        Err(errors) => Trial::Invalid { errors },
    };
    (envelope.id.map(Cow::into_owned), trial)
}
