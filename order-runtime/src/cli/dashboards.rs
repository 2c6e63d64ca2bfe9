//! `dashboards`.

use std::process::ExitCode;

use super::{Context, Failure, output::Output};
use crate::exposition::dashboards;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// A dashboard for Grafana, as JSON to import.
    Grafana,
    /// Alert rules for Prometheus, as YAML for `rule_files`; with `--output json` as JSON.
    Alerts,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<ExitCode, Failure> {
    let registry = context.registry()?;
    let name = context.dispatcher.name;
    match command {
        Command::Grafana => {
            let dashboard = dashboards::grafana(name, &context.config.app.name, &registry);
            Output::document(&format!("{dashboard:#}"))?;
        }
        Command::Alerts if context.output.is_json() => {
            Output::document(&format!("{:#}", dashboards::alerts_json(name, &registry)))?;
        }
        Command::Alerts => Output::document(dashboards::alerts(name, &registry).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}
