//! `docs/performance.md`, which is written part by part: a new measurement of a part replaces only the text of that part.

use std::fmt::Write as _;

/// The text above all parts.
const HEAD: &str = "\
# What an event costs

Written by `cargo xtask bench`, part by part; the comment above each part is the command that updates it. The figures are medians of rounds, in each of which every program
runs once, with minimum and maximum in brackets. The broker runs on the same machine. CPU time is that of the measured process; it varies less than events per second,
which depend on the machine's load.
";

/// The line before a part.
const MARK: &str = "<!-- cargo xtask bench --only ";

/// The parts of the document.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Names and texts, in the order of the document.
    parts: Vec<(String, String)>,
}

impl Document {
    /// Parses an existing document; text outside the parts is dropped.
    pub fn parse(text: &str) -> Self {
        let mut document = Self::default();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(" -->")) {
                document.parts.push((name.to_owned(), String::new()));
            } else if let Some((_, part)) = document.parts.last_mut() {
                part.push_str(line);
                part.push('\n');
            }
        }
        for (_, part) in &mut document.parts {
            *part = part.trim().to_owned();
        }
        document
    }

    /// Replaces a part, or inserts a new one at its place in `order`.
    pub fn put(&mut self, name: &str, text: &str, order: &[&str]) {
        let text = text.trim().to_owned();
        if let Some((_, part)) = self.parts.iter_mut().find(|(known, _)| known == name) {
            *part = text;
            return;
        }
        let place = |name: &str| order.iter().position(|known| *known == name);
        let before = self.parts.iter().position(|(known, _)| place(known) > place(name));
        self.parts.insert(before.unwrap_or(self.parts.len()), (name.to_owned(), text));
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.parts.iter().fold(HEAD.to_owned(), |mut all, (name, text)| {
            // Writing to a string cannot fail.
            let _ = write!(all, "\n{MARK}{name} -->\n\n{text}\n");
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [&str; 3] = ["cost", "start", "memory"];

    #[test]
    fn a_part_measured_again_replaces_only_itself() {
        let mut document = Document::default();
        document.put("memory", "## Memory\n\n| 1 |\n", &ORDER);
        document.put("cost", "## Cost\n\n| 2 |\n", &ORDER);
        let mut again = Document::parse(&document.text());
        assert_eq!(again, document);

        again.put("memory", "## Memory\n\n| 3 |\n", &ORDER);
        again.put("start", "## Start\n", &ORDER);
        let text = again.text();
        assert!(text.starts_with(HEAD), "{text}");
        assert!(text.ends_with(
            "\n<!-- cargo xtask bench --only cost -->\n\n## Cost\n\n| 2 |\n\n<!-- cargo xtask bench --only start -->\n\n## Start\n\
             \n<!-- cargo xtask bench --only memory -->\n\n## Memory\n\n| 3 |\n"
        ), "{text}");
    }

    #[test]
    fn text_outside_the_parts_is_dropped() {
        assert_eq!(Document::parse("# Another text\n\n## Cost\n"), Document::default());
    }
}
