//! `dlq edit`.

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::{self, ExitCode},
};

use uuid::Uuid;

use super::{Context, Failure, acting, actor, looking};
use crate::{
    broker::Publisher,
    cli::output,
    dead_letters::{Desk, EditError, Edited},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The dead letter's id.
    id: String,
    /// The whole event as it should have been: JSON, or @FILE for a file; where nothing is said, `$VISUAL` or `$EDITOR` opens it.
    #[arg(value_name = "JSON|@FILE")]
    event: Option<String>,
    /// Only check it and show what would change.
    #[arg(long)]
    dry_run: bool,
}

/// A new payload, and the file that an editor has left.
struct Written {
    payload: String,
    file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let written = match arguments.event.as_deref() {
        Some(event) => Written { payload: given(event)?, file: None },
        None => in_editor(context, &arguments.id)?,
    };
    let result = correct(context, arguments, &written.payload);
    if let Some(file) = &written.file {
        match &result {
            Ok(_) => drop(fs::remove_file(file)),
            // Nobody types it twice.
            Err(_) => context.output.hint(format!("what you have written is in {0}; go on with @{0}", file.display())),
        }
    }
    result
}

fn correct(context: &Context, arguments: &Arguments, payload: &str) -> Result<ExitCode, Failure> {
    let by = actor();
    let attempt = async |desk: &Desk, publisher: &dyn Publisher, dry_run| {
        desk.edit(publisher, &by, &arguments.id, payload, dry_run).await.map_err(|error| match error {
            EditError::Desk(error) => Failure::from(error),
            invalid @ EditError::Invalid(_) => Failure::failed(invalid),
        })
    };
    let edited = acting(context, async |desk, publisher| {
        let edited = attempt(desk, publisher, true).await?;
        if arguments.dry_run {
            return Ok(edited);
        }
        if !context.yes {
            context.output.hint(human(&edited));
            if !output::agrees("send this?") {
                return Err(Failure::wrong_use(
                    "nothing is sent without a yes; give --yes, or look first with --dry-run",
                ));
            }
        }
        attempt(desk, publisher, false).await
    })?;
    context.output.one(&edited, || human(&edited));
    Ok(ExitCode::SUCCESS)
}

fn human(edited: &Edited) -> String {
    let verb = if edited.dry_run { "would send" } else { "sent" };
    let lines: Vec<String> = edited.diff.lines().map(output::printable).collect();
    format!("{}\n{verb} it again as the event {}; it {}", lines.join("\n"), edited.event_id, edited.trial)
}

fn given(event: &str) -> Result<String, Failure> {
    match event.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::failed(format!("the file {path} cannot be read: {error}"))),
        None => Ok(event.to_owned()),
    }
}

/// Opens the payload in the operator's editor. The file is readable for nobody else.
fn in_editor(context: &Context, id: &str) -> Result<Written, Failure> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok()).filter(|text| !text.is_empty());
    let (Some(editor), true) = (editor, io::stdin().is_terminal()) else {
        return Err(Failure::wrong_use(
            "say what the event should have been: as JSON, as @FILE, or on a terminal in the editor that EDITOR names",
        ));
    };
    let document = looking(context, async |desk| Ok(desk.document(id).await?))?;
    let path = std::env::temp_dir().join(format!("dead-letter-{}.json", Uuid::new_v4()));
    let failed = |error: io::Error| Failure::failed(format!("{} cannot be used: {error}", path.display()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).and_then(|mut file| file.write_all(document.as_bytes())).map_err(failed)?;
    // `EDITOR` may have arguments, `code --wait` say.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or(&editor);
    let status = process::Command::new(program).args(words).arg(&path).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(Failure::failed(format!("the editor {editor} has ended with {status}"))),
        Err(error) => return Err(Failure::failed(format!("the editor {editor} does not start: {error}"))),
    }
    let payload = fs::read_to_string(&path).map_err(failed)?;
    Ok(Written { payload, file: Some(path) })
}
