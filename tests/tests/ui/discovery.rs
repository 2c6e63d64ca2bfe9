//! Discovery of files below `src/`, and the errors for misplaced files.

use order_tests::domain::{Domain, processor};

/// The complete file in the README.
fn readme_file() -> &'static str {
    let blocks = include_str!("../../../README.md").split("```");
    let mut files = blocks.filter_map(|block| block.strip_prefix("rust\n"));
    files.find(|file| file.contains("OrderRefunded")).expect("the README shows a file")
}

pub(crate) const SCHEMAS: &str = "use order_runtime::prelude::*;\n\n/// In.\n#[schema]\npub struct INPUT_DoThing {\n    \
     pub id: String,\n}\n\n/// Out.\n#[schema]\npub struct OUTPUT_DoThing {\n    pub id: String,\n}\n";

const USECASE: &str = "use order_runtime::prelude::*;\n\n/// Does it.\n#[usecase]\npub async fn \
     USECASE_DoThing(input: INPUT_DoThing) -> Result<OUTPUT_DoThing, Failed> {\n    Ok(OUTPUT_DoThing { id: input.id })\n}\n";

/// A feature with an acronym in its name, with a file for each part.
const SMS: [(&str, &str); 3] = [
    (
        "src/features/send_sms/schemas.rs",
        "use order_runtime::prelude::*;\n\n/// In.\n#[schema]\npub struct INPUT_SendSMS {\n    pub id: String,\n}\n\n\
         /// Out.\n#[schema]\npub struct OUTPUT_SendSMS {\n    pub id: String,\n}\n",
    ),
    (
        "src/features/send_sms/usecase.rs",
        "use order_runtime::prelude::*;\n\n/// Sends it.\n#[usecase]\npub async fn USECASE_SendSMS(input: INPUT_SendSMS) -> \
         Result<OUTPUT_SendSMS, Failed> {\n    Ok(OUTPUT_SendSMS { id: input.id })\n}\n",
    ),
    (
        "src/events/sms_wanted.rs",
        "use order_runtime::prelude::*;\n\n/// Sends it.\n#[event_processor(\"SMSWanted\")]\npub async fn \
         EventProcessor_SMSWanted(event: Event<INPUT_SendSMS>, send_sms: SERVICE_SendSMS) -> Result<(), Failed> {\n    \
         send_sms.run(event.data).await.map(drop)\n}\n",
    ),
];

/// Names that are also in the standard prelude or the runtime's and stay in their crate, and names with a `cfg` condition.
const NAMES: &str = "/// A.\npub(crate) type Result<T> = std::result::Result<T, String>;\n/// B.\n#[derive(Debug)]\n\
     pub(crate) struct Box(pub(crate) Result<u8>);\n/// C.\n#[derive(Debug)]\npub(crate) struct Emitter(pub(crate) Box);\n\
     /// E.\npub fn e() -> usize {\n    std::mem::size_of_val(&Emitter(Box(Ok(1))))\n}\n/// D.\n#[cfg(windows)]\n#[derive(Debug)]\npub struct OnWindows;\n";

/// The compiler's output, which must contain exactly one error.
pub(crate) fn one_error(domain: &Domain) -> String {
    let said = domain.refused();
    let is_error = |line: &&str| line.starts_with("error") && !line.starts_with("error: could not compile");
    assert_eq!(said.lines().filter(is_error).count(), 1, "{said}");
    said
}

/// One test, because all steps need the same build lock.
#[test]
fn files_are_discovered_and_misplaced_ones_reported() {
    let domain = Domain::new("things");
    assert_eq!(domain.events(), ["ThingDone"]);

    // A new file adds a processor without other changes.
    domain.write("src/events/deeper/thing_seen.rs", &processor("ThingSeen"));
    assert_eq!(domain.events(), ["ThingDone", "ThingSeen"]);
    domain.remove("src/events/deeper/thing_seen.rs");
    assert_eq!(domain.events(), ["ThingDone"]);

    // The file in the README works too.
    domain.write("src/events/order_refunded.rs", readme_file());
    assert_eq!(domain.events(), ["OrderRefunded", "ThingDone"]);
    domain.remove("src/events/order_refunded.rs");

    // A new folder adds a feature: files in events/ can use its schema and its service.
    domain.write("src/features/do_thing/schemas.rs", SCHEMAS);
    domain.write("src/features/do_thing/usecase.rs", USECASE);
    let wired = "use order_runtime::prelude::*;\n\n/// Does it.\n#[event_processor(\"ThingWanted\")]\npub async fn \
         EventProcessor_ThingWanted(event: Event<INPUT_DoThing>, do_thing: SERVICE_DoThing) -> Result<(), Failed> {\n    \
         do_thing.run(event.data).await.map(drop)\n}\n";
    domain.write("src/events/thing_wanted.rs", wired);
    assert_eq!(domain.events(), ["ThingDone", "ThingWanted"]);

    // Names that are also in scope elsewhere cause no errors.
    for (file, text) in SMS {
        domain.write(file, text);
    }
    domain.write("src/names.rs", NAMES);
    assert_eq!(domain.events(), ["SMSWanted", "ThingDone", "ThingWanted"]);
    for (file, _) in SMS {
        domain.remove(file);
    }
    domain.remove("src/names.rs");

    // An incomplete file does not hide its names from other files.
    domain.write("src/features/do_thing/schemas.rs", &format!("{SCHEMAS}\npub struct Half {{\n"));
    let said = one_error(&domain);
    assert!(said.contains("unclosed delimiter") && said.contains("schemas.rs"), "{said}");
    domain.write("src/features/do_thing/schemas.rs", SCHEMAS);

    // A file that cannot be a module is reported, and so is one that would not be part of the program.
    domain.write("src/events/thing_done copy.rs", "");
    let said = one_error(&domain);
    assert!(said.contains("`events/thing_done copy.rs` cannot be a module"), "{said}");
    assert!(said.contains("help: rename it to `thing_done_copy.rs`"), "{said}");
    domain.remove("src/events/thing_done copy.rs");
    domain.write("src/events/mod.rs", "pub mod thing_done;\n");
    let said = one_error(&domain);
    assert!(said.contains("`events/thing_wanted.rs` is not part of the program"), "{said}");
    assert!(said.contains("help: remove `events/mod.rs`"), "{said}");
    domain.remove("src/events/mod.rs");

    domain.write("src/misc.rs", &processor("ThingLost"));
    let said = domain.refused();
    assert!(said.contains("event processor `EventProcessor_ThingLost` must be in a file under `events/`"), "{said}");
    assert!(said.contains("help: move it to `things/src/events/`"), "{said}");
    domain.remove("src/misc.rs");

    domain.remove("src/features/do_thing/usecase.rs");
    domain.write("src/features/other_thing/usecase.rs", USECASE);
    let said = domain.refused();
    assert!(said.contains("use case `USECASE_DoThing` must be in the folder of its feature"), "{said}");
    assert!(said.contains("help: move it to `things/src/features/do_thing/`"), "{said}");
    domain.remove("src/features/other_thing/usecase.rs");
    domain.write("src/features/do_thing/usecase.rs", USECASE);

    domain.write("src/events/thing_done_again.rs", &processor("ThingDone"));
    let said = domain.refused();
    assert!(said.contains("duplicate definitions with name `EventProcessor_ThingDone`"), "{said}");
    assert!(said.contains("thing_done.rs:4") && said.contains("thing_done_again.rs:4"), "both places: {said}");
    domain.remove("src/events/thing_done_again.rs");

    domain.write("src/entities/thing.rs", "pub struct Thing(pub Box<dyn INTERFACE_HELPER_DoThing>);\n");
    let said = domain.refused();
    assert!(said.contains("an entity names `INTERFACE_HELPER_DoThing`"), "{said}");
    assert!(said.contains("--> src/entities/thing.rs:1:30"), "{said}");
    domain.remove("src/entities/thing.rs");
    assert_eq!(domain.events(), ["ThingDone", "ThingWanted"], "without the mistakes there are no errors");
}
