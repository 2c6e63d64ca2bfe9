//! `entities`.

use std::{fs, path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::{Context, Failure};
use crate::{
    registry,
    store::table::{Description, Lock},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Compare the tables with those of a lock file; exit code 1 if a store of a released version would break.
    #[arg(long, value_name = "FILE", conflicts_with = "lock")]
    check: Option<PathBuf>,
    /// Write the tables to a lock file, which names what a release has. Refused if they break what the file has.
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
}

/// An entity in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntityRow {
    entity: &'static str,
    table: &'static str,
    version: Option<u32>,
    columns: Vec<&'static str>,
    filters: &'static [&'static str],
    at: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    // Checks that no two entities have one table.
    context.registry()?;
    let tables = || registry::declared_entities().into_iter().filter_map(|entry| entry.description);
    if let Some(path) = arguments.check.as_ref().or(arguments.lock.as_ref()) {
        let shown = path.display();
        match fs::read_to_string(path) {
            Ok(text) => {
                let lock: Lock = serde_json::from_str(&text)
                    .map_err(|error| Failure::wrong_use(format!("{shown} is not a lock of entities: {error}")))?;
                let broken = lock.broken(tables());
                if !broken.is_empty() {
                    return Err(Failure::Failed(format!("the entities break {shown}:\n  {}", broken.join("\n  "))));
                }
            }
            // The first release has no lock yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && arguments.lock.is_some() => {}
            Err(error) => return Err(Failure::wrong_use(format!("cannot read {shown}: {error}"))),
        }
        if arguments.lock.is_some() {
            let lock = serde_json::to_string_pretty(&Lock::of(tables())).map_err(Failure::failed)?;
            fs::write(path, lock + "\n").map_err(|error| Failure::failed(format!("cannot write {shown}: {error}")))?;
        }
        context.output.hint(format!("the entities keep what {shown} has"));
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<EntityRow> = registry::declared_entities()
        .into_iter()
        .map(|entry| {
            let entity = (entry.entity)();
            EntityRow {
                entity: entity.name,
                table: entity.table,
                version: entry.description.map(Description::version),
                columns: entry
                    .description
                    .map_or(&[][..], |table| table.columns)
                    .iter()
                    .map(|column| column.name)
                    .collect(),
                filters: entity.filters,
                at: entry.place.to_string(),
            }
        })
        .collect();
    context.output.rows(&["ENTITY", "TABLE", "VERSION", "COLUMNS", "FILTERS", "AT"], &rows, |row| {
        vec![
            row.entity.to_owned(),
            row.table.to_owned(),
            row.version.map_or_else(|| "by hand".to_owned(), |version| version.to_string()),
            row.columns.join(", "),
            row.filters.join(", "),
            row.at.clone(),
        ]
    })?;
    Ok(ExitCode::SUCCESS)
}
