//! Declarations as their writers get them wrong, each with what the compiler then says.
//!
//! Some that are right, in `ui/pass`, are tests of their own, so that here nothing has to be compiled to the end.
//!
//! The expected words stand beside each file in `ui/fail`; after a wanted change of a message,
//! `TRYBUILD=overwrite cargo test -p order-tests --test ui` writes them anew.

mod discovery;
mod reload;

use std::{fs, path::Path, process::Command};

/// C libraries that take a minute and more to build, by the name under which cargo knows them.
const C_LIBRARIES: [&str; 4] = ["mimalloc", "rdkafka", "z", "zstd"];

#[test]
fn wrong_declarations_say_what_is_wrong_and_how_to_mend_it() {
    leave_c_libraries_out();
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*.rs");
}

/// Types are checked without any C library, so cargo is told that they are there already. It looks for settings above the
/// package that it works on, and `trybuild` puts its package below `tests/` of the target folder.
fn leave_c_libraries_out() {
    let version = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo tells its version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo knows its host");
    let settings = C_LIBRARIES.map(|library| format!("[target.{host}.{library}]\nrustc-link-lib = []\n")).concat();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests").join(".cargo");
    fs::create_dir_all(&folder).expect("the target folder can be written to");
    fs::write(folder.join("config.toml"), settings).expect("the target folder can be written to");
}
