//! Scans one source file for `dispatcher!`: its public names, and the names of other layers that it uses.
//!
//! Items are found in the top-level tokens only. rustc reports files that do not lex, because their module is declared anyway.

use std::str::FromStr;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::Parser;

use super::exports::Export;
use crate::{
    item,
    names::{self, Kind},
};

/// A file that becomes a module.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) module: String,
    /// Its path below `src/`, for messages.
    pub(super) inside: String,
    /// Whether the file begins with its own documentation.
    pub(super) documented: bool,
    /// Its public types and traits, each with its `cfg` condition.
    pub(super) names: Vec<(String, Option<TokenStream>)>,
    /// Its functions with `#[usecase]`, each with its `cfg` condition.
    pub(super) usecases: Vec<(String, Option<TokenStream>)>,
    /// The modules that the file declares.
    pub(super) declares: Vec<String>,
    /// The first name of a layer that an entity must not use, and its line.
    pub(super) layer_break: Option<(String, usize)>,
}

impl SourceFile {
    pub(super) fn read(text: &str, module: String, inside: String) -> Self {
        let tokens = TokenStream::from_str(text).unwrap_or_else(|_| line_by_line(text));
        let layer_break =
            item::idents_with(tokens.clone(), &[""]).iter().map(Ident::to_string).find(|name| names_a_layer(name));
        let layer_break = layer_break.map(|name| {
            let line = text.lines().position(|line| line.contains(&name)).unwrap_or_default() + 1;
            (name, line)
        });
        let (of_file, items) = items(tokens);
        let mut file = Self {
            module,
            inside,
            documented: text.trim_start().starts_with("//!") || text.trim_start().starts_with("/*!"),
            names: Vec::new(),
            usecases: Vec::new(),
            declares: Vec::new(),
            layer_break,
        };
        for item in items {
            let condition = Export::all(of_file.iter().chain(&item.attributes).filter_map(condition));
            if let Some(name) = item.public_type() {
                file.names.push((name, condition));
            } else if let Some(name) = item.after("fn")
                && item.attributes.iter().any(is_usecase)
            {
                file.usecases.push((name, condition));
            } else if let Some(name) = item.after("mod") {
                file.declares.push(name);
            }
        }
        file
    }
}

/// Whether a name is that of an interface, use case, service or contract. Only exact patterns count, so a constant `SERVICE_FEE`
/// does not.
fn names_a_layer(name: &str) -> bool {
    [Kind::Interface, Kind::Usecase, Kind::Service].iter().any(|kind| names::feature(*kind, name).is_ok())
        || names::contract(name).is_ok()
}

/// A top-level item: its attributes, and its words up to its body or semicolon.
#[derive(Default)]
struct Item {
    attributes: Vec<TokenStream>,
    /// Identifiers; an empty text stands for any other token.
    words: Vec<String>,
}

impl Item {
    /// The name of a `pub` type or trait; `pub(…)` does not count as public.
    fn public_type(&self) -> Option<String> {
        let mut words = self.words.iter().map(String::as_str);
        (words.next() == Some("pub")).then_some(())?;
        let keyword = words.find(|word| !["unsafe", "auto"].contains(word))?;
        let name = words.next().filter(|name| !name.is_empty() && !name.starts_with("r#"))?;
        ["struct", "enum", "trait", "type", "union"].contains(&keyword).then(|| name.to_owned())
    }

    /// The name after a keyword.
    fn after(&self, keyword: &str) -> Option<String> {
        let place = self.words.iter().position(|word| word == keyword)?;
        self.words.get(place + 1).filter(|name| !name.is_empty()).cloned()
    }
}

/// Splits tokens into the file's own attributes and its items.
fn items(tokens: TokenStream) -> (Vec<TokenStream>, Vec<Item>) {
    let (mut of_file, mut found, mut item) = (Vec::new(), Vec::new(), Item::default());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' && item.words.is_empty() => {
                let inner = tokens.next_if(|next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'));
                if let Some(TokenTree::Group(attribute)) = tokens.next() {
                    let list = if inner.is_some() { &mut of_file } else { &mut item.attributes };
                    list.push(attribute.stream());
                }
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => {
                if !item.words.is_empty() {
                    found.push(std::mem::take(&mut item));
                }
            }
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => found.push(std::mem::take(&mut item)),
            TokenTree::Ident(word) => item.words.push(word.to_string()),
            _ => item.words.push(String::new()),
        }
    }
    found.push(item);
    (of_file, found)
}

/// The tokens of a text that does not lex as a whole, such as a file that is being edited. Lexes only the lines that begin an
/// item, without the bracket that they open. The file's names stay known, so that rustc reports only the mistake itself.
fn line_by_line(text: &str) -> TokenStream {
    let begins_item = |line: &&str| line.starts_with("pub ") || line.starts_with("#[") || line.starts_with("mod ");
    let lines = text.lines().filter(begins_item);
    let lexed = lines.filter_map(|line| TokenStream::from_str(line.trim_end_matches([' ', '{', '('])).ok());
    lexed.flat_map(|line| quote! { #line ; }).collect()
}

/// The condition in the parentheses of `cfg(…)`.
fn condition(attribute: &TokenStream) -> Option<TokenStream> {
    let mut tokens = attribute.clone().into_iter();
    match (tokens.next()?, tokens.next()?) {
        (TokenTree::Ident(name), TokenTree::Group(group)) if name == "cfg" => Some(group.stream()),
        _ => None,
    }
}

/// Whether an attribute is `usecase`, with any path before it.
fn is_usecase(attribute: &TokenStream) -> bool {
    let path = attribute.clone().into_iter().take_while(|token| !matches!(token, TokenTree::Group(_)));
    let words = path.filter_map(|token| match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    });
    words.last().is_some_and(|last| last == "usecase")
}

/// Whether a file or folder of that name can be a module.
pub(super) fn is_module(name: &str) -> bool {
    // Other characters are checked first, because the text might not lex.
    name.chars().all(|character| character.is_alphanumeric() || character == '_')
        && !["self", "Self", "super", "crate", "_"].contains(&name)
        && Ident::parse_any.parse_str(name).is_ok()
}

/// A valid module name that is similar to an invalid one.
pub(super) fn module_like(name: &str) -> String {
    let fit = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let name: String = name.chars().map(fit).collect();
    match name.trim_matches('_') {
        "" => "module".to_owned(),
        "self" | "Self" | "super" | "crate" => format!("{name}_"),
        name if name.starts_with(|first: char| first.is_ascii_digit()) => format!("n{name}"),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile::read(text, "file".to_owned(), "file.rs".to_owned())
    }

    fn names(text: &str) -> Vec<(String, String)> {
        let condition = |condition: Option<TokenStream>| condition.map(|tokens| tokens.to_string()).unwrap_or_default();
        file(text).names.into_iter().map(|(name, when)| (name, condition(when))).collect()
    }

    #[test]
    fn public_types_and_traits_are_found_and_nothing_else() {
        let text = r"
            //! Documentation.
            use x::y;
            pub struct A;
            #[derive(Debug)] pub enum B { C }
            pub trait D { fn e(); }
            pub unsafe trait N {}
            pub type F = A;
            struct G;
            pub(crate) struct H;
            pub fn i() { pub struct J; }
            mod k { pub struct L; }
            pub const M: u8 = 0;
        ";
        let found: Vec<String> = names(text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["A", "B", "D", "N", "F"]);
        assert!(file(text).documented);
        assert!(!file("pub struct A;").documented);
        assert_eq!(file("mod a; pub mod b; mod c {} fn d() { mod e {} }").declares, ["a", "b", "c"]);
    }

    #[test]
    fn a_name_keeps_its_cfg_condition() {
        let text = r#"
            #[cfg(unix)] #[derive(Debug)] pub struct A;
            pub struct B;
            #[cfg(unix)] #[cfg(feature = "x")] pub enum C {}
        "#;
        let expected = [("A", "unix"), ("B", ""), ("C", r#"all (unix , feature = "x")"#)];
        assert_eq!(names(text), expected.map(|(name, when)| (name.to_owned(), when.to_owned())));
        assert_eq!(names("#![cfg(unix)] pub struct A;"), [("A".to_owned(), "unix".to_owned())]);
    }

    #[test]
    fn use_cases_are_found_by_their_functions_names() {
        let usecase = |text: &str| file(text).usecases.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(usecase("#[usecase] pub async fn f() {} fn g() {}"), ["f"]);
        assert_eq!(usecase("#[order_runtime::prelude::usecase]\npub async fn f() {}"), ["f"]);
        assert!(usecase("#[doc(usecase)] pub fn f() {}").is_empty());
    }

    #[test]
    fn only_exact_names_of_other_layers_count() {
        let broken = |text: &str| file(text).layer_break;
        assert_eq!(
            broken("pub struct A;\nfn f(x: &dyn INTERFACE_HELPER_A) {}"),
            Some(("INTERFACE_HELPER_A".to_owned(), 2))
        );
        assert!(broken("fn f() { CONTRACT_HELPER_ShipOrder_V0 }").is_some());
        assert_eq!(broken("pub const SERVICE_FEE: u32 = 3; const CONTRACT_HELPER_YEARS: u32 = 2;"), None);
    }

    #[test]
    fn a_half_typed_file_keeps_its_names() {
        let text = "/// A.\n#[derive(Debug)]\npub struct A {\n    b: \n\n#[usecase]\npub async fn USECASE_C(\n";
        assert_eq!(names(text), [("A".to_owned(), String::new())]);
        assert_eq!(file(text).usecases.len(), 1);
    }

    #[test]
    fn a_module_is_an_identifier() {
        for (name, alike) in [
            ("order paid", "order_paid"),
            ("x-done", "x_done"),
            ("2nd", "n2nd"),
            ("self", "self_"),
            ("", "module"),
            ("a\"b", "a_b"),
            ("r#type", "r_type"),
            ("a//b", "a__b"),
        ] {
            assert!(!is_module(name), "{name}");
            assert_eq!(module_like(name), alike);
            assert!(is_module(alike), "{alike}");
        }
        assert!(is_module("type") && is_module("v0") && is_module("_x"));
    }
}
