//! Runs one case, for a tool that counts instructions: `order-microbench CASE`. Without a case it lists them.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its caller reads what it says")]

use std::process::ExitCode;

use order_microbench::{CASES, Case, EVENTS};

/// Runs before it is counted: until then memory is asked of the system, and tables grow.
const WARM_UP: usize = 3;
/// Runs that are counted.
const RUNS: usize = 3;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for case in &CASES {
            println!("{}", case.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(case) = Case::find(&name) else {
        eprintln!("order-microbench: there is no case {name}; without an argument it lists them");
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

/// What callgrind counts; it knows it by this name, so it must not be inlined.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
    // Else the call would be the last thing it does, and leave no trace of it on the stack.
    std::hint::black_box(());
}
