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
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--workspace"]).args(programs.iter().flat_map(|name| ["--bin", name]));
    build.current_dir(root);
    finished(build, "the build")?;
    Ok(Command::new(program(root, programs.last().copied().unwrap_or_default())))
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
