//! The long chaos run.

use std::{path::Path, process::Command};

/// Builds the services and the program that torments them as they are released, and runs it with these arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    // All of it in one build, so that the features of its dependencies are worked out once.
    let programs = ["order-service", "order-chaos", "chaos"].into_iter().flat_map(|name| ["--bin", name]);
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--workspace"]).args(programs).current_dir(root);
    finished(build, "the build")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    let mut chaos = Command::new(target.join("release").join("chaos"));
    chaos.args(arguments).current_dir(root);
    finished(chaos, "chaos")
}

fn finished(mut command: Command, what: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{what} does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} has failed, {status}; its words are above")) }
}
