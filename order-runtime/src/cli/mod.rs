//! The command line.

mod broker;
mod check;
mod config;
mod dashboards;
mod dlq;
mod documents;
mod entities;
mod examples;
mod output;
mod processors;
mod progress;
mod publish;
mod replay;
mod run;
mod shell;
mod store;
mod waiting;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use self::output::Output;
use crate::{
    broker::BrokerError,
    config::{Config, ConfigErrors, Defaults, EnvFile, Flags},
    dead_letters::DeadLetterError,
    dispatcher::Dispatcher,
    documents::Kind,
    model::TopicPattern,
    registry::{Registry, RegistryErrors},
    store::StoreError,
    telemetry::logs,
};

/// Time limit for flushing the log when the process ends.
const LOG: Duration = Duration::from_secs(1);

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
    /// Bootstrap brokers, host:port; overrides `KAFKA_BROKER_URL`.
    #[arg(long, global = true, value_name = "ADDRESS")]
    bootstrap_server: Option<String>,
    /// Output format of results.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// File with settings, which the environment overrides; `.env` by default.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Skip confirmation questions.
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    yes: bool,
    /// Write results only: no progress, no hints, and only errors in the log.
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    Table,
    /// JSON for programs.
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
    /// List the entities and their tables, or compare them with what was released; works offline.
    Entities(entities::Arguments),
    /// Show every setting, its value and where it comes from.
    Config,
    /// Check events and send them to the first topic of `KAFKA_TOPIC`.
    Publish(publish::Arguments),
    /// List, show, replay, edit, park and purge dead letters.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// List waiting keys and release them.
    #[command(subcommand)]
    Waiting(waiting::Command),
    /// Replay a range of a topic through this build, outside the consumer group.
    Replay(replay::Arguments),
    /// Describe topics and messages as AsyncAPI; works offline.
    #[command(name = "asyncapi")]
    AsyncApi(documents::Arguments),
    /// Describe the HTTP routes as OpenAPI; works offline.
    #[command(name = "openapi")]
    OpenApi(documents::Arguments),
    /// Describe the events as JSON Schema; works offline.
    Schema(documents::Arguments),
    /// Write a dashboard for Grafana or alert rules for Prometheus, generated from the declarations; works offline.
    #[command(subcommand)]
    Dashboards(dashboards::Command),
    /// Run the embedded development broker alone, at `KAFKA_BROKER_URL`.
    Broker,
    /// Write a shell's completion script; works offline.
    Completions(shell::Completions),
    /// Write manual pages; works offline.
    Man(shell::Man),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Wrong use or wrong configuration: exit code 2.
    #[error("{0}")]
    Use(String),
    /// The command ran and failed: exit code 1.
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

impl From<DeadLetterError> for Failure {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::Broker(error) => error.into(),
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

/// The context of every command.
struct Context {
    dispatcher: Dispatcher,
    config: Config,
    output: Output,
    /// Skips confirmation questions.
    yes: bool,
}

impl Context {
    fn registry(&self) -> Result<Arc<Registry>, Failure> {
        let registry = Arc::new(Registry::build(&self.config.app.contracts)?);
        registry.check_entities(&self.dispatcher.entities)?;
        Ok(registry)
    }

    /// The topic that events are sent to.
    fn topic(&self) -> Result<&str, Failure> {
        TopicPattern::first_name(&self.config.kafka.topics).ok_or_else(|| {
            Failure::wrong_use("KAFKA_TOPIC has patterns only; name the topic that events are sent to as well")
        })
    }
}

/// The operator's name for the audit: `cli:` and the user name, or the user id if no name is set.
fn operator_name() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    name.map_or_else(|| format!("cli:uid {}", rustix::process::getuid().as_raw()), |name| format!("cli:{name}"))
}

/// Runs a command's future on a runtime with one worker thread.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?
        .block_on(work)
}

/// The whole command line of a service.
fn command_line(dispatcher: &Dispatcher) -> clap::Command {
    let command = Cli::command().name(dispatcher.package).version(dispatcher.version);
    examples::add(command, dispatcher.package)
}

/// Runs the command of the process and returns the exit code for `main`.
pub(crate) fn run(dispatcher: Dispatcher) -> ExitCode {
    let parsed = command_line(&dispatcher).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { command, common } = match parsed {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let code = match execute(dispatcher, command.unwrap_or(Command::Run(run::Arguments::default())), common) {
        Ok(code) => code,
        Err(failure) => {
            output::error(&failure);
            ExitCode::from(match failure {
                Failure::Use(_) => 2,
                Failure::Failed(_) => 1,
            })
        }
    };
    logs::flush(LOG);
    code
}

/// The environment as text. Invalid UTF-8 in a value becomes U+FFFD; if the variable is a setting, the configuration refuses it.
fn environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (String, String)> {
    // No setting has a name that is not UTF-8.
    let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named.map(|(name, value)| (name, value.to_string_lossy().into_owned()))
}

fn execute(dispatcher: Dispatcher, command: Command, common: Common) -> Result<ExitCode, Failure> {
    // Shells and packagers run these commands without a configuration.
    match &command {
        Command::Completions(arguments) => return shell::completions(command_line(&dispatcher), arguments),
        Command::Man(arguments) => return shell::man(command_line(&dispatcher), arguments),
        _ => {}
    }
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
    let defaults = Defaults::of(dispatcher.name, dispatcher.package);
    let (mut config, warnings) = Config::load_over(&defaults, &flags, environment(std::env::vars_os()), &env_file)?;
    if common.quiet && config.log.filter != "off" {
        "error".clone_into(&mut config.log.filter);
    }
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
        Command::Entities(arguments) => entities::run(&context, &arguments),
        Command::Config => config::run(&context),
        Command::Publish(arguments) => publish::run(&context, arguments),
        Command::Dlq(command) => dlq::run(&context, command),
        Command::Waiting(command) => waiting::run(&context, command),
        Command::Replay(arguments) => replay::run(&context, &arguments),
        Command::AsyncApi(arguments) => documents::run(&context, Kind::AsyncApi, &arguments),
        Command::OpenApi(arguments) => documents::run(&context, Kind::OpenApi, &arguments),
        Command::Schema(arguments) => documents::run(&context, Kind::Schema, &arguments),
        Command::Dashboards(command) => dashboards::run(&context, &command),
        Command::Broker => broker::run(&context),
        Command::Completions(arguments) => shell::completions(command_line(&context.dispatcher), &arguments),
        Command::Man(arguments) => shell::man(command_line(&context.dispatcher), &arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_setting_that_is_not_utf_8_is_refused_and_not_ignored() {
        use std::os::unix::ffi::OsStringExt;
        let broken = |text: &[u8]| OsString::from_vec(text.to_vec());
        let variables = [
            (OsString::from("APP_ADMIN_TOKEN"), broken(b"0123456789abcdef\xff")),
            (OsString::from("SOMEBODY_ELSES"), broken(b"\xff")),
            (broken(b"\xff"), OsString::from("1")),
        ];
        let loaded = Config::load(&Flags::default(), environment(variables), &EnvFile::None);
        let errors = loaded.expect_err("the token must not be ignored").to_string();
        assert_eq!(errors, "APP_ADMIN_TOKEN: the value (environment) is not valid; expected UTF-8 text");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
