//! A run: one or several instances under the load of a plan, and the evidence for its report.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio_postgres::Client;

use super::{
    inspect,
    kill::{self, Kill, kill_in_flight},
    plan::{KILLED, Plan, Recipe},
    producer::Producer,
    report::{Evidence, Report},
    snapshot::Snapshot,
};
use crate::{
    broker::Broker,
    deployment::Deployment,
    service::Service,
    wait::{PATIENCE, eventually, until},
};

/// The time limit for handling all released records.
const DEADLINE: Duration = PATIENCE.saturating_mul(3);

/// The time limit until an event that ends its process is dead-lettered: about seven restarts, each of which waits until the
/// session of the former process expires.
const DEATHS_OF_A_KILLER: Duration = Duration::from_secs(150);

/// The number of event partitions.
const PARTITIONS: i32 = 6;

/// A deployment under load.
pub struct Run {
    /// The environment of the instances.
    pub deployment: Deployment,
    /// The produced events.
    pub plan: Arc<Plan>,
    /// The producer of the plan.
    pub producer: Producer,
    store: Store,
    witness: PathBuf,
    kills: Vec<Kill>,
    /// The number of processes that an event ended.
    deaths: usize,
    snapshots: usize,
    misplaced: Vec<String>,
}

enum Store {
    Sqlite(PathBuf),
    /// The server's URL without the proxy, and a connection that observes the transactions of the instances.
    Postgres(String, Client),
}

impl Run {
    /// Creates a run with an empty store and new topics. No instance runs and nothing is produced yet.
    pub async fn new(broker: &Broker, recipe: Recipe, rate: u32) -> Self {
        let mut deployment = Deployment::of_scripts(broker, PARTITIONS).await;
        let witness = deployment.folder().join("witness");
        deployment.set("CHAOS_WITNESS", &witness.display().to_string());
        let store = match deployment.store_url().strip_prefix("sqlite://") {
            Some(path) => Store::Sqlite(path.into()),
            None => {
                let url = deployment.store_url().to_owned();
                let client = inspect::connect(&url).await.expect("the server answers");
                Store::Postgres(url, client)
            }
        };
        let plan = Arc::new(Plan::new(recipe));
        let producer = Producer::start(broker.address(), deployment.events(), Arc::clone(&plan), rate);
        Self {
            deployment,
            plan,
            producer,
            store,
            witness,
            kills: Vec::new(),
            deaths: 0,
            snapshots: 0,
            misplaced: Vec::new(),
        }
    }

    /// Moves the SQLite file to another path, for example on another disk.
    #[must_use]
    pub fn with_sqlite_at(mut self, path: PathBuf) -> Self {
        self.deployment.set("STORE_URL", &format!("sqlite://{}", path.display()));
        self.store = Store::Sqlite(path);
        self
    }

    /// Starts an instance. On PostgreSQL each number has its own role, which identifies its transactions.
    pub async fn start(&self, number: usize) -> Service {
        let Store::Postgres(url, client) = &self.store else { return self.deployment.start() };
        let role = self.role(number);
        // This fails if the instance has run before.
        let _ = client.batch_execute(&format!("CREATE ROLE {role} SUPERUSER LOGIN")).await;
        let way = self.deployment.service_store_url(url);
        self.deployment.start_with(&[("STORE_URL", &way.replacen("postgres@", &format!("{role}@"), 1))])
    }

    /// Restarts the instances whose process an event has ended, like a supervisor.
    pub async fn revive(&mut self, services: &mut [Service]) {
        for (number, service) in services.iter_mut().enumerate() {
            if service.has_ended() {
                self.deaths += 1;
                *service = self.start(number).await;
            }
        }
    }

    /// The role of an instance. Runs share the server and therefore its roles, so the name contains the run's database.
    fn role(&self, number: usize) -> String {
        let url = self.deployment.store_url();
        format!("instance_{number}_of_{}", url.rsplit('/').next().unwrap_or_default())
    }

    /// Waits until each of these instances has partitions.
    pub async fn all_work(&mut self, services: &mut [Service]) {
        eventually("each instance has partitions", self.patience(PATIENCE), async || {
            self.revive(services).await;
            for service in services.iter() {
                let partitions = service.try_get("/partitions").await.unwrap_or_default();
                if partitions.as_array().is_none_or(Vec::is_empty) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Kills an instance, if possible during a transaction, and checks the remaining state.
    pub async fn kill(&mut self, service: Service, number: usize) -> Kill {
        let role = self.role(number);
        let kill = match &self.store {
            Store::Sqlite(path) => kill_in_flight(service, async || kill::sqlite_is_writing(path)).await,
            Store::Postgres(_, client) => {
                kill_in_flight(service, async || kill::postgres_is_writing(client, &role).await).await
            }
        };
        self.kills.push(kill);
        let snapshot = match &self.store {
            Store::Sqlite(path) => inspect::sqlite_as_left(path, self.deployment.events().name()),
            Store::Postgres(..) => self.snapshot().await.expect("the server answers"),
        };
        self.check(&snapshot);
        kill
    }

    /// Records events whose position and outcome are inconsistent in the snapshot.
    pub fn check(&mut self, snapshot: &Snapshot) {
        self.snapshots += 1;
        self.misplaced.extend(snapshot.misplaced(&self.plan, &self.producer.acknowledged()));
    }

    /// [`check`](Self::check) on the current content of the store, if the store can be read.
    pub async fn check_now(&mut self) {
        if let Ok(snapshot) = self.snapshot().await {
            self.check(&snapshot);
        }
    }

    /// A consistent snapshot of the store, even during writes.
    pub async fn snapshot(&self) -> Result<Snapshot, String> {
        let topic = self.deployment.events();
        match &self.store {
            Store::Sqlite(path) => inspect::sqlite(path, topic.name()).map_err(|error| error.to_string()),
            Store::Postgres(url, _) => inspect::postgres(url, topic.name()).await.map_err(|error| error.to_string()),
        }
    }

    /// The number of records below the positions; the previous value if the store cannot be read.
    pub async fn progress(&self) -> i64 {
        self.snapshot().await.map_or(0, |snapshot| snapshot.positions.values().sum())
    }

    /// The time limit of an operation, extended for events that end processes, during which their partition makes no progress.
    fn patience(&self, usual: Duration) -> Duration {
        let killers = self.plan.events.iter().filter(|event| event.code == Some(KILLED)).count();
        usual + DEATHS_OF_A_KILLER * u32::try_from(killers).unwrap_or(u32::MAX)
    }

    /// Waits until all released records are produced and settled.
    pub async fn caught_up(&mut self, what: &str) -> Snapshot {
        self.caught_up_with(what, &mut []).await
    }

    /// [`caught_up`](Self::caught_up), while restarting instances that an event ends.
    async fn caught_up_with(&mut self, what: &str, services: &mut [Service]) -> Snapshot {
        until(&format!("{what}: everything is produced"), DEADLINE, async || {
            let (released, acknowledged) = (self.producer.released(), self.producer.acknowledged().len());
            if released == acknowledged { Ok(()) } else { Err(format!("{acknowledged} of {released} records")) }
        })
        .await;
        let ends = self.deployment.events().ends();
        until(&format!("{what}: everything is settled"), self.patience(DEADLINE), async || {
            self.revive(services).await;
            let snapshot = self.snapshot().await?;
            snapshot.is_settled(&ends).map(|()| snapshot)
        })
        .await
    }

    /// Produces the remaining records, waits until all are settled, creates the report, and stops these instances, which must be
    /// all that still run.
    pub async fn finish(mut self, what: &str, mut services: Vec<Service>) -> Report {
        self.producer.finish().await;
        let snapshot = self.caught_up_with("at the end", &mut services).await;
        self.check(&snapshot);
        let report = Report::of(Evidence {
            what: what.to_owned(),
            plan: &self.plan,
            acknowledged: &self.producer.acknowledged(),
            records: &self.deployment.events().read(),
            dead_letters: &self.deployment.dead_letters().read(),
            ledgers: &snapshot.ledgers,
            failures: &self.failures(),
            kills: &self.kills,
            deaths: self.deaths,
            snapshots: self.snapshots,
            misplaced: &self.misplaced,
        });
        for service in services {
            assert!(service.terminate().await.success(), "a clean exit");
        }
        if let Store::Sqlite(path) = &self.store {
            inspect::sqlite_as_left(path, self.deployment.events().name());
        }
        assert_eq!(
            self.deployment.events().lag(self.deployment.group()),
            0,
            "the group's offsets follow the positions"
        );
        report
    }

    /// The store's name for the heading of a report.
    pub fn store_name(&self) -> &'static str {
        match self.store {
            Store::Sqlite(_) => "SQLite",
            Store::Postgres(..) => "PostgreSQL",
        }
    }

    /// The number of scripted failures of each attempt at each event, as recorded by the witness.
    fn failures(&self) -> BTreeMap<(String, u32), usize> {
        let text = std::fs::read_to_string(&self.witness).unwrap_or_default();
        let mut failures = BTreeMap::new();
        for line in text.lines() {
            let (event, attempt) = line.rsplit_once(' ').expect("a line names an event and an attempt");
            let attempt = attempt.parse().expect("an attempt is a number");
            *failures.entry((event.to_owned(), attempt)).or_default() += 1;
        }
        failures
    }
}
