//! `cargo xtask instructions`: counts the instructions of the runtime's parts and compares them with the committed baseline.
//! Unlike times, instruction counts do not vary on a busy machine.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Command};

use crate::chaos::{cargo, finished, program};

/// The file with the baseline.
const BASELINE: &str = "tests/microbench/instructions.txt";

const HEAD: &str = "\
# Instructions per event, by case. `cargo xtask instructions` compares with this file, `cargo xtask instructions --bless` writes it.
";

/// The allowed difference from the baseline, in percent. A new version of a dependency or of the compiler, or another processor,
/// usually changes a count by less.
const TOLERANCE: f64 = 10.0;

/// Instructions per event, by case.
type Counts = BTreeMap<String, u64>;

/// Counts each case and compares with the baseline; with `bless`, writes the baseline.
pub(crate) fn run(root: &Path, bless: bool) -> Result<(), String> {
    let mut build = cargo(root);
    // The same build as CI's release build, so that nothing is compiled twice.
    build.args(["build", "--locked", "--release", "--package", "order-microbench"]);
    finished(build, "the build")?;
    let program = program(root, "order-microbench");
    let cases = output_of(&mut Command::new(&program))?.stdout;
    let mut counts = Counts::new();
    for case in cases.lines() {
        let count = count(&program, case)?;
        println!("{count:>8} {case}");
        counts.insert(case.to_owned(), count);
    }
    let path = root.join(BASELINE);
    if bless {
        return fs::write(&path, text(&counts)).map_err(|error| format!("{BASELINE} cannot be written: {error}"));
    }
    let baseline = fs::read_to_string(&path).map_err(|error| format!("{BASELINE} cannot be read: {error}"))?;
    let differences = differences(&parse(&baseline)?, &counts);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "instructions differ from {BASELINE}:\n  {}\nif this is intended, update it with `cargo xtask instructions --bless` and commit it, \
         with the reason",
        differences.join("\n  ")
    ))
}

/// The instructions of a case per event.
fn count(program: &Path, case: &str) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=order_microbench::counted*"])
        .arg(program)
        .arg(case);
    let output = output_of(&mut valgrind)?;
    let per_event = || {
        let events: u64 = output.stdout.trim().parse().ok()?;
        collected(&output.stderr)?.checked_div(events).filter(|count| *count > 0)
    };
    per_event().ok_or_else(|| format!("valgrind counted nothing for {case}:\n{}", output.stderr))
}

/// The output of a program.
struct Output {
    stdout: String,
    stderr: String,
}

/// Runs a program and returns its output; fails unless it exits with success.
fn output_of(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} does not start: {error}; is it installed?"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let texts = Output { stdout: text(&output.stdout), stderr: text(&output.stderr) };
    if output.status.success() {
        return Ok(texts);
    }
    Err(format!("{name} failed, {}: {}{}", output.status, texts.stdout, texts.stderr))
}

/// The number of instructions from callgrind's last such line: `==4711== Collected : 123456`.
fn collected(stderr: &str) -> Option<u64> {
    let figure = stderr.lines().rev().find_map(|line| line.split_once("Collected :"))?.1;
    figure.split_whitespace().next()?.parse().ok()
}

fn text(counts: &Counts) -> String {
    counts.iter().fold(HEAD.to_owned(), |mut text, (case, count)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{count:>8} {case}");
        text
    })
}

fn parse(baseline: &str) -> Result<Counts, String> {
    let lines = baseline.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (count, case) = line.split_once(' ')?;
        Some((case.to_owned(), count.parse().ok().filter(|count| *count > 0)?))
    };
    lines
        .map(|line| {
            entry(line).ok_or_else(|| {
                format!("{BASELINE} has a line that is not a number and a case: {line}; write it again with --bless")
            })
        })
        .collect()
}

/// The differences from the baseline, one line each.
fn differences(baseline: &Counts, counts: &Counts) -> Vec<String> {
    let mut differences = Vec::new();
    for (case, &count) in counts {
        match baseline.get(case) {
            None => differences.push(format!("{case}: {count} per event, which is not in the baseline")),
            Some(&known) => {
                let percent = percent(known, count);
                if percent.abs() > TOLERANCE {
                    let direction = if percent > 0.0 { "more" } else { "less" };
                    let percent = percent.abs();
                    differences.push(format!(
                        "{case}: {count} per event, {percent:.1} % {direction} than {known}; {TOLERANCE} % are allowed"
                    ));
                }
            }
        }
    }
    let gone = baseline.keys().filter(|case| !counts.contains_key(*case));
    differences.extend(gone.map(|case| format!("{case}: is in the baseline but does not exist")));
    differences
}

/// The difference between two numbers, in percent of the first.
#[expect(clippy::cast_precision_loss, reason = "an event's instructions are far below 2^52")]
fn percent(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) * 100.0 / from as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(cases: &[(&str, u64)]) -> Counts {
        cases.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect()
    }

    #[test]
    fn the_last_figure_of_callgrind_counts() {
        let stderr = "==12== Command: order-microbench decode/typed\n==12== \n==12== Events    : Ir\n\
                      ==12== Collected : 5346372\n==12== \n==12== I   refs:      5,346,372\n";
        assert_eq!(collected(stderr), Some(5_346_372));
        assert_eq!(collected("==12== Collected : \n"), None);
        assert_eq!(collected("valgrind: fatal error\n"), None);
    }

    #[test]
    fn a_written_baseline_can_be_read() {
        let counted = counts(&[("decode/typed", 1_200), ("lanes/10 keys that wait", 90_000)]);
        assert_eq!(parse(&text(&counted)), Ok(counted));
        for wrong in ["decode/typed", "many decode/typed", "0 decode/typed"] {
            assert!(parse(wrong).is_err_and(|error| error.contains(wrong)), "{wrong}");
        }
    }

    #[test]
    fn differences_beyond_the_tolerance_are_reported_with_both_figures() {
        let baseline = counts(&[("faster", 1_000), ("gone", 1), ("same", 1_000), ("slower", 1_000)]);
        let counted = counts(&[("faster", 899), ("new", 7), ("same", 1_100), ("slower", 1_101)]);
        assert_eq!(
            differences(&baseline, &counted),
            [
                "faster: 899 per event, 10.1 % less than 1000; 10 % are allowed",
                "new: 7 per event, which is not in the baseline",
                "slower: 1101 per event, 10.1 % more than 1000; 10 % are allowed",
                "gone: is in the baseline but does not exist",
            ]
        );
    }
}
