//! Output of commands: results go to standard output, everything else to standard error.

use std::{
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write},
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{Failure, Format};
use crate::telemetry::logs;

/// The output settings of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    pub(super) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether results are written as JSON.
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Writes rows as a table, or as a JSON array of objects.
    pub(super) fn rows<T: Serialize>(
        self,
        header: &[&str],
        items: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => Self::json(&items),
            Format::Table => {
                let mut table = Table::new();
                table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
                table.set_header(header.to_vec());
                for item in items {
                    // A row is one line; external values may contain line breaks or terminal control characters.
                    table.add_row(row(item).iter().map(|cell| printable(cell)));
                }
                let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
                Self::document(&text.join("\n"))
            }
        }
    }

    /// Writes one result: as JSON if that format is set, else as `text`.
    pub(super) fn one<T: Serialize>(self, item: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => Self::json(item),
            Format::Table => Self::document(&text()),
        }
    }

    fn json<T: Serialize>(item: &T) -> Result<(), Failure> {
        Self::document(&escaped(&serde_json::to_string_pretty(item).map_err(Failure::failed)?))
    }

    /// Writes a document that has the same form in every output format.
    pub(super) fn document(text: &str) -> Result<(), Failure> {
        write(&mut io::stdout().lock(), text)
            .map_err(|error| Failure::failed(format!("the result cannot be written to standard output: {error}")))
    }

    /// Whether only results are written.
    pub(super) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Writes a hint to standard error, unless the command is quiet.
    pub(super) fn hint(self, text: impl Display) {
        if !self.quiet {
            // A hint that cannot be written does not fail the command.
            let _ = write(&mut io::stderr(), &text.to_string());
        }
    }
}

/// Writes an error to standard error.
pub(super) fn error(error: &impl Display) {
    let mark = if crate::telemetry::colours(&io::stderr()) { "\x1b[1;31merror\x1b[0m" } else { "error" };
    logs::write(&format!("{mark}: {error}\n"));
}

/// Asks for confirmation. False if standard input is not a terminal.
pub(super) fn agrees(question: &str) -> bool {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() {
        return false;
    }
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    stdin.read_line(&mut answer).is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Replaces control characters and direction marks in external text by U+FFFD, so that it cannot control a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() || is_direction(letter) { '\u{fffd}' } else { letter }).collect()
}

/// Escapes control characters and direction marks in JSON, so that it cannot control a terminal. JSON has such characters only in
/// strings, so its meaning does not change; line breaks between members stay.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter != '\n' && (letter.is_control() || is_direction(letter)) {
            // Writing to a string does not fail. All of these characters fit into four digits.
            let _ = write!(out, "\\u{:04x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

/// Whether a character changes the direction of text, so that a reader sees another order than a program
/// (<https://www.unicode.org/reports/tr9/>, section 2).
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    let written = writeln!(stream, "{text}").and_then(|()| stream.flush());
    // A reader that closes the pipe early, for example `head`, is not an error.
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_result_that_cannot_be_written_is_a_failure_unless_the_reader_closed_the_pipe() {
        assert!(write(&mut Fails(io::ErrorKind::StorageFull), "result").is_err());
        assert!(write(&mut Fails(io::ErrorKind::BrokenPipe), "result").is_ok());
    }

    #[test]
    fn values_cannot_control_a_terminal() {
        assert_eq!(printable("a\x1b[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(printable("a\u{9b}31mb\u{202e}c"), "a\u{fffd}31mb\u{fffd}c");
    }

    #[test]
    fn escaped_json_cannot_control_a_terminal_and_keeps_its_meaning() {
        let value = serde_json::json!({"a": "\u{9b}31m \u{202e}x \u{7f} é 日", "b": [1]});
        let text = escaped(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(
            text.chars().all(|letter| letter == '\n' || printable(&letter.to_string()) == letter.to_string()),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
        assert!(text.contains("é 日"), "{text}");
    }
}
