//! Reads the files below `src/`: which modules there are, and which of their names every file may use.
//!
//! Only top-level tokens are looked at; what does not even lex is rustc's to report, once the module is declared.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::module_name;
use crate::{
    item,
    names::{self, Kind},
};

/// Names that `order_runtime::prelude` has: a second one in scope would be ambiguous.
const PRELUDE: [&str; 15] = [
    "Entity",
    "Event",
    "Failed",
    "Failure",
    "Injectable",
    "Schema",
    "Value",
    "WorkingSet",
    "contract",
    "event_processor",
    "failure",
    "injectable",
    "interface",
    "schema",
    "usecase",
];

/// A folder below `src/`.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) files: Vec<SourceFile>,
    pub(super) folders: BTreeMap<String, Folder>,
}

/// A file that becomes a module.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) module: String,
    /// Its path below `src/`, for messages.
    pub(super) inside: String,
    /// It begins with documentation of its own.
    pub(super) documented: bool,
    /// Its public types and traits.
    names: Vec<String>,
    /// It has an item with `#[usecase]`.
    has_usecase: bool,
    /// The first name of another layer that an entity may not know, and its line.
    pub(super) layer_break: Option<(String, usize)>,
}

impl Folder {
    /// Calls `visit` for every file with the modules that lead to it.
    pub(super) fn each(&self, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &SourceFile)) {
        for file in &self.files {
            visit(path, file);
        }
        for (name, folder) in &self.folders {
            path.push(name.clone());
            folder.each(path, visit);
            path.pop();
        }
    }
}

/// Reads `src/`, without the crate's roots.
pub(super) fn read(source: &Path) -> Folder {
    let mut root = read_folder(source, "");
    root.files.retain(|file| file.module != "lib" && file.module != "main");
    root.folders.remove("bin");
    root
}

fn read_folder(folder: &Path, inside: &str) -> Folder {
    let mut found = Folder::default();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in &entries {
        if let Some(module) = module_name(path)
            && path.is_file()
        {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            found.files.push(read_file(&text, module.clone(), format!("{inside}{module}.rs")));
        }
    }
    for path in entries.iter().filter(|path| path.is_dir()) {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let beside = found.files.iter().any(|file| file.module == name);
        if name.starts_with('.') || beside {
            // `x.rs` beside `x/` declares what is in it, as ordinary Rust does.
            continue;
        }
        let inner_path = format!("{inside}{name}/");
        if path.join("mod.rs").is_file() {
            let text = std::fs::read_to_string(path.join("mod.rs")).unwrap_or_default();
            found.files.push(read_file(&text, name, format!("{inner_path}mod.rs")));
            continue;
        }
        let inner = read_folder(path, &inner_path);
        if !inner.files.is_empty() || !inner.folders.is_empty() {
            found.folders.insert(name, inner);
        }
    }
    found
}

fn read_file(text: &str, module: String, inside: String) -> SourceFile {
    let tokens = TokenStream::from_str(text).unwrap_or_default();
    let top_level: Vec<TokenTree> = tokens.into_iter().collect();
    let layers = [Kind::Interface, Kind::Contract, Kind::Usecase, Kind::Service].map(Kind::prefix);
    let layer_break = item::idents_with(top_level.iter().cloned().collect(), &layers).first().map(|ident| {
        let name = ident.to_string();
        let line = text.lines().position(|line| line.contains(&name)).unwrap_or_default() + 1;
        (name, line)
    });
    SourceFile {
        module,
        inside,
        documented: text.trim_start().starts_with("//!") || text.trim_start().starts_with("/*!"),
        names: public_names(&top_level),
        has_usecase: has_attribute(&top_level, "usecase"),
        layer_break,
    }
}

/// The names after `pub struct`, `pub enum`, `pub trait` and `pub type`; `pub(…)` is not public.
fn public_names(tokens: &[TokenTree]) -> Vec<String> {
    let word = |index: usize| match tokens.get(index) {
        Some(TokenTree::Ident(ident)) => ident.to_string(),
        _ => String::new(),
    };
    (0..tokens.len())
        .filter(|&index| word(index) == "pub")
        .filter(|&index| ["struct", "enum", "trait", "type"].contains(&word(index + 1).as_str()))
        .map(|index| word(index + 2))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether an item carries `#[name]`, by whatever path.
fn has_attribute(tokens: &[TokenTree], name: &str) -> bool {
    tokens.windows(2).any(|pair| match pair {
        [TokenTree::Punct(hash), TokenTree::Group(group)] => {
            hash.as_char() == '#'
                && group.delimiter() == Delimiter::Bracket
                && group
                    .stream()
                    .into_iter()
                    .take_while(|token| !matches!(token, TokenTree::Group(_)))
                    .filter_map(|token| match token {
                        TokenTree::Ident(ident) => Some(ident.to_string()),
                        _ => None,
                    })
                    .last()
                    .is_some_and(|last| last == name)
        }
        _ => false,
    })
}

/// The names that every file may use, each with the modules that lead to it. Left out are contracts, names of the
/// prelude, and names that two files share: such a one is imported by hand.
pub(super) fn exports(root: &Folder) -> Vec<(Vec<String>, String)> {
    let mut found: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    root.each(&mut Vec::new(), &mut |path, file| {
        let module: Vec<String> = path.iter().cloned().chain([file.module.clone()]).collect();
        let mut names = file.names.clone();
        // The service is generated, so it stands in no file; it is called by the feature's folder, whatever the function is called.
        if file.has_usecase
            && let Some(feature) = feature_folder(path)
        {
            names.push(Kind::Service.of(&names::upper_camel(feature)));
        }
        names.sort();
        names.dedup();
        for name in names {
            found.entry(name).or_default().push(module.clone());
        }
    });
    found
        .into_iter()
        .filter(|(name, places)| {
            places.len() == 1 && !name.starts_with(Kind::Contract.prefix()) && !PRELUDE.contains(&name.as_str())
        })
        .flat_map(|(name, places)| places.into_iter().map(move |path| (path, name.clone())))
        .collect()
}

fn feature_folder(path: &[String]) -> Option<&str> {
    let features = path.iter().position(|part| part == "features")?;
    path.get(features + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        read_file(text, "file".to_owned(), "file.rs".to_owned())
    }

    #[test]
    fn public_types_and_traits_are_found_and_nothing_else() {
        let text = r"
            //! Words.
            use x::y;
            pub struct A;
            #[derive(Debug)] pub enum B { C }
            pub trait D { fn e(); }
            pub type F = A;
            struct G;
            pub(crate) struct H;
            pub fn i() { pub struct J; }
            mod k { pub struct L; }
            pub const M: u8 = 0;
        ";
        assert_eq!(file(text).names, ["A", "B", "D", "F"]);
        assert!(file(text).documented);
        assert!(!file("pub struct A;").documented);
    }

    #[test]
    fn use_cases_and_broken_layers_are_found() {
        assert!(file("#[usecase] pub async fn f() {}").has_usecase);
        assert!(file("#[order_runtime::prelude::usecase]\npub async fn f() {}").has_usecase);
        assert!(!file("#[doc(usecase)] pub fn f() {}").has_usecase);
        assert_eq!(
            file("pub struct A;\nfn f(x: &dyn INTERFACE_HELPER_A) {}").layer_break,
            Some(("INTERFACE_HELPER_A".to_owned(), 2))
        );
    }

    #[test]
    fn shared_names_contracts_and_names_of_the_prelude_are_left_out() {
        let mut root = Folder::default();
        let mut feature = Folder::default();
        let source = |module: &str, text: &str| read_file(text, module.to_owned(), String::new());
        feature.files.push(source("usecase", "#[usecase] pub async fn USECASE_Wrong() {}"));
        feature.files.push(source("contracts", "#[contract] pub struct CONTRACT_HELPER_ShipOrder_V0;"));
        feature.files.push(source("schemas", "pub struct INPUT_ShipOrder; pub struct Shared; pub enum Value {}"));
        let mut features = Folder::default();
        features.folders.insert("ship_order".to_owned(), feature);
        root.folders.insert("features".to_owned(), features);
        root.files.push(source("other", "pub struct Shared;"));
        let names: Vec<_> = exports(&root).into_iter().map(|(path, name)| (path.join("::"), name)).collect();
        assert_eq!(
            names,
            [
                ("features::ship_order::schemas".to_owned(), "INPUT_ShipOrder".to_owned()),
                ("features::ship_order::usecase".to_owned(), "SERVICE_ShipOrder".to_owned()),
            ]
        );
    }

    #[test]
    fn what_does_not_lex_has_no_names() {
        assert!(file("pub struct A { ").names.is_empty());
    }
}
