//! Progress of long commands: a bar on standard error, if it is a terminal and the command is not quiet.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

/// How often the bar is redrawn without progress.
const TICK: Duration = Duration::from_millis(200);

/// A progress bar; dropping it clears it.
pub(super) struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// Counts `unit`s, up to `total` if it is known.
    pub(super) fn new(output: Output, unit: &'static str, total: Option<u64>) -> Self {
        let target = if output.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => {
                format!("{{bar:30}} {{percent:>3}} %  {{human_pos}} of {{human_len}} {unit}  {{msg}}  {{eta}} left")
            }
            None => format!("{{spinner}} {{human_pos}} {unit}  {{msg}}  {{per_sec}}"),
        };
        // With an invalid template the bar keeps its default style.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// Adds `count` to the number done.
    pub(super) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Sets the number done.
    pub(super) fn set_position(&self, count: u64) {
        self.0.set_position(count);
    }

    /// Sets the number done and the total.
    pub(super) fn set_position_of(&self, count: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(count);
    }

    /// Sets the text beside the numbers.
    pub(super) fn set_message(&self, text: impl Into<Cow<'static, str>>) {
        self.0.set_message(text);
    }

    /// Hides the bar while `write` runs.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
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
    fn a_bar_counts_whether_it_is_visible_or_not() {
        for (quiet, total) in [(true, Some(10)), (false, None)] {
            let progress = ProgressLine::new(Output::new(Format::Table, quiet), "events", total);
            progress.add(3);
            progress.set_position(5);
            progress.add(1);
            progress.set_message("halfway");
            assert_eq!((progress.0.position(), progress.0.length()), (6, total));
            assert!(progress.0.is_hidden() || !quiet, "a quiet command shows no bar");
            let mut written = false;
            progress.suspend(|| written = true);
            assert!(written);
            progress.set_position_of(7, 9);
            assert_eq!((progress.0.position(), progress.0.length()), (7, Some(9)));
        }
    }
}
