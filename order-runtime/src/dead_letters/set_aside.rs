//! Letters that are set aside, taken back, or forgotten.

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{DeadLetterError, DeadLetterService, Direction, LetterSelection, begun, selection::Search, state::State};
use crate::store::{AuditRow, MarkState};

/// What is done with letters that stay where they are.
///
/// Kafka deletes no single record: a letter that is purged is left out everywhere from then on, and its bytes go with the
/// topic's retention. The mark lives as long as `STORE_RETENTION`, which must not be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Disposition {
    /// Leave them out until somebody asks for parked ones.
    Park,
    /// Take them back.
    Unpark,
    /// Forget them.
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

    /// Whether it is done with letters in that state.
    fn takes(self, state: State, parked: bool) -> bool {
        match self {
            Self::Park => state == State::Open,
            Self::Unpark => state == State::Parked,
            Self::Purge if parked => state == State::Parked,
            Self::Purge => state != State::Purged && state != State::Parked,
        }
    }
}

/// How letters are set aside.
#[derive(Debug, Clone)]
pub(crate) struct SetAside {
    pub(crate) how: Disposition,
    /// Why, for those who come after.
    pub(crate) note: String,
    /// Only count them.
    pub(crate) dry_run: bool,
}

/// What would be, or was, set aside.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AsideSummary {
    pub(crate) dry_run: bool,
    pub(crate) letters: u64,
    /// Ids that were given and that no letter has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_ids: Vec<String>,
}

impl DeadLetterService {
    /// Marks letters and answers how many. `progress` hears after each window what has been done, and of how many records the
    /// topic has been read; `stop` ends it after a window.
    pub(crate) async fn set_aside(
        &self,
        by: &str,
        selection: LetterSelection,
        what: &SetAside,
        stop: &CancellationToken,
        mut progress: impl FnMut(&AsideSummary, u64, u64),
    ) -> Result<AsideSummary, DeadLetterError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            #[serde(flatten)]
            selection: &'a LetterSelection,
            note: &'a str,
        }
        let SetAside { how, note, dry_run } = what;
        // A letter that is named by its id is meant whether it is parked or not.
        let named = !selection.ids.is_empty();
        let parked = selection.filter.parked;
        let entry = (!dry_run).then(|| begun(by, how.as_str(), &Asked { selection: &selection, note }));
        if let Some(entry) = &entry {
            // Before the first letter is marked, so that no kill hides who has begun.
            self.store()?.mark(entry.clone(), Vec::new()).await?;
        }
        let mut summary = AsideSummary { dry_run: *dry_run, ..AsideSummary::default() };
        let mut seen = HashSet::new();
        let search = Arc::new(Search::of(selection));
        let takes = Arc::clone(&search);
        let mut windows = self.source.read(Arc::new(move |letter| takes.takes(letter)), Direction::Forwards);
        while let Some(window) = windows.recv().await {
            let mut window = window?;
            window.letters.retain(|letter| seen.insert(letter.occurrence()));
            let letters = self.judge(window.letters, false).await?;
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
            tracing::info!(by, action = how.as_str(), letters = summary.letters, "dead letters are dealt with");
        }
        Ok(summary)
    }

    /// What operators have done, the latest first.
    pub(crate) async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, DeadLetterError> {
        Ok(self.store()?.audit(limit).await?)
    }
}
