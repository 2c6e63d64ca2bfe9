//! Listing and counting letters.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ClassifiedLetter, Cursor, DeadLetterError, DeadLetterService, Filter, Letter, source::Window, state::State,
};

/// Maximum number of groups; letters of further groups are counted together as `(others)`.
const GROUPS: usize = 1_000;

/// Numbers of letters by reason, event and error code.
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

    /// Reason, event, error code and number of letters of each group.
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

/// A list of letters.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listing {
    /// The latest matching letters, in the order in which they were written; without payloads.
    pub(crate) letters: Vec<ClassifiedLetter>,
    /// Number of matching letters among the records that were read.
    pub(crate) matching: u64,
    /// The matching letters by reason, event and error code.
    pub(crate) counts: Counts,
    /// Letters that match the selection but have another state, by state.
    pub(crate) others: BTreeMap<State, u64>,
    /// Matching letters that have a defect and cannot be replayed as they are.
    pub(crate) unusable: u64,
    /// Whether some records were not read, so that all numbers are for a part of the topic.
    pub(crate) partial: bool,
    /// Records that were read: the latest ones, or those before the given cursor.
    pub(crate) read: u64,
    /// Records that there were to read, at most.
    pub(crate) of: u64,
    /// The cursor for older records that were not read; as `before` of a new request, it continues the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Cursor>,
}

/// A request for a list.
#[derive(Debug, Clone, clap::Args, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ListRequest {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) filter: Filter,
    /// List letters in every state: also replayed, parked, purged and superseded ones.
    #[arg(long)]
    pub(crate) all: bool,
    /// Maximum number of letters to list, the latest of them; all are counted.
    #[arg(long, default_value_t = 1_000)]
    #[schemars(
        description = "Maximum number of letters to list, from 0 to 1,000, the latest of them; all letters that are read are counted."
    )]
    pub(crate) max: usize,
    /// The value of `next` of an earlier answer: the list continues there with older letters.
    #[arg(skip)]
    #[schemars(with = "Option<String>")]
    pub(crate) before: Option<Cursor>,
}

/// A request of a program that names no limit gets a shorter list than one of the command line.
impl Default for ListRequest {
    fn default() -> Self {
        Self { filter: Filter::default(), all: false, max: 100, before: None }
    }
}

impl DeadLetterService {
    /// Lists the latest letters. Without a budget, it reads the whole topic and ignores `before`. Calls `progress` with the
    /// records read and the records in total, at most.
    pub(crate) async fn list(
        &self,
        request: ListRequest,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Listing, DeadLetterError> {
        let ListRequest { filter, all, max, before } = request;
        let from_place = before.is_some();
        let mut gathering = Gathering::new(&filter, all, max);
        let direction = self.direction(before);
        let mut windows = self.source.read(Arc::new(move |letter| filter.takes(letter)), direction);
        // The list after the last complete step. An incomplete step is left out, because its latest letters may be missing.
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

/// The sort key of letters: time of writing, partition and offset.
type Written = (Option<Timestamp>, Option<i32>, Option<i64>);

/// Builds a list from windows.
struct Gathering {
    wanted: Option<State>,
    max: usize,
    /// The letters seen so far: a record that a crash repeated is the same letter.
    seen: HashSet<u128>,
    latest: BTreeMap<Written, ClassifiedLetter>,
    listing: Listing,
}

impl Gathering {
    fn new(filter: &Filter, all: bool, max: usize) -> Self {
        let wanted = if filter.parked { State::Parked } else { State::Open };
        Self {
            wanted: (!all).then_some(wanted),
            max,
            seen: HashSet::new(),
            latest: BTreeMap::new(),
            listing: Listing::default(),
        }
    }

    async fn add(&mut self, service: &DeadLetterService, mut letters: Vec<Letter>) -> Result<(), DeadLetterError> {
        letters.retain(|letter| self.seen.insert(letter.occurrence()));
        let listing = &mut self.listing;
        for mut classified in service.classify(letters, false).await? {
            if self.wanted.is_some_and(|wanted| classified.state != wanted) {
                *listing.others.entry(classified.state).or_default() += 1;
                continue;
            }
            listing.matching += 1;
            listing.unusable += u64::from(classified.defect(service).is_some());
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
