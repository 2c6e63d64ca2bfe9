//! Which letters there are.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    ClassifiedLetter, Cursor, DeadLetterError, DeadLetterService, Letter, LetterSelection, source::Window, state::State,
};

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
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listing {
    /// The latest of them, in the order of their writing; without payloads.
    pub(crate) letters: Vec<ClassifiedLetter>,
    /// How many there are in all, as far as the topic was read.
    pub(crate) matching: u64,
    /// The same by reason, event and error code.
    pub(crate) counts: Counts,
    /// Letters that fit but for what became of them, which is not what was asked for.
    pub(crate) others: BTreeMap<State, u64>,
    /// Records that are no dead letters of a known kind, or are damaged; they are listed too.
    pub(crate) unusable: u64,
    /// Whether there are records that were not read, so that all numbers are of a part of the topic.
    pub(crate) partial: bool,
    /// Records that were read: the latest ones, or those before the place that was asked for.
    pub(crate) read: u64,
    /// Records there were to read, at most.
    pub(crate) of: u64,
    /// Where older records are that were not read: asked for with it, the list goes on from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Cursor>,
}

/// Which letters are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) selection: LetterSelection,
    /// Whatever became of them; else the open ones, or those that are parked where the selection says so.
    pub(crate) any: bool,
    /// The most that are listed.
    pub(crate) max: usize,
    /// Only those before it; where a budget bounds the list.
    pub(crate) before: Option<Cursor>,
}

impl DeadLetterService {
    /// Lists the latest letters. `progress` hears how many records have been read, and how many there are at most.
    pub(crate) async fn list(
        &self,
        asked: Asked,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Listing, DeadLetterError> {
        let Asked { selection, any, max, before } = asked;
        let from_place = before.is_some();
        let mut gathering = Gathering::new(&selection, any, max);
        let direction = self.direction(before);
        let mut windows = self.source.read(Arc::new(move |letter| selection.takes(letter)), direction);
        // What whole steps have said: where time runs out in the middle of one, its latest letters are not read yet.
        let mut listing = None;
        let reading = async {
            while let Some(window) = windows.recv().await {
                let Window { letters, read, of, rest } = window?;
                progress(read, of);
                gathering.add(self, letters).await?;
                let Some(rest) = rest else { continue };
                let next = (rest.records() > 0).then(|| rest.place());
                listing =
                    Some(Listing { read, of, partial: from_place || next.is_some(), next, ..gathering.listing() });
                if self.budget.is_some_and(|budget| read >= budget.records) {
                    break;
                }
            }
            Ok(())
        };
        self.in_time(reading).await?;
        match (listing, self.budget) {
            (None, Some(budget)) => Err(DeadLetterError::TooSlow(budget.time)),
            (listing, _) => Ok(listing.unwrap_or_default()),
        }
    }
}

/// What letters are ordered by: when they were written, and where they lie.
type Written = (Option<Timestamp>, Option<i32>, Option<i64>);

/// A list that grows.
struct Gathering {
    wanted: Option<State>,
    max: usize,
    /// A crash may have repeated a record; it is one letter.
    seen: HashSet<u128>,
    latest: BTreeMap<Written, ClassifiedLetter>,
    listing: Listing,
}

impl Gathering {
    fn new(selection: &LetterSelection, any: bool, max: usize) -> Self {
        let wanted = if selection.filter.parked { State::Parked } else { State::Open };
        Self {
            wanted: (!any).then_some(wanted),
            max,
            seen: HashSet::new(),
            latest: BTreeMap::new(),
            listing: Listing::default(),
        }
    }

    async fn add(&mut self, service: &DeadLetterService, mut letters: Vec<Letter>) -> Result<(), DeadLetterError> {
        letters.retain(|letter| self.seen.insert(letter.occurrence()));
        let listing = &mut self.listing;
        for mut classified in service.judge(letters, false).await? {
            if self.wanted.is_some_and(|wanted| classified.state != wanted) {
                *listing.others.entry(classified.state).or_default() += 1;
                continue;
            }
            listing.matching += 1;
            listing.unusable += u64::from(classified.flaw(service).is_some());
            listing.counts.add(&classified.letter);
            classified.letter.record = super::letter::Original::default();
            let at = &classified.letter.at;
            self.latest.insert((classified.letter.time, at.partition, at.offset), classified);
            if self.latest.len() > self.max {
                self.latest.pop_first();
            }
        }
        Ok(())
    }

    /// The list so far.
    fn listing(&self) -> Listing {
        Listing { letters: self.latest.values().cloned().collect(), ..self.listing.clone() }
    }
}
