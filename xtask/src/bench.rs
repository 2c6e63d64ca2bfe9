//! `cargo xtask bench`: builds and runs the benchmark.

use std::{path::Path, process::Command};

use crate::chaos::{built, finished};

/// Builds the programs of the benchmark and runs it with these arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut bench = if is_of_compile_time(arguments) {
        // It needs no release build, and uses the products of the development build.
        let mut bench = Command::new("cargo");
        bench.args(["run", "--quiet", "--package", "order-tests", "--bin", "bench", "--"]);
        bench
    } else {
        built(root, &["order-service", "order-bench", "order-bench-loop", "bench"])?
    };
    bench.args(arguments).current_dir(root);
    finished(bench, "the benchmark")
}

/// Whether only the compile time is requested.
fn is_of_compile_time(arguments: &[&str]) -> bool {
    arguments.contains(&"--only=compile-time") || arguments.windows(2).any(|pair| pair == ["--only", "compile-time"])
}

#[cfg(test)]
mod tests {
    use super::is_of_compile_time;

    #[test]
    fn other_parts_need_release_builds() {
        assert!(is_of_compile_time(&["--rounds", "1", "--only", "compile-time"]));
        assert!(is_of_compile_time(&["--only=compile-time"]));
        for other in [&["--only", "cost,compile-time"][..], &["--only", "cost"], &[]] {
            assert!(!is_of_compile_time(other), "{other:?}");
        }
    }
}
