//! Plays a scenario: members, partitions, the log, and time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    cluster::{Cluster, partition},
    domain::{self, AWAY, PROCESSES},
    faults::Faults,
    gate::SimulatedClock,
    group::Process,
    ledger::{self, Ledger},
    losses::{Losses, Produced},
    operators::Operators,
    oracle::{self, Evidence},
    report::Report,
    scenario::{Event, Scenario, Step, StoreKind, Which},
    store::at_once,
};
use crate::{
    engine::{
        EngineHandle,
        partition::release::{KeySelection, Release},
    },
    model::{OnExhausted, PartitionId},
    registry::Registry,
    store::{Load, Outbox, Row, Store, WaitingRow, WaitingState, memory::MemoryStore, sqlite::SqliteStore},
};

/// Operators act when nothing else could continue for this long, because the engine waits some seconds before it asks a store
/// again that was unavailable.
const QUIET: Duration = Duration::from_secs(10);

/// The limit of virtual time for settling everything after all faults are removed.
const SETTLED: Duration = Duration::from_mins(30);

/// Plays a scenario and checks its result.
///
/// # Errors
/// The violation that was found.
pub(super) fn play(scenario: &Scenario) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime of one thread").block_on(async {
        let mut world = World::new(scenario);
        for step in &scenario.steps {
            world.step(step).await;
            world.note_outages();
        }
        world.settle(scenario.seed % 2 == 1).await?;
        let ledgers = world.ledgers();
        let evidence = Evidence {
            produced: &world.produced,
            ledgers: &ledgers,
            published: &world.cluster.published.lock(),
            committed: &world.cluster.journal.outbox(),
            gave_up: &|partition, offset| world.operators.gave_up(partition, offset),
        };
        oracle::check(scenario, &evidence)?;
        Ok(world.report())
    })
}

pub(super) struct World {
    pub(super) partitions: i32,
    keys: u64,
    pub(super) more_keys: u64,
    pub(super) restarts: bool,
    pub(super) cluster: Arc<Cluster>,
    pub(super) store: Arc<dyn Store>,
    pub(super) store_id: uuid::Uuid,
    pub(super) registry: Arc<Registry>,
    pub(super) faults: Arc<Faults>,
    pub(super) clock: Arc<SimulatedClock>,
    /// The members of the group.
    pub(super) processes: Vec<Process>,
    /// Frozen processes whose partitions the group has given to others, and when they wake up.
    pub(super) frozen: Vec<(Process, tokio::time::Instant)>,
    /// Ended processes. They are kept until the end of the scenario, so that they are not dropped earlier.
    pub(super) gone: Vec<Process>,
    produced: Vec<Produced>,
    losses: Losses,
    /// Events of the first topic, in the order in which they were produced.
    order: Vec<Event>,
    operators: Operators,
    /// How many processes each killing event has ended.
    pub(super) kills: BTreeMap<String, u32>,
    /// A violation that was found before the end of the scenario.
    pub(super) wrong: Option<String>,
    pub(super) report: Report,
}

fn new_store(kind: StoreKind) -> Arc<dyn Store> {
    match kind {
        StoreKind::Memory => Arc::new(MemoryStore::default()),
        StoreKind::Sqlite => Arc::new(SqliteStore::in_memory(&[ledger::entity()]).expect("memory can be written to")),
    }
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let store = new_store(scenario.store);
        let store_id = at_once(store.claim("group")).expect("a new store has no group");
        AWAY.set(false);
        PROCESSES.with_borrow_mut(Vec::clear);
        let faults = Arc::new(Faults::new(scenario.seed, scenario.weather, scenario.bug));
        let cluster = Arc::new(Cluster::new(Arc::clone(&store)));
        if scenario.more_keys > 0 {
            cluster.make_more();
        }
        Self {
            partitions: scenario.partitions,
            keys: scenario.keys,
            more_keys: scenario.more_keys,
            restarts: scenario.restarts,
            operators: Operators::new(Arc::clone(&store), Arc::clone(&cluster.journal), Arc::clone(&faults)),
            cluster,
            store,
            store_id,
            registry: Arc::new(domain::registry()),
            faults,
            clock: Arc::new(SimulatedClock::new(scenario.seed)),
            processes: Vec::new(),
            frozen: Vec::new(),
            gone: Vec::new(),
            produced: Vec::new(),
            losses: Losses::default(),
            order: Vec::new(),
            kills: BTreeMap::new(),
            wrong: None,
            report: Report::default(),
        }
    }

    async fn step(&mut self, step: &Step) {
        self.bury_the_crashed().await;
        self.wake_the_frozen().await;
        self.follow_losses();
        match step {
            Step::Produce(events) => events.iter().for_each(|event| self.produce(*event)),
            Step::Repeat(any) => {
                if let Some(event) = pick(&self.order, *any).copied() {
                    self.produce(event);
                }
            }
            Step::Join => self.join(false).await,
            Step::JoinNarrow => {
                self.report.members_without_the_second_topic += 1;
                self.join(true).await;
            }
            Step::Leave(any) => {
                if let Some(index) = self.index(*any) {
                    let process = self.processes.remove(index);
                    self.leave(process).await;
                    self.share(0).await;
                }
            }
            Step::Crash(any) => {
                if let Some(index) = self.interruptible(*any) {
                    self.crash(index);
                }
            }
            Step::Freeze(any, duration) => {
                if let Some(index) = self.interruptible(*any) {
                    self.freeze(index, *duration).await;
                }
            }
            Step::Rebalance(any) => self.share(*any).await,
            Step::Wait(duration) => tokio::time::sleep(*duration).await,
            Step::Jump(seconds) => self.clock.jump(*seconds),
            Step::Pause(any) => {
                if let Some(index) = self.index(*any) {
                    self.processes[index].engine.operations().pause();
                }
            }
            Step::Away(events) => {
                AWAY.set(true);
                for event in events {
                    self.produce(*event);
                }
            }
            Step::Back => AWAY.set(false),
            Step::Resume(any) => {
                if let Some(index) = self.index(*any) {
                    self.processes[index].engine.operations().resume();
                }
            }
            Step::Release(any, which, how) => {
                if let Some(index) = self.index(*any) {
                    self.release(index, *which, *how).await;
                }
            }
            Step::StoreAway if self.may_interrupt_all() => {
                self.report.store_outages += 1;
                self.faults.set_store_away(true);
            }
            Step::StoreAway => {}
            Step::StoreBack => self.faults.set_store_away(false),
            Step::Truncate(any, records) => self.truncate(*any, *records),
            Step::Vanish => {
                self.delete_more();
                self.share(0).await;
            }
            Step::Remake => {
                self.delete_more();
                self.report.topics_made_anew += 1;
                self.cluster.make_more();
                self.share(0).await;
            }
        }
    }

    /// Counts the steps after which a circuit breaker was open.
    fn note_outages(&mut self) {
        let is_open = |process: &Process| has_open_breaker(&process.engine);
        self.report.outages += self.processes.iter().filter(|process| is_open(process)).count() as u64;
    }

    fn produce(&mut self, event: Event) {
        let is_of_events = event.key < self.keys;
        let partition = if is_of_events {
            partition(i32::try_from(event.key).unwrap_or_default() % self.partitions)
        } else if let Some(more) = self.cluster.more() {
            more
        } else {
            // The topic does not exist, so nothing can be produced to it.
            return;
        };
        let offset = self.cluster.append(&partition, &event.key.to_string(), event.payload());
        for process in &self.processes {
            if process.partitions.contains(&partition) {
                process.member.ready(&partition);
            }
        }
        self.produced.push(Produced { partition, offset, event, excused: None });
        if is_of_events {
            self.order.push(event);
        }
        self.report.events += 1;
    }

    async fn release(&mut self, index: usize, which: Which, how: Release) {
        let selection = match which {
            Which::All => KeySelection { all: true, ..KeySelection::default() },
            Which::Key(key) => KeySelection { key: Some(key.to_string()), ..KeySelection::default() },
        };
        self.operators.release(self.processes[index].console(), selection, how);
        tokio::task::yield_now().await;
    }

    /// Removes up to `records` of the last records of a partition of the first topic.
    fn truncate(&mut self, any: u64, records: i64) {
        let number = i32::try_from(any % u64::try_from(self.partitions).unwrap_or(1)).unwrap_or_default();
        let partition = partition(number);
        let end = self.cluster.end(&partition);
        let cut = (end - records).max(0);
        if cut == end || self.losses.is_open(&partition) {
            return;
        }
        self.report.truncations += 1;
        self.report.truncated_records += cut.abs_diff(end);
        self.cluster.truncate(&partition, cut);
        self.losses.truncated(&mut self.produced, &partition, cut, end);
        self.processes.iter().for_each(|process| process.member.check_range(&partition));
        self.follow_losses();
    }

    fn delete_more(&mut self) {
        if let Some(more) = self.cluster.more() {
            self.report.topics_deleted += 1;
            self.cluster.delete_more();
            self.losses.deleted(&mut self.produced, &more);
        }
    }

    fn follow_losses(&mut self) {
        self.losses.follow(&mut self.produced, self.cluster.journal.take_notices());
    }

    /// Removes all faults and waits until the remaining events are handled: by one new member, or by the current members, so
    /// that a standstill inside a process is found. Operators release the held keys.
    async fn settle(&mut self, by_those_there: bool) -> Result<(), String> {
        self.faults.heal();
        AWAY.set(false);
        for (process, _) in std::mem::take(&mut self.frozen) {
            self.end(process);
        }
        self.bury_the_crashed().await;
        if by_those_there {
            for process in &self.processes {
                process.engine.operations().resume();
            }
        } else {
            for process in std::mem::take(&mut self.processes) {
                self.leave(process).await;
            }
        }
        let until = tokio::time::Instant::now() + SETTLED;
        loop {
            self.rest(until).await?;
            self.operators.check()?;
            self.operators.forget();
            let Some(left) = self.left() else { break };
            if tokio::time::Instant::now() > until {
                return Err(format!("not settled although operators release keys: {left}"));
            }
            for process in &self.processes {
                process.engine.operations().resume();
            }
            for index in 0..self.processes.len() {
                self.release(index, Which::All, Release::Retry).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.follow_losses();
        Ok(())
    }

    /// Waits until only operators can continue, or nothing is left to do.
    async fn rest(&mut self, until: tokio::time::Instant) -> Result<(), String> {
        let mut was_quiet = false;
        loop {
            self.bury_the_crashed().await;
            if let Some(wrong) = &self.wrong {
                return Err(wrong.clone());
            }
            if self.processes.is_empty() || self.cluster.more().is_some() && !self.has_broad_member() {
                self.join(false).await;
            }
            let Some(left) = self.left() else { return Ok(()) };
            if self.only_operators_can_go_on() {
                if was_quiet {
                    return Ok(());
                }
                was_quiet = true;
                tokio::time::sleep(QUIET).await;
                continue;
            }
            was_quiet = false;
            if tokio::time::Instant::now() > until {
                let shown: Vec<_> =
                    self.processes.iter().flat_map(|process| process.engine.operations().partitions()).collect();
                let waiting: Vec<_> = self.waiting().into_iter().map(|(_, row)| (row.offset, row.state)).collect();
                return Err(format!("not settled in time: {left}; {shown:?}; {waiting:?}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One thing that is not done yet; `None` if everything is settled.
    fn left(&self) -> Option<String> {
        for partition in self.partitions() {
            let stored = at_once(self.store.reload(&partition)).expect("the store answers");
            let position = stored.map_or(0, |stored| stored.next_offset);
            let end = self.cluster.end(&partition);
            if position != end {
                return Some(format!("{partition} is at {position} of {end}"));
            }
        }
        if let Some((partition, row)) = self.waiting().first() {
            return Some(format!("the event at {partition}@{} waits as {:?}", row.offset, row.state));
        }
        match at_once(self.store.outbox(0, 1)).expect("the store answers") {
            Outbox::Rows(rows) if rows.is_empty() => self
                .processes
                .iter()
                .any(|process| has_open_breaker(&process.engine))
                .then(|| "a circuit breaker is open".to_owned()),
            other => Some(format!("the outbox holds {other:?}")),
        }
    }

    fn waiting(&self) -> Vec<(PartitionId, WaitingRow)> {
        at_once(self.store.waiting(usize::MAX)).expect("the store answers")
    }

    /// Whether all waiting keys are held, and only stopped partitions have a lag.
    fn only_operators_can_go_on(&self) -> bool {
        let waiting = self.waiting();
        let mut firsts = BTreeMap::new();
        for (partition, row) in &waiting {
            firsts.entry((partition, &row.queue)).or_insert(row.state);
        }
        let exist = self.partitions();
        let stops = |state: &WaitingState| *state == WaitingState::Held(OnExhausted::Stop);
        let stopped: BTreeSet<&PartitionId> =
            firsts.iter().filter(|(_, state)| stops(state)).map(|((partition, _), _)| *partition).collect();
        let is_held = |((partition, _), state): (&(&PartitionId, _), &WaitingState)| {
            exist.contains(partition) && (stopped.contains(partition) || matches!(state, WaitingState::Held(_)))
        };
        let is_done = |partition: &PartitionId| {
            let stored = at_once(self.store.reload(partition)).expect("the store answers");
            let (position, end) = (stored.map_or(0, |stored| stored.next_offset), self.cluster.end(partition));
            stopped.contains(partition) || position == end || self.waits_beyond_its_log(partition)
        };
        !firsts.is_empty()
            && firsts.iter().all(is_held)
            && exist.iter().all(is_done)
            && matches!(at_once(self.store.outbox(0, 1)), Ok(Outbox::Rows(rows)) if rows.is_empty())
    }

    /// Whether a log has lost records, and the partition owner waits for the release of events that are held beyond its end.
    fn waits_beyond_its_log(&self, partition: &PartitionId) -> bool {
        let shown = self.processes.iter().flat_map(|process| process.engine.operations().partitions());
        let mut of_it = shown.filter(|view| view.topic == *partition.topic && view.partition == partition.partition);
        of_it.any(|view| view.reason.is_some_and(|reason| reason.starts_with("the log ends at")))
    }

    fn ledgers(&self) -> BTreeMap<String, Ledger> {
        let ids: Vec<String> = (0..self.keys + self.more_keys).map(|key| key.to_string()).collect();
        let wanted = Load { entities: vec![(ledger::entity(), Box::new(ids))], ..Load::default() };
        let mut loaded = at_once(self.store.load(wanted)).expect("the store answers");
        let rows = loaded.entities.remove(0).downcast::<Vec<Row<Ledger>>>().expect("ledgers");
        rows.into_iter().map(|row| (row.value.id.clone(), row.value)).collect()
    }

    fn report(&self) -> Report {
        let dead_letters = self.cluster.journal.outbox().len() as u64;
        Report { dead_letters, ..self.report }.with(&self.faults)
    }
}

fn has_open_breaker(engine: &EngineHandle) -> bool {
    engine.operations().health().not_ready.iter().any(|reason| reason.contains("most events of"))
}

fn pick<T>(list: &[T], any: u64) -> Option<&T> {
    let count = u64::try_from(list.len()).unwrap_or_default();
    list.get(usize::try_from(any.checked_rem(count)?).ok()?)
}
