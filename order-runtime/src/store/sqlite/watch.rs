//! Watches the files that SQLite has open: whether they still exist at their paths, and how long the write-ahead log is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::watch;

use super::{
    connect::BUSY_TIMEOUT,
    error::preparing,
    file::{FileId, beside, identity},
};
use crate::store::StoreError;

/// The length of the write-ahead log from which a warning names the cause. Without readers of other programs, the log stays at
/// 64 MiB.
const LOG_WARNING: u64 = 256 * MIB;
/// The maximum length of the write-ahead log. From there on, commits fail until the log can be emptied, so that a forgotten
/// transaction does not fill the disk.
const LOG_LIMIT: u64 = 2_048 * MIB;
const MIB: u64 = 1024 * 1024;

/// The suffix of the write-ahead log's name.
const LOG: &str = "-wal";

/// Watches whether the files that SQLite has open are those that the store's path names.
///
/// If a file was deleted, moved or replaced, every later commit is lost when the process ends. The files are checked after each
/// commit, before the commit is answered, and every second while the store is idle. Therefore, no commit after such a loss is
/// reported as successful; earlier commits are lost with the file.
#[derive(Debug)]
pub(super) struct Watch {
    database: PathBuf,
    /// The database, its write-ahead log and the log's index.
    files: Vec<Watched>,
    log_bytes: AtomicU64,
    log_limit: AtomicU64,
    /// Whether the warning of a long write-ahead log has been logged.
    warned: AtomicBool,
    /// The reason, once the store is lost.
    lost: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    id: FileId,
    is_log: bool,
}

impl Watch {
    /// Watches the files of a database that is open at `path`.
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let mut files = Vec::new();
        for suffix in ["", LOG, "-shm"] {
            let file = beside(path, suffix);
            match fs::metadata(&file) {
                Ok(metadata) => {
                    files.push(Watched { path: file, id: identity(&metadata), is_log: suffix == LOG });
                }
                // SQLite keeps the index in memory if it can.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => {}
                Err(error) => return Err(preparing(&file, &error)),
            }
        }
        let watch = Self {
            database: path.to_owned(),
            files,
            log_bytes: AtomicU64::new(0),
            log_limit: AtomicU64::new(LOG_LIMIT),
            warned: AtomicBool::new(false),
            lost: watch::Sender::new(None),
        };
        watch.check().map(|()| watch)
    }

    /// Returns an error if the store is known to be lost. Does not check the files.
    pub(super) fn known(&self) -> Result<(), StoreError> {
        match &*self.lost.borrow() {
            Some(reason) => Err(StoreError::Unusable(reason.clone())),
            None => Ok(()),
        }
    }

    /// Checks the files, and returns an error if the store is lost.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.known()?;
        let Some(reason) = self.look() else { return Ok(()) };
        tracing::error!(reason, "the store is lost; nothing is committed any more");
        self.lost.send_replace(Some(reason.clone()));
        Err(StoreError::Unusable(reason))
    }

    fn look(&self) -> Option<String> {
        let lost = |path: &Path, how: &str| {
            Some(format!(
                "{} {how} while the service runs on it, so that further commits would be lost; \
                 put the file back or restore a backup, then start the service again",
                path.display()
            ))
        };
        for Watched { path, id, is_log } in &self.files {
            match fs::metadata(path) {
                Ok(found) if identity(&found) == *id => {
                    if *is_log {
                        self.note_log(found.len());
                    }
                }
                Ok(_) => return lost(path, "was replaced by another file"),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return lost(path, "was deleted or moved");
                }
                // If the error matters, SQLite encounters it itself.
                Err(_) => {}
            }
        }
        None
    }

    fn note_log(&self, bytes: u64) {
        self.log_bytes.store(bytes, Ordering::Relaxed);
        let is_long = bytes >= LOG_WARNING.min(self.log_limit.load(Ordering::Relaxed));
        if self.warned.swap(is_long, Ordering::Relaxed) != is_long && is_long {
            let database = self.database.display();
            tracing::warn!(
                mebibytes = bytes / MIB,
                "the store's write-ahead log grows, because another program keeps a transaction open on {database}; \
                 `lsof {database}` names the program"
            );
        }
    }

    /// Empties the write-ahead log if it has reached its limit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when a transaction of another program prevents that; [`StoreError::Unusable`] when the store
    /// is lost.
    pub(super) fn make_room(&self, db: &Connection) -> Result<(), StoreError> {
        self.known()?;
        let is_full = || self.log_bytes.load(Ordering::Relaxed) >= self.log_limit.load(Ordering::Relaxed);
        if !is_full() {
            return Ok(());
        }
        // Without waiting, because a reader that stays would delay each commit.
        db.busy_timeout(Duration::ZERO)?;
        let emptied = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        db.busy_timeout(BUSY_TIMEOUT)?;
        emptied?;
        self.check()?;
        if !is_full() {
            return Ok(());
        }
        let database = self.database.display();
        Err(StoreError::Unavailable(format!(
            "its write-ahead log has grown to {} MiB and cannot be emptied, because another program keeps a transaction open on \
             {database}; end that transaction (`lsof {database}` names the program)",
            self.log_bytes() / MIB
        )))
    }

    /// Resolves when the store is lost, with the reason.
    pub(super) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        loop {
            if let Some(reason) = &*lost.borrow_and_update() {
                return reason.clone();
            }
            // The sender lives as long as this watch.
            if lost.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Bytes of the write-ahead log at the last check.
    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn limit_log(&self, bytes: u64) {
        self.log_limit.store(bytes, Ordering::Relaxed);
    }
}
