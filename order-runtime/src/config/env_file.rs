//! Parses env files in the format of python-dotenv, which most users know.
//!
//! A line is `NAME=value`, optionally with `export` before it. A value ends at a blank and `#`, or is quoted and may then span
//! lines. In double quotes `\n`, `\"` and the like are escapes, in single quotes only `\'` and `\\` are. `${NAME}` and
//! `${NAME:-default}` refer to other variables, except in single quotes; a bare `$NAME` is text.
//!
//! The service has its own parser because the existing crates read `$NAME` as a reference too, which silently shortens a
//! password.

/// One assignment. It may hold a secret, so it cannot be printed.
pub(super) struct Entry {
    /// The line on which it begins.
    pub(super) line: usize,
    pub(super) name: String,
    value: Vec<Part>,
}

/// A part of a value.
enum Part {
    Text(String),
    Reference(Reference),
}

/// `${NAME}` or `${NAME:-default}`.
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) default: Option<String>,
    written: String,
}

/// An entry that cannot be read. It does not contain the text of the line, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: usize,
    /// The text before the `=`. A line of a key or a certificate has one too, so the text may be part of a secret.
    pub(super) name: Option<String>,
    pub(super) reason: &'static str,
}

impl Entry {
    /// The value as it was written, with references as text.
    pub(super) fn literal(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Reference(reference) => reference.written.clone(),
        };
        self.value.iter().map(text).collect()
    }

    /// The variables that the value refers to.
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.value.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Reference(reference) => Some(reference),
        })
    }

    /// The value, with each reference replaced by the result of `value_of`.
    pub(super) fn substituted(&self, value_of: impl Fn(&Reference) -> String) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Reference(reference) => value_of(reference),
        };
        self.value.iter().map(text).collect()
    }
}

/// Reads all entries of a file. An entry that cannot be read does not hide the later ones.
pub(super) fn parse(text: &str) -> Vec<Result<Entry, Unreadable>> {
    // Editors on Windows begin a file with a byte order mark.
    let mut cursor = Cursor { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut entries = Vec::new();
    while !cursor.rest.is_empty() {
        cursor.skip_blanks();
        if !cursor.rest.starts_with(['#', '\r', '\n']) && !cursor.rest.is_empty() {
            entries.push(cursor.entry());
        }
        cursor.skip_line();
    }
    entries
}

struct Cursor<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Cursor<'t> {
    fn entry(&mut self) -> Result<Entry, Unreadable> {
        let line = self.line;
        if let Some(rest) = self.rest.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
            self.rest = rest;
            self.skip_blanks();
        }
        let name = self.take_while(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter)).to_owned();
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix('=').filter(|_| !name.is_empty()) else {
            return Err(Unreadable { line, name: None, reason: "expected NAME=value" });
        };
        self.rest = rest;
        let blanks = self.skip_blanks();
        let value = match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            Some('#') if blanks => Ok(Vec::new()),
            _ => Ok(self.unquoted()),
        };
        match value {
            Ok(value) => Ok(Entry { line, name, value }),
            Err(reason) => Err(Unreadable { line, name: Some(name), reason }),
        }
    }

    fn unquoted(&mut self) -> Vec<Part> {
        let line = self.take_while(|letter| !matches!(letter, '\r' | '\n'));
        let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t']));
        let text = comment.map_or(line, |(at, _)| &line[..at]).trim_end();
        let mut parts = Parts::default();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            rest = parts.take_reference(rest).unwrap_or_else(|| {
                parts.text.push(letter);
                &rest[letter.len_utf8()..]
            });
        }
        parts.finish()
    }

    /// Reads a value in quotes, which only a comment may follow.
    fn quoted(&mut self, quote: char) -> Result<Vec<Part>, &'static str> {
        let mut parts = Parts::default();
        let mut rest = &self.rest[1..];
        loop {
            let letter = rest.chars().next().ok_or("the closing quote is missing")?;
            if letter == quote {
                rest = &rest[1..];
                break;
            }
            if quote == '"'
                && let Some(behind) = parts.take_reference(rest)
            {
                rest = behind;
                continue;
            }
            rest = &rest[letter.len_utf8()..];
            let escaped =
                (letter == '\\').then(|| rest.chars().next().and_then(|next| unescaped(quote, next))).flatten();
            if escaped.is_some() {
                rest = &rest[1..];
            }
            parts.text.push(escaped.unwrap_or(letter));
        }
        let taken = &self.rest[..self.rest.len() - rest.len()];
        let behind = rest.trim_start_matches([' ', '\t']);
        if !behind.is_empty() && !behind.starts_with(['#', '\r', '\n']) {
            return Err("text follows the closing quote");
        }
        self.line += taken.matches('\n').count();
        self.rest = rest;
        Ok(parts.finish())
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|letter| !belongs(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Returns whether there were any.
    fn skip_blanks(&mut self) -> bool {
        !self.take_while(|letter| matches!(letter, ' ' | '\t')).is_empty()
    }

    fn skip_line(&mut self) {
        self.take_while(|letter| letter != '\n');
        if let Some(rest) = self.rest.strip_prefix('\n') {
            self.rest = rest;
            self.line += 1;
        }
    }
}

/// The meaning of `\` and this letter; `None` for letters that keep their `\`.
fn unescaped(quote: char, letter: char) -> Option<char> {
    match (quote, letter) {
        (_, '\\' | '\'') => Some(letter),
        ('\'', _) => None,
        (_, '"' | '$') => Some(letter),
        (_, 'n') => Some('\n'),
        (_, 'r') => Some('\r'),
        (_, 't') => Some('\t'),
        _ => None,
    }
}

/// A value that is being read.
#[derive(Default)]
struct Parts {
    done: Vec<Part>,
    text: String,
}

impl Parts {
    /// Takes the reference at the beginning of `rest`, if there is one, and returns the text after it.
    fn take_reference<'t>(&mut self, rest: &'t str) -> Option<&'t str> {
        let (inner, behind) = rest.strip_prefix("${")?.split_once('}')?;
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || inner.contains('\n') {
            return None;
        }
        self.finish_text();
        self.done.push(Part::Reference(Reference {
            name: name.to_owned(),
            default: default.map(ToOwned::to_owned),
            written: format!("${{{inner}}}"),
        }));
        Some(behind)
    }

    fn finish_text(&mut self) {
        if !self.text.is_empty() {
            self.done.push(Part::Text(std::mem::take(&mut self.text)));
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.finish_text();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry as `line NAME=value`, each error as `line reason`. A reference is shown as `<NAME>`.
    fn read(text: &str) -> Vec<String> {
        let shown = |entry: Result<Entry, Unreadable>| match entry {
            Ok(entry) => {
                format!("{} {}={}", entry.line, entry.name, entry.substituted(|found| format!("<{}>", found.name)))
            }
            Err(error) => format!("{} {}", error.line, error.reason),
        };
        parse(text).into_iter().map(shown).collect()
    }

    #[test]
    fn values_are_read_as_python_dotenv_reads_them() {
        for (text, wanted) in [
            ("A=b", "1 A=b"),
            ("\u{feff}A=b", "1 A=b"),
            ("  export A = b  ", "1 A=b"),
            ("A=b\r", "1 A=b"),
            ("A=b c # comment", "1 A=b c"),
            ("A=b#c", "1 A=b#c"),
            ("A=#b", "1 A=#b"),
            ("A= # comment", "1 A="),
            ("A=", "1 A="),
            (r#"A=["a", "b"]"#, r#"1 A=["a", "b"]"#),
            (r#"A={"Feature": 1}"#, r#"1 A={"Feature": 1}"#),
            (r"A=C:\new", r"1 A=C:\new"),
            (r"A='a\n\'b\\c' # comment", r"1 A=a\n'b\c"),
            (r#"A="a\tb\"c\d""#, "1 A=a\tb\"c\\d"),
            ("A=\"a\nb\"", "1 A=a\nb"),
            ("A=abc$def", "1 A=abc$def"),
            ("A=abc$", "1 A=abc$"),
            ("A=${B}c", "1 A=<B>c"),
            ("A=\"x${B:-c}\"", "1 A=x<B>"),
            ("A='${B}'", "1 A=${B}"),
            (r#"A="\${B}""#, "1 A=${B}"),
            ("A=${B", "1 A=${B"),
            ("A=${1x}", "1 A=${1x}"),
            ("A", "1 expected NAME=value"),
            ("=a", "1 expected NAME=value"),
            ("A='b", "1 the closing quote is missing"),
            ("A='b' c", "1 text follows the closing quote"),
        ] {
            assert_eq!(read(text), [wanted], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_and_an_error_hides_nothing_after_it() {
        let text = "# comment\n\nA='1\n2'\nB=\"\nC=3\r\n\nD=4";
        assert_eq!(read(text), ["3 A=1\n2", "5 the closing quote is missing", "6 C=3", "8 D=4"]);
    }

    #[test]
    fn the_literal_value_has_no_substitution() {
        let entries = parse("A=\"x${B}${C:-d}\"");
        let Some(Ok(entry)) = entries.first() else { panic!("one entry") };
        assert_eq!(entry.literal(), "x${B}${C:-d}");
        assert_eq!(entry.references().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["B", "C"]);
    }
}
