//! The names that the attributes import into every file.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

use super::{module_ident, scan::Folder};
use crate::names::{self, Kind};

/// The names in `order_runtime::prelude`. Importing a second one would be ambiguous.
const PRELUDE: [&str; 20] = [
    "EmitError",
    "Emitter",
    "Entity",
    "Event",
    "Failed",
    "Failure",
    "Injectable",
    "Schema",
    "Value",
    "WorkingSet",
    "contract",
    "entity",
    "event_processor",
    "failure",
    "id",
    "injectable",
    "interface",
    "schema",
    "usecase",
    "values",
];

/// Names that are in scope in every Rust file, which a glob import would shadow: traits and types of the Rust 2024 prelude, and
/// variants that are in scope without their type.
const STANDARD: [&str; 43] = [
    "AsMut",
    "AsRef",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "Box",
    "Clone",
    "Copy",
    "Default",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "Err",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Future",
    "Into",
    "IntoFuture",
    "IntoIterator",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Result",
    "Send",
    "Sized",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Unpin",
    "Vec",
];

/// An exported name with its module path and its `cfg` condition.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) path: Vec<String>,
    pub(super) name: String,
    condition: Option<TokenStream>,
}

impl Export {
    /// The condition that all of these hold; `None` if there are none.
    pub(super) fn all(conditions: impl Iterator<Item = TokenStream>) -> Option<TokenStream> {
        let mut conditions: Vec<TokenStream> = conditions.collect();
        if conditions.len() > 1 { Some(quote! { all(#(#conditions),*) }) } else { conditions.pop() }
    }

    /// The condition that any of these holds; `None` if one of them is `None`, which is unconditional.
    fn any(conditions: Vec<Option<TokenStream>>) -> Option<TokenStream> {
        let mut conditions = conditions.into_iter().collect::<Option<Vec<_>>>()?;
        if conditions.len() > 1 { Some(quote! { any(#(#conditions),*) }) } else { conditions.pop() }
    }
}

impl ToTokens for Export {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let path = self.path.iter().map(|part| module_ident(part));
        let name = Ident::new(&self.name, Span::call_site());
        let condition = self.condition.as_ref().map(|condition| quote! { #[cfg(#condition)] });
        tokens.extend(quote! { #condition pub use crate #(::#path)* ::#name; });
    }
}

/// The names to import into every file. Excluded are contracts, names that are in scope anyway, and names that two files share;
/// those are imported by hand.
pub(super) fn exports(root: &Folder) -> Vec<Export> {
    let mut found: BTreeMap<String, BTreeMap<Vec<String>, Vec<Option<TokenStream>>>> = BTreeMap::new();
    root.each(&mut Vec::new(), &mut |path, file| {
        let module: Vec<String> = path.iter().cloned().chain([file.module.clone()]).collect();
        let services = file.usecases.iter().filter_map(|(usecase, condition)| {
            // The service is generated, so no file contains its name.
            let feature = names::of_service(usecase, Some(feature_folder(path)?));
            Some((Kind::Service.of(&feature), condition.clone()))
        });
        for (name, condition) in file.names.iter().cloned().chain(services) {
            found.entry(name).or_default().entry(module.clone()).or_default().push(condition);
        }
    });
    let in_scope = |name: &str| PRELUDE.contains(&name) || STANDARD.contains(&name);
    found
        .into_iter()
        .filter(|(name, places)| places.len() == 1 && !name.starts_with(Kind::Contract.prefix()) && !in_scope(name))
        .flat_map(|(name, places)| {
            places.into_iter().map(move |(path, conditions)| Export {
                path,
                name: name.clone(),
                condition: Export::any(conditions),
            })
        })
        .collect()
}

fn feature_folder(path: &[String]) -> Option<&str> {
    let features = path.iter().position(|part| part == "features")?;
    path.get(features + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::{super::file::SourceFile, *};

    fn source(module: &str, text: &str) -> SourceFile {
        SourceFile::read(text, module.to_owned(), String::new())
    }

    fn written(root: &Folder) -> Vec<String> {
        exports(root).iter().map(|export| export.to_token_stream().to_string().replace(' ', "")).collect()
    }

    fn feature(name: &str, files: Vec<SourceFile>) -> Folder {
        let mut features = Folder::default();
        features.folders.insert(name.to_owned(), Folder { files, ..Folder::default() });
        let mut root = Folder::default();
        root.folders.insert("features".to_owned(), features);
        root
    }

    #[test]
    fn shared_names_contracts_and_names_of_the_preludes_are_left_out() {
        let mut root = feature(
            "ship_order",
            vec![
                source("usecase", "#[usecase] pub async fn USECASE_Wrong() {}"),
                source("contracts", "#[contract] pub struct CONTRACT_HELPER_ShipOrder_V0;"),
                source("schemas", "pub struct INPUT_ShipOrder; pub struct Shared; pub enum Value {}"),
            ],
        );
        root.files.push(source(
            "other",
            "pub struct Shared; pub type Result<T> = Vec<T>; pub struct Box; pub struct Emitter;",
        ));
        assert_eq!(
            written(&root),
            [
                "pubusecrate::features::ship_order::schemas::INPUT_ShipOrder;",
                "pubusecrate::features::ship_order::usecase::SERVICE_ShipOrder;",
            ]
        );
    }

    #[test]
    fn a_service_is_spelled_like_its_use_case() {
        let root = feature("send_sms", vec![source("usecase", "#[usecase] pub async fn USECASE_SendSMS() {}")]);
        assert_eq!(written(&root), ["pubusecrate::features::send_sms::usecase::SERVICE_SendSMS;"]);
    }

    #[test]
    fn an_export_keeps_the_cfg_condition() {
        let root = Folder {
            files: vec![source(
                "a",
                "#[cfg(unix)] pub struct A; #[cfg(windows)] pub struct A; #[cfg(unix)] pub struct B;",
            )],
            ..Folder::default()
        };
        assert_eq!(written(&root), ["#[cfg(any(unix,windows))]pubusecrate::a::A;", "#[cfg(unix)]pubusecrate::a::B;"]);
    }

    #[test]
    fn the_list_has_all_names_of_the_runtimes_prelude() {
        let prelude = include_str!("../../../order-runtime/src/prelude.rs");
        let code: Vec<&str> = prelude.lines().filter(|line| !line.starts_with("//")).collect();
        let names = crate::item::idents_with(code.join("\n").parse().expect("it lexes"), &[""]);
        let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let modules =
            ["pub", "use", "crate", "order_macros", "serde_json", "dispatch", "engine", "unit_of_work", "store"];
        names.retain(|name| !modules.contains(&name.as_str()));
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(PRELUDE.contains(&name.as_str()), "{name} is missing");
        }
    }
}
