//! Reports declarations that the attributes cannot see: those without an attribute, and features without a contract.

use std::collections::BTreeSet;

use crate::{
    condition,
    exports::feature_folder,
    items::Item,
    names::{self, Kind},
    problem::Problem,
    source::{Folder, SourceFile},
};

/// Attributes that change nothing about what an item is. Beside an attribute that is not among them, an item may be anything.
const PLAIN: [&str; 14] = [
    "allow",
    "async_trait",
    "cfg",
    "cold",
    "deny",
    "deprecated",
    "derive",
    "doc",
    "expect",
    "inline",
    "must_use",
    "rustfmt",
    "track_caller",
    "warn",
];

pub(crate) fn check(root: &mut Folder) -> Vec<Problem> {
    leave_copies_out(root);
    let mut problems = Vec::new();
    root.each_mut(&mut |file| {
        // A file that is half typed has an error of its own.
        if file.items.complete {
            problems.extend(without_contract_attribute(file));
        }
    });
    let usecases = usecases(root);
    root.each(&mut Vec::new(), &mut |path, file| {
        if file.left_out || !file.items.complete {
            return;
        }
        problems.extend(file.items.found.iter().filter_map(|item| without_attribute(file, item)));
        problems.extend(file.items.found.iter().filter_map(|item| service_by_hand(file, item, &usecases)));
        if path.contains(&"entities") {
            problems.extend(layer_break(file));
        }
    });
    problems.extend(without_contract(root));
    problems
}

/// Leaves out files whose names cannot be modules if they declare what another file declares: they are copies.
fn leave_copies_out(root: &mut Folder) {
    let mut known = BTreeSet::new();
    root.each(&mut Vec::new(), &mut |_, file| {
        if file.renamed.is_none() {
            known.extend(file.items.found.iter().map(|item| item.name.clone()));
        }
    });
    root.each_mut(&mut |file| {
        let mut names = file.items.found.iter().map(|item| &item.name);
        file.left_out |= file.renamed.is_some() && names.any(|name| known.contains(name));
    });
}

/// Whether the item is of the kind that the attribute demands, and has neither this attribute nor one that may take its place.
fn forgotten(item: &Item, attribute: &str) -> bool {
    !item.has(attribute)
        && item.attributes.iter().all(|known| PLAIN.contains(&known.as_str()))
        && !item.depends_on_test()
}

/// An item that is named like a declaration, without the attribute that makes it one.
fn without_attribute(file: &SourceFile, item: &Item) -> Option<Problem> {
    let name = &item.name;
    let (attribute, kind, consequence) = match item.keyword.as_str() {
        "fn" if name.starts_with(Kind::Processor.prefix()) => {
            ("event_processor", Kind::Processor, "no event reaches it")
        }
        "fn" if name.starts_with(Kind::Usecase.prefix()) => ("usecase", Kind::Usecase, "it has no service"),
        "trait" if name.starts_with(Kind::Interface.prefix()) => {
            ("interface", Kind::Interface, "no use case can take it")
        }
        _ => return None,
    };
    let feature = names::feature(kind, name).ok()?;
    let written =
        if kind == Kind::Processor { format!("#[event_processor({feature:?})]") } else { format!("#[{attribute}]") };
    forgotten(item, attribute).then(|| {
        Problem::new(
            &file.inside,
            item.position,
            format!("`{name}` has no `#[{attribute}]`: {consequence}"),
            format!("write `{written}` above it"),
        )
        .under(item.condition.clone())
    })
}

/// Implementations of an interface without `#[contract]`.
///
/// rustc would report each of their async methods, too. A file that has nothing else to offer is therefore left out.
fn without_contract_attribute(file: &mut SourceFile) -> Vec<Problem> {
    let is_one = |item: &&Item| {
        let interface = item.implements.as_deref().is_some_and(|name| names::feature(Kind::Interface, name).is_ok());
        interface && forgotten(item, "contract")
    };
    let problem = |item: &Item| {
        let interface = item.implements.clone().unwrap_or_default();
        let help = if names::contract(&item.name).is_ok() {
            "write `#[contract]` above the `impl`".to_owned()
        } else {
            let contract = interface.replacen(Kind::Interface.prefix(), Kind::Contract.prefix(), 1);
            format!(
                "write `#[contract]` above the `impl`, and name the struct `{contract}_V<N>`; what stands in for it in tests \
                 belongs into a module with `#[cfg(test)]`"
            )
        };
        let text = format!("`{}` implements `{interface}` without `#[contract]`: no service uses it", item.name);
        Problem::new(&file.inside, item.position, text, help).under(item.condition.clone())
    };
    let problems: Vec<_> = file.items.found.iter().filter(is_one).map(problem).collect();
    let offers = |item: &Item| item.keyword != "impl" && item.public && !item.name.starts_with(Kind::Contract.prefix());
    let always = problems.iter().any(|problem| problem.condition.is_none());
    file.left_out |= always && !file.items.found.iter().any(offers) && file.items.declares.is_empty();
    problems
}

/// The services of all use cases, each with the file in which it is generated.
fn usecases(root: &Folder) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    root.each(&mut Vec::new(), &mut |path, file| {
        let usecases = file.items.found.iter().filter(|item| item.keyword == "fn" && item.has("usecase"));
        let service = |item: &Item| Kind::Service.of(&names::of_service(&item.name, feature_folder(path)));
        found.extend(usecases.map(|item| (service(item), file.inside.clone())));
    });
    found
}

/// A service that is written by hand.
fn service_by_hand(file: &SourceFile, item: &Item, usecases: &BTreeSet<(String, String)>) -> Option<Problem> {
    let feature = names::feature(Kind::Service, &item.name).ok()?;
    // Beside the use case, rustc reports that the name is there twice.
    let reported = item.is_type() && usecases.contains(&(item.name.clone(), file.inside.clone()));
    let counts = item.keyword != "impl" && item.keyword != "const" && item.keyword != "static";
    (counts && !reported && !item.depends_on_test()).then(|| {
        let usecase = Kind::Usecase.of(&feature);
        Problem::new(
            &file.inside,
            item.position,
            format!("the service `{}` is written by hand", item.name),
            format!("remove it: `#[usecase]` above `{usecase}` generates it; what it does belongs into `{usecase}`"),
        )
        .under(item.condition.clone())
    })
}

/// The first name in an entity's file that is one of another layer. Entities have no attribute that could check it.
fn layer_break(file: &SourceFile) -> Option<Problem> {
    let (name, position) = file.words.iter().find(|(name, _)| names_a_layer(name))?;
    Some(Problem::new(
        &file.inside,
        *position,
        format!("an entity names `{name}`"),
        "move that into a use case: an entity is pure and uses no interface, contract, use case or service",
    ))
}

/// Whether a name is that of an interface, use case, service or contract. Only exact patterns count, so a constant `SERVICE_FEE`
/// does not.
fn names_a_layer(name: &str) -> bool {
    [Kind::Interface, Kind::Usecase, Kind::Service].iter().any(|kind| names::feature(*kind, name).is_ok())
        || names::contract(name).is_ok()
}

/// Interfaces that a use case takes and nothing implements.
fn without_contract(root: &Folder) -> Vec<Problem> {
    let (mut interfaces, mut taken, mut implemented) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut unknown = false;
    root.each(&mut Vec::new(), &mut |path, file| {
        // A contract may stand in what is half typed, what a macro writes, or what a file declares by itself.
        unknown |= !file.items.complete || file.items.from_macros && feature_folder(path).is_some();
        unknown |=
            !file.items.declares.is_empty() && feature_folder(path).is_some() && file.inside.contains("contract");
        for item in &file.items.found {
            match item.keyword.as_str() {
                "trait" if item.has("interface") => interfaces.push((file, item)),
                "fn" if item.has("usecase") => taken.extend(item.head.iter().cloned()),
                "impl" if !item.depends_on_test() => {
                    implemented.extend(item.implements.clone());
                    // A contract of this name implements a wrong interface, which its attribute reports.
                    implemented.extend(names::contract(&item.name).map(|(feature, _)| Kind::Interface.of(&feature)));
                }
                _ => {}
            }
        }
    });
    let missing = interfaces
        .into_iter()
        .filter(|(_, item)| !unknown && taken.contains(&item.name) && !implemented.contains(&item.name));
    let problem = |(file, item): (&SourceFile, &Item)| {
        let feature = names::feature(Kind::Interface, &item.name).ok()?;
        let contract = format!("{}_V0", Kind::Contract.of(&feature));
        Some(
            Problem::new(
                &file.inside,
                item.position,
                format!("the feature `{feature}` has no contract: nothing implements `{}`", item.name),
                format!(
                    "write `{contract}` with `#[contract]`, and `#[contract] impl {} for {contract}`, in `contracts/v0.rs`",
                    item.name
                ),
            )
            .under(condition::both(item.condition.as_ref(), None)),
        )
    };
    missing.filter_map(problem).collect()
}
