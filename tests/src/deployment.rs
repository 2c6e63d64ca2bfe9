//! A deployment: broker, topics, group, store and settings, which persist when the service restarts.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    binary::{order_chaos, order_service},
    broker::{Broker, unique},
    process::{Process, free_port},
    service::Service,
    topic::Topic,
    wait::PATIENCE,
};

/// The time limit of a command. Commands in tests produce at most 100,000 events.
const COMMAND_DEADLINE: Duration = Duration::from_mins(3);

/// An environment in which services and commands run.
pub struct Deployment {
    broker: Broker,
    program: &'static Path,
    topic: String,
    dlq_topic: String,
    group: String,
    folder: TempDir,
    store_url: String,
    settings: BTreeMap<String, String>,
}

/// A finished command.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A running command; killed on drop.
pub struct Spawned(Process);

impl Spawned {
    /// Sends SIGKILL and waits for the end of the process.
    pub fn kill(&mut self) {
        self.0.kill();
    }
}

impl Finished {
    /// Panics with all output if the exit code differs from the expected one.
    #[expect(clippy::return_self_not_must_use, reason = "most callers only want the check")]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.stdout))
    }
}

impl Deployment {
    /// Creates a deployment with four event partitions and an empty store.
    pub async fn new(broker: &Broker) -> Self {
        Self::with_partitions(broker, 4).await
    }

    /// Creates a deployment with `partitions` event partitions (always four on the embedded broker) and an empty store.
    pub async fn with_partitions(broker: &Broker, partitions: i32) -> Self {
        let (topic, dlq_topic) = broker.topics(partitions).await;
        let group = format!("order-tests-{}", unique());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store_url = match broker.postgres {
            Some(server) => server.database().await,
            None => format!("sqlite://{}", folder.path().join("orders.db").display()),
        };
        let broker = broker.clone();
        Self { broker, program: order_service(), topic, dlq_topic, group, folder, store_url, settings: BTreeMap::new() }
    }

    /// Creates a deployment of the domain whose events script their own failures.
    pub async fn of_scripts(broker: &Broker, partitions: i32) -> Self {
        Self { program: order_chaos(), ..Self::with_partitions(broker, partitions).await }
    }

    /// Adds a setting for every service and command started from now on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// [`with`](Self::with) for an existing deployment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.into(), value.into());
    }

    /// The topic of the events.
    pub fn events(&self) -> Topic {
        Topic::new(self.broker.address(), &self.topic)
    }

    /// The topic of the dead letters.
    pub fn dead_letters(&self) -> Topic {
        Topic::new(self.broker.address(), &self.dlq_topic)
    }

    /// Another topic of the broker.
    pub fn topic(&self, name: &str) -> Topic {
        Topic::new(self.broker.address(), name)
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// `STORE_URL`.
    pub fn store_url(&self) -> &str {
        &self.store_url
    }

    /// The URL of a store for services: through the server's proxy, if it has one.
    pub(crate) fn service_store_url(&self, url: &str) -> String {
        self.broker.postgres.map_or_else(|| url.to_owned(), |server| server.by_proxy(url))
    }

    /// The folder in which services and commands run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the service on a free port and returns at once.
    pub fn start(&self) -> Service {
        self.start_with(&[])
    }

    /// [`start`](Self::start) with settings for this instance only.
    pub fn start_with(&self, settings: &[(&str, &str)]) -> Service {
        let port = free_port();
        let mut command = self.command(["run"]);
        command.env("APP_PORT", port.to_string()).envs(settings.iter().copied());
        Service::new(Process::spawn(format!("the service on port {port}"), &mut command), port)
    }

    /// Starts the service without reading its log.
    pub fn start_unread(&self) -> Service {
        let port = free_port();
        let mut command = self.command(["run"]);
        command.env("APP_PORT", port.to_string());
        Service::new(Process::spawn_unread(format!("the service on port {port}"), &mut command), port)
    }

    /// Starts the service and waits until it is ready.
    pub async fn start_ready(&self) -> Service {
        let mut service = self.start();
        service.wait_ready(PATIENCE).await;
        service
    }

    /// Runs a command of the service and waits for its end.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        self.run_into(arguments, Stdio::piped()).await
    }

    /// [`run`](Self::run) with the given standard output.
    pub async fn run_into<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        stdout: impl Into<Stdio>,
    ) -> Finished {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().expect("order-service starts");
        let output = tokio::time::timeout(COMMAND_DEADLINE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("{command:?} still runs after {COMMAND_DEADLINE:?}"));
        let output = output.expect("waiting for a child process works");
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a command of the service and returns at once.
    pub fn spawn<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Spawned {
        Spawned(Process::spawn("a command", &mut self.command(arguments)))
    }

    /// Runs `publish --sample` with further arguments; panics if it fails.
    pub async fn publish_sample(&self, orders: u32, further: &[&str]) {
        let orders = orders.to_string();
        let arguments = ["publish", "--sample", &orders, "--yes"].into_iter().chain(further.iter().copied());
        self.run(arguments).await.expect_code(0);
    }

    /// Passes the broker, the topics and the settings to a program.
    pub(crate) fn name_places(&self, command: &mut Command) {
        command
            .env("KAFKA_BROKER_URL", self.broker.service_address())
            .env("KAFKA_TOPIC", &self.topic)
            .env("KAFKA_DLQ_TOPIC", &self.dlq_topic);
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        // With the newer group protocol, the broker determines the settings that the harness would set.
        let newer = self.settings.get("KAFKA_GROUP_PROTOCOL").is_some_and(|protocol| protocol == "consumer");
        let of_broker = if newer { &[] } else { self.broker.settings() };
        let mut command = Command::new(self.program);
        without_own_settings(&mut command).args(arguments);
        self.name_places(&mut command);
        command
            .current_dir(self.folder.path())
            .env("APP_RELOAD", "false")
            .env("KAFKA_EMBEDDED", "never")
            .env("KAFKA_GROUP_ID", &self.group)
            .env("STORE_URL", &self.store_url)
            .env("NO_COLOR", "1")
            .envs(of_broker.iter().copied())
            .envs(&self.settings);
        command
    }
}

/// Removes the settings of the developer's shell from the process. Its working folder has no `.env`.
pub(crate) fn without_own_settings(command: &mut Command) -> &mut Command {
    const OURS: [&str; 6] = ["APP_", "KAFKA_", "STORE_", "LOG_", "OTEL_", "RUST_LOG"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text == "PRODUCTION_ENV" || OURS.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}
