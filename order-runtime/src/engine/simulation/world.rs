//! Plays a scenario: members, partitions, the log, and time.

use std::{
    collections::BTreeMap,
    ops::AddAssign,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    cluster::{Cluster, Member, partition},
    domain::{self, AWAY, Ledger},
    faults::{Faults, Gate, SimulatedClock, SimulatedStore},
    oracle::{self, Produced},
    scenario::{Event, Scenario, Step},
};
use crate::{
    config::{OffsetReset, OnTruncation},
    engine::{EngineHandle, Parts, Settings, start},
    registry::Registry,
    store::{Load, Outbox, Row, Store, memory::MemoryStore},
    telemetry::metrics::Metrics,
};

/// How long a member may take to give its partitions back before the group goes on without it.
const SESSION: Duration = Duration::from_secs(10);
/// By then everything must have come to its end once nothing goes wrong any more; of virtual time.
const SETTLED: Duration = Duration::from_mins(30);

/// How much went wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    events: u64,
    members: u64,
    crashes: u64,
    freezes: u64,
    rebalances: u64,
    pub(super) outages: u64,
    store_errors: u64,
    lost_answers: u64,
    publish_errors: u64,
    fenced: u64,
    conflicts: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.members += other.members;
        self.crashes += other.crashes;
        self.freezes += other.freezes;
        self.rebalances += other.rebalances;
        self.outages += other.outages;
        self.store_errors += other.store_errors;
        self.lost_answers += other.lost_answers;
        self.publish_errors += other.publish_errors;
        self.fenced += other.fenced;
        self.conflicts += other.conflicts;
    }
}

/// Plays a scenario and judges it.
///
/// # Errors
/// What is wrong afterwards.
pub(super) fn play(scenario: &Scenario) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime of one thread").block_on(async {
        let mut world = World::new(scenario).await;
        for step in &scenario.steps {
            world.step(step).await;
            world.note_outages();
        }
        world.settle(scenario.seed % 2 == 1).await?;
        let ledgers = world.ledgers().await;
        oracle::check(scenario, &world.produced, &ledgers, &world.cluster.published.lock())?;
        Ok(world.report())
    })
}

/// A process.
struct Process {
    member: Arc<Member>,
    gate: Arc<Gate>,
    engine: EngineHandle,
    /// As the group sees it.
    partitions: Vec<i32>,
}

struct World {
    partitions: i32,
    keys: u64,
    cluster: Arc<Cluster>,
    store: Arc<MemoryStore>,
    store_id: uuid::Uuid,
    registry: Arc<Registry>,
    faults: Arc<Faults>,
    clock: Arc<SimulatedClock>,
    /// Those that the group counts as members.
    processes: Vec<Process>,
    /// Those that were frozen when the group gave their partitions away, and when they come back.
    frozen: Vec<(Process, tokio::time::Instant)>,
    /// Those that are gone; kept, since a process that has ended holds nothing back either.
    gone: Vec<Process>,
    produced: Produced,
    order: Vec<Event>,
    report: Report,
}

impl World {
    async fn new(scenario: &Scenario) -> Self {
        let store = Arc::new(MemoryStore::default());
        let store_id = store.claim("group").await.expect("a new store has no group");
        AWAY.set(false);
        Self {
            partitions: scenario.partitions,
            keys: scenario.keys,
            cluster: Arc::default(),
            store,
            store_id,
            registry: Arc::new(domain::registry()),
            faults: Arc::new(Faults::new(scenario.seed, scenario.weather, scenario.bug)),
            clock: Arc::new(SimulatedClock::new(scenario.seed)),
            processes: Vec::new(),
            frozen: Vec::new(),
            gone: Vec::new(),
            produced: Produced::new(),
            order: Vec::new(),
            report: Report::default(),
        }
    }

    async fn step(&mut self, step: &Step) {
        self.bury_the_crashed().await;
        self.wake_the_frozen().await;
        match step {
            Step::Produce(events) => events.iter().for_each(|event| self.produce(*event)),
            Step::Repeat(any) => {
                if let Some(event) = pick(&self.order, *any).copied() {
                    self.produce(event);
                }
            }
            Step::Join => self.join().await,
            Step::Leave(any) => {
                if let Some(index) = self.index(*any) {
                    let process = self.processes.remove(index);
                    give_back(&process, &process.partitions).await;
                    process.gate.crash();
                    self.gone.push(process);
                    self.share(0).await;
                }
            }
            Step::Crash(any) => {
                if let Some(index) = self.index(*any) {
                    self.faults.crashes.fetch_add(1, Ordering::Relaxed);
                    self.processes[index].gate.crash();
                }
            }
            Step::Freeze(any, duration) => {
                if let Some(index) = self.index(*any) {
                    self.report.freezes += 1;
                    let process = self.processes.remove(index);
                    process.gate.shut();
                    tokio::time::sleep(SESSION.min(*duration)).await;
                    self.frozen.push((process, tokio::time::Instant::now() + *duration));
                    self.share(0).await;
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
        }
    }

    /// Counts the steps after which a circuit breaker was open.
    fn note_outages(&mut self) {
        let is_open = |process: &Process| has_open_breaker(&process.engine);
        self.report.outages += self.processes.iter().filter(|process| is_open(process)).count() as u64;
    }

    fn index(&self, any: u64) -> Option<usize> {
        let count = u64::try_from(self.processes.len()).unwrap_or_default();
        usize::try_from(any.checked_rem(count)?).ok()
    }

    fn produce(&mut self, event: Event) {
        let number = i32::try_from(event.key).unwrap_or_default() % self.partitions;
        let offset = self.cluster.append(number, &event.key.to_string(), event.payload());
        self.produced.insert((number, offset), event);
        self.order.push(event);
        self.report.events += 1;
        for process in &self.processes {
            if process.partitions.contains(&number) {
                process.member.ready(number);
            }
        }
    }

    async fn join(&mut self) {
        self.report.members += 1;
        let gate = Arc::new(Gate::default());
        let (member, events) = Member::new(Arc::clone(&self.cluster), Arc::clone(&gate), Arc::clone(&self.faults));
        let store = SimulatedStore {
            inner: Arc::clone(&self.store),
            gate: Arc::clone(&gate),
            faults: Arc::clone(&self.faults),
        };
        let engine = start(Parts {
            registry: Arc::clone(&self.registry),
            store: Arc::new(store),
            store_id: self.store_id,
            consumer: Arc::clone(&member) as _,
            metadata: None,
            events,
            publisher: Arc::clone(&member) as _,
            entities: vec![domain::entity()],
            settings: Settings {
                group: "group".to_owned(),
                topics: vec!["events".to_owned()],
                dlq_topic: "events-dlq".into(),
                dlq_headers: Vec::new(),
                service_version: "0.0.0",
                reset: OffsetReset::Earliest,
                on_truncation: OnTruncation::Stop,
                retry_max_elapsed: None,
                drain: Duration::from_secs(3),
                retention: Duration::from_hours(24 * 365),
                shadow: false,
            },
            clock: Arc::clone(&self.clock) as _,
            metrics: Metrics::new(self.registry.processors().len()),
            tracer: None,
        });
        self.processes.push(Process { member, gate, engine, partitions: Vec::new() });
        self.share(0).await;
    }

    /// Shares the partitions among the members, turned by some: what changes its owner is given back first.
    async fn share(&mut self, turn: u64) {
        self.report.rebalances += 1;
        let count = self.processes.len();
        let mut wanted = vec![Vec::new(); count];
        if count > 0 {
            let turn = usize::try_from(turn % 8).unwrap_or_default();
            for number in 0..self.partitions {
                wanted[(usize::try_from(number).unwrap_or_default() + turn) % count].push(number);
            }
        }
        for (process, wanted) in self.processes.iter_mut().zip(&wanted) {
            let leaving: Vec<i32> =
                process.partitions.iter().copied().filter(|number| !wanted.contains(number)).collect();
            process.partitions.retain(|number| wanted.contains(number));
            give_back(process, &leaving).await;
        }
        for (process, wanted) in self.processes.iter_mut().zip(wanted) {
            let new: Vec<i32> = wanted.iter().copied().filter(|number| !process.partitions.contains(number)).collect();
            process.partitions = wanted;
            if !new.is_empty() {
                // It answers when its store does; the world does not wait for that.
                let member = Arc::clone(&process.member);
                tokio::spawn(async move { member.assign(&new).await });
                tokio::task::yield_now().await;
            }
        }
    }

    /// The group notices that a process has ended, a session timeout later.
    async fn bury_the_crashed(&mut self) {
        while let Some(index) = self.processes.iter().position(|process| process.gate.has_crashed()) {
            let process = self.processes.remove(index);
            self.gone.push(process);
            tokio::time::sleep(SESSION).await;
            self.share(0).await;
        }
    }

    /// Who wakes up goes on with what it was doing, and only then learns that its partitions have other owners.
    async fn wake_the_frozen(&mut self) {
        let now = tokio::time::Instant::now();
        while let Some(index) = self.frozen.iter().position(|(_, until)| *until <= now) {
            let (process, _) = self.frozen.remove(index);
            process.gate.reopen();
            tokio::time::sleep(Duration::from_millis(self.faults.below(500))).await;
            let lost = process.partitions.clone();
            let _ = tokio::time::timeout(SESSION, process.member.revoke(&lost, true)).await;
            process.gate.crash();
            self.gone.push(process);
        }
    }

    /// Heals everything and lets the rest be worked off: by one last member, or by those that are there, so that what has come
    /// to a standstill in a process shows.
    async fn settle(&mut self, by_those_there: bool) -> Result<(), String> {
        self.faults.heal();
        AWAY.set(false);
        for (process, _) in self.frozen.drain(..) {
            process.gate.crash();
            self.gone.push(process);
        }
        if by_those_there {
            self.bury_the_crashed().await;
            for process in &self.processes {
                process.engine.operations().resume();
            }
        } else {
            for process in std::mem::take(&mut self.processes) {
                give_back(&process, &process.partitions).await;
                process.gate.crash();
                self.gone.push(process);
            }
        }
        if self.processes.is_empty() {
            self.join().await;
        }
        let until = tokio::time::Instant::now() + SETTLED;
        while let Some(left) = self.left().await {
            if tokio::time::Instant::now() > until {
                let shown: Vec<_> =
                    self.processes.iter().flat_map(|process| process.engine.operations().partitions()).collect();
                return Err(format!("it does not come to an end: {left}; {shown:?}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What is not done yet.
    async fn left(&self) -> Option<String> {
        for number in 0..self.partitions {
            let stored = self.store.reload(&partition(number)).await.expect("memory answers");
            let (position, waiting) = stored.map_or((0, 0), |stored| (stored.next_offset, stored.waiting.len()));
            let end = self.cluster.end(number);
            if position != end || waiting > 0 {
                return Some(format!("partition {number} is at {position} of {end}, {waiting} events wait"));
            }
        }
        match self.store.outbox(0, 1).await.expect("memory answers") {
            Outbox::Rows(rows) if rows.is_empty() => self
                .processes
                .iter()
                .any(|process| has_open_breaker(&process.engine))
                .then(|| "a circuit breaker is open".to_owned()),
            other => Some(format!("the outbox holds {other:?}")),
        }
    }

    async fn ledgers(&self) -> BTreeMap<String, Ledger> {
        let ids: Vec<String> = (0..self.keys).map(|key| key.to_string()).collect();
        let wanted = Load { entities: vec![(domain::entity(), Box::new(ids))], ..Load::default() };
        let mut loaded = self.store.load(wanted).await.expect("memory answers");
        let rows = loaded.entities.remove(0).downcast::<Vec<Row<Ledger>>>().expect("ledgers");
        rows.into_iter().map(|row| (row.value.id.clone(), row.value)).collect()
    }

    fn report(&self) -> Report {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            crashes: count(&self.faults.crashes),
            store_errors: count(&self.faults.store_errors),
            lost_answers: count(&self.faults.unknown_commits),
            publish_errors: count(&self.faults.publish_errors),
            fenced: count(&self.faults.fenced),
            conflicts: count(&self.faults.conflicts),
            ..self.report
        }
    }
}

fn has_open_breaker(engine: &EngineHandle) -> bool {
    engine.operations().health().not_ready.iter().any(|reason| reason.contains("most events of"))
}

/// The member gives partitions back in order; the group waits for it only as long as for any member.
async fn give_back(process: &Process, partitions: &[i32]) {
    if !partitions.is_empty() && !process.gate.is_shut() {
        let _ = tokio::time::timeout(SESSION, process.member.revoke(partitions, false)).await;
    }
}

fn pick<T>(list: &[T], any: u64) -> Option<&T> {
    let count = u64::try_from(list.len()).unwrap_or_default();
    list.get(usize::try_from(any.checked_rem(count)?).ok()?)
}
