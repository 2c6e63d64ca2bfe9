//! The binaries under test.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::domain::without_own_package;

/// The `order-service` executable of the profile that this test runs in, built once per test program.
///
/// Cargo passes a test only the executables of its own package, and builds those of other packages only for some commands. If the
/// executable is up to date, the build takes milliseconds.
///
/// The features of a dependency depend on the packages and targets that are built together. A build of the whole workspace and
/// one test has the features of `cargo test --workspace` and reuses its products; a build of `order-service` alone would compile
/// 60 crates a second time.
pub fn order_service() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("order-service"))
}

// The name is no link: a link that has the name of a crate makes the compiler link that crate, with its registrations.
/// The `order-chaos` executable, the domain with scripted events; see `order_service`.
pub fn order_chaos() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("order-chaos"))
}

fn build(program: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own executable");
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let folder = test.parent().expect("an executable is in a folder");
    if !folder.ends_with("deps") {
        // The running program is not a test, so the command that built it has built the others too.
        return folder.join(format!("{program}{}", env::consts::EXE_SUFFIX));
    }
    let profile_dir = folder.parent().expect("deps is in a folder");
    let target_dir = profile_dir.parent().expect("the profile's folder is in the target folder");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    without_own_package(&mut command);
    let output = command
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bin",
            "order-service",
            "--bin",
            "order-chaos",
            "--test",
            "tree",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{program} does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    profile_dir.join(format!("{program}{}", env::consts::EXE_SUFFIX))
}
