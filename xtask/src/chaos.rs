//! The long chaos run.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the services and the program that torments them as they are released, and runs it with these arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut chaos = built(root, &["order-service", "order-chaos", "chaos"])?;
    chaos.args(arguments).current_dir(root);
    finished(chaos, "chaos")
}

/// Builds programs as they are released, and answers a call of the last one.
pub(crate) fn built(root: &Path, programs: &[&str]) -> Result<Command, String> {
    // All of it in one build, so that the features of its dependencies are worked out once.
    let mut build = cargo(root);
    build.args(["build", "--release", "--workspace"]).args(programs.iter().flat_map(|name| ["--bin", name]));
    finished(build, "the build")?;
    Ok(Command::new(program(root, programs.last().copied().unwrap_or_default())))
}

/// Cargo in the workspace, without what `cargo run` tells this program of its own package: a build script that looks at it (ring's does)
/// would run again, and all that stands on its crate be compiled again.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root);
    let is_told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_told(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
}

/// Where cargo puts a program as it is released.
pub(crate) fn program(root: &Path, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    target.join("release").join(name)
}

pub(crate) fn finished(mut command: Command, what: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{what} does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} has failed, {status}; its words are above")) }
}
