//! What commands write: results to standard output, everything else to standard error.

use std::{
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write},
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{Failure, Format};
use crate::telemetry::logs;

/// How a command writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    pub(super) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether results are for programs.
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Writes rows: as a table, or as JSON, one array of objects.
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
                    // A table has a line a row; a value from outside may have more, or control a terminal.
                    table.add_row(row(item).iter().map(|cell| printable(cell)));
                }
                let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
                Self::document(&text.join("\n"))
            }
        }
    }

    /// Writes one result: JSON where that is wanted, else `text`.
    pub(super) fn one<T: Serialize>(self, item: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => Self::json(item),
            Format::Table => Self::document(&text()),
        }
    }

    fn json<T: Serialize>(item: &T) -> Result<(), Failure> {
        Self::document(&escaped(&serde_json::to_string_pretty(item).map_err(Failure::failed)?))
    }

    /// Writes a document that has one form only.
    pub(super) fn document(text: &str) -> Result<(), Failure> {
        write(&mut io::stdout().lock(), text)
            .map_err(|error| Failure::failed(format!("the result cannot be written to standard output: {error}")))
    }

    /// Whether nothing but results is to be written.
    pub(super) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Says something beside the result.
    pub(super) fn hint(self, text: impl Display) {
        if !self.quiet {
            // A command does not fail because nobody reads what it says beside its result.
            let _ = write(&mut io::stderr(), &text.to_string());
        }
    }
}

/// Says what went wrong.
pub(super) fn error(error: &impl Display) {
    let mark = if crate::telemetry::colours(&io::stderr()) { "\x1b[1;31merror\x1b[0m" } else { "error" };
    logs::write(&format!("{mark}: {error}\n"));
}

/// Asks before something is done. Whoever cannot be asked has not agreed.
pub(super) fn agrees(question: &str) -> bool {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() {
        return false;
    }
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    stdin.read_line(&mut answer).is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Text from outside without what would control a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() || is_direction(letter) { '\u{fffd}' } else { letter }).collect()
}

/// JSON without what would control a terminal, as the escapes that mean the same. JSON has such characters in texts only; the line
/// ends between its members stay.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter != '\n' && (letter.is_control() || is_direction(letter)) {
            // Writing to a text does not fail. None of these characters needs more than four digits.
            let _ = write!(out, "\\u{:04x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

/// Characters that change the direction of text, so that a reader sees another order than a program
/// (<https://www.unicode.org/reports/tr9/>, section 2).
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    let written = writeln!(stream, "{text}").and_then(|()| stream.flush());
    // A reader that has gone, `head` for example, has seen enough.
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
    fn a_result_that_cannot_be_written_is_a_failure_but_for_a_reader_that_has_gone() {
        assert!(write(&mut Fails(io::ErrorKind::StorageFull), "result").is_err());
        assert!(write(&mut Fails(io::ErrorKind::BrokenPipe), "result").is_ok());
    }

    #[test]
    fn a_terminal_is_not_controlled_by_values() {
        assert_eq!(printable("a\x1b[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(printable("a\u{9b}31mb\u{202e}c"), "a\u{fffd}31mb\u{fffd}c");
    }

    #[test]
    fn a_terminal_is_not_controlled_by_json_which_stays_what_it_is() {
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
