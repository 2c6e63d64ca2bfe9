//! The names that the attributes import into every file.

use std::collections::BTreeMap;

use crate::{
    condition,
    items::{Item, Position},
    names::{self, Kind},
    problem::Problem,
    source::{Folder, SourceFile},
    write::module,
};

/// The names in `order_runtime::prelude`. A second one would be ambiguous.
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

/// Attributes that make a second declaration of a name an error of their own, which shows both places.
const CLAIMING: [&str; 2] = ["interface", "schema"];

/// The declarations of a name in one module.
#[derive(Debug)]
struct Declared<'f> {
    file: &'f SourceFile,
    position: Position,
    conditions: Vec<Option<String>>,
    claimed: bool,
    /// The name in the module, if it differs.
    original: Option<String>,
}

/// The exported names, by module: `(path, name)` with the `cfg` condition.
#[derive(Debug)]
pub(crate) struct Export {
    path: Vec<String>,
    name: String,
    original: Option<String>,
    condition: Option<String>,
}

impl Export {
    pub(crate) fn written(&self) -> String {
        let path: Vec<String> = self.path.iter().map(|part| module(part)).collect();
        let path = path.join("::");
        let name = self.original.as_ref().map_or_else(|| self.name.clone(), |name| format!("{name} as {}", self.name));
        format!("{}pub use crate::{path}::{name};\n", condition::attribute(self.condition.as_ref()))
    }
}

/// The names to import into every file, and the names that cannot be. Contracts are excluded: a use case takes an interface.
pub(crate) fn exports(root: &Folder) -> (Vec<Export>, Vec<Problem>) {
    let (mut exports, mut problems) = (Vec::new(), Vec::new());
    for (name, places) in declared(root) {
        if let Some(problem) = taken(&name, &places) {
            problems.push(problem);
            continue;
        }
        problems.extend(twice(&name, &places));
        let mut before = Vec::new();
        for (path, declared) in places {
            let condition = condition::any(&declared.conditions);
            // Of a name that two files declare, the first is imported, so that the report is the only error.
            if let Some(condition) = condition::without(condition.as_ref(), &before) {
                exports.push(Export { path, name: name.clone(), original: declared.original, condition });
            }
            before.push(condition);
        }
    }
    (exports, problems)
}

type Places<'f> = Vec<(Vec<String>, Declared<'f>)>;

type Found<'f> = BTreeMap<String, BTreeMap<Vec<String>, Declared<'f>>>;

/// All public types and traits, and the services, each with the modules that declare it.
fn declared<'f>(root: &'f Folder) -> BTreeMap<String, Places<'f>> {
    let (mut found, mut services, mut misplaced) = (Found::new(), Found::new(), Found::new());
    root.each(&mut Vec::new(), &mut |path, file| {
        if file.left_out {
            return;
        }
        let module: Vec<String> = path.iter().map(|part| (*part).to_owned()).chain([file.module.clone()]).collect();
        let add = |list: &mut Found<'f>, name: String, item: &Item, original: Option<String>| {
            let declared = Declared {
                file,
                position: item.position,
                conditions: Vec::new(),
                claimed: CLAIMING.iter().any(|attribute| item.has(attribute)),
                original,
            };
            let declared = list.entry(name).or_default().entry(module.clone()).or_insert(declared);
            declared.conditions.push(item.condition.clone());
        };
        for item in file.items.found.iter().filter(|item| !item.nested) {
            if item.public && item.is_type() && !item.name.starts_with("r#") {
                add(&mut found, item.name.clone(), item, None);
            } else if let Some(folder) = feature_folder(path).filter(|_| item.keyword == "fn" && item.has("usecase")) {
                // The service is generated, so no file contains its name.
                let service = Kind::Service.of(&names::of_service(&item.name, Some(folder)));
                // In the folder of another feature, it is known by the name of its own feature too.
                let own = names::feature(Kind::Usecase, &item.name).map(|feature| Kind::Service.of(&feature));
                if let Some(own) = own.ok().filter(|own| *own != service) {
                    add(&mut misplaced, own, item, Some(service.clone()));
                }
                add(&mut services, service, item, None);
            }
        }
    });
    for (name, places) in misplaced {
        services.entry(name).or_insert(places);
    }
    // A service by hand is reported elsewhere; what is generated takes its place.
    found.extend(services);
    found.retain(|name, _| !name.starts_with(Kind::Contract.prefix()));
    found.into_iter().map(|(name, places)| (name, places.into_iter().collect())).collect()
}

pub(crate) fn feature_folder<'f>(path: &[&'f str]) -> Option<&'f str> {
    let features = path.iter().position(|part| *part == "features")?;
    path.get(features + 1).copied()
}

/// The problem of a name that is in scope in every file anyway.
fn taken(name: &str, places: &Places<'_>) -> Option<Problem> {
    let prelude = if PRELUDE.contains(&name) {
        "`order_runtime::prelude`"
    } else if STANDARD.contains(&name) {
        "the standard library"
    } else {
        return None;
    };
    let (_, Declared { file, position, conditions, .. }) = places.first()?;
    let problem = format!("`{name}` is a name of {prelude}, which every file has in scope");
    let help =
        format!("rename it, or make it `pub(crate)` and import it by hand where it is meant instead of `{name}`");
    file.items.complete.then(|| Problem::new(&file.inside, *position, problem, help).under(condition::any(conditions)))
}

/// The problem of a name that two files declare; `None` if their conditions are those of different builds.
fn twice(name: &str, places: &Places<'_>) -> Option<Problem> {
    let [(_, one), (_, other), ..] = places.as_slice() else { return None };
    if !one.file.items.complete || !other.file.items.complete || (one.claimed && other.claimed) {
        return None;
    }
    let condition =
        condition::both(condition::any(&one.conditions).as_ref(), condition::any(&other.conditions).as_ref());
    let problem = format!(
        "`{name}` is declared twice: here and in `{}:{}`; the attributes import names into every file",
        one.file.inside, one.position.line
    );
    let help = "rename one of them, or make one `pub(crate)` and import it by hand where it is meant";
    Some(Problem::new(&other.file.inside, other.position, problem, help).under(condition))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(module: &str, text: &str) -> SourceFile {
        SourceFile::read(text, module.to_owned(), format!("{module}.rs"))
    }

    fn written(root: &Folder) -> (Vec<String>, Vec<String>) {
        let (exports, problems) = exports(root);
        let problem = |problem: Problem| format!("{}:{} {}", problem.file, problem.position.line, problem.text);
        (
            exports.iter().map(|export| export.written().trim_end().to_owned()).collect(),
            problems.into_iter().map(problem).collect(),
        )
    }

    fn feature(name: &str, files: Vec<SourceFile>) -> Folder {
        let feature = Folder { module: name.to_owned(), files, ..Folder::default() };
        let features = Folder { module: "features".to_owned(), folders: vec![feature], ..Folder::default() };
        Folder { folders: vec![features], ..Folder::default() }
    }

    #[test]
    fn contracts_are_not_imported_and_names_in_scope_are_reported() {
        let mut root = feature(
            "ship_order",
            vec![
                source("usecase", "#[usecase] pub async fn USECASE_wrong() {}"),
                source("contracts", "#[contract] pub struct CONTRACT_HELPER_ShipOrder_V0;"),
                source(
                    "schemas",
                    "pub struct INPUT_ShipOrder;\npub struct Shared;\npub enum Value {}\npub fn Shared() {}",
                ),
            ],
        );
        root.files.push(source(
            "other",
            "pub struct Shared;\npub type Result<T> = Vec<T>;\npub(crate) struct Box;\nmod m { pub struct M; }",
        ));
        let (exports, problems) = written(&root);
        assert_eq!(
            exports,
            [
                "pub use crate::features::ship_order::schemas::INPUT_ShipOrder;",
                "pub use crate::features::ship_order::usecase::SERVICE_ShipOrder;",
                "pub use crate::features::ship_order::schemas::Shared;",
            ]
        );
        assert_eq!(
            problems,
            [
                "other.rs:2 `Result` is a name of the standard library, which every file has in scope",
                "other.rs:1 `Shared` is declared twice: here and in `schemas.rs:2`; the attributes import names into every file",
                "schemas.rs:3 `Value` is a name of `order_runtime::prelude`, which every file has in scope",
            ]
        );
    }

    #[test]
    fn a_service_is_spelled_like_its_use_case() {
        let root = feature("send_sms", vec![source("usecase", "#[usecase] pub async fn USECASE_SendSMS() {}")]);
        assert_eq!(written(&root).0, ["pub use crate::features::send_sms::usecase::SERVICE_SendSMS;"]);
    }

    #[test]
    fn a_service_in_the_wrong_folder_has_both_names() {
        let mut root = feature("send_sms", vec![source("usecase", "#[usecase] pub async fn USECASE_SendMail() {}")]);
        let alias = "pub use crate::features::send_sms::usecase::SERVICE_SendSms as SERVICE_SendMail;";
        let service = "pub use crate::features::send_sms::usecase::SERVICE_SendSms;";
        assert_eq!(written(&root).0, [alias, service]);
        let right = feature("send_mail", vec![source("usecase", "#[usecase] pub async fn USECASE_SendMail() {}")]);
        root.folders.extend(right.folders);
        let mail = "pub use crate::features::send_mail::usecase::SERVICE_SendMail;";
        assert_eq!(written(&root), (vec![mail.to_owned(), service.to_owned()], Vec::new()));
    }

    #[test]
    fn a_second_schema_is_reported_by_its_attribute() {
        let schema = "#[schema] pub struct INPUT_A;";
        let root = Folder { files: vec![source("a", schema), source("b", schema)], ..Folder::default() };
        assert_eq!(written(&root), (vec!["pub use crate::a::INPUT_A;".to_owned()], Vec::new()));
    }

    #[test]
    fn names_keep_their_conditions() {
        let root = Folder {
            files: vec![
                source("a", "#[cfg(unix)] pub struct A; #[cfg(windows)] pub struct A; #[cfg(unix)] pub struct B;"),
                source("type", "#[cfg(windows)] pub struct B;"),
            ],
            ..Folder::default()
        };
        let (names, problems) = exports(&root);
        let names: Vec<_> = names.iter().map(|export| export.written().trim_end().to_owned()).collect();
        assert_eq!(
            names,
            [
                "#[cfg(any(unix, windows))] pub use crate::a::A;",
                "#[cfg(unix)] pub use crate::a::B;",
                "#[cfg(all(windows, not(unix)))] pub use crate::r#type::B;",
            ]
        );
        let conditions: Vec<_> = problems.iter().map(|problem| problem.condition.as_deref()).collect();
        assert_eq!(conditions, [Some("all(unix, windows)")]);
    }

    #[test]
    fn a_half_typed_file_is_not_blamed() {
        let root = Folder {
            files: vec![source("a", "pub struct A;\npub struct Box;\nfn f() {"), source("b", "pub struct A;")],
            ..Folder::default()
        };
        assert_eq!(written(&root).1, [""; 0]);
    }

    #[test]
    fn the_list_has_all_names_of_the_runtimes_prelude() {
        let prelude = include_str!("../../order-runtime/src/prelude.rs");
        let file = source("prelude", prelude);
        let modules =
            ["pub", "use", "crate", "order_macros", "serde_json", "dispatch", "engine", "unit_of_work", "store"];
        let names = file.words.iter().map(|(name, _)| name.as_str()).filter(|name| !modules.contains(name));
        let names: Vec<&str> = names.collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(PRELUDE.contains(&name), "{name} is missing");
        }
    }
}
