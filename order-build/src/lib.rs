//! The build script of a domain: [`scan`] finds the files below `src/` and what they declare, and writes what
//! `order_runtime::dispatcher!()` includes. [`names`] has the naming rules.
//!
//! `build.rs` of a domain is one line: `fn main() { order_build::scan(); }`.
//!
//! | module | the question it answers |
//! |---|---|
//! | `source` | which files and folders are modules? |
//! | `lex`, `items` | what does a file declare, also if it is half typed? |
//! | `exports` | which names does every file see? |
//! | `checks` | what is wrong that no attribute can see? |
//! | `write` | what does `dispatcher!()` include? |

mod checks;
mod condition;
mod exports;
mod items;
mod lex;
pub mod names;
mod problem;
mod source;
mod write;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The file in `OUT_DIR` that [`scan`] writes.
pub const DECLARATIONS: &str = "order_declarations.rs";

/// Writes the modules and the names of the crate whose build script calls it, for `dispatcher!()`.
///
/// Problems become compile errors of `dispatcher!()`, so that editors show them. Only a file that cannot be written fails the
/// build script itself.
#[allow(clippy::print_stdout, reason = "so a build script talks to cargo")]
pub fn scan() {
    // A folder counts with all its files, so cargo notices a file that is added or removed.
    println!("cargo::rerun-if-changed=src");
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    let (Some(package), Some(out)) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR")) else {
        println!("cargo::error=`order_build::scan()` is for build scripts; call it in `build.rs`");
        return;
    };
    let file = out.join(DECLARATIONS);
    if let Err(error) = write_if_changed(&file, &declarations(&package.join("src"))) {
        println!("cargo::error={} cannot be written: {error}", file.display());
    }
}

/// The text that `dispatcher!()` includes for the files of `source`.
fn declarations(source: &Path) -> String {
    let (mut root, mut problems) = source::read(source);
    problems.extend(checks::check(&mut root));
    let (exports, further) = exports::exports(&root);
    problems.extend(further);
    problems.sort_by(|one, other| (&one.file, one.position).cmp(&(&other.file, other.position)));
    write::declarations(&root, &exports, &problems)
}

/// An editor's server reads the file again when it changes.
fn write_if_changed(file: &Path, text: &str) -> std::io::Result<()> {
    if fs::read_to_string(file).is_ok_and(|known| known == text) { Ok(()) } else { fs::write(file, text) }
}

#[cfg(test)]
mod tests;
