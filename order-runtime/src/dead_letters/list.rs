//! Which letters there are.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use serde::Serialize;

use super::{Desk, DeskError, Judged, Letter, Selection, source::Window, state::State};

/// Groups that are counted apart; further ones are counted together.
const GROUPS: usize = 1_000;

/// Letters counted by reason, event and error code.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Counts(#[serde(serialize_with = "as_rows")] BTreeMap<(String, String, String), u64>);

impl Counts {
    pub(super) fn add(&mut self, letter: &Letter) {
        let group = (letter.reason.clone(), letter.event_name.clone(), letter.error_code.clone());
        if self.0.len() >= GROUPS && !self.0.contains_key(&group) {
            *self.0.entry(("(others)".to_owned(), String::new(), String::new())).or_default() += 1;
        } else {
            *self.0.entry(group).or_default() += 1;
        }
    }

    /// Reason, event, error code and number of each group.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &str, &str, u64)> {
        self.0.iter().map(|((reason, event, code), count)| (&**reason, &**event, &**code, *count))
    }
}

fn as_rows<S: serde::Serializer>(
    groups: &BTreeMap<(String, String, String), u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Row<'a> {
        reason: &'a str,
        event: &'a str,
        error_code: &'a str,
        letters: u64,
    }
    serializer.collect_seq(groups.iter().map(|((reason, event, error_code), letters)| Row {
        reason,
        event,
        error_code,
        letters: *letters,
    }))
}

/// Letters that were asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listing {
    /// The latest of them, in the order of their writing; without payloads.
    pub(crate) letters: Vec<Judged>,
    /// How many there are in all.
    pub(crate) matching: u64,
    /// The same by reason, event and error code.
    pub(crate) counts: Counts,
    /// Letters that fit but for what became of them, which is not what was asked for.
    pub(crate) others: BTreeMap<State, u64>,
    /// Records that are no dead letters of a known kind, or are damaged; they are listed too.
    pub(crate) unusable: u64,
}

impl Desk {
    /// Lists the latest `max` letters of a selection: the open ones, or those that are parked, or with `any` all.
    /// `progress` hears how many records have been read, and how many there are at most.
    pub(crate) async fn list(
        &self,
        selection: Selection,
        any: bool,
        max: usize,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Listing, DeskError> {
        let wanted = if selection.filter.parked { State::Parked } else { State::Open };
        let mut listing = Listing::default();
        let mut latest = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut windows = self.source.read(Arc::new(move |letter| selection.takes(letter)));
        while let Some(window) = windows.recv().await {
            let Window { mut letters, read, of } = window?;
            progress(read, of);
            // A crash may have repeated a record; it is one letter.
            letters.retain(|letter| seen.insert(letter.occurrence()));
            for mut judged in self.judge(letters, false).await? {
                if !any && judged.state != wanted {
                    *listing.others.entry(judged.state).or_default() += 1;
                    continue;
                }
                listing.matching += 1;
                listing.unusable += u64::from(judged.flaw(self).is_some());
                listing.counts.add(&judged.letter);
                judged.letter.record = super::letter::Original::default();
                let at = &judged.letter.at;
                latest.insert((judged.letter.time, at.partition, at.offset), judged);
                if latest.len() > max {
                    latest.pop_first();
                }
            }
        }
        listing.letters = latest.into_values().collect();
        Ok(listing)
    }
}
