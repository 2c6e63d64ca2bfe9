//! Letters go back to the topic that they came from.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    ClassifiedLetter, Counts, DeadLetterError, DeadLetterService, Direction, LetterSelection, Pace, begun,
    destination::{Destinations, Route},
    pace,
    selection::Search,
    source::Window,
    state::{Defect, State},
};
use crate::{
    broker::{PublishError, Publisher},
    headers::Family,
    identity::EventOutcome,
    model::OutgoingRecord,
    store::{AuditRow, LetterMark, MarkState, Store},
};

/// Letters that are published together, and marked together: what a kill may have published twice.
pub(crate) const BATCH: usize = 256;
/// Their bytes together; the last one may go beyond them.
const BYTES: usize = 8 * 1024 * 1024;
/// The least time between two batches, where there is a rate.
const TICK: Duration = Duration::from_millis(100);

/// How letters are replayed.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct LetterReplay {
    /// The most letters to replay.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<u64>,
    /// The most letters in a second.
    #[arg(long, value_name = "LETTERS", value_parser = pace::rate)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Leave out what was replayed so often already and has failed each time.
    #[arg(long, value_name = "TIMES", default_value_t = MAX_REPLAYS)]
    pub(crate) max_replays: u32,
    /// Also what was replayed before and has not failed since.
    #[arg(long)]
    pub(crate) again: bool,
    /// Only say what would be replayed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// An event that has failed so often will fail again.
const MAX_REPLAYS: u32 = 5;

impl Default for LetterReplay {
    fn default() -> Self {
        Self { max: None, rate: None, max_replays: MAX_REPLAYS, again: false, dry_run: false }
    }
}

impl LetterReplay {
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err("`rate` is a number above 0".to_owned()),
            _ => Ok(()),
        }
    }
}

/// What would be, or was, replayed.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) dry_run: bool,
    pub(crate) replayed: u64,
    /// The same by reason, event and error code.
    pub(crate) counts: Counts,
    /// Letters that fit the selection and were left out, by why.
    pub(crate) left_out: BTreeMap<LeftOut, u64>,
    /// Replayed letters of other frameworks whose events have no id: one that is published twice counts twice.
    pub(crate) without_id: u64,
    /// Replayed letters whose partition no longer exists: their keys chose another one.
    pub(crate) by_key: u64,
    /// Ids that were given and that no letter has, where the whole topic was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_ids: Vec<String>,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LeftOut {
    /// It was replayed as often as is allowed.
    LoopGuard,
    /// Its event has been handled or skipped since, so a replay would be swallowed.
    SettledSince,
    /// This service has had the record itself, and the event has no id by which a repeat is known.
    HadBefore,
    /// Its event has failed again since; the later letter counts.
    Superseded,
    /// It was replayed before.
    Replayed,
    /// It is parked, or it is not and only parked ones are wanted.
    Parked,
    /// It is purged.
    Purged,
    /// It is larger than its topic takes.
    TooLarge,
    /// Its topic refuses it.
    Refused,
    /// Its topic no longer exists.
    NoTopic,
    /// Something is wrong with the record.
    #[serde(untagged)]
    Defective(Defect),
}

impl LeftOut {
    /// Why, for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Defective(flaw) => flaw.text(),
            Self::LoopGuard => "replayed too often already; --max-replays raises the limit",
            Self::SettledSince => "settled since; a replay would be swallowed",
            Self::HadBefore => {
                "without an event id, and this service has had the record itself; `dlq edit` gives it one"
            }
            Self::Superseded => "failed again since; the later letter counts",
            Self::Replayed => "replayed before; --again takes them all the same",
            Self::Parked => "parked or not, unlike what is asked for; --parked takes parked ones",
            Self::Purged => "purged",
            Self::TooLarge => "larger than their topic takes",
            Self::Refused => "refused by their topic; a compacted topic takes none without a key",
            Self::NoTopic => "their topic does not exist; create it, and replay them then",
        }
    }
}

/// Letters that are published together.
#[derive(Default)]
struct ReplayBatch {
    letters: Vec<ClassifiedLetter>,
    records: Vec<Arc<OutgoingRecord>>,
    bytes: usize,
}

/// Where letters go, and under which record.
struct Way<'a> {
    publisher: &'a dyn Publisher,
    store: &'a dyn Store,
    entry: AuditRow,
}

/// A replay under way.
struct Run<'a> {
    service: &'a DeadLetterService,
    how: &'a LetterReplay,
    /// Whether parked letters are wanted, and no others.
    parked: bool,
    /// `None` where letters are only counted.
    way: Option<Way<'a>>,
    pace: Pace,
    batch: ReplayBatch,
    batch_size: usize,
    summary: Summary,
    destinations: Destinations,
}

impl DeadLetterService {
    /// Counts the letters that [`replay`](Self::replay) would send.
    pub(crate) async fn count(
        &self,
        selection: LetterSelection,
        how: &LetterReplay,
        stop: &CancellationToken,
        progress: impl FnMut(&Summary, u64, u64),
    ) -> Result<Summary, DeadLetterError> {
        self.pass(None, selection, how, stop, progress).await
    }

    /// Replays letters. `progress` hears after each batch what has been done, and of how many records the topic has been read;
    /// `stop` ends it after a batch.
    pub(crate) async fn replay(
        &self,
        publisher: &dyn Publisher,
        by: &str,
        selection: LetterSelection,
        how: &LetterReplay,
        stop: &CancellationToken,
        progress: impl FnMut(&Summary, u64, u64),
    ) -> Result<Summary, DeadLetterError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            #[serde(flatten)]
            selection: &'a LetterSelection,
            #[serde(flatten)]
            how: &'a LetterReplay,
        }
        let store = &**self.store()?;
        let entry = begun(by, "replay", &Asked { selection: &selection, how });
        // Before the first letter leaves, so that no kill hides who has begun.
        store.mark(entry.clone(), Vec::new()).await?;
        let summary = self.pass(Some(Way { publisher, store, entry }), selection, how, stop, progress).await?;
        tracing::info!(by, replayed = summary.replayed, "a replay of dead letters has ended");
        Ok(summary)
    }

    async fn pass(
        &self,
        way: Option<Way<'_>>,
        selection: LetterSelection,
        how: &LetterReplay,
        stop: &CancellationToken,
        mut progress: impl FnMut(&Summary, u64, u64),
    ) -> Result<Summary, DeadLetterError> {
        let pace = Pace::new(how.rate);
        let mut run = Run {
            service: self,
            how,
            parked: selection.filter.parked,
            batch_size: pace.batch(TICK, BATCH),
            batch: ReplayBatch::default(),
            summary: Summary { dry_run: way.is_none(), ..Summary::default() },
            way,
            pace,
            destinations: Destinations::new(self.store.as_deref()).await?,
        };
        let mut seen = HashSet::new();
        let search = Arc::new(Search::of(selection));
        let takes = Arc::clone(&search);
        let mut windows = self.source.read(Arc::new(move |letter| takes.takes(letter)), Direction::Forwards);
        let mut whole = true;
        'windows: while let Some(window) = windows.recv().await {
            let Window { mut letters, read, of, .. } = window?;
            // A crash may have repeated a record; it is one letter.
            letters.retain(|letter| seen.insert(letter.occurrence()));
            run.destinations.learn(&*self.source, &letters, &self.topics).await?;
            for classified in self.judge(letters, true).await? {
                if stop.is_cancelled() || how.max.is_some_and(|max| run.taken() >= max) {
                    whole = false;
                    break 'windows;
                }
                let before = run.summary.replayed;
                match run.left_out(&classified) {
                    Some(why) => *run.summary.left_out.entry(why).or_default() += 1,
                    None => run.take(classified).await?,
                }
                if run.summary.replayed > before {
                    progress(&run.summary, read, of);
                }
            }
            run.publish().await?;
            progress(&run.summary, read, of);
        }
        run.publish().await?;
        if whole {
            run.summary.unknown_ids = search.unknown();
        }
        Ok(run.summary)
    }
}

impl Run<'_> {
    /// Letters replayed and about to be.
    fn taken(&self) -> u64 {
        self.summary.replayed + self.batch.letters.len() as u64
    }

    fn left_out(&self, classified: &ClassifiedLetter) -> Option<LeftOut> {
        let letter = &classified.letter;
        match classified.state {
            State::Purged => return Some(LeftOut::Purged),
            State::Superseded => return Some(LeftOut::Superseded),
            State::Replayed if !self.how.again => return Some(LeftOut::Replayed),
            state if (state == State::Parked) != self.parked => return Some(LeftOut::Parked),
            _ => {}
        }
        if let Some(flaw) = classified.flaw(self.service) {
            return Some(LeftOut::Defective(flaw));
        }
        if letter.replays >= self.how.max_replays {
            return Some(LeftOut::LoopGuard);
        }
        if classified.outcome.is_some_and(|outcome| outcome != EventOutcome::DeadLettered) {
            return Some(LeftOut::SettledSince);
        }
        if self.destinations.route(letter) == Route::NoTopic {
            return Some(LeftOut::NoTopic);
        }
        (letter.family != Some(Family::Dlq) && letter.event_id.is_empty() && self.destinations.had(letter))
            .then_some(LeftOut::HadBefore)
    }

    async fn take(&mut self, classified: ClassifiedLetter) -> Result<(), DeadLetterError> {
        if self.way.is_none() {
            self.count(&classified);
            return Ok(());
        }
        let Some(mut record) = classified.letter.outgoing(classified.letter.record.payload.clone()) else {
            return Ok(());
        };
        self.destinations.direct(&classified.letter, &mut record);
        self.batch.bytes += record.size();
        self.batch.records.push(Arc::new(record));
        self.batch.letters.push(classified);
        if self.batch.letters.len() >= self.batch_size || self.batch.bytes >= BYTES {
            self.publish().await
        } else {
            Ok(())
        }
    }

    fn count(&mut self, classified: &ClassifiedLetter) {
        let letter = &classified.letter;
        self.summary.replayed += 1;
        self.summary.counts.add(letter);
        self.summary.by_key += u64::from(self.destinations.route(letter) == Route::ByKey);
        self.summary.without_id += u64::from(letter.family != Some(Family::Dlq) && letter.event_id.is_empty());
    }

    /// Publishes the batch, and marks what was acknowledged of it.
    async fn publish(&mut self) -> Result<(), DeadLetterError> {
        let ReplayBatch { letters, records, .. } = std::mem::take(&mut self.batch);
        let Some(Way { publisher, store, entry }) = self.way.as_ref().filter(|_| !letters.is_empty()) else {
            return Ok(());
        };
        let results = publisher.publish(records.into()).await;
        let (mut marks, mut sent, mut failed) = (Vec::new(), Vec::new(), None);
        for (classified, result) in letters.iter().zip(results) {
            match result {
                Ok(_) => {
                    marks.push(classified.marked(MarkState::Replayed, &entry.by, ""));
                    sent.push(classified);
                }
                Err(PublishError::TooLarge { .. }) => {
                    *self.summary.left_out.entry(LeftOut::TooLarge).or_default() += 1;
                }
                Err(PublishError::Invalid { .. }) => {
                    *self.summary.left_out.entry(LeftOut::Refused).or_default() += 1;
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let entry = AuditRow { letters: marks.len() as u64, ..entry.clone() };
        store.mark(entry, marks).await?;
        for classified in &sent {
            self.count(classified);
        }
        if let Some(error) = failed {
            return Err(DeadLetterError::Publish(error));
        }
        self.pace.sent(sent.len() as u64).await;
        Ok(())
    }
}

impl ClassifiedLetter {
    /// The mark that this letter gets now.
    pub(super) fn marked(&self, state: MarkState, by: &str, note: &str) -> LetterMark {
        LetterMark {
            dlq_id: self.letter.id.clone(),
            replays: self.letter.replays,
            state,
            note: note.to_owned(),
            by: by.to_owned(),
            at: Timestamp::now(),
        }
    }
}
