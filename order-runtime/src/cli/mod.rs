//! The command line.

mod broker;
mod check;
mod config;
mod dashboards;
mod dlq;
mod documents;
mod output;
mod processors;
mod progress;
mod publish;
mod replay;
mod run;
mod store;
mod waiting;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use self::output::Output;
use crate::{
    Dispatcher,
    broker::BrokerError,
    config::{Config, ConfigErrors, EnvFile, Flags},
    dead_letters::DeskError,
    documents::Kind,
    registry::{Registry, RegistryErrors},
    store::StoreError,
};

/// Processes events from Kafka; without a command it runs the service.
#[derive(Debug, Parser)]
#[command(
    arg_required_else_help = false,
    after_help = "Settings come from flags, the environment and `.env`; the command `config` shows them. Exit codes: 0 done, 1 failed, 2 wrong use or wrong configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Brokers to begin with, host:port; goes over `KAFKA_BROKER_URL`.
    #[arg(long, global = true, value_name = "ADDRESS")]
    bootstrap_server: Option<String>,
    /// How results are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Settings to read below the environment; `.env` where nothing is said.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Do it without asking.
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    yes: bool,
    /// Results only: no progress, no hints.
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume events and serve HTTP; the default.
    Run(run::Arguments),
    /// Check configuration, declarations, store and broker; consumes nothing.
    Check,
    /// List the event processors; works offline.
    Processors,
    /// Show every setting, its value and where it comes from.
    Config,
    /// Check events and send them to the first topic of `KAFKA_TOPIC`.
    Publish(publish::Arguments),
    /// Look at dead letters, replay, edit, park and purge them.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Look at keys that wait and release them.
    #[command(subcommand)]
    Waiting(waiting::Command),
    /// Run a range of a topic through this build again, without touching the group.
    Replay(replay::Arguments),
    /// Describe topics and messages as AsyncAPI; works offline.
    #[command(name = "asyncapi")]
    AsyncApi(documents::Arguments),
    /// Describe the HTTP routes as OpenAPI; works offline.
    #[command(name = "openapi")]
    OpenApi(documents::Arguments),
    /// Describe the events as JSON Schema; works offline.
    Schema(documents::Arguments),
    /// Write a dashboard for Grafana or alert rules for Prometheus, made from what is declared; works offline.
    #[command(subcommand)]
    Dashboards(dashboards::Command),
    /// Run the embedded development broker alone, at `KAFKA_BROKER_URL`.
    Broker,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Wrong use or wrong configuration: exit code 2.
    #[error("{0}")]
    Use(String),
    /// It was tried and failed: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }

    fn wrong_use(error: impl ToString) -> Self {
        Self::Use(error.to_string())
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Property { .. } => Self::wrong_use(error),
            other => Self::failed(other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error)
    }
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Broker(error) => error.into(),
            other => Self::failed(other),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::wrong_use(errors)
    }
}

impl From<RegistryErrors> for Failure {
    fn from(errors: RegistryErrors) -> Self {
        Self::wrong_use(errors)
    }
}

/// What every command works with.
struct Context {
    dispatcher: Dispatcher,
    config: Config,
    output: Output,
    /// Do it without asking.
    yes: bool,
}

impl Context {
    fn registry(&self) -> Result<Arc<Registry>, Failure> {
        let registry = Arc::new(Registry::build(&self.config.app.contracts)?);
        registry.check_entities(&self.dispatcher.entities)?;
        Ok(registry)
    }

    /// The topic that events are sent to: the first one that is a name.
    fn topic(&self) -> Result<&str, Failure> {
        let mut names = self.config.kafka.topics.iter().filter(|topic| !topic.starts_with('^'));
        names.next().map(String::as_str).ok_or_else(|| {
            Failure::wrong_use("KAFKA_TOPIC has patterns only; name the topic that events are sent to as well")
        })
    }
}

/// Who acts, for the audit: by name, or where the system tells none by number.
fn actor() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    name.map_or_else(|| format!("cli:uid {}", rustix::process::getuid().as_raw()), |name| format!("cli:{name}"))
}

/// Runs what a command waits for; it needs little of a runtime.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no thread can be started: {error}")))?
        .block_on(work)
}

/// Runs the command that the process was started with. `main` returns what it answers.
pub(crate) fn run(dispatcher: Dispatcher) -> ExitCode {
    let command = Cli::command().name(dispatcher.package).version(dispatcher.version);
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { command, common } = match parsed {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match execute(dispatcher, command.unwrap_or(Command::Run(run::Arguments::default())), common) {
        Ok(code) => code,
        Err(failure) => {
            output::error(&failure);
            ExitCode::from(match failure {
                Failure::Use(_) => 2,
                Failure::Failed(_) => 1,
            })
        }
    }
}

fn execute(dispatcher: Dispatcher, command: Command, common: Common) -> Result<ExitCode, Failure> {
    let workers = match &command {
        Command::Run(arguments) => arguments.workers.clone(),
        _ => None,
    };
    let flags = Flags::default().with("KAFKA_BROKER_URL", "--bootstrap-server", common.bootstrap_server).with(
        "APP_WORKERS",
        "--workers",
        workers,
    );
    let env_file = common.env_file.map_or(EnvFile::Default, EnvFile::Path);
    // A variable whose name or value is not UTF-8 is none of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let (config, warnings) = Config::load(&flags, environment, &env_file)?;
    crate::telemetry::init(&config.log);
    for warning in warnings {
        tracing::warn!(variable = warning.name, "{}", warning.text);
    }
    let output = Output::new(common.output, common.quiet);
    let context = Context { dispatcher, config, output, yes: common.yes };
    match command {
        Command::Run(_) => run::run(context),
        Command::Check => check::run(&context),
        Command::Processors => processors::run(&context),
        Command::Config => Ok(config::run(&context)),
        Command::Publish(arguments) => publish::run(&context, arguments),
        Command::Dlq(command) => dlq::run(&context, command),
        Command::Waiting(command) => waiting::run(&context, command),
        Command::Replay(arguments) => replay::run(&context, &arguments),
        Command::AsyncApi(arguments) => documents::run(&context, Kind::AsyncApi, &arguments),
        Command::OpenApi(arguments) => documents::run(&context, Kind::OpenApi, &arguments),
        Command::Schema(arguments) => documents::run(&context, Kind::Schema, &arguments),
        Command::Dashboards(command) => dashboards::run(&context, &command),
        Command::Broker => broker::run(&context),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
