//! A domain in a separate crate, whose files tests add and remove.

#![allow(clippy::unwrap_used, reason = "as in a test, a panic reports the failure")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// The manifest of such a crate. The dependencies that its code does not use select the same features as a test of the workspace;
/// without them, all dependencies would be compiled a second time.
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
order-build = { path = "{workspace}/order-build" }
foldhash = "0.2"
hashbrown = { version = "0.17", default-features = false, features = ["default-hasher"] }

[workspace]
"#;

/// A domain crate in a temporary folder, built with the workspace's dependencies. It has a processor for `ThingDone`.
pub struct Domain {
    folder: TempDir,
    name: &'static str,
}

impl Domain {
    /// Creates a domain. The crate's name must be unique, because simultaneous builds share one target folder.
    pub fn new(name: &'static str) -> Self {
        let domain = Self { folder: tempfile::tempdir().unwrap(), name };
        let workspace = workspace();
        let manifest = MANIFEST.replace("{name}", name).replace("{workspace}", &workspace.display().to_string());
        domain.write("Cargo.toml", &manifest);
        // With the same versions, nothing is downloaded and compiled crates are reused.
        fs::copy(workspace.join("Cargo.lock"), domain.root().join("Cargo.lock")).unwrap();
        domain.write("build.rs", "fn main() {\n    order_build::scan();\n}\n");
        domain.write("src/lib.rs", "order_runtime::dispatcher!(name = \"things\");\n");
        domain.write(
            "src/main.rs",
            &format!("fn main() -> std::process::ExitCode {{\n    order_runtime::run({name}::dispatcher())\n}}\n"),
        );
        domain.write("src/events/thing_done.rs", &processor("ThingDone"));
        domain
    }

    /// The crate's folder. It has the crate's name, which messages show.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// Writes a file below the root, and creates its folders.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The text of a file below the root.
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root().join(file)).unwrap()
    }

    /// Removes a file below the root.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.root().join(file)).unwrap();
    }

    /// A cargo command on the crate.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(&self.root());
        // The same as in the workspace's profile, so that both share compiled crates.
        command.args(arguments).env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.cargo(arguments).output().unwrap()
    }

    /// The compiler's errors; panics if the crate compiles.
    pub fn refused(&self) -> String {
        let output = self.run(&["check", "--offline", "--quiet"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it compiles: {text}");
        text
    }

    /// The events for which the built program has processors.
    pub fn events(&self) -> Vec<String> {
        let output = self.run(&["run", "--offline", "--quiet", "--", "processors", "--output", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap().to_owned()).collect()
    }
}

/// Cargo in a folder, with the workspace's target folder.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).env("CARGO_TARGET_DIR", target()).env("CARGO_TERM_COLOR", "never");
    without_own_package(&mut command);
    command
}

/// Removes the variables that cargo sets for this package. With them, build scripts that depend on them (ring's and rustix's)
/// would run again, and all crates that depend on them would be rebuilt.
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

/// Cargo's target folder, in which the running program was built.
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
