//! What is wrong with a domain, as a compile error of `dispatcher!()`.

use crate::{condition, items::Position};

/// A problem at a place below `src/`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The path below `src/`.
    pub(crate) file: String,
    pub(crate) position: Position,
    /// The `cfg` condition under which it is a problem.
    pub(crate) condition: Option<String>,
    pub(crate) text: String,
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(file: &str, position: Position, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position, condition: None, text: text.into(), help: help.into() }
    }

    pub(crate) fn under(mut self, condition: Option<String>) -> Self {
        self.condition = condition;
        self
    }

    /// The call of the macro that reports it. The macro knows how rustc calls the crate's folder.
    pub(crate) fn written(&self) -> String {
        let Position { line, column } = self.position;
        let condition = condition::attribute(self.condition.as_ref());
        // A folder has no lines.
        let place = if self.file.ends_with('/') { self.file.clone() } else { format!("{}:{line}:{column}", self.file) };
        format!(
            "{condition}::order_runtime::__private::problem! {{ $dispatcher {place:?} {:?} {:?} }}\n",
            self.text, self.help
        )
    }
}
