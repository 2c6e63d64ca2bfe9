//! Letters that are set aside, taken back, or forgotten.

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;

use super::{Desk, DeskError, Direction, Selection, begun, state::State};
use crate::store::{AuditRow, MarkState};

/// What is done with letters that stay where they are.
///
/// Kafka deletes no single record: a letter that is purged is left out everywhere from then on, and its bytes go with the
/// topic's retention. The mark lives as long as `STORE_RETENTION`, which must not be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aside {
    /// Leave them out until somebody asks for parked ones.
    Park,
    /// Take them back.
    Unpark,
    /// Forget them.
    Purge,
}

impl Aside {
    const fn as_str(self) -> &'static str {
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

impl Desk {
    /// Marks letters and answers how many. With `dry_run`, only counts them.
    pub(crate) async fn set_aside(
        &self,
        by: &str,
        selection: Selection,
        how: Aside,
        note: &str,
        dry_run: bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<u64, DeskError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            #[serde(flatten)]
            selection: &'a Selection,
            note: &'a str,
        }
        // A letter that is named by its id is meant whether it is parked or not.
        let named = !selection.ids.is_empty();
        let parked = selection.filter.parked;
        let entry = (!dry_run).then(|| begun(by, how.as_str(), &Asked { selection: &selection, note }));
        let mut done = 0;
        let mut seen = HashSet::new();
        let mut windows = self.source.read(Arc::new(move |letter| selection.takes(letter)), Direction::Forwards);
        while let Some(window) = windows.recv().await {
            let mut window = window?;
            progress(window.read, window.of);
            window.letters.retain(|letter| seen.insert(letter.occurrence()));
            let letters = self.judge(window.letters, false).await?;
            let taken = |state| how.takes(state, parked) || (named && how.takes(state, !parked));
            let letters = letters.iter().filter(|judged| taken(judged.state));
            let marks: Vec<_> = letters.map(|judged| judged.marked(how.mark(), by, note)).collect();
            if marks.is_empty() {
                continue;
            }
            done += marks.len() as u64;
            if let Some(entry) = &entry {
                self.store()?.mark(AuditRow { letters: marks.len() as u64, ..entry.clone() }, marks).await?;
            }
        }
        if entry.is_some() {
            tracing::info!(by, action = how.as_str(), letters = done, "dead letters are dealt with");
        }
        Ok(done)
    }

    /// What operators have done, the latest first.
    pub(crate) async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, DeskError> {
        Ok(self.store()?.audit(limit).await?)
    }
}
