//! A crate of its own, whose files come and go: what is found, and what is told of a file in the wrong place.

#![expect(clippy::unwrap_used, reason = "a test; what fails is told by the panic")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// A domain crate in a temporary folder, built with the workspace's dependencies.
struct Domain {
    folder: TempDir,
}

impl Domain {
    fn new() -> Self {
        let domain = Self { folder: tempfile::tempdir().unwrap() };
        let workspace = workspace();
        let manifest = format!(
            "[package]\nname = \"things\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             order-runtime = {{ path = \"{}\" }}\nthiserror = \"2.0\"\ngarde = {{ version = \"0.23\", features = [\"derive\", \"serde\"] }}\n\n[workspace]\n",
            workspace.join("order-runtime").display()
        );
        domain.write("Cargo.toml", &manifest);
        // The same versions: nothing is fetched, and what is compiled already is used.
        fs::copy(workspace.join("Cargo.lock"), domain.root().join("Cargo.lock")).unwrap();
        domain.write("build.rs", "fn main() {\n    println!(\"cargo::rerun-if-changed=src\");\n}\n");
        domain.write("src/lib.rs", "order_runtime::dispatcher!(name = \"things\");\n");
        domain.write(
            "src/main.rs",
            "fn main() -> std::process::ExitCode {\n    order_runtime::run(things::dispatcher())\n}\n",
        );
        domain.write("src/events/thing_done.rs", &processor("ThingDone"));
        domain
    }

    /// The crate's folder is called like the crate, as messages name it.
    fn root(&self) -> PathBuf {
        self.folder.path().join("things")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.root().join(file)).unwrap();
    }

    fn cargo(&self, arguments: &[&str]) -> Output {
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(arguments)
            .current_dir(self.root())
            .env("CARGO_TARGET_DIR", target())
            // As in the workspace's profile, so that the same products serve both.
            .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
            .env("CARGO_TERM_COLOR", "never")
            .output()
            .unwrap()
    }

    /// What the compiler says of a crate that it refuses.
    fn refused(&self) -> String {
        let output = self.cargo(&["check", "--offline", "--quiet"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it compiles: {said}");
        said
    }

    /// The events that the built program has processors for.
    fn events(&self) -> Vec<String> {
        let output = self.cargo(&["run", "--offline", "--quiet", "--", "processors", "--output", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap().to_owned()).collect()
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn target() -> PathBuf {
    // target/<profile>/deps/<test>
    env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

fn processor(event: &str) -> String {
    format!(
        "use order_runtime::prelude::*;\n\n/// Sees it.\n#[event_processor(\"{event}\")]\n\
         pub async fn EventProcessor_{event}(event: Event<Value>) -> Result<(), Failed> {{\n    \
         let _ = event.data;\n    Ok(())\n}}\n"
    )
}

const SCHEMAS: &str = "use order_runtime::prelude::*;\n\n/// In.\n#[schema]\npub struct INPUT_DoThing {\n    \
     pub id: String,\n}\n\n/// Out.\n#[schema]\npub struct OUTPUT_DoThing {\n    pub id: String,\n}\n";

const USECASE: &str = "use order_runtime::prelude::*;\n\n/// Does it.\n#[usecase]\npub async fn \
     USECASE_DoThing(input: INPUT_DoThing) -> Result<OUTPUT_DoThing, Failed> {\n    Ok(OUTPUT_DoThing { id: input.id })\n}\n";

/// One test, since each step waits for the same build lock.
#[test]
fn files_are_found_by_being_there_and_told_when_they_are_misplaced() {
    let domain = Domain::new();
    assert_eq!(domain.events(), ["ThingDone"]);

    // A file that comes is a processor; nothing else is touched.
    domain.write("src/events/deeper/thing_seen.rs", &processor("ThingSeen"));
    assert_eq!(domain.events(), ["ThingDone", "ThingSeen"]);
    domain.remove("src/events/deeper/thing_seen.rs");
    assert_eq!(domain.events(), ["ThingDone"]);

    // So is a folder that comes: its schema and its service are known in events/.
    domain.write("src/features/do_thing/schemas.rs", SCHEMAS);
    domain.write("src/features/do_thing/usecase.rs", USECASE);
    let wired = "use order_runtime::prelude::*;\n\n/// Does it.\n#[event_processor(\"ThingWanted\")]\npub async fn \
         EventProcessor_ThingWanted(event: Event<INPUT_DoThing>, do_thing: SERVICE_DoThing) -> Result<(), Failed> {\n    \
         do_thing.run(event.data).await.map(drop)\n}\n";
    domain.write("src/events/thing_wanted.rs", wired);
    assert_eq!(domain.events(), ["ThingDone", "ThingWanted"]);

    domain.write("src/misc.rs", &processor("ThingLost"));
    let said = domain.refused();
    assert!(said.contains("event processor `EventProcessor_ThingLost` must stand in a file under `events/`"), "{said}");
    assert!(said.contains("help: move it to `things/src/events/`"), "{said}");
    domain.remove("src/misc.rs");

    domain.remove("src/features/do_thing/usecase.rs");
    domain.write("src/features/other_thing/usecase.rs", USECASE);
    let said = domain.refused();
    assert!(said.contains("use case `USECASE_DoThing` must stand in the folder of its feature"), "{said}");
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
    assert!(said.contains("the entity in `entities/thing.rs:1` names `INTERFACE_HELPER_DoThing`"), "{said}");
    domain.remove("src/entities/thing.rs");
    assert_eq!(domain.events(), ["ThingDone", "ThingWanted"], "what was wrong is gone, and with it the errors");
}
