//! Parking, unparking and purging letters.

use std::{collections::HashSet, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    DeadLetterError, DeadLetterService, Direction, LetterSelection, selection::Search, start_audit, state::State,
};
use crate::store::{AuditRow, MarkState};

/// The way in which letters are set aside. Their records stay in the topic.
///
/// Kafka cannot delete a single record: a purged letter is left out of lists and replays, and the topic's retention deletes its
/// bytes. The mark is kept for `STORE_RETENTION`, which must not be shorter than the topic's retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Disposition {
    /// Leave the letters out unless parked ones are requested.
    Park,
    /// Undo parking.
    Unpark,
    /// Leave the letters out for good.
    Purge,
}

impl Disposition {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Unpark => "unpark",
            Self::Purge => "purge",
        }
    }

    const fn mark(self) -> MarkState {
        match self {
            Self::Park => MarkState::Parked,
            Self::Unpark => MarkState::Open,
            Self::Purge => MarkState::Purged,
        }
    }

    /// Whether it applies to letters in this state; `parked` means that parked letters are selected.
    fn takes(self, state: State, parked: bool) -> bool {
        match self {
            Self::Park => state == State::Open,
            Self::Unpark => state == State::Parked,
            Self::Purge if parked => state == State::Parked,
            Self::Purge => state != State::Purged && state != State::Parked,
        }
    }
}

/// A request to set letters aside.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SetAside {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) selection: LetterSelection,
    /// The reason, kept with the letters.
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    /// Only count the letters.
    #[arg(long)]
    #[serde(skip_serializing)]
    pub(crate) dry_run: bool,
}

/// The result of setting letters aside.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AsideSummary {
    pub(crate) dry_run: bool,
    pub(crate) letters: u64,
    /// Given ids that match no letter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_ids: Vec<String>,
}

impl DeadLetterService {
    /// Marks letters and counts them. After each window it calls `progress` with the summary so far, the records read and the
    /// records in total. `stop` ends it after the current window.
    pub(crate) async fn set_aside(
        &self,
        by: &str,
        how: Disposition,
        request: &SetAside,
        stop: &CancellationToken,
        mut progress: impl FnMut(&AsideSummary, u64, u64),
    ) -> Result<AsideSummary, DeadLetterError> {
        let SetAside { selection, note, dry_run } = request;
        // An id selects a letter whether it is parked or not.
        let named = !selection.ids.is_empty();
        let parked = selection.filter.parked;
        let entry = (!dry_run).then(|| start_audit(by, how.as_str(), request));
        if let Some(entry) = &entry {
            // Before the first letter is marked, so that the audit names the operator even if the process is killed.
            self.store()?.mark(entry.clone(), Vec::new()).await?;
        }
        let mut summary = AsideSummary { dry_run: *dry_run, ..AsideSummary::default() };
        let mut seen = HashSet::new();
        let search = Arc::new(Search::of(selection.clone()));
        let takes = Arc::clone(&search);
        let mut windows = self.source.read(Arc::new(move |letter| takes.takes(letter)), Direction::Forwards);
        while let Some(window) = windows.recv().await {
            let mut window = window?;
            window.letters.retain(|letter| seen.insert(letter.occurrence()));
            let letters = self.classify(window.letters, false).await?;
            let taken = |state| how.takes(state, parked) || (named && how.takes(state, !parked));
            let letters = letters.iter().filter(|classified| taken(classified.state));
            let marks: Vec<_> = letters.map(|classified| classified.marked(how.mark(), by, note)).collect();
            summary.letters += marks.len() as u64;
            if let Some(entry) = entry.as_ref().filter(|_| !marks.is_empty()) {
                self.store()?.mark(AuditRow { letters: marks.len() as u64, ..entry.clone() }, marks).await?;
            }
            progress(&summary, window.read, window.of);
            if stop.is_cancelled() {
                return Ok(summary);
            }
        }
        summary.unknown_ids = search.unknown();
        if entry.is_some() {
            tracing::info!(by, action = how.as_str(), letters = summary.letters, "dead letters set aside");
        }
        Ok(summary)
    }

    /// The audit of operators' actions, latest first.
    pub(crate) async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, DeadLetterError> {
        Ok(self.store()?.audit(limit).await?)
    }
}
