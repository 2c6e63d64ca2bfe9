//! The written declarations, and each problem that is found, on files in a temporary folder.

use std::{fs, path::Path};

use super::{checks, declarations, exports, source, write_if_changed};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let source = tempfile::tempdir().expect("a folder");
    for (file, text) in files {
        let path = source.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    }
    source
}

/// The problems, each with its place.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let folder = folder(files);
    let (mut root, mut problems) = source::read(folder.path());
    problems.extend(checks::check(&mut root));
    problems.extend(exports::exports(&root).1);
    let text = |problem: super::problem::Problem| {
        let condition = problem.condition.map(|condition| format!(" if {condition}")).unwrap_or_default();
        let at = problem.position;
        format!("{}:{}:{}{condition}: {}; {}", problem.file, at.line, at.column, problem.text, problem.help)
    };
    problems.into_iter().map(text).collect()
}

const INTERFACE: (&str, &str) = (
    "orders/features/ship/interface.rs",
    "#[interface]\npub trait INTERFACE_HELPER_Ship {\n    async fn find(&self);\n}\n",
);
const USECASE: (&str, &str) = (
    "orders/features/ship/usecase.rs",
    "#[usecase]\npub async fn USECASE_Ship(input: INPUT_Ship, orders: &mut dyn INTERFACE_HELPER_Ship) -> Result<OUTPUT_Ship, E> {}\n\
     #[cfg(test)]\nmod tests {\n    impl INTERFACE_HELPER_Ship for Orders {}\n}\n",
);
const CONTRACT: (&str, &str) = (
    "orders/features/ship/contracts/v0.rs",
    "#[contract]\npub struct CONTRACT_HELPER_Ship_V0;\n\n#[contract]\nimpl INTERFACE_HELPER_Ship for CONTRACT_HELPER_Ship_V0 {}\n",
);

#[test]
fn modules_and_names_are_written() {
    let folder = folder(&[
        ("lib.rs", "dispatcher!(name = \"orders\");\npub struct InLib;"),
        ("main.rs", "fn main() {}"),
        ("bin/a-tool.rs", "fn main() {}"),
        ("events/order_shipped.rs", "//! Has its own.\n#[event_processor(\"X\")]\npub async fn EventProcessor_X() {}"),
        ("events/order-paid.rs", "pub struct Paid;"),
        ("orders/entities/order.rs", "pub struct Order;"),
        ("orders/entities/type.rs", "#![cfg(unix)]\npub enum Kind {}"),
        ("orders/features/ship/schemas.rs", "pub struct INPUT_Ship;\npub struct OUTPUT_Ship;"),
        INTERFACE,
        USECASE,
        CONTRACT,
    ]);
    insta::assert_snapshot!("declarations", declarations(folder.path()));
}

#[test]
fn a_domain_without_mistakes_has_no_problems() {
    assert_eq!(problems(&[INTERFACE, USECASE, CONTRACT]), [""; 0]);
}

#[test]
fn a_declaration_without_its_attribute_is_reported() {
    assert_eq!(
        problems(&[
            (
                "events/order_paid.rs",
                "#[derive(Debug)]\npub struct X;\n\n/// Sees it.\n#[allow(non_snake_case)]\npub async fn EventProcessor_OrderPaid() {}\n",
            ),
            ("events/seen.rs", "mod inner {\n    #[cfg(unix)]\n    async fn EventProcessor_Seen() {}\n}\n"),
            ("features/pay/usecase.rs", "pub async fn USECASE_Pay() {}\npub trait INTERFACE_HELPER_Pay {}\n"),
        ]),
        [
            "events/order_paid.rs:6:14: `EventProcessor_OrderPaid` has no `#[event_processor]`: no event reaches it; \
             write `#[event_processor(\"OrderPaid\")]` above it",
            "events/seen.rs:3:14 if unix: `EventProcessor_Seen` has no `#[event_processor]`: no event reaches it; \
             write `#[event_processor(\"Seen\")]` above it",
            "features/pay/usecase.rs:1:14: `USECASE_Pay` has no `#[usecase]`: it has no service; write `#[usecase]` above it",
            "features/pay/usecase.rs:2:11: `INTERFACE_HELPER_Pay` has no `#[interface]`: no use case can take it; \
             write `#[interface]` above it",
        ]
    );
}

#[test]
fn an_item_that_may_be_something_else_is_not_reported() {
    for text in [
        "#[event_procesor(\"X\")]\npub async fn EventProcessor_X() {}",
        "#[cfg_attr(unix, event_processor(\"X\"))]\npub async fn EventProcessor_X() {}",
        "#[cfg(test)]\nmod tests {\n    async fn EventProcessor_X() {}\n}",
        "pub async fn EventProcessor_x() {}",
        "pub async fn EventProcessor_X() {\n    let open = (\n}",
        "pub const SERVICE_FEE: u32 = 1;\npub struct Result2;",
    ] {
        assert_eq!(problems(&[("events/x.rs", text)]), [""; 0], "{text}");
    }
}

#[test]
fn an_implementation_without_its_attribute_is_reported() {
    let text = "#[contract]\npub struct CONTRACT_HELPER_Ship_V0;\n\nimpl INTERFACE_HELPER_Ship for CONTRACT_HELPER_Ship_V0 {}\n";
    let file = "orders/features/ship/contracts/v0.rs";
    let expected = "orders/features/ship/contracts/v0.rs:4:32: `CONTRACT_HELPER_Ship_V0` implements `INTERFACE_HELPER_Ship` without \
                    `#[contract]`: no service uses it; write `#[contract]` above the `impl`";
    assert_eq!(problems(&[INTERFACE, USECASE, (file, text)]), [expected]);
    // rustc would report its async methods too, so the file is no module.
    let folder = folder(&[INTERFACE, USECASE, (file, text)]);
    assert!(!declarations(folder.path()).contains("pub mod v0;"));

    let found = problems(&[CONTRACT, ("orders/other.rs", "#[async_trait]\nimpl INTERFACE_HELPER_Ship for Fake {}\n")]);
    let [problem] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        problem.contains("name the struct `CONTRACT_HELPER_Ship_V<N>`") && problem.contains("#[cfg(test)]"),
        "{problem}"
    );
}

#[test]
fn a_service_by_hand_is_reported() {
    let by_hand = ("orders/services.rs", "#[derive(Injectable)]\npub struct SERVICE_Ship {}\n");
    let expected = "orders/services.rs:2:12: the service `SERVICE_Ship` is written by hand; \
                    remove it: `#[usecase]` above `USECASE_Ship` generates it; what it does belongs into `USECASE_Ship`";
    assert_eq!(problems(&[by_hand]), [expected]);
    assert_eq!(
        problems(&[by_hand, INTERFACE, USECASE, CONTRACT]),
        [expected],
        "the generated one counts as the only one"
    );
    // rustc reports a second one in the same file.
    let beside = format!("{}\npub struct SERVICE_Ship;\n", USECASE.1);
    assert_eq!(problems(&[INTERFACE, (USECASE.0, &beside), CONTRACT]), [""; 0]);
}

#[test]
fn a_feature_without_a_contract_is_reported() {
    assert_eq!(
        problems(&[INTERFACE, USECASE]),
        [
            "orders/features/ship/interface.rs:2:11: the feature `Ship` has no contract: nothing implements `INTERFACE_HELPER_Ship`; \
          write `CONTRACT_HELPER_Ship_V0` with `#[contract]`, and `#[contract] impl INTERFACE_HELPER_Ship for \
          CONTRACT_HELPER_Ship_V0`, in `contracts/v0.rs`"
        ]
    );
    let folder = "orders/features/ship";
    for (file, text) in [
        // The attribute reports the wrong interface.
        ("contracts/v0.rs", "#[contract]\nimpl INTERFACE_HELPER_Pay for CONTRACT_HELPER_Ship_V0 {}"),
        // It may be written by the macro, or is about to be written.
        ("contracts/v0.rs", "contracts!(Ship);"),
        ("contracts/v0.rs", "#[contract]\nimpl "),
        ("contracts.rs", "mod v0 {\n    #[contract]\n    impl INTERFACE_HELPER_Ship for CONTRACT_HELPER_Ship_V0 {}\n}"),
    ] {
        let file = format!("{folder}/{file}");
        let found = problems(&[INTERFACE, USECASE, (&file, text)]);
        let half_typed = text.ends_with("impl ");
        assert!(found.is_empty() || half_typed, "{text}: {found:?}");
    }
}

#[test]
fn an_entity_that_names_another_layer_is_reported() {
    assert_eq!(
        problems(&[
            ("entities/order.rs", "pub struct A;\nfn f(x: &dyn INTERFACE_HELPER_A) {}\n"),
            (
                "entities/fee.rs",
                "pub const SERVICE_FEE: u32 = 3; const CONTRACT_HELPER_YEARS: u32 = 2; // SERVICE_Ship\n"
            ),
        ]),
        [
            "entities/order.rs:2:14: an entity names `INTERFACE_HELPER_A`; move that into a use case: an entity is pure and uses no \
          interface, contract, use case or service"
        ]
    );
}

#[test]
fn a_copy_of_a_file_is_one_problem() {
    let paid = "#[event_processor(\"OrderPaid\")]\npub async fn EventProcessor_OrderPaid() {}\npub struct Paid;";
    let files = [("events/order_paid.rs", paid), ("events/order_paid copy.rs", paid)];
    assert_eq!(problems(&files).len(), 1);
    let folder = folder(&files);
    assert!(!declarations(folder.path()).contains("pub mod order_paid_copy;"));
}

#[test]
fn the_file_is_left_alone_where_nothing_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.rs");
    let modified = |file: &Path| fs::metadata(file).and_then(|data| data.modified()).expect("the file exists");
    write_if_changed(&file, "a").expect("it can be written");
    let before = modified(&file);
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_modified(before - std::time::Duration::from_secs(9)))
        .expect("its time can be set");
    let before = modified(&file);
    write_if_changed(&file, "a").expect("it can be written");
    assert_eq!(modified(&file), before);
    write_if_changed(&file, "b").expect("it can be written");
    assert_eq!(fs::read_to_string(&file).expect("it is text"), "b");
}
