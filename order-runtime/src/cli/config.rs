//! `config`.

use std::process::ExitCode;

use serde::Serialize;

use super::{Context, Failure};

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    value: Option<&'a str>,
    origin: String,
}

pub(super) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let rows: Vec<Row<'_>> = context
        .config
        .in_force
        .iter()
        .map(|setting| Row { name: &setting.name, value: setting.value.as_deref(), origin: setting.origin.to_string() })
        .collect();
    context.output.rows(&["VARIABLE", "VALUE", "FROM"], &rows, |row| {
        vec![row.name.to_owned(), row.value.unwrap_or("-").to_owned(), row.origin.clone()]
    })?;
    Ok(ExitCode::SUCCESS)
}
