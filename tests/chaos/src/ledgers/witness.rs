//! Records failures outside the process, so that a SIGKILL does not lose them.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::OnceLock,
};

use order_runtime::prelude::Injectable;

/// The file that scripted failures are appended to.
const FILE: &str = "CHAOS_WITNESS";

/// Records failures immediately.
#[derive(Injectable)]
pub struct Witness;

impl Witness {
    /// Appends a line for this attempt at the event, in one write, so that lines of several processes do not mix.
    pub fn failed(&self, event: &str, attempt: u32) {
        static OPEN: OnceLock<Option<File>> = OnceLock::new();
        let file = OPEN.get_or_init(|| {
            let path = std::env::var_os(FILE)?;
            OpenOptions::new().append(true).create(true).open(path).ok()
        });
        if let Some(mut file) = file.as_ref() {
            // The test that counts the lines fails if one is missing.
            let _ = file.write_all(format!("{event} {attempt}\n").as_bytes());
        }
    }
}
