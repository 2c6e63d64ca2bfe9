//! Rules of the source tree: allowed dependencies, forbidden names, file sizes, and references in documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr as _,
};

use order_tests::order_service;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

#[path = "tree/rooms.rs"]
mod rooms;

/// The maximum length of a source file, in lines.
const LONGEST: usize = 500;

/// Words of the business domain. `orders` is one of them, but `order` is not, because events have an order too.
const DOMAIN_WORDS: [&str; 18] = [
    "carrier",
    "carriers",
    "currency",
    "customer",
    "customers",
    "invoice",
    "invoices",
    "orders",
    "paid",
    "payment",
    "payments",
    "refund",
    "ship",
    "shipment",
    "shipments",
    "shipped",
    "shipping",
    "sku",
];

/// Words that belong to the business domain when they follow `order` in a name, as in `orderId` and `OrderCreated`.
const AFTER_ORDER: [&str; 5] = ["id", "created", "cancelled", "delivered", "total"];

/// Allowed names: defaults of settings, which belong to the runtime.
const FIXED_NAMES: [&str; 1] = ["orders-dlq"];

#[test]
fn the_service_names_neither_kafka_nor_http_nor_sql_nor_registration() {
    for file in sources(&["order-service/src"]) {
        for word in
            ["rdkafka", "rdkafka_sys", "axum", "hyper", "linkme", "distributed_slice", "rusqlite", "tokio_postgres"]
        {
            assert!(!file.idents().contains(word), "{} names {word}, which belongs in the runtime", file.name);
        }
        for statement in ["SELECT ", "INSERT INTO", "UPDATE ", "CREATE TABLE", "ALTER TABLE"] {
            assert!(!file.text.contains(statement), "{} has SQL, which `#[entity]` generates", file.name);
        }
        let processors: Vec<_> = file.idents().into_iter().filter(|word| word.starts_with("EventProcessor_")).collect();
        assert!(
            in_events(&file.name) || processors.is_empty(),
            "{} lists {processors:?}; declaring them is enough",
            file.name
        );
    }
}

/// Whether processors may be declared in a file, by the rule of the macros: below any `events/`.
fn in_events(file: &str) -> bool {
    file.starts_with("order-service/src/") && file.contains("/events/")
}

#[test]
fn the_runtime_contains_no_business_words() {
    let mut found = Vec::new();
    for file in sources(&["order-runtime/src"]) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let words = domain_words(line);
            if !words.is_empty() {
                found.push(format!("{}:{number}: {}", file.name, words.join(", ")));
            }
        }
    }
    assert!(found.is_empty(), "words of the business in the runtime:\n{}", found.join("\n"));
}

/// Code under `#[cfg(test)]` may use any room, because it tests the engine with other rooms.
#[test]
fn the_rooms_of_the_runtime_use_only_lower_floors() {
    let floors = rooms::floors();
    let arrows = rooms::arrows();
    assert!(arrows.len() > 100, "too few imports were found: {}", arrows.len());
    let upward: Vec<_> = arrows.iter().filter(|arrow| floors[&arrow.to] >= floors[&arrow.from]).collect();
    assert!(upward.is_empty(), "a room uses a room that is not below it (ARCHITECTURE.md): {upward:#?}");
}

#[test]
fn only_the_broker_modules_name_the_kafka_client() {
    const ALLOWED: [&str; 2] = ["order-runtime/src/broker/kafka", "order-runtime/src/broker/embedded"];
    for file in sources(&["order-runtime/src", "order-macros/src"]) {
        let names_it = ["rdkafka", "rdkafka_sys"].iter().any(|word| file.idents().contains(*word));
        let may = ALLOWED.iter().any(|place| file.name.starts_with(place));
        assert!(may || !names_it, "{} names rdkafka; use the traits of order-runtime/src/broker", file.name);
    }
}

#[test]
fn unsafe_code_stays_in_two_places() {
    const ALLOWED: [&str; 2] = ["order-runtime/src/broker/kafka/ffi/", "order-runtime/src/broker/embedded.rs"];
    for file in sources(&EVERYTHING) {
        let allows_it = ["allow", "expect"].iter().any(|how| file.text.contains(&format!("{how}(unsafe_code")));
        let lifts_it = allows_it || file.idents().contains("unsafe");
        let may = ALLOWED.iter().any(|place| file.name.starts_with(place));
        assert!(may || !lifts_it, "{} has unsafe code or allows it", file.name);
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for file in sources(&EVERYTHING) {
        let lines = file.text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines; split it by topic", file.name);
    }
}

#[test]
fn there_are_no_unfinished_macros() {
    for file in sources(&EVERYTHING) {
        file.each_run(&mut |tokens| {
            for pair in tokens.windows(2) {
                if let [TokenTree::Ident(name), TokenTree::Punct(mark)] = pair {
                    let unfinished = mark.as_char() == '!' && (name == "todo" || name == "unimplemented");
                    assert!(!unfinished, "{} has {name}!(…)", file.name);
                }
            }
        });
    }
}

#[test]
fn each_ignored_test_has_a_reason() {
    for file in sources(&EVERYTHING) {
        file.each_run(&mut |tokens| {
            for pair in tokens.windows(2) {
                let [TokenTree::Punct(hash), TokenTree::Group(attribute)] = pair else { continue };
                if hash.as_char() != '#' || attribute.delimiter() != Delimiter::Bracket {
                    continue;
                }
                let mut inner = attribute.stream().into_iter();
                let ignores = matches!(inner.next(), Some(TokenTree::Ident(name)) if name == "ignore");
                assert!(!ignores || inner.next().is_some(), "{} has #[ignore] without a reason", file.name);
            }
        });
    }
}

#[test]
fn each_processor_in_the_tree_is_in_the_binary() {
    let output = Command::new(order_service())
        .args(["processors", "--output", "json"])
        .current_dir(std::env::temp_dir())
        .output()
        .expect("order-service starts");
    let listed = String::from_utf8_lossy(&output.stdout);
    let mut declared = 0;
    for file in sources(&["order-service/src"]).into_iter().filter(|file| in_events(&file.name)) {
        for processor in file.idents().iter().filter(|word| word.starts_with("EventProcessor_")) {
            assert!(listed.contains(processor), "{} declares {processor}, which is not linked: {listed}", file.name);
            declared += 1;
        }
    }
    assert!(declared >= 5, "the five events of an order's life have processors");
}

/// A manual commit may go backwards or wait forever. The client commits stored offsets instead.
#[test]
fn there_are_no_manual_commits() {
    for file in sources(&["order-runtime/src", "order-service/src"]) {
        for word in ["CommitMode", "commit_message", "commit_consumer_state", "store_offset_from_message"] {
            assert!(!file.idents().contains(word), "{} names {word}; store offsets instead", file.name);
        }
    }
}

/// Every reference `file::name` in the tables in `docs/` must exist: the file, and the name in it.
#[test]
fn references_in_the_tables_exist() {
    let tests = Functions::of_the_tree();
    let mut rows = BTreeMap::new();
    for (table, text) in tables() {
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let Ok(number) = cells[0].parse::<u32>() else { continue };
            assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{table}: {line}");
            let kind = if table.starts_with("faults") { "fault" } else { "pitfall" };
            assert_eq!(rows.insert((kind, number), table.clone()), None, "{table}: row {number} is there twice");
            // Every second part is between backticks.
            for name in cells[2].split('`').skip(1).step_by(2) {
                if let Some(wrong) = misnamed(name, kind).or_else(|| tests.misnamed(name)) {
                    panic!("{table}, row {number}: {wrong}");
                }
            }
        }
    }
    let expected = (1..=90).map(|row| ("fault", row)).chain((1..=52).map(|row| ("pitfall", row)));
    assert_eq!(rows.into_keys().collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "each has its row");
}

/// The references in `docs/health.md`, whose rows have no numbers, must exist too.
#[test]
fn references_in_health_exist() {
    let text = fs::read_to_string(root().join("docs/health.md")).expect("the table is text");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 10, "{} rows", rows.len());
    for row in rows {
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(!names.is_empty(), "no test shows this: {row}");
        let wrong: Vec<String> = names.into_iter().filter_map(|name| misnamed(name, "fault")).collect();
        assert!(wrong.is_empty(), "docs/health.md: {wrong:?}");
    }
}

/// The documents with tables of faults and pitfalls: file names and texts.
fn tables() -> Vec<(String, String)> {
    let folder = root().join("docs");
    let mut tables = Vec::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.starts_with("faults-") || name == "pitfalls.md" {
            tables.push((name, fs::read_to_string(&path).expect("tables are text")));
        }
    }
    tables
}

/// The problem with a reference such as `tests/tests/tree.rs::domain_words`; `None` for a valid one, and for a name without a
/// file.
fn misnamed(name: &str, kind: &str) -> Option<String> {
    let (path, item) = match name.split_once("::") {
        Some((path, item)) => (path, Some(item)),
        None => (name, None),
    };
    let names_a_file = path.contains('/') && path.contains('.') || path == "Cargo.toml";
    if !names_a_file || path.contains(char::is_whitespace) {
        return None;
    }
    let Ok(text) = fs::read_to_string(root().join(path)) else { return Some(format!("there is no file {path}")) };
    let item = item?;
    // A test is a function; a macro may generate the test from it.
    let is_there = if kind == "fault" {
        text.contains(&format!("fn {item}(")) || text.contains(&format!("fn {item}<"))
    } else {
        text.contains(item)
    };
    (!is_there).then(|| format!("{path} has no {item}"))
}

/// The functions of all sources, each with its possible parent modules: folders, files and inline modules.
struct Functions(Vec<(Vec<String>, String)>);

impl Functions {
    fn of_the_tree() -> Self {
        let mut functions = Vec::new();
        for source in sources(&["order-build", "order-macros", "order-runtime", "order-service", "tests"]) {
            let mut modules: Vec<String> = source.name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            let mut names = Vec::new();
            for line in source.text.lines().map(str::trim_start) {
                let line = line.trim_start_matches("pub(crate) ").trim_start_matches("async ");
                let end = |rest: &str| {
                    rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
                };
                if let Some(rest) = line.strip_prefix("mod ") {
                    modules.push(rest[..end(rest)].to_owned());
                } else if let Some(rest) = line.strip_prefix("fn ") {
                    names.push(rest[..end(rest)].to_owned());
                }
            }
            functions.extend(names.into_iter().map(|name| (modules.clone(), name)));
        }
        Self(functions)
    }

    /// The problem with a name such as `chaos::stops::a_second_signal_ends_it_at_once`, which may end with a `*`; `None` for a
    /// valid one, and for a text that does not name a test.
    fn misnamed(&self, name: &str) -> Option<String> {
        let mut modules: Vec<&str> = name.split("::").collect();
        let test = modules.pop()?;
        let is_snake = |word: &str| {
            word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        };
        let stem = test.trim_end_matches('*');
        let names_a_test = is_snake(stem)
            && modules.iter().all(|module| is_snake(module))
            && (!modules.is_empty() || test.matches('_').count() > 2);
        if !names_a_test {
            return None;
        }
        let is_there = self.0.iter().any(|(within, function)| {
            let fits = if test.ends_with('*') { function.starts_with(stem) } else { function == stem };
            // The modules of the name must occur in order.
            let mut within = within.iter();
            fits && modules.iter().all(|module| within.any(|known| known == module))
        });
        (!is_there).then(|| format!("there is no test {name}"))
    }
}

#[test]
fn names_in_tables_are_looked_up() {
    let tests = Functions::of_the_tree();
    assert_eq!(tests.misnamed("tree::names_in_tables_are_looked_up"), None);
    assert_eq!(tests.misnamed("names_in_tables_are_*"), None);
    assert_eq!(tests.misnamed("dlq-id"), None);
    assert_eq!(tests.misnamed("cargo xtask chaos"), None);
    for absent in ["tree::no_such_test", "names_in_tables_are_not_looked_up", "main::names_in_tables_are_looked_up"] {
        assert!(tests.misnamed(absent).is_some(), "{absent}");
    }
    assert_eq!(misnamed("tests/tests/tree.rs::names_in_tables_are_looked_up", "fault"), None);
    assert_eq!(misnamed("docs/pitfalls.md", "fault"), None);
    assert_eq!(misnamed("dlq-id", "fault"), None);
    assert!(misnamed("tests/tests/tree.rs::no_such_test", "fault").is_some());
    assert!(misnamed("tests/tests/absent.rs::any", "pitfall").is_some());
}

#[test]
fn domain_words_are_found_in_every_spelling() {
    assert_eq!(domain_words("let customer_id = row.orderId; // two ORDERS"), ["customer", "order id", "orders"]);
    assert_eq!(domain_words("ownership, relationship, sorted in order: id, ORDER_RUNTIME_PROCESSORS"), [""; 0]);
    assert_eq!(domain_words("KAFKA_DLQ_TOPIC is orders-dlq"), [""; 0]);
    assert_eq!(domain_words("`OrderCancelled` was delivered"), ["order cancelled"]);
}

/// The words of the business domain in a line, in lower case.
fn domain_words(line: &str) -> Vec<String> {
    let line = FIXED_NAMES.iter().fold(line.to_owned(), |line, name| line.replace(name, ""));
    let mut found = Vec::new();
    for name in line.split_whitespace() {
        let words = words(name);
        found.extend(words.iter().filter(|word| DOMAIN_WORDS.contains(&word.as_str())).cloned());
        let compounds = words.windows(2).filter(|pair| pair[0] == "order" && AFTER_ORDER.contains(&pair[1].as_str()));
        found.extend(compounds.map(|pair| pair.join(" ")));
    }
    found
}

/// The words of a text in lower case; `camelCase`, `UpperCamelCase` and `snake_case` names are split.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in text.chars() {
        if !letter.is_alphabetic() || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
        after_lower = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

const EVERYTHING: [&str; 6] = ["order-build", "order-macros", "order-runtime", "order-service", "tests", "xtask"];

struct Source {
    /// The path from the root, with `/`.
    name: String,
    text: String,
    tokens: TokenStream,
}

impl Source {
    /// All identifiers of the code, without comments and strings.
    fn idents(&self) -> BTreeSet<String> {
        let mut idents = BTreeSet::new();
        self.each_run(&mut |tokens| {
            idents.extend(tokens.iter().filter_map(|token| match token {
                TokenTree::Ident(ident) => Some(ident.to_string()),
                _ => None,
            }));
        });
        idents
    }

    /// Calls `visit` with the tokens of the file and of each group in it.
    fn each_run(&self, visit: &mut dyn FnMut(&[TokenTree])) {
        each_run(self.tokens.clone(), visit);
    }
}

fn each_run(tokens: TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    visit(&tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            each_run(group.stream(), visit);
        }
    }
}

/// The Rust files below these folders, without invalid programs (`ui` fixtures) and build products.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no source below {folders:?}");
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).expect("found below the root").display().to_string();
            let text = fs::read_to_string(&path).expect("sources are text");
            let tokens = TokenStream::from_str(&text).unwrap_or_else(|error| panic!("{name} is not Rust: {error}"));
            Source { name, text, tokens }
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace")
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a folder can be read").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["target", "ui", "templates", "wip"].contains(&name) && !name.starts_with('.') {
                walk(&path, paths);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
