//! The dependencies between the runtime's rooms, read from paths in the code, and the table of floors in ARCHITECTURE.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{root, sources};

/// The folder of the rooms.
const SOURCES: &str = "order-runtime/src/";
/// The crate's root, which is in no room.
const ROOT: &str = "lib";

/// A use of one room by another.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    /// The file that contains the use, for messages.
    #[expect(dead_code, reason = "it is printed")]
    file: String,
}

/// The number of each room's floor.
pub(super) fn floors() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document exists");
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, number, rooms, ..] = cells[..] else { continue };
        let Ok(number) = number.parse() else { continue };
        for room in rooms.split(',') {
            let room = room.trim().trim_matches('`').to_owned();
            assert_eq!(floors.insert(room.clone(), number), None, "{room} is in the table twice");
        }
    }
    floors
}

/// All uses of other rooms outside tests.
pub(super) fn arrows() -> Vec<Arrow> {
    let floors = floors();
    let mut found = Vec::new();
    let mut in_tests = BTreeSet::new();
    for source in sources(&[SOURCES]) {
        let module = module(&source.name);
        let mut reader = Reader { depth: module.len(), rooms: BTreeSet::new(), tests: Vec::new() };
        reader.read(source.tokens.clone());
        in_tests.extend(reader.tests.into_iter().map(|name| [module.clone(), vec![name]].concat()));
        found.push((source.name, module, reader.rooms));
    }
    let mut arrows = Vec::new();
    for (file, module, rooms) in found {
        if (1..=module.len()).any(|length| in_tests.contains(&module[..length])) {
            continue;
        }
        let from = module.first().map_or(ROOT, String::as_str).to_owned();
        assert!(floors.contains_key(&from), "the room {from} is not in the table of floors (ARCHITECTURE.md)");
        for to in rooms {
            let to = if floors.contains_key(&to) { to } else { ROOT.to_owned() };
            if to != from {
                arrows.push(Arrow { from: from.clone(), to, file: file.clone() });
            }
        }
    }
    arrows
}

/// The module of a file.
fn module(name: &str) -> Vec<String> {
    let path = name.strip_prefix(SOURCES).and_then(|path| path.strip_suffix(".rs")).expect("a source of the runtime");
    let mut module: Vec<_> = path.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | ROOT)) {
        module.pop();
    }
    module
}

/// Collects the rooms that the paths of one file name.
struct Reader {
    /// The depth of the current module below the crate's root.
    depth: usize,
    /// The first path segments after the crate's root.
    rooms: BTreeSet<String>,
    /// Modules in other files that exist only in tests.
    tests: Vec<String>,
}

impl Reader {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' && is_cfg_test(tokens.get(at + 1)) => {
                    at = self.skip_item(&tokens, at + 2);
                    continue;
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                        self.depth += 1;
                        self.read(body.stream());
                        self.depth -= 1;
                        at += 3;
                        continue;
                    }
                }
                TokenTree::Ident(ident) if ident == "crate" => self.first_names(&tokens[at + 1..]),
                TokenTree::Ident(ident) if ident == "super" => {
                    let chain = &tokens[at..];
                    let supers = chain.chunks(3).take_while(|step| is_super(step)).count();
                    // `pub(super)` is not a path.
                    at += (3 * supers).max(1);
                    if supers > 0 && supers == self.depth {
                        self.first_names(&tokens[at - 2..]);
                    }
                    continue;
                }
                TokenTree::Group(group) => self.read(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }

    /// Records the name after `::`, or several names in braces.
    fn first_names(&mut self, tokens: &[TokenTree]) {
        let [TokenTree::Punct(first), TokenTree::Punct(_), next, ..] = tokens else { return };
        if first.as_char() != ':' {
            return;
        }
        match next {
            TokenTree::Ident(ident) => {
                self.rooms.insert(ident.to_string());
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                for path in tokens.split(is_comma) {
                    if let Some(TokenTree::Ident(ident)) = path.first() {
                        self.rooms.insert(ident.to_string());
                    }
                }
            }
            _ => {}
        }
    }

    /// Skips an item that exists only in tests; returns the start of the next item.
    fn skip_item(&mut self, tokens: &[TokenTree], from: usize) -> usize {
        let ends = |token: &TokenTree| match token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        let end = tokens[from..].iter().position(ends).map_or(tokens.len(), |length| from + length);
        if let [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] = &tokens[from..end]
            && keyword == "mod"
        {
            self.tests.push(name.to_string());
        }
        end + 1
    }
}

fn is_cfg_test(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Whether the tokens are `super::`.
fn is_super(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Ident(ident), TokenTree::Punct(_), TokenTree::Punct(_)] if ident == "super")
}
