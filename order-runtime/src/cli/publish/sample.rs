//! A sample: the lives of many entities, interleaved as in a busy topic, with added bad events and duplicates.
//!
//! The seed determines everything, including ids and times, so a sample is reproducible. Different seeds make different ids.

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    dispatcher::{Random, SampleEvent, SampleFn},
    ingest::Ingest,
    model::OutgoingRecord,
};

/// Number of lives that are interleaved.
const INTERLEAVED: usize = 200;
/// Size of the range of entities that one seed has; the next seed's range follows it.
const ENTITIES: u64 = 1_000_000;
/// Start time of a sample, in seconds since 1970: 2026-01-01.
const BEGIN: i64 = 1_767_225_600;

/// Probabilities of an added bad event and of a duplicate, for each good event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    pub(super) bad: f64,
    pub(super) duplicates: f64,
}

/// Counts of the events that were made.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Made {
    pub(super) seed: u64,
    pub(super) good: u64,
    pub(super) bad: u64,
    pub(super) duplicates: u64,
}

/// Generates the records of a sample, one at a time.
pub(super) struct Sample<'i> {
    ingest: &'i Ingest,
    life: SampleFn,
    random: StdRng,
    mix: Mix,
    /// The entities that have not started yet.
    entities: std::ops::Range<u64>,
    lives: Vec<Life>,
    /// Bad events and duplicates that come before the next good event.
    extra: Vec<OutgoingRecord>,
    made: Made,
}

struct Life {
    events: std::vec::IntoIter<SampleEvent>,
    /// Its first event; a second one makes a bad event.
    first: SampleEvent,
}

impl<'i> Sample<'i> {
    pub(super) fn new(ingest: &'i Ingest, life: SampleFn, seed: u64, count: u64, mix: Mix) -> Self {
        let begin = seed.wrapping_mul(ENTITIES);
        Self {
            ingest,
            life,
            random: StdRng::seed_from_u64(seed),
            mix,
            entities: begin..begin.saturating_add(count),
            lives: Vec::new(),
            extra: Vec::new(),
            made: Made { seed, ..Made::default() },
        }
    }

    pub(super) fn made(&self) -> Made {
        self.made
    }

    /// Number of lives that have started.
    pub(super) fn begun(&self) -> u64 {
        self.entities.start.saturating_sub(self.made.seed.wrapping_mul(ENTITIES))
    }

    /// The next record; `None` after the last. An error names a violation in the domain's own sample.
    pub(super) fn next(&mut self) -> Result<Option<OutgoingRecord>, String> {
        if let Some(record) = self.extra.pop() {
            return Ok(Some(record));
        }
        while self.lives.len() < INTERLEAVED
            && let Some(index) = self.entities.next()
        {
            let mut draw = || self.random.next_u64();
            let events = (self.life)(index, &mut Random::new(&mut draw));
            if let Some(first) = events.first().cloned() {
                self.lives.push(Life { events: events.into_iter(), first });
            }
        }
        if self.lives.is_empty() {
            return Ok(None);
        }
        let place = self.below(self.lives.len());
        let Some(event) = self.lives[place].events.next() else {
            self.lives.swap_remove(place);
            return self.next();
        };
        let record = self.record(&event)?;
        self.made.good += 1;
        if self.happens(self.mix.duplicates) {
            self.made.duplicates += 1;
            self.extra.push(record.clone());
        }
        if self.happens(self.mix.bad) {
            self.made.bad += 1;
            let first = self.lives[place].first.clone();
            let bad = self.bad(&event, &first)?;
            self.extra.push(bad);
        }
        Ok(Some(record))
    }

    /// Makes a bad event, of a random kind.
    fn bad(&mut self, event: &SampleEvent, first: &SampleEvent) -> Result<OutgoingRecord, String> {
        match self.below(4) {
            0 => {
                let mut record = self.record(event)?;
                // Truncated, like the record of a producer that crashed.
                record.payload = record.payload.map(|payload| payload.slice(..payload.len() / 2));
                Ok(record)
            }
            1 => self.record(&SampleEvent { name: "NobodyKnowsThis", ..event.clone() }),
            2 => self.record(&SampleEvent { data: "{}".to_owned(), ..event.clone() }),
            // The first event of the life once more, with a new event id.
            _ => self.record(first),
        }
    }

    fn record(&mut self, event: &SampleEvent) -> Result<OutgoingRecord, String> {
        let id = uuid::Builder::from_random_bytes(self.random_bytes()).into_uuid();
        let occurred_at = self.time();
        self.write(id, occurred_at, event)
    }

    fn write(&self, id: Uuid, occurred_at: Timestamp, event: &SampleEvent) -> Result<OutgoingRecord, String> {
        self.ingest.record(&id.to_string(), event.name, 1, occurred_at, &event.data, Some(&event.key)).map_err(
            |violations| format!("the domain's sample of {} is invalid: {}", event.name, violations[0].message),
        )
    }

    fn random_bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// The event's time: one millisecond after the event before it.
    fn time(&self) -> Timestamp {
        let events = i64::try_from(self.made.good + self.made.bad).unwrap_or(i64::MAX);
        let begin = Timestamp::from_second(BEGIN).unwrap_or_default();
        begin.checked_add(SignedDuration::from_millis(events)).unwrap_or(begin)
    }

    fn below(&mut self, end: usize) -> usize {
        let mut draw = || self.random.next_u64();
        usize::try_from(Random::new(&mut draw).below(end as u64)).unwrap_or_default()
    }

    fn happens(&mut self, share: f64) -> bool {
        // 53 random bits, as a number from 0 to 1.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let drawn = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < share
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{
        dispatcher::Dispatcher,
        model::{OnExhausted, RetryPolicy},
        registry::{Place, ProcessorEntry, Registry},
    };

    static PROCESSOR: ProcessorEntry = ProcessorEntry {
        event: "ThingHappened",
        version: 1,
        name: "EventProcessor_ThingHappened",
        summary: "",
        input: None,
        arguments: &[],
        policy: RetryPolicy { on_exhausted: OnExhausted::DeadLetter, ..RetryPolicy::DEFAULT },
        place: Place { file: "thing.rs", line: 1, module: "thing" },
        handler: |_| unreachable!("a sample calls no processor"),
    };

    fn ingest() -> Ingest {
        let registry = Registry::from_entries(
            [&PROCESSOR].into_iter(),
            [].into_iter(),
            [].into_iter(),
            [].into_iter(),
            &BTreeMap::new(),
        );
        let dispatcher = Dispatcher {
            name: "things",
            version: "1.0.0",
            package: "things",
            manifest_dir: "",
            entities: Vec::new(),
            sample: None,
            on_start: None,
        };
        Ingest::new(Arc::new(registry.expect("one processor")), &dispatcher, "things")
    }

    fn life(index: u64, random: &mut Random<'_>) -> Vec<SampleEvent> {
        let event =
            || SampleEvent { name: "ThingHappened", key: index.to_string(), data: format!(r#"{{"n":{index}}}"#) };
        (0..=random.below(3)).map(|_| event()).collect()
    }

    fn all(seed: u64, mix: Mix) -> (Vec<OutgoingRecord>, Made) {
        let ingest = ingest();
        let mut sample = Sample::new(&ingest, life, seed, 500, mix);
        let mut records = Vec::new();
        while let Some(record) = sample.next().expect("the sample is right") {
            records.push(record);
        }
        (records, sample.made())
    }

    const PURE: Mix = Mix { bad: 0.0, duplicates: 0.0 };

    #[test]
    fn a_seed_is_reproducible_and_two_seeds_share_no_entity() {
        let mix = Mix { bad: 0.1, duplicates: 0.1 };
        assert_eq!(all(1, mix).0, all(1, mix).0);
        let keys = |seed| all(seed, PURE).0.into_iter().map(|record| record.key).collect::<Vec<_>>();
        let (one, two) = (keys(1), keys(2));
        assert!(one.iter().all(|key| !two.contains(key)), "two seeds share no entity");
    }

    #[test]
    fn bad_events_and_duplicates_are_added_to_good_ones() {
        let (pure, made) = all(7, PURE);
        assert_eq!((pure.len() as u64, made.bad, made.duplicates), (made.good, 0, 0));
        let (mixed, mixed_made) = all(7, Mix { bad: 0.2, duplicates: 0.1 });
        assert_eq!(mixed.len() as u64, mixed_made.good + mixed_made.bad + mixed_made.duplicates);
        assert!(mixed_made.bad > 50 && mixed_made.duplicates > 20, "{mixed_made:?}");
    }

    #[test]
    fn lives_are_interleaved() {
        let (records, _) = all(3, PURE);
        let changes = records.windows(2).filter(|pair| pair[0].key != pair[1].key).count();
        assert!(changes > records.len() / 2, "{changes} of {}", records.len());
    }
}
