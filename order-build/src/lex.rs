//! Splits Rust source text into tokens, also if the text is incomplete.
//!
//! A text that is being edited may have an open string or an unmatched bracket. The compiler's lexer then gives nothing, but the
//! file's names must stay known. Here a literal of such a text ends with its line, and brackets need not match.

/// A token. Comments and white space are no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    pub(crate) text: &'t str,
    /// The offset of the token in the text, in bytes.
    pub(crate) start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword; `r#name` too.
    Word,
    /// A single character of punctuation, or a bracket.
    Mark,
    /// A text, character or number.
    Literal,
    /// A lifetime.
    Lifetime,
}

impl Token<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }

    pub(crate) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }
}

/// The tokens of a text.
#[derive(Debug)]
pub(crate) struct Lexed<'t> {
    pub(crate) tokens: Vec<Token<'t>>,
    /// Whether all brackets match and all literals and comments end.
    pub(crate) complete: bool,
}

pub(crate) fn lex(text: &str) -> Lexed<'_> {
    let mut lexer = Lexer { text, at: 0, cut: false, all_end: true, tokens: Vec::new() };
    lexer.run();
    if lexer.all_end && brackets_match(&lexer.tokens) {
        return Lexed { tokens: lexer.tokens, complete: true };
    }
    let mut lexer = Lexer { text, at: 0, cut: true, all_end: true, tokens: Vec::new() };
    lexer.run();
    Lexed { tokens: lexer.tokens, complete: false }
}

fn brackets_match(tokens: &[Token<'_>]) -> bool {
    let mut open = Vec::new();
    for token in tokens.iter().filter(|token| token.kind == Kind::Mark) {
        match token.text {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" if open.pop() != Some(token.text) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Whether literals and comments end with their line.
    cut: bool,
    all_end: bool,
    tokens: Vec<Token<'t>>,
}

impl<'t> Lexer<'t> {
    fn run(&mut self) {
        while let Some(first) = self.rest().chars().next() {
            let start = self.at;
            let kind = match first {
                _ if first.is_whitespace() || first == '\u{feff}' => {
                    self.at += first.len_utf8();
                    continue;
                }
                '/' if self.rest().starts_with("//") => {
                    self.at = self.line_end();
                    continue;
                }
                '/' if self.rest().starts_with("/*") => {
                    self.block_comment();
                    continue;
                }
                '"' => self.string(1),
                '\'' => self.quote(),
                _ if first == '_' || first.is_alphabetic() => self.word(),
                _ if first.is_ascii_digit() => {
                    self.take_word();
                    Kind::Literal
                }
                _ => {
                    self.at += first.len_utf8();
                    Kind::Mark
                }
            };
            self.tokens.push(Token { kind, text: &self.text[start..self.at], start });
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn line_end(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |length| self.at + length)
    }

    /// Ends a literal or comment at `end`; `None` if it has no end.
    fn end_at(&mut self, end: Option<usize>) {
        let line_end = self.line_end();
        self.all_end &= end.is_some();
        self.at = match end {
            Some(end) if !self.cut || end <= line_end => end,
            _ if self.cut => line_end,
            _ => self.text.len(),
        };
    }

    fn block_comment(&mut self) {
        let (mut depth, mut end) = (0_usize, None);
        let mut at = self.at;
        while let Some(length) = self.text[at..].find("/*").into_iter().chain(self.text[at..].find("*/")).min() {
            at += length;
            depth = if self.text[at..].starts_with("/*") { depth + 1 } else { depth - 1 };
            at += 2;
            if depth == 0 {
                end = Some(at);
                break;
            }
        }
        self.end_at(end);
    }

    /// A text with escapes, whose quote comes after `before` bytes.
    fn string(&mut self, before: usize) -> Kind {
        let mut end = None;
        let mut characters = self.rest().char_indices().skip_while(|(offset, _)| *offset < before);
        while let Some((offset, character)) = characters.next() {
            match character {
                '\\' => drop(characters.next()),
                '"' => {
                    end = Some(self.at + offset + 1);
                    break;
                }
                _ => {}
            }
        }
        self.end_at(end);
        Kind::Literal
    }

    /// A character or a lifetime.
    fn quote(&mut self) -> Kind {
        let mut characters = self.rest().char_indices().skip(1);
        let first = characters.next();
        match (first, characters.next()) {
            (Some((_, '\\')), _) => {
                // What follows a backslash may be a quote itself.
                let line = &self.text[self.at..self.line_end()];
                let end = line.get(3..).and_then(|rest| rest.find('\'')).map_or(line.len(), |length| length + 4);
                self.at += end;
                Kind::Literal
            }
            (Some(_), Some((offset, '\''))) => {
                self.at += offset + 1;
                Kind::Literal
            }
            _ => {
                self.at += 1;
                self.take_word();
                Kind::Lifetime
            }
        }
    }

    /// A word, or the literal that it is a prefix of.
    fn word(&mut self) -> Kind {
        let start = self.at;
        self.take_word();
        let prefix = &self.text[start..self.at];
        if !["r", "b", "br", "c", "cr"].contains(&prefix) {
            return Kind::Word;
        }
        let hashes = self.rest().len() - self.rest().trim_start_matches('#').len();
        let after = self.rest()[hashes..].chars().next();
        match after {
            Some('"') if prefix.contains('r') => {
                let content = self.at + hashes + 1;
                let close = format!("\"{}", "#".repeat(hashes));
                let end = self.text[content..].find(&close).map(|length| content + length + close.len());
                self.end_at(end);
                Kind::Literal
            }
            Some('"') if hashes == 0 => self.string(1),
            Some('\'') if hashes == 0 && prefix == "b" => {
                self.quote();
                Kind::Literal
            }
            Some(first) if prefix == "r" && hashes == 1 && (first == '_' || first.is_alphabetic()) => {
                self.at += 1;
                self.take_word();
                Kind::Word
            }
            _ => Kind::Word,
        }
    }

    fn take_word(&mut self) {
        let ends = |character: char| character != '_' && !character.is_alphanumeric();
        self.at += self.rest().find(ends).unwrap_or(self.rest().len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        lex(text).tokens.iter().map(|token| token.text).collect()
    }

    #[test]
    fn tokens_are_words_marks_and_literals() {
        assert_eq!(
            texts("pub fn a1(x: &'a T) -> r#type;"),
            ["pub", "fn", "a1", "(", "x", ":", "&", "'a", "T", ")", "-", ">", "r#type", ";"]
        );
        for literal in [
            r#""a \" { b""#,
            r##"r#"a " b"#"##,
            r#"b"{""#,
            r#"br"\""#,
            r#"c"{""#,
            "'{'",
            r"'\''",
            r"'\\'",
            r"'\u{7b}'",
            "b'{'",
            "'é'",
            "1_000u64",
        ] {
            let text = format!("{literal} z");
            assert_eq!(texts(&text), [literal, "z"]);
            assert!(lex(&text).complete, "{literal}");
        }
    }

    #[test]
    fn comments_are_no_tokens() {
        assert_eq!(texts("a // { \"\nb /* /* { */ ' */ c /// d"), ["a", "b", "c"]);
    }

    #[test]
    fn an_open_literal_ends_with_its_line() {
        for open in ["let x = \"abc", "r#\"abc\"", "/* abc", "b\"abc", "fn f() {", ")", "\"a\nb\" \"c"] {
            let text = format!("{open}\npub struct B;\n");
            let lexed = lex(&text);
            assert!(!lexed.complete, "{open}");
            let words: Vec<&str> = lexed.tokens.iter().map(|token| token.text).collect();
            assert!(words.windows(3).any(|words| words == ["pub", "struct", "B"]), "{open}: {words:?}");
        }
        assert!(lex("let x = \"two\nlines\"; fn f() { [(a)] }").complete);
    }
}
