//! Wrong declarations with the compiler's errors.
//!
//! Valid declarations, in `ui/pass`, are separate tests, so that here no program must be compiled completely.
//!
//! The expected errors are beside each file in `ui/fail`. After an intended change of a message,
//! `TRYBUILD=overwrite cargo test -p order-tests --test ui` updates them.

mod discovery;
mod problems;
mod reload;

use std::{fs, path::Path, process::Command};

/// C libraries whose build takes more than a minute, by their `links` names.
const C_LIBRARIES: [&str; 4] = ["mimalloc", "rdkafka", "z", "zstd"];

#[test]
fn wrong_declarations_are_reported_with_a_fix() {
    leave_c_libraries_out();
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*.rs");
}

/// Writes cargo settings that mark the C libraries as installed, because type checks do not need them. Cargo reads settings from
/// the folders above a package, and `trybuild` creates its package below `tests/` of the target folder.
fn leave_c_libraries_out() {
    let version = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo prints its version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo prints its host");
    let settings = C_LIBRARIES.map(|library| format!("[target.{host}.{library}]\nrustc-link-lib = []\n")).concat();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests").join(".cargo");
    fs::create_dir_all(&folder).expect("the target folder can be written to");
    fs::write(folder.join("config.toml"), settings).expect("the target folder can be written to");
}
