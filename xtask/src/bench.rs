//! The benchmark.

use std::path::Path;

use crate::chaos::{built, finished};

/// Builds the programs of the benchmark as they are released, and runs it with these arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut bench = built(root, &["order-service", "order-bench", "order-bench-loop", "bench"])?;
    bench.args(arguments).current_dir(root);
    finished(bench, "the benchmark")
}
