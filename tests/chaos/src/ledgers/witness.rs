//! Who hears of failures outside the process, where a SIGKILL forgets nothing.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::OnceLock,
};

use order_runtime::prelude::Injectable;

/// The file that scripted failures are appended to.
const FILE: &str = "CHAOS_WITNESS";

/// Writes failures down as they happen.
#[derive(Injectable)]
pub struct Witness;

impl Witness {
    /// Appends a line for this attempt at the event. One write, so that lines of several processes stay whole.
    pub fn failed(&self, event: &str, attempt: u32) {
        static OPEN: OnceLock<Option<File>> = OnceLock::new();
        let file = OPEN.get_or_init(|| {
            let path = std::env::var_os(FILE)?;
            OpenOptions::new().append(true).create(true).open(path).ok()
        });
        if let Some(mut file) = file.as_ref() {
            // A line that is missing fails the test that counts them.
            let _ = file.write_all(format!("{event} {attempt}\n").as_bytes());
        }
    }
}
