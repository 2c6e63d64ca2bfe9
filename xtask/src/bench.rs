//! The benchmark.

use std::{path::Path, process::Command};

use crate::chaos::{built, finished};

/// Builds what the benchmark needs and runs it with these arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut bench = if is_of_compile_time(arguments) {
        // Nothing that is released takes part in it, and it uses what is compiled for development.
        let mut bench = Command::new("cargo");
        bench.args(["run", "--quiet", "--package", "order-tests", "--bin", "bench", "--"]);
        bench
    } else {
        built(root, &["order-service", "order-bench", "order-bench-loop", "bench"])?
    };
    bench.args(arguments).current_dir(root);
    finished(bench, "the benchmark")
}

/// Whether only the compile time is asked for.
fn is_of_compile_time(arguments: &[&str]) -> bool {
    arguments.contains(&"--only=compile-time") || arguments.windows(2).any(|pair| pair == ["--only", "compile-time"])
}

#[cfg(test)]
mod tests {
    use super::is_of_compile_time;

    #[test]
    fn other_parts_want_the_released_programs() {
        assert!(is_of_compile_time(&["--rounds", "1", "--only", "compile-time"]));
        assert!(is_of_compile_time(&["--only=compile-time"]));
        for other in [&["--only", "cost,compile-time"][..], &["--only", "cost"], &[]] {
            assert!(!is_of_compile_time(other), "{other:?}");
        }
    }
}
