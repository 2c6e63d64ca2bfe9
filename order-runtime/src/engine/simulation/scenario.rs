//! Scenarios: the steps and faults that follow from a seed.

use std::time::Duration;

use super::faults::Bug;
use crate::engine::partition::release::Release;

/// A random number generator. A seed gives the same numbers with every release of every library.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not including, `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn in_thousand(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }
}

/// The number of keys, and of their entities: few, so that many events share a key.
const KEYS: u64 = 6;
/// The number of keys in a scenario with outages: the circuit breaker counts first attempts, and a key runs one event at a time.
const KEYS_OF_OUTAGE: u64 = 150;

/// The store that a scenario plays on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreKind {
    Memory,
    Sqlite,
}

/// A complete scenario: it follows from the seed alone, and shrinking removes steps.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) store: StoreKind,
    pub(super) partitions: i32,
    /// Keys of the first topic.
    pub(super) keys: u64,
    /// Keys of the second topic; 0 if there is no second topic. Their numbers follow those of the first topic.
    pub(super) more_keys: u64,
    /// Whether a new process starts when the last one has crashed.
    pub(super) restarts: bool,
    pub(super) weather: Weather,
    pub(super) steps: Vec<Step>,
    pub(super) bug: Option<Bug>,
}

/// How many of a thousand calls have each fault.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) store_slow: u64,
    pub(super) store_fails: u64,
    /// The store executes the call, and its answer is lost.
    pub(super) store_unknown: u64,
    pub(super) publish_slow: u64,
    pub(super) publish_fails: u64,
    pub(super) publish_unknown: u64,
    /// The process ends, before or after the call is executed.
    pub(super) crash: u64,
}

/// A step of a scenario.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Events are produced.
    Produce(Vec<Event>),
    /// An event that was produced before is produced again.
    Repeat(u64),
    /// A member joins, and partitions are assigned anew.
    Join,
    /// A member leaves in order.
    Leave(u64),
    /// A member crashes.
    Crash(u64),
    /// A member is frozen for that long. When it continues, the group has given its partitions to others.
    Freeze(u64, Duration),
    /// Partitions are assigned anew to the same members.
    Rebalance(u64),
    /// Time passes.
    Wait(Duration),
    /// The wall clock jumps by so many seconds.
    Jump(i64),
    /// An operator pauses a member, or resumes it.
    Pause(u64),
    Resume(u64),
    /// The dependency of [`Act::Depend`] becomes unavailable, and these events are produced; or it is available again.
    Away(Vec<Event>),
    Back,
    /// An operator releases waiting keys at a member.
    Release(u64, Which, Release),
    /// Every call to the store fails from now on; or the store works again.
    StoreAway,
    StoreBack,
    /// A partition of the first topic loses up to this many of its last records.
    Truncate(u64, i64),
    /// The second topic is deleted.
    Vanish,
    /// The second topic is deleted, if it exists, and created again.
    Remake,
    /// A member joins whose configuration lacks the second topic.
    JoinNarrow,
}

/// The keys that an operator releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Key(u64),
}

/// An event: the `n`-th of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) key: u64,
    pub(super) n: u32,
    pub(super) act: Act,
    /// The key of a second entity that it changes.
    pub(super) also: Option<u64>,
    /// The store refuses its changes.
    pub(super) refused: bool,
}

/// The behaviour of an event's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Succeed,
    /// It succeeds if its dependency is available, else it fails with class `unavailable`.
    Depend,
    /// It takes that long.
    Slow(u64),
    /// Its first attempts, this many, fail with class `retry`.
    Fail(u32),
    /// It panics the first time.
    Panic,
    /// It hangs the first time, until its timeout.
    Hang,
    Reject,
    Skip,
    /// The event has no processor.
    Unknown,
    /// The payload is no event.
    Undecodable,
    /// It holds its key this many times, each time until an operator releases it, and then succeeds.
    Park(u32),
    /// It stops its partition once, until an operator resumes it, and then succeeds.
    Stop,
    /// It ends the process, this many milliseconds after its attempt began.
    Kill(u64),
}

/// Short, because people read shrunk scenarios.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{} {:?}{}", self.key, self.n, self.act, if self.refused { " refused" } else { "" })?;
        self.also.map_or(Ok(()), |also| write!(f, " and {also}"))
    }
}

impl Scenario {
    pub(super) fn of(seed: u64, bug: Option<Bug>) -> Self {
        let mut dice = Dice::of(seed);
        let weather = Weather::of(&mut dice);
        let partitions = 1 + i32::try_from(dice.below(3)).unwrap_or_default();
        let mut produced = Produced::new(KEYS);
        let mut steps = vec![Step::Join];
        for _ in 0..10 + dice.below(30) {
            steps.push(Self::step(&mut dice, &mut produced));
        }
        Self { partitions, weather, steps, bug, ..Self::empty(seed, KEYS) }
    }

    fn empty(seed: u64, keys: u64) -> Self {
        Self {
            seed,
            store: StoreKind::Memory,
            partitions: 1,
            keys,
            more_keys: 0,
            restarts: false,
            weather: Weather::default(),
            steps: Vec::new(),
            bug: None,
        }
    }

    /// The same on another store.
    pub(super) fn on(self, store: StoreKind) -> Self {
        Self { store, ..self }
    }

    /// A scenario with outages of a dependency of some events. Every fourth seed is calm: outages are its only faults.
    pub(super) fn with_outages(seed: u64) -> Self {
        let mut dice = Dice::of(seed);
        let weather = Weather::of(&mut dice);
        let calm = seed.is_multiple_of(4);
        let partitions = 1 + i32::try_from(dice.below(3)).unwrap_or_default();
        let mut produced = Produced::new(KEYS_OF_OUTAGE);
        produced.depend = 500;
        let mut steps = vec![Step::Join];
        for _ in 0..2 + dice.below(2) {
            steps.push(Step::Away((0..KEYS_OF_OUTAGE).map(|key| produced.next(key, Act::Depend, None)).collect()));
            for _ in 0..4 + dice.below(6) {
                let step = Self::step(&mut dice, &mut produced);
                if !calm || matches!(step, Step::Produce(_) | Step::Repeat(_) | Step::Wait(_)) {
                    steps.push(step);
                }
            }
            steps.push(Step::Back);
            // Events that have failed before open no breaker again, so a calm scenario lets them settle first.
            let pause = 1 << dice.below(17);
            steps.push(Step::Wait(Duration::from_millis(if calm { 120_000 } else { pause })));
        }
        let weather = if calm { Weather::default() } else { weather };
        Self { partitions, weather, steps, ..Self::empty(seed, KEYS_OF_OUTAGE) }
    }

    /// Whether outages of the dependency are the only faults.
    pub(super) fn is_calm_but_for_outages(&self) -> bool {
        let has_outages = self.steps.iter().any(|step| matches!(step, Step::Away(_)));
        has_outages && self.seed.is_multiple_of(4)
    }

    fn step(dice: &mut Dice, produced: &mut Produced) -> Step {
        match dice.below(100) {
            0..45 => Step::Produce((0..=dice.below(30)).map(|_| Self::event(dice, produced)).collect()),
            45..53 => Step::Repeat(dice.next()),
            53..59 => Step::Join,
            59..63 => Step::Leave(dice.next()),
            63..67 => Step::Crash(dice.next()),
            67..71 => Step::Freeze(dice.next(), Duration::from_millis(dice.below(30_000))),
            71..76 => Step::Rebalance(dice.next()),
            76..94 => Step::Wait(Duration::from_millis(1 << dice.below(14))),
            94..96 => Step::Jump(i64::try_from(dice.below(7_200)).unwrap_or_default() - 3_600),
            96..98 => Step::Pause(dice.next()),
            _ => Step::Resume(dice.next()),
        }
    }

    pub(super) fn event(dice: &mut Dice, produced: &mut Produced) -> Event {
        let keys = produced.count();
        let key = dice.below(keys);
        let act = match dice.below(100) {
            0..60 => Act::Succeed,
            60..68 => Act::Slow(1 << dice.below(11)),
            68..80 => Act::Fail(1 + u32::try_from(dice.below(5)).unwrap_or_default()),
            80..83 => Act::Panic,
            83..85 => Act::Hang,
            85..90 => Act::Reject,
            90..94 => Act::Skip,
            94..97 => Act::Unknown,
            _ => Act::Undecodable,
        };
        let also = dice.in_thousand(250).then(|| dice.below(keys));
        let depends = produced.depend > 0 && dice.in_thousand(produced.depend);
        produced.next(key, if depends { Act::Depend } else { act }, also)
    }
}

impl Weather {
    fn of(dice: &mut Dice) -> Self {
        // Each fault is left out in half of the seeds, so that the others are also seen alone.
        let mut at_most = |most: u64| if dice.in_thousand(500) { 0 } else { dice.below(most + 1) };
        Self {
            store_slow: at_most(300),
            store_fails: at_most(60),
            store_unknown: at_most(60),
            publish_slow: at_most(300),
            publish_fails: at_most(100),
            publish_unknown: at_most(100),
            crash: at_most(8),
        }
    }
}

/// The number of events of each key so far.
pub(super) struct Produced {
    events: Vec<u32>,
    /// How many of a thousand events need the dependency.
    depend: u64,
}

impl Produced {
    pub(super) fn new(keys: u64) -> Self {
        Self { events: (0..keys).map(|_| 0).collect(), depend: 0 }
    }

    fn count(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn next(&mut self, key: u64, act: Act, also: Option<u64>) -> Event {
        let n = &mut self.events[usize::try_from(key).unwrap_or_default()];
        *n += 1;
        Event { key, n: *n, act, also, refused: false }
    }
}
