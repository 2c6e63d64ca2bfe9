//! Runs one case for a tool that counts instructions: `order-microbench CASE`. Without an argument, lists the cases.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the caller reads the output")]

use std::process::ExitCode;

use order_microbench::{CASES, Case, EVENTS};

/// Runs before the count, in which memory is allocated and tables grow.
const WARM_UP: usize = 3;
/// Counted runs.
const RUNS: usize = 3;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for case in &CASES {
            println!("{}", case.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(case) = Case::find(&name) else {
        eprintln!("order-microbench: there is no case {name}; run it without an argument for a list");
        return ExitCode::from(2);
    };
    let mut run = case.prepare();
    for _ in 0..WARM_UP {
        run();
    }
    for _ in 0..RUNS {
        counted(&mut run);
    }
    println!("{}", RUNS * EVENTS);
    ExitCode::SUCCESS
}

/// The function that callgrind counts. callgrind finds it by its name, so it must not be inlined.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
    // Prevents a tail call, which would remove this function from the stack.
    std::hint::black_box(());
}
