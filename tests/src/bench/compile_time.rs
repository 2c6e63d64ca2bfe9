//! The compile time of processors: seconds of `cargo check` and of the debug build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use super::{Column, Table};
use crate::domain::{Domain, cargo, processor, target, workspace};

/// The measured cargo commands, by their names in the tables.
const COMMANDS: [&str; 2] = ["check", "build"];

/// Measures the compile time of one more processor with its feature in a copy of `order-service`.
pub(super) fn of_the_service(rounds: u32) -> Table {
    const COLUMNS: [Column; 1] = [Column { title: "s", digits: 2 }];
    let copy = Copy::new();
    let mut table = Table::new(&COLUMNS);
    for command in COMMANDS {
        copy.cargo(command);
        for round in 0..rounds {
            copy.change(2 * round);
            table.add(&format!("{command} after a change in one processor"), vec![copy.cargo(command)]);
            copy.add_processor();
            table.add(&format!("{command} after one more processor with its feature"), vec![copy.cargo(command)]);
            copy.change(2 * round + 1);
            table.add(&format!("{command} after a change, with that one there"), vec![copy.cargo(command)]);
            copy.remove_processor();
            copy.cargo(command);
        }
    }
    table
}

/// Measures the compile time of a crate with one processor, and then with `processors`.
pub(super) fn of_a_crowd(rounds: u32, processors: u32) -> Table {
    const COLUMNS: [Column; 3] = [
        Column { title: "s with 1", digits: 2 },
        Column { title: "s with all", digits: 2 },
        Column { title: "ms for each further one", digits: 2 },
    ];
    let domain = Domain::new("crowd");
    let few = crowd_times(&domain, rounds);
    for number in 1..processors {
        domain.write(&format!("src/events/thing_done{number}.rs"), &processor(&format!("ThingDone{number}")));
    }
    let all = crowd_times(&domain, rounds);
    let mut table = Table::new(&COLUMNS);
    for ((name, few), (_, all)) in few.into_iter().zip(all) {
        let each = (all - few) * 1e3 / f64::from(processors.saturating_sub(1).max(1));
        table.add(&name, vec![few, all, each]);
    }
    // The products are as large as those of the service.
    timed(domain.cargo(&["clean", "--offline", "--quiet", "--package", "crowd"]));
    table
}

/// Runs the commands; returns their names and seconds, round by round.
fn crowd_times(domain: &Domain, rounds: u32) -> Vec<(String, f64)> {
    let mut times = Vec::new();
    let change = |number| domain.write("src/events/thing_done.rs", &changed(&processor("ThingDone"), number));
    for command in COMMANDS {
        let run = || timed(domain.cargo(&[command, "--offline", "--quiet"]));
        // The first run builds missing dependencies and is not counted.
        run();
        for round in 0..rounds {
            forget("crowd");
            change(2 * round);
            times.push((format!("{command} of the whole crate"), run()));
            change(2 * round + 1);
            times.push((format!("{command} after a change in one processor"), run()));
        }
    }
    times
}

/// Removes the compiler's incremental data of a crate.
fn forget(name: &str) {
    let folder = target().join("debug/incremental");
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{name}-")) {
            fs::remove_dir_all(entry.path()).expect("the compiler's folder can be removed");
        }
    }
}

/// The file of a processor with a changed body.
fn changed(processor: &str, number: u32) -> String {
    let end = "    Ok(())\n";
    assert!(processor.contains(end), "the processor has an unexpected form: {processor}");
    processor.replacen(end, &format!("    let _ = {number};\n{end}"), 1)
}

/// The duration of a command in seconds. Panics if it fails.
fn timed(mut command: Command) -> f64 {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().expect("cargo starts");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    seconds
}

/// A copy of the workspace's sources that can be changed. It has its own target folder, because cargo would confuse its products
/// with those of the original.
struct Copy {
    folder: TempDir,
    processor: String,
}

const CHANGED: &str = "order-service/src/events/order_paid.rs";

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in sources() {
            let copy = folder.path().join(&file);
            fs::create_dir_all(copy.parent().expect("a file is in a folder")).expect("the folder can be created");
            fs::copy(workspace().join(&file), copy).expect("the file can be copied");
        }
        let processor = fs::read_to_string(folder.path().join(CHANGED)).expect("the service has this event");
        Self { folder, processor }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a cargo command on the service, and returns its duration in seconds.
    fn cargo(&self, command: &str) -> f64 {
        let mut cargo = self.command();
        cargo.args([command, "--offline", "--quiet", "--package", "order-service"]);
        timed(cargo)
    }

    fn command(&self) -> Command {
        let mut command = cargo(self.root());
        command.env("CARGO_TARGET_DIR", target().join("compile-time"));
        command
    }

    /// Changes the body of one processor.
    fn change(&self, number: u32) {
        let file = self.root().join(CHANGED);
        fs::write(file, changed(&self.processor, number)).expect("the file can be written");
    }

    fn add_processor(&self) {
        let mut new = self.command();
        new.args(["xtask", "new", "processor", "OrderRefunded", "--feature", "RefundOrder"]);
        timed(new);
    }

    fn remove_processor(&self) {
        let source = self.root().join("order-service/src");
        fs::remove_file(source.join("events/order_refunded.rs")).expect("the processor was written");
        fs::remove_dir_all(source.join("orders/features/refund_order")).expect("the feature was written");
    }
}

/// The files that git tracks or would add, without deleted ones.
fn sources() -> Vec<PathBuf> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace());
    let output = list.output().expect("git starts");
    let files = String::from_utf8(output.stdout).expect("the names are UTF-8");
    files
        .split('\0')
        .filter(|file| !file.is_empty())
        .map(PathBuf::from)
        .filter(|file| workspace().join(file).exists())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_processor_has_another_body() {
        let one = changed(&processor("ThingDone"), 1);
        assert!(one.contains("    let _ = 1;\n    Ok(())\n}"), "{one}");
        assert_ne!(one, changed(&processor("ThingDone"), 2));
    }

    #[test]
    fn the_benchmarked_processor_can_be_changed() {
        assert!(sources().contains(&PathBuf::from(CHANGED)));
        let text = fs::read_to_string(workspace().join(CHANGED)).expect("the service has this event");
        assert_ne!(changed(&text, 1), text);
    }
}
