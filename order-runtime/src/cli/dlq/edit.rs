//! `dlq edit`.

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use uuid::Uuid;

use super::{Context, Failure, operator_name, read_only, with_publisher};
use crate::{
    broker::Publisher,
    cli::output,
    dead_letters::{DeadLetterService, EditError, Edited},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The dead letter's id.
    id: String,
    /// The whole corrected event: JSON, or @FILE for a file; without it, `$VISUAL` or `$EDITOR` opens the event.
    #[arg(value_name = "JSON|@FILE")]
    event: Option<String>,
    /// Only check the event and show the changes.
    #[arg(long)]
    dry_run: bool,
}

/// A new payload, and the editor's file if there is one.
struct Written {
    payload: String,
    file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let written = match arguments.event.as_deref() {
        Some(event) => Some(Written { payload: given(event)?, file: None }),
        None => in_editor(context, &arguments.id)?,
    };
    let Some(written) = written else {
        context.output.hint("nothing has changed, so nothing is sent; `dlq replay` sends the event unchanged");
        return Ok(ExitCode::SUCCESS);
    };
    let by = operator_name();
    let correction = Correction { by: &by, id: &arguments.id, payload: &written.payload, dry_run: arguments.dry_run };
    let agrees = |edited: &Edited| {
        context.yes || {
            context.output.hint(as_text(edited));
            output::agrees("send this?")
        }
    };
    let edited = with_publisher(context, async |service, publisher| correction.send(service, publisher, agrees).await);
    if let Some(file) = &written.file {
        match &edited {
            Ok(_) => drop(fs::remove_file(file)),
            // The operator must not have to type the text again.
            Err(_) => context.output.hint(format!("your text is kept in {0}; continue with @{0}", file.display())),
        }
    }
    let edited = edited?;
    context.output.one(&edited, || as_text(&edited))?;
    Ok(ExitCode::SUCCESS)
}

/// A corrected letter.
struct Correction<'a> {
    by: &'a str,
    id: &'a str,
    payload: &'a str,
    dry_run: bool,
}

impl Correction<'_> {
    /// Checks the correction, and sends it if `agrees` returns true for the preview.
    async fn send(
        &self,
        service: &DeadLetterService,
        publisher: &dyn Publisher,
        agrees: impl Fn(&Edited) -> bool,
    ) -> Result<Edited, Failure> {
        let attempt = async |dry_run| {
            service.edit(publisher, self.by, self.id, None, self.payload, dry_run).await.map_err(|error| match error {
                EditError::DeadLetterService(error) => Failure::from(error),
                invalid @ EditError::Invalid(_) => Failure::failed(invalid),
            })
        };
        let edited = attempt(true).await?;
        if self.dry_run {
            return Ok(edited);
        }
        if !agrees(&edited) {
            return Err(Failure::wrong_use(
                "nothing is sent without confirmation; give --yes, or preview with --dry-run",
            ));
        }
        attempt(false).await
    }
}

fn as_text(edited: &Edited) -> String {
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

/// Opens the payload in the operator's editor; `None` if it is unchanged.
fn in_editor(context: &Context, id: &str) -> Result<Option<Written>, Failure> {
    let named = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let (Some(editor), true) = (named("VISUAL").or_else(|| named("EDITOR")), io::stdin().is_terminal()) else {
        return Err(Failure::wrong_use(
            "give the corrected event as JSON or as @FILE, or set EDITOR and run this command on a terminal",
        ));
    };
    let document = read_only(context, async |service| Ok(service.document(id).await?))?;
    written_by(&editor, &document, &std::env::temp_dir())
}

/// Opens a document in an editor, in a file that only its owner can read. The file is kept only if the document was changed.
fn written_by(editor: &str, document: &str, directory: &Path) -> Result<Option<Written>, Failure> {
    let path = directory.join(format!("dead-letter-{}.json", Uuid::new_v4()));
    let failed = |error: io::Error| Failure::failed(format!("cannot use {}: {error}", path.display()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).and_then(|mut file| file.write_all(document.as_bytes())).map_err(failed)?;
    // Run by the shell, like git does: `EDITOR` may have arguments and quotes.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$@\"")).arg(editor).arg(&path).status();
    let payload = match status {
        Ok(status) if status.success() => fs::read_to_string(&path).map_err(failed),
        Ok(status) => Err(Failure::failed(format!("the editor {editor} ended with {status}, so nothing is sent"))),
        Err(error) => Err(Failure::failed(format!("cannot start the editor {editor}: {error}"))),
    };
    match payload {
        Ok(payload) if payload.trim() != document.trim() => Ok(Some(Written { payload, file: Some(path) })),
        nothing_new => {
            // The file may contain personal data.
            drop(fs::remove_file(&path));
            nothing_new.map(|_| None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::tests::{Topic, id, letter, service};

    /// A directory with an editor script, whose name has a space, that runs `does` on the file `$FILE`.
    fn editor(does: &str) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("the editor.sh");
        // The file comes after the arguments of `EDITOR`.
        fs::write(&script, format!("for FILE; do :; done\n{does}\n")).expect("a script");
        let editor = format!("sh '{}'", script.display());
        (directory, editor)
    }

    fn left(directory: &tempfile::TempDir) -> usize {
        let files = fs::read_dir(directory.path()).expect("a directory").filter_map(Result::ok);
        files.filter(|file| file.path().extension().is_some_and(|end| end == "json")).count()
    }

    async fn document() -> (DeadLetterService, String) {
        let service = service(vec![letter(1, "rejected", 0)]);
        let document = service.document(&id(1)).await.expect("it is there");
        (service, document)
    }

    #[tokio::test]
    async fn an_unchanged_document_is_not_sent() {
        let (_, document) = document().await;
        let (directory, editor) = editor(r#"test -s "$FILE""#);
        assert!(written_by(&editor, &document, directory.path()).expect("the editor succeeds").is_none());
        assert_eq!(left(&directory), 0);
    }

    #[tokio::test]
    async fn a_corrected_document_is_shown_and_sent() {
        let (service, document) = document().await;
        let (directory, editor) = editor(r#"test "$1" = --wait && sed -i 's/"n": 1/"n": 1.50/' "$FILE""#);
        let written =
            written_by(&format!("{editor} --wait"), &document, directory.path()).expect("the editor succeeds");
        let written = written.expect("the document has changed");
        assert!(written.file.is_some_and(|file| file.is_file()), "the file is kept until the event is sent");
        let topic = Topic::default();
        let correction = Correction { by: "somebody", id: &id(1), payload: &written.payload, dry_run: false };
        let refused = correction.send(&service, &topic, |_| false).await.expect_err("it is not confirmed");
        assert!(refused.to_string().contains("nothing is sent without confirmation"), "{refused}");
        assert!(topic.taken().is_empty());
        let edited = correction.send(&service, &topic, |_| true).await.expect("it is right");
        let reported = as_text(&edited);
        assert!(
            reported.contains("-    \"n\": 1\n+    \"n\": 1.50\n") && reported.contains("sent it again"),
            "{reported}"
        );
        let sent = topic.taken().remove(0).payload.expect("a payload");
        assert_eq!(String::from_utf8(sent.into()).expect("text"), written.payload.trim());
    }

    #[tokio::test]
    async fn an_invalid_correction_is_reported_and_not_sent() {
        let (service, document) = document().await;
        let (directory, editor) = editor(r#"sed -i 's/"Added"/"Addde"/' "$FILE""#);
        let written = written_by(&editor, &document, directory.path()).expect("it succeeds").expect("a new text");
        let topic = Topic::default();
        let correction = Correction { by: "somebody", id: &id(1), payload: &written.payload, dry_run: false };
        let error = correction.send(&service, &topic, |_| true).await.expect_err("no processor handles it");
        assert!(error.to_string().contains("did you mean Added?"), "{error}");
        assert!(topic.taken().is_empty());
    }

    #[tokio::test]
    async fn an_editor_that_fails_sends_nothing() {
        let (_, document) = document().await;
        let (directory, editor) = editor("echo '{}' > \"$FILE\"; exit 3");
        for (editor, expected) in [(editor.as_str(), "exit status: 3"), ("/no/such/editor", "exit status: 127")] {
            let error = written_by(editor, &document, directory.path()).err().expect("it fails").to_string();
            assert!(error.contains(expected) && error.contains("nothing is sent"), "{error}");
        }
        assert_eq!(left(&directory), 0, "no payload is left on disk");
    }
}
