//! Finds the items of a source file: those of the file itself, and those of modules that are written in it.

use crate::{
    condition,
    lex::{self, Kind, Token},
};

/// What a file declares.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) found: Vec<Item>,
    /// The modules that the file declares.
    pub(crate) declares: Vec<String>,
    /// Whether the file has items from macros, whose names are unknown.
    pub(crate) from_macros: bool,
    /// Whether the file lexes. One that does not is being edited.
    pub(crate) complete: bool,
}

/// A position in a file; both numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// An item with a name.
#[derive(Debug)]
pub(crate) struct Item {
    /// The last names of the attributes' paths.
    pub(crate) attributes: Vec<String>,
    /// The `cfg` condition of the item and of what it is in.
    pub(crate) condition: Option<String>,
    /// Whether it is `pub`; `pub(…)` does not count.
    pub(crate) public: bool,
    /// `struct`, `fn`, `impl` and so on.
    pub(crate) keyword: String,
    /// The name; of an `impl` the last name of its type's path.
    pub(crate) name: String,
    pub(crate) position: Position,
    /// Of an `impl`: the last name of its trait's path.
    pub(crate) implements: Option<String>,
    /// The names in the item's head, before its body.
    pub(crate) head: Vec<String>,
    /// Whether it is in a module that is written in the file.
    pub(crate) nested: bool,
}

impl Item {
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|known| known == attribute)
    }

    /// Whether it is a type or a trait.
    pub(crate) fn is_type(&self) -> bool {
        ["struct", "enum", "trait", "type", "union"].contains(&self.keyword.as_str())
    }

    /// Whether it is compiled for tests only, or for everything else only.
    pub(crate) fn depends_on_test(&self) -> bool {
        self.condition.as_deref().is_some_and(condition::mentions_test)
    }
}

pub(crate) fn items(text: &str) -> Items {
    let lexed = lex::lex(text);
    let mut parser =
        Parser { text, tokens: &lexed.tokens, at: 0, found: Items { complete: lexed.complete, ..Items::default() } };
    while parser.at < parser.tokens.len() {
        parser.module(&[], false);
    }
    parser.found
}

/// Words that begin an item, at the beginning of a line.
const BEGINNINGS: [&str; 15] = [
    "#", "async", "const", "enum", "extern", "fn", "impl", "mod", "pub", "static", "struct", "trait", "type", "unsafe",
    "use",
];

/// Words between an item's visibility and its keyword.
const QUALIFIERS: [&str; 7] = ["async", "auto", "const", "default", "extern", "safe", "unsafe"];

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Token<'t>],
    at: usize,
    found: Items,
}

impl<'t> Parser<'t> {
    fn next(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn next_is(&self, text: &str) -> bool {
        self.next().is_some_and(|token| token.is(text))
    }

    /// Whether the next token begins an item at the beginning of a line. In an incomplete file, that ends whatever is open.
    fn at_beginning(&self) -> bool {
        self.next().is_some_and(|token| {
            let at_line_start = token.start == 0 || self.text[..token.start].ends_with('\n');
            at_line_start && BEGINNINGS.iter().any(|word| token.is(word))
        })
    }

    /// Reads the items of a module, and the bracket at its end.
    fn module(&mut self, outer: &[String], nested: bool) {
        let mut conditions = outer.to_vec();
        let mut attributes = Vec::new();
        while let Some(token) = self.next() {
            if nested && !self.found.complete && self.at_beginning() {
                return;
            }
            if token.is("}") {
                self.at += 1;
                return;
            }
            if token.is("#") {
                self.at += 1;
                let of_module = self.next_is("!");
                self.at += usize::from(of_module);
                if let Some(attribute) = self.attribute() {
                    if of_module {
                        conditions.extend(attribute.condition);
                    } else {
                        attributes.push(attribute);
                    }
                }
                continue;
            }
            self.item(&conditions, std::mem::take(&mut attributes), nested);
        }
    }

    /// Reads an attribute from its bracket on.
    fn attribute(&mut self) -> Option<Attribute> {
        if !self.next_is("[") {
            return None;
        }
        let begin = self.at + 1;
        self.group();
        let end = self.at.saturating_sub(1).max(begin);
        let tokens = self.tokens.get(begin..end)?;
        let path = tokens.iter().take_while(|token| !token.is("(") && !token.is("=") && !token.is("["));
        let name = path.filter(|token| token.is_word()).last()?.text.to_owned();
        let condition = (name == "cfg").then(|| self.inside(tokens.get(2..tokens.len().max(3) - 1)?)).flatten();
        Some(Attribute { name, condition })
    }

    /// The text of these tokens.
    fn inside(&self, tokens: &[Token<'_>]) -> Option<String> {
        let (first, last) = (tokens.first()?, tokens.last()?);
        Some(self.text[first.start..last.start + last.text.len()].to_owned())
    }

    /// Skips a group from its opening bracket on, with the closing one.
    fn group(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            if depth > 0 && !self.found.complete && self.at_beginning() {
                return;
            }
            self.at += 1;
            if token.kind == Kind::Mark {
                match token.text {
                    "(" | "[" | "{" => depth += 1,
                    ")" | "]" | "}" => depth -= 1,
                    _ => {}
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Reads an item up to its end.
    fn item(&mut self, conditions: &[String], attributes: Vec<Attribute>, nested: bool) {
        let begin = self.at;
        // The tokens of the head outside of brackets; an opening bracket stands for its group.
        let mut top = Vec::new();
        while let Some(token) = self.next() {
            if token.is(";") || token.is("{") || token.is("}") || (self.at > begin && self.at_beginning()) {
                break;
            }
            top.push(token);
            if token.is("(") || token.is("[") {
                self.group();
            } else {
                self.at += 1;
            }
        }
        let head = &self.tokens[begin..self.at];
        let conditions: Vec<String> =
            conditions.iter().cloned().chain(attributes.iter().filter_map(|one| one.condition.clone())).collect();
        let item = self.read(&top, head, condition::all(&conditions), attributes, nested);
        let begins_module = self.next_is("{") && item.as_ref().is_some_and(|item| item.keyword == "mod");
        if begins_module {
            self.at += 1;
            self.module(&conditions, true);
        } else if self.next_is("{") {
            self.group();
        } else if self.next_is(";") {
            self.at += 1;
        }
        match item {
            Some(item) if item.keyword == "mod" => self.found.declares.extend((!nested).then_some(item.name)),
            Some(item) => self.found.found.push(item),
            None => self.found.from_macros |= is_macro_call(&top),
        }
    }

    /// The item of a head; `None` if it is no item with a name.
    fn read(
        &self,
        top: &[Token<'_>],
        head: &[Token<'_>],
        condition: Option<String>,
        attributes: Vec<Attribute>,
        nested: bool,
    ) -> Option<Item> {
        let mut rest = top;
        let public = rest.first()?.is("pub");
        if public {
            rest = &rest[1..];
        }
        let restricted = public && rest.first()?.is("(");
        if restricted {
            rest = &rest[1..];
        }
        while let [first, next, ..] = rest
            && QUALIFIERS.contains(&first.text)
            && (!first.is("const") || ["async", "extern", "fn", "unsafe"].contains(&next.text))
        {
            // `extern "C" fn`
            rest = if next.kind == Kind::Literal { &rest[2..] } else { &rest[1..] };
        }
        let keyword = rest.first()?.text;
        let (name, implements) = match keyword {
            "struct" | "enum" | "trait" | "type" | "union" | "fn" | "mod" | "const" | "static" => {
                (rest.get(1).filter(|name| name.is_word() && !BEGINNINGS.contains(&name.text))?, None)
            }
            "impl" => {
                let (implements, ty) = implementation(&rest[1..])?;
                (ty, implements)
            }
            _ => return None,
        };
        Some(Item {
            attributes: attributes.into_iter().map(|attribute| attribute.name).collect(),
            condition,
            public: public && !restricted,
            keyword: keyword.to_owned(),
            name: name.text.to_owned(),
            position: Position::of(self.text, name.start),
            implements: implements.map(|name| name.text.to_owned()),
            head: head.iter().filter(|token| token.is_word()).map(|token| token.text.to_owned()).collect(),
            nested,
        })
    }
}

struct Attribute {
    name: String,
    condition: Option<String>,
}

/// The last names of the trait's and of the type's path in the head of an `impl`.
fn implementation<'a, 't>(head: &'a [Token<'t>]) -> Option<(Option<&'a Token<'t>>, &'a Token<'t>)> {
    let (mut depth, mut last, mut of_trait) = (0_usize, None, None);
    for (index, token) in head.iter().enumerate() {
        if token.is("<") {
            depth += 1;
        } else if token.is(">") && !head[..index].last().is_some_and(|before| before.is("-")) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is("where") {
            break;
        } else if depth == 0 && token.is("for") {
            of_trait = last.take();
        } else if depth == 0 && token.is_word() {
            last = Some(token);
        }
    }
    Some((of_trait, last?))
}

/// Whether the head of an item is a call of a macro.
fn is_macro_call(top: &[Token<'_>]) -> bool {
    let mark = top.iter().position(|token| token.is("!"));
    mark.is_some_and(|mark| mark > 0 && top[mark - 1].is_word() && !top[mark - 1].is("macro_rules"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        let found = items(text).found.into_iter();
        found.map(|item| (format!("{} {}", item.keyword, item.name), item.condition.unwrap_or_default())).collect()
    }

    fn only_names(text: &str) -> Vec<String> {
        names(text).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn items_are_found_with_their_keywords() {
        let text = r#"
            //! Documentation.
            use x::{y, z};
            pub struct A;
            #[derive(Debug)] pub enum B { C }
            pub trait D: Send { fn e(); }
            pub unsafe trait N {}
            pub type F<T> = Vec<[T; 3]>;
            pub(crate) struct H(u8);
            pub async fn i(a: &str) -> Result<(), Box<dyn Fn() -> u8>> where u8: Copy { struct J; }
            pub const M: X = X { a: 1 };
            const fn n() {}
            extern "C" fn o() {}
            impl<T: Fn() -> u8> crate::P<T> for super::Q<T> where T: Copy {}
            impl R { pub fn s() {} }
            macro_rules! t { () => { pub struct U; } }
            static V: [u8; 2] = [1, 2];
        "#;
        let expected = [
            "struct A", "enum B", "trait D", "trait N", "type F", "struct H", "fn i", "const M", "fn n", "fn o",
            "impl Q", "impl R", "static V",
        ];
        assert_eq!(only_names(text), expected);
        let found = items(text);
        assert!(found.complete && !found.from_macros);
        assert!(items("a::made!(pub struct A;);").from_macros);
        let public = |name: &str| found.found.iter().find(|item| item.name == name).map(|item| item.public);
        assert_eq!((public("A"), public("H"), public("n")), (Some(true), Some(false), Some(false)));
        let implements: Vec<_> = found.found.iter().filter_map(|item| item.implements.as_deref()).collect();
        assert_eq!(implements, ["P"]);
    }

    #[test]
    fn an_item_keeps_the_conditions_of_what_it_is_in() {
        let text = r#"
            #![cfg(feature = "x")]
            #[cfg(unix)] #[derive(Debug)] pub struct A;
            #[cfg(not(test))] #[cfg(unix)] mod inner { #![cfg(windows)] pub struct B; }
            mod elsewhere;
            pub struct C;
        "#;
        assert_eq!(
            names(text),
            [
                ("struct A".to_owned(), r#"all(feature = "x", unix)"#.to_owned()),
                ("struct B".to_owned(), r#"all(feature = "x", not(test), unix, windows)"#.to_owned()),
                ("struct C".to_owned(), r#"feature = "x""#.to_owned()),
            ]
        );
        let found = items(text);
        assert_eq!(found.found.iter().map(|item| item.nested).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(found.declares, ["inner", "elsewhere"]);
        assert!(found.found[1].depends_on_test() && !found.found[0].depends_on_test());
    }

    #[test]
    fn attributes_are_known_by_their_last_names() {
        let text =
            "#[order_runtime::prelude::usecase] #[doc(contract)] #[path = \"event_processor\"] pub async fn f() {}";
        assert_eq!(items(text).found[0].attributes, ["usecase", "doc", "path"]);
    }

    #[test]
    fn an_item_has_the_position_of_its_name() {
        let found = items("\n\n/// é\npub struct /* é */ A;\n").found;
        assert_eq!(found[0].position, Position { line: 4, column: 20 });
    }

    /// What a file keeps of its names while a part of it is typed.
    #[test]
    fn a_half_typed_file_keeps_its_names() {
        for half in [
            "pub struct Half {",
            "pub struct Half { a: ",
            "pub struct",
            "pub fn half(",
            "fn half() { let x = \"",
            "fn half() { let x = '",
            "fn half() { if x { ",
            "#[schema",
            "#[",
            "#",
            "/* half",
            "impl Half for",
            "use x::{",
            "}",
            ")",
            "fn half() { r#\"",
            "mod half {",
            "mod half {\n    fn inner() {",
            "fn half() { \"a\nb\" \"",
            "let x = (",
        ] {
            for text in [
                format!("{half}\n\n/// A.\n#[derive(Debug)]\npub struct A {{\n    b: u8,\n}}\n\npub enum B {{}}\n"),
                format!("pub struct A {{\n    b: u8,\n}}\n\npub enum B {{}}\n\n{half}\n"),
                format!("pub struct A {{\n    b: u8,\n}}\n\n{half}\n\npub enum B {{}}\n"),
            ] {
                let found = only_names(&text);
                for name in ["struct A", "enum B"] {
                    assert!(found.iter().any(|known| known == name), "{name} is lost: {found:?}\n{text}");
                }
            }
        }
    }
}
