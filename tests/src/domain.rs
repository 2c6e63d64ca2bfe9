//! A domain in a crate of its own, whose files come and go.

#![allow(clippy::unwrap_used, reason = "as in a test, what fails is told by the panic")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// The manifest of such a crate. What is not for its code gives its dependencies the features that they have where the
/// workspace is tested: else all of them would be compiled a second time.
const MANIFEST: &str = r#"
[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

[dependencies]
garde = { version = "0.23", features = ["derive", "serde"] }
num-traits = "0.2"
order-runtime = { path = "{workspace}/order-runtime" }
order-tests = { path = "{workspace}/tests" }
thiserror = "2.0"
tracing = "0.1"

[build-dependencies]
foldhash = "0.2"
hashbrown = { version = "0.17", default-features = false, features = ["default-hasher"] }

[workspace]
"#;

/// A domain crate in a temporary folder, built with the workspace's dependencies; it knows the event `ThingDone`.
pub struct Domain {
    folder: TempDir,
    name: &'static str,
}

impl Domain {
    /// The name is the crate's: two that are built at the same time share the folder that programs go to.
    pub fn new(name: &'static str) -> Self {
        let domain = Self { folder: tempfile::tempdir().unwrap(), name };
        let workspace = workspace();
        let manifest = MANIFEST.replace("{name}", name).replace("{workspace}", &workspace.display().to_string());
        domain.write("Cargo.toml", &manifest);
        // The same versions: nothing is fetched, and what is compiled already is used.
        fs::copy(workspace.join("Cargo.lock"), domain.root().join("Cargo.lock")).unwrap();
        domain.write("build.rs", "fn main() {\n    println!(\"cargo::rerun-if-changed=src\");\n}\n");
        domain.write("src/lib.rs", "order_runtime::dispatcher!(name = \"things\");\n");
        domain.write(
            "src/main.rs",
            &format!("fn main() -> std::process::ExitCode {{\n    order_runtime::run({name}::dispatcher())\n}}\n"),
        );
        domain.write("src/events/thing_done.rs", &processor("ThingDone"));
        domain
    }

    /// The crate's folder is called like the crate, as messages name it.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// Writes a file below the root, and its folders.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Removes a file below the root.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.root().join(file)).unwrap();
    }

    /// A command of cargo's on the crate.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(&self.root());
        // As in the workspace's profile, so that the same products serve both.
        command.args(arguments).env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.cargo(arguments).output().unwrap()
    }

    /// What the compiler says of a crate that it refuses.
    pub fn refused(&self) -> String {
        let output = self.run(&["check", "--offline", "--quiet"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it compiles: {said}");
        said
    }

    /// The events that the built program has processors for.
    pub fn events(&self) -> Vec<String> {
        let output = self.run(&["run", "--offline", "--quiet", "--", "processors", "--output", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap().to_owned()).collect()
    }
}

/// Cargo in a folder; what it has compiled for the workspace is used.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).env("CARGO_TARGET_DIR", target()).env("CARGO_TERM_COLOR", "never");
    without_own_package(&mut command);
    command
}

/// Keeps from a build what cargo tells this program of its own package: build scripts that look at it (ring's and rustix's do)
/// would run again, and all that stands on their crates be compiled again.
pub(crate) fn without_own_package(command: &mut Command) {
    const NAMES: [&str; 4] = ["OUT_DIR", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR"];
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if NAMES.contains(&text.as_ref()) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// The folder of the workspace's sources.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Cargo's folder, in which the running program was built.
pub(crate) fn target() -> PathBuf {
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let program = env::current_exe().unwrap();
    let depth = if program.parent().is_some_and(|folder| folder.ends_with("deps")) { 3 } else { 2 };
    program.ancestors().nth(depth).unwrap().to_owned()
}

/// The file of a processor that does nothing.
pub fn processor(event: &str) -> String {
    format!(
        "use order_runtime::prelude::*;\n\n/// Sees it.\n#[event_processor(\"{event}\")]\n\
         pub async fn EventProcessor_{event}(event: Event<Value>) -> Result<(), Failed> {{\n    \
         let _ = event.data;\n    Ok(())\n}}\n"
    )
}
