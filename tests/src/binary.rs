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
/// Cargo tells a test the executables of its own package only, and builds those of other packages for some commands
/// and not for others. Building is a matter of milliseconds where the executable is fresh.
///
/// Which features a dependency has depends on the packages and the kind of targets that are built together. Asking for
/// the whole workspace and for one test gives those of `cargo test --workspace`, whose products are then used as they
/// are; asking for `order-service` alone would compile 60 crates a second time.
pub fn order_service() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("order-service"))
}

/// The same for `order-chaos`, the domain whose events are scripts.
pub fn order_chaos() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("order-chaos"))
}

fn build(program: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own executable");
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let folder = test.parent().expect("an executable lies in a folder");
    if !folder.ends_with("deps") {
        // A program among others: who has built it has built them too.
        return folder.join(format!("{program}{}", env::consts::EXE_SUFFIX));
    }
    let profile_dir = folder.parent().expect("deps lies in a folder");
    let target_dir = profile_dir.parent().expect("the profile's folder lies in the target folder");
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
