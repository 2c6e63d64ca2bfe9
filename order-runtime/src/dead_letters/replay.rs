//! Replaying letters: sending their events back to the topic that they came from.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tokio_util::sync::CancellationToken;

use super::{
    ClassifiedLetter, Counts, DeadLetterError, DeadLetterService, Direction, LetterSelection, Pace,
    destination::{Destinations, Route},
    pace,
    selection::Search,
    source::Window,
    start_audit,
    state::{Defect, State},
};
use crate::{
    broker::{PublishError, Publisher},
    headers::HeaderFormat,
    identity::EventOutcome,
    model::OutgoingRecord,
    store::{AuditRow, LetterMark, MarkState, Store},
};

/// Maximum number of letters that are published and marked together. A killed process may publish that many twice.
pub(crate) const BATCH: usize = 256;
/// A batch is full when its records reach this size, in bytes; the last one may exceed it.
const BYTES: usize = 8 * 1024 * 1024;
/// Minimum time between two batches if there is a rate.
const TICK: Duration = Duration::from_millis(100);

/// A request to replay letters.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LetterReplay {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) selection: LetterSelection,
    /// Maximum number of letters to replay.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<u64>,
    /// Maximum number of letters per second.
    #[arg(long, value_name = "LETTERS", value_parser = pace::rate)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given_rate")]
    pub(crate) rate: Option<f64>,
    /// Leave out letters that were already replayed this many times and failed each time.
    #[arg(long, value_name = "TIMES", default_value_t = MAX_REPLAYS)]
    pub(crate) max_replays: u32,
    /// Include letters that were replayed before and have not failed since.
    #[arg(long)]
    pub(crate) again: bool,
    /// Only count the letters that would be replayed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Default limit of replays: an event that has failed this often will most likely fail again.
const MAX_REPLAYS: u32 = 5;

impl Default for LetterReplay {
    fn default() -> Self {
        let selection = LetterSelection::default();
        Self { selection, max: None, rate: None, max_replays: MAX_REPLAYS, again: false, dry_run: false }
    }
}

fn given_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let rate = Option::<f64>::deserialize(deserializer)?;
    if rate.is_some_and(|rate| !pace::is_rate(rate)) {
        return Err(D::Error::custom("`rate` must be a number above 0"));
    }
    Ok(rate)
}

/// The result of a replay or of a dry run.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) dry_run: bool,
    pub(crate) replayed: u64,
    /// The replayed letters by reason, event and error code.
    pub(crate) counts: Counts,
    /// Letters that match the selection but were left out, by reason.
    pub(crate) left_out: BTreeMap<LeftOut, u64>,
    /// Replayed letters of other frameworks whose events have no id: an event that is published twice counts twice.
    pub(crate) without_id: u64,
    /// Replayed letters whose partition no longer exists: their keys chose another partition.
    pub(crate) by_key: u64,
    /// Given ids that match no letter; set only if the whole topic was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_ids: Vec<String>,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LeftOut {
    /// It was replayed as often as `max_replays` allows.
    LoopGuard,
    /// Its event was handled or skipped since, so a replay would be dropped as a duplicate.
    SettledSince,
    /// This service has already read the original record, and the event has no id by which a repeat could be recognized.
    HadBefore,
    /// Its event has failed again since; the later letter replaces it.
    Superseded,
    /// It was replayed before.
    Replayed,
    /// It is parked; or only parked letters are requested and it is not parked.
    Parked,
    /// It is purged.
    Purged,
    /// It is larger than its topic's limit.
    TooLarge,
    /// The broker refuses it as invalid for its topic.
    Refused,
    /// Its topic no longer exists.
    NoTopic,
    /// The record has a defect.
    #[serde(untagged)]
    Defective(Defect),
}

impl LeftOut {
    /// The reason as text for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Defective(defect) => defect.text(),
            Self::LoopGuard => "replayed too often; --max-replays raises the limit",
            Self::SettledSince => "handled or skipped since; a replay would be dropped as a duplicate",
            Self::HadBefore => {
                "no event id, and this service has already read the original record; `dlq edit` adds an id"
            }
            Self::Superseded => "failed again since; the later letter replaces them",
            Self::Replayed => "replayed before; --again includes them",
            Self::Parked => "in the other parking state; --parked selects parked letters",
            Self::Purged => "purged",
            Self::TooLarge => "larger than their topic's limit",
            Self::Refused => "refused by their topic; a compacted topic takes no record without a key",
            Self::NoTopic => "their topic does not exist; create it, then replay them",
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

/// The publisher of a replay, the store of its marks, and its audit record.
struct Sending<'a> {
    publisher: &'a dyn Publisher,
    store: &'a dyn Store,
    entry: AuditRow,
}

/// A running replay or dry run.
struct Run<'a> {
    service: &'a DeadLetterService,
    request: &'a LetterReplay,
    /// `None` if letters are only counted.
    sending: Option<Sending<'a>>,
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
        request: &LetterReplay,
        stop: &CancellationToken,
        progress: impl FnMut(&Summary, u64, u64),
    ) -> Result<Summary, DeadLetterError> {
        self.pass(None, request, stop, progress).await
    }

    /// Replays letters. After each batch it calls `progress` with the summary so far, the records read and the records in total.
    /// `stop` ends it after the current batch.
    pub(crate) async fn replay(
        &self,
        publisher: &dyn Publisher,
        by: &str,
        request: &LetterReplay,
        stop: &CancellationToken,
        progress: impl FnMut(&Summary, u64, u64),
    ) -> Result<Summary, DeadLetterError> {
        let store = &**self.store()?;
        let entry = start_audit(by, "replay", request);
        // Before the first letter is sent, so that the audit names the operator even if the process is killed.
        store.mark(entry.clone(), Vec::new()).await?;
        let summary = self.pass(Some(Sending { publisher, store, entry }), request, stop, progress).await?;
        tracing::info!(by, replayed = summary.replayed, "replay of dead letters ended");
        Ok(summary)
    }

    async fn pass(
        &self,
        sending: Option<Sending<'_>>,
        request: &LetterReplay,
        stop: &CancellationToken,
        mut progress: impl FnMut(&Summary, u64, u64),
    ) -> Result<Summary, DeadLetterError> {
        let pace = Pace::new(request.rate);
        let mut run = Run {
            service: self,
            request,
            batch_size: pace.batch(TICK, BATCH),
            batch: ReplayBatch::default(),
            summary: Summary { dry_run: sending.is_none(), ..Summary::default() },
            sending,
            pace,
            destinations: Destinations::new(self.store.as_deref()).await?,
        };
        let mut seen = HashSet::new();
        let search = Arc::new(Search::of(request.selection.clone()));
        let takes = Arc::clone(&search);
        let mut windows = self.source.read(Arc::new(move |letter| takes.takes(letter)), Direction::Forwards);
        let mut whole = true;
        'windows: while let Some(window) = windows.recv().await {
            let Window { mut letters, read, of, .. } = window?;
            // A record that a crash repeated is the same letter.
            letters.retain(|letter| seen.insert(letter.occurrence()));
            run.destinations.look_up(&*self.source, &letters, &self.topics).await?;
            for classified in self.classify(letters, true).await? {
                if stop.is_cancelled() || request.max.is_some_and(|max| run.taken() >= max) {
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
    /// Number of letters that were replayed or are in the current batch.
    fn taken(&self) -> u64 {
        self.summary.replayed + self.batch.letters.len() as u64
    }

    fn left_out(&self, classified: &ClassifiedLetter) -> Option<LeftOut> {
        let letter = &classified.letter;
        match classified.state {
            State::Purged => return Some(LeftOut::Purged),
            State::Superseded => return Some(LeftOut::Superseded),
            State::Replayed if !self.request.again => return Some(LeftOut::Replayed),
            state if (state == State::Parked) != self.request.selection.filter.parked => return Some(LeftOut::Parked),
            _ => {}
        }
        if let Some(defect) = classified.defect(self.service) {
            return Some(LeftOut::Defective(defect));
        }
        if letter.replays >= self.request.max_replays {
            return Some(LeftOut::LoopGuard);
        }
        if classified.outcome.is_some_and(|outcome| outcome != EventOutcome::DeadLettered) {
            return Some(LeftOut::SettledSince);
        }
        if self.destinations.route(letter) == Route::NoTopic {
            return Some(LeftOut::NoTopic);
        }
        (letter.format != Some(HeaderFormat::Dlq) && letter.event_id.is_empty() && self.destinations.was_read(letter))
            .then_some(LeftOut::HadBefore)
    }

    async fn take(&mut self, classified: ClassifiedLetter) -> Result<(), DeadLetterError> {
        if self.sending.is_none() {
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
        self.summary.without_id += u64::from(letter.format != Some(HeaderFormat::Dlq) && letter.event_id.is_empty());
    }

    /// Publishes the batch, and marks the letters that were acknowledged.
    async fn publish(&mut self) -> Result<(), DeadLetterError> {
        let ReplayBatch { letters, records, .. } = std::mem::take(&mut self.batch);
        let Some(Sending { publisher, store, entry }) = self.sending.as_ref().filter(|_| !letters.is_empty()) else {
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
    /// A new mark for this letter, with the current time.
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
