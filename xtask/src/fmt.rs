//! `cargo xtask fmt`: formats all Rust files, including those that rustfmt does not find by their `mod` lines.

use std::{path::Path, process::Command};

/// Invalid programs with the compiler's errors. Their line and column numbers are part of the test.
const FIXTURES: &str = "tests/ui/";

/// Runs rustfmt on all files that git tracks or would add; with `check`, only reports differences.
pub(crate) fn run(root: &Path, check: bool) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git does not start: {error}; install it"))?;
    if !listed.status.success() {
        return Err(format!("git lists no files: {}", String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files = listed.split('\0').filter(|file| !file.is_empty() && !file.starts_with(FIXTURES));
    // git still lists a deleted file until the deletion is staged.
    let files: Vec<&str> = files.filter(|file| root.join(file).exists()).collect();
    rustfmt(root, &files, check)
}

/// Runs rustfmt on these files, with the workspace's settings.
pub(crate) fn rustfmt<F: AsRef<std::ffi::OsStr>>(root: &Path, files: &[F], check: bool) -> Result<(), String> {
    let mut command = Command::new("rustfmt");
    command.args(["--edition", "2024"]).args(check.then_some("--check")).args(files).current_dir(root);
    let status = command
        .status()
        .map_err(|error| format!("rustfmt does not start: {error}; run `rustup component add rustfmt`"))?;
    if status.success() {
        return Ok(());
    }
    Err(if check {
        "some files are not formatted; run `cargo xtask fmt`".to_owned()
    } else {
        "rustfmt cannot read some files; see its output above".to_owned()
    })
}
