//! How far a long command is: a bar on standard error, where that is a terminal and nobody wants quiet.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

/// How often the bar moves while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// A bar that vanishes when it is dropped.
pub(super) struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// Counts `unit`s, of `total` where that is known.
    pub(super) fn new(output: Output, unit: &'static str, total: Option<u64>) -> Self {
        let target = if output.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => {
                format!("{{bar:30}} {{percent:>3}} %  {{human_pos}} of {{human_len}} {unit}  {{msg}}  {{eta}} left")
            }
            None => format!("{{spinner}} {{human_pos}} {unit}  {{msg}}  {{per_sec}}"),
        };
        // The template is ours; one that could not be read would leave the default look.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// So many more are done.
    pub(super) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// So many are done in all.
    pub(super) fn reach(&self, count: u64) {
        self.0.set_position(count);
    }

    /// So many are done in all, of a total that may have become another one.
    pub(super) fn reach_of(&self, count: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(count);
    }

    /// Says something beside the numbers.
    pub(super) fn say(&self, text: impl Into<Cow<'static, str>>) {
        self.0.set_message(text);
    }

    /// Takes the bar away while something else is written.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;

    #[test]
    fn a_bar_counts_whether_it_is_seen_or_not() {
        for (quiet, total) in [(true, Some(10)), (false, None)] {
            let progress = ProgressLine::new(Output::new(Format::Table, quiet), "events", total);
            progress.add(3);
            progress.reach(5);
            progress.add(1);
            progress.say("halfway");
            assert_eq!((progress.0.position(), progress.0.length()), (6, total));
            assert!(progress.0.is_hidden() || !quiet, "quiet is quiet");
            let mut written = false;
            progress.aside(|| written = true);
            assert!(written);
            progress.reach_of(7, 9);
            assert_eq!((progress.0.position(), progress.0.length()), (7, Some(9)));
        }
    }
}
