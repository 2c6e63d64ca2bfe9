//! Development commands of this workspace.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the commands report to the terminal")]

mod bench;
mod chaos;
mod fmt;
mod instructions;
mod names;
mod new;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
cargo xtask fmt [--check]
    Formats every Rust file of the tree, or lists the unformatted ones.
    `cargo fmt` misses the files that `dispatcher!()` declares.

cargo xtask new processor EVENT [--feature FEATURE]
    Writes a template for the processor of EVENT and its feature, with a test.
    EVENT and FEATURE are in UpperCamelCase; the default FEATURE is Process<EVENT>.

cargo xtask chaos [--minutes N] [--events N] [--kills N] [--store sqlite|postgres] [--round NAME] [--seed N]
    Injects faults into the release build of the service, on a real Kafka and PostgreSQL, and accounts for every event.
    `cargo xtask chaos --help` lists the options.

cargo xtask bench [--only PART,...] [--rounds N] [--events N] [--latency SECONDS] [--output FILE]
    Compares the release build of the service with hand-written loops, on a real Kafka, and writes docs/performance.md.
    `cargo xtask bench --help` lists the parts, which can be measured separately. compile-time is measured only on request.

cargo xtask instructions [--bless]
    Counts the instructions of the runtime's parts with valgrind, and compares them with tests/microbench/instructions.txt, or writes it.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let result = match arguments[..] {
        ref arguments if asks_for_help(arguments) => {
            println!("{USAGE}");
            Ok(())
        }
        ["fmt"] => fmt::run(&root, false),
        ["fmt", "--check"] => fmt::run(&root, true),
        ["new", "processor", event] => new::processor(&root, event, None).map(|files| report(&files)),
        ["new", "processor", event, "--feature", feature] => {
            new::processor(&root, event, Some(feature)).map(|files| report(&files))
        }
        ["bench", ref arguments @ ..] => bench::run(&root, arguments),
        ["chaos", ref arguments @ ..] => chaos::run(&root, arguments),
        ["instructions"] => instructions::run(&root, false),
        ["instructions", "--bless"] => instructions::run(&root, true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether help is requested, alone or after a command that has no help of its own.
fn asks_for_help(arguments: &[&str]) -> bool {
    let of_chore = |name: &&str| ["fmt", "new", "instructions"].contains(name);
    match arguments {
        ["help" | "--help" | "-h"] => true,
        [chore, .., last] => of_chore(chore) && ["--help", "-h"].contains(last),
        _ => false,
    }
}

fn report(files: &[PathBuf]) {
    for file in files {
        println!("wrote {}", file.display());
    }
    println!("next: add the step to the entity, call it in usecase.rs, then run `cargo test -p order-service`");
}

/// The folder of the workspace. It is read from cargo's variable at run time, because a copy of the tree with the same target
/// folder shares this program.
fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map(Path::to_path_buf).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::asks_for_help;

    #[test]
    fn help_flags_are_not_taken_for_names() {
        for arguments in [&["--help"][..], &["new", "processor", "--help"], &["new", "--help"], &["fmt", "-h"]] {
            assert!(asks_for_help(arguments), "{arguments:?}");
        }
        for arguments in [&["new", "processor", "OrderRefunded"][..], &["chaos", "--help"], &[]] {
            assert!(!asks_for_help(arguments), "{arguments:?} is passed to the command");
        }
    }
}
