//! `cargo xtask chaos`: builds and runs the long chaos test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Makes release builds of the services and of the chaos program, and runs it with these arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut chaos = built(root, &["order-service", "order-chaos", "chaos"])?;
    chaos.args(arguments).current_dir(root);
    finished(chaos, "chaos")
}

/// Makes release builds of programs, and returns a command that runs the last one.
pub(crate) fn built(root: &Path, programs: &[&str]) -> Result<Command, String> {
    // One build for all programs, so that the features of their dependencies are resolved once.
    let mut build = cargo(root);
    build.args(["build", "--release", "--workspace"]).args(programs.iter().flat_map(|name| ["--bin", name]));
    finished(build, "the build")?;
    Ok(Command::new(program(root, programs.last().copied().unwrap_or_default())))
}

/// Cargo in the workspace, without the variables that `cargo run` sets for this package. With them, a build script that depends
/// on them (such as ring's) would run again, and all crates that depend on it would be rebuilt.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root);
    let is_told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_told(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
}

/// The path of a program's release build.
pub(crate) fn program(root: &Path, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    target.join("release").join(name)
}

pub(crate) fn finished(mut command: Command, what: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{what} does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed, {status}; see its output above")) }
}
