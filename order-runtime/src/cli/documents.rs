//! `asyncapi`, `openapi`, `schema`.

use std::{fs, path::PathBuf, process::ExitCode};

use serde_json::Value;

use super::{Context, Failure, output::Output};
use crate::documents::{self, Declared, Kind};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Compare with an earlier document instead of writing one; exit code 1 if a change breaks it.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub(super) fn run(context: &Context, kind: Kind, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let registry = context.registry()?;
    let declared = Declared {
        dispatcher: &context.dispatcher,
        config: &context.config,
        registry: &registry,
        routes: crate::http::routes,
    };
    let document = documents::document(kind, &declared);
    let Some(path) = &arguments.check else {
        Output::document(&format!("{document:#}"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| Failure::wrong_use(format!("cannot read {shown}: {error}")))?;
    let earlier: Value =
        serde_json::from_str(&text).map_err(|error| Failure::wrong_use(format!("{shown} is not JSON: {error}")))?;
    let broken = documents::broken(&earlier, &document);
    if broken.is_empty() {
        context.output.hint(format!("no change breaks {shown}"));
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Failed(format!("changes break {shown}:\n  {}", broken.join("\n  "))))
}
