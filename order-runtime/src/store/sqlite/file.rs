//! The store's file: it has exactly one name, and one process has locked it.
//!
//! SQLite finds the write-ahead log by the path of the database. Two paths to one file (a hard link, a symbolic link, a mount of
//! the file alone) would have two logs: each process would miss the commits of the other, and a checkpoint of one would overwrite
//! them. Therefore, the path is resolved first, a second name is refused, and the file itself is locked if the system allows it.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{error::preparing, mounts::Mount};
use crate::store::StoreError;

/// Resolves the links in the path of an existing file, and returns the file's only path.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let file = fs::canonicalize(path).map_err(|error| preparing(path, &error))?;
    let names = names(&fs::metadata(&file).map_err(|error| preparing(&file, &error))?);
    if names > 1 {
        return Err(StoreError::Unusable(format!(
            "{} has {names} names (hard links), and a service at another name would not see its commits; \
             replace the other names by copies (`find / -xdev -samefile {}` lists them)",
            file.display(),
            file.display()
        )));
    }
    if Mount::of(&file).is_some_and(|mount| mount.point == file) {
        return Err(StoreError::Unusable(format!(
            "{} is mounted as a single file, so its write-ahead log would not be kept with it; mount its folder instead",
            file.display()
        )));
    }
    Ok(file)
}

/// The locks of the one process that runs on a store. They end with the handles, so that a killed process leaves none.
#[derive(Debug)]
pub(super) struct Lock {
    /// The database itself. It is closed after the connections, because closing any handle of the file drops the locks that
    /// SQLite holds on it in this process.
    database: File,
    /// The lock file beside it. Earlier releases lock only this file.
    _beside: File,
}

/// Refuses a path whose folder does not exist.
pub(super) fn expect_folder(path: &Path) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if folder.is_dir() {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "the folder {} does not exist; create it, or set STORE_URL to another path",
        folder.display()
    )))
}

/// Locks the store for this process, and creates the file if it does not exist. Returns the file's only path and the locks.
pub(super) fn lock(path: &Path) -> Result<(PathBuf, Lock), StoreError> {
    expect_folder(path)?;
    if !path.exists() {
        // SQLite would create the file readable for all users; its side files get the permissions of this one.
        private_file(path)?;
    }
    let path = resolve(path)?;
    // The lock file comes first. Within one process, it prevents a second store from opening and closing the database, which
    // would drop the locks of the first one.
    let beside_path = beside(&path, ".lock");
    let beside = private_file(&beside_path)?;
    take(&beside, &path, &beside_path)?;
    let database = private_file(&path)?;
    // `flock` and SQLite's own locks are independent only on Linux, and there not on a network file system.
    if cfg!(target_os = "linux") && Mount::of(&path).is_none_or(|mount| mount.has_local_locks()) {
        take(&database, &path, &path)?;
    }
    let lock = Lock { database, _beside: beside };
    match lock.is_at(&path) {
        Ok(true) => Ok((path, lock)),
        Ok(false) => Err(StoreError::Unusable(format!(
            "{} was replaced while it was opened; stop the program that replaces it, and start again",
            path.display()
        ))),
        Err(error) => Err(preparing(&path, &error)),
    }
}

fn take(file: &File, path: &Path, locked: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "another process runs on {} (it holds {}); stop it, or set STORE_URL to another file",
            path.display(),
            locked.display()
        ))),
        Err(TryLockError::Error(error)) => Err(preparing(locked, &error)),
    }
}

impl Lock {
    /// Whether `path` names the file that is locked.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(identity(&self.database.metadata()?) == identity(&fs::metadata(path)?))
    }
}

/// Opens a file. Creates it if it does not exist, readable and writable only for its owner.
fn private_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| preparing(path, &error))
}

/// The path of the file beside `path` that has the same name and a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Warns when other users of this machine can read the store: it holds the data of events.
pub(super) fn warn_of_readers(path: &Path) {
    if let Ok(metadata) = fs::metadata(path)
        && let Some(mode) = open_mode(&metadata)
    {
        let path = path.display();
        tracing::warn!(%path, mode, "other users of this machine can read the store; restrict it with `chmod 600`");
    }
}

/// The permissions in octal digits, if users other than the owner may read the file.
fn open_mode(metadata: &Metadata) -> Option<String> {
    let mode = permissions(metadata);
    (mode & 0o044 != 0).then(|| format!("{mode:o}"))
}

#[cfg(unix)]
fn permissions(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o777
}

#[cfg(not(unix))]
fn permissions(_: &Metadata) -> u32 {
    0o600
}

#[cfg(unix)]
fn names(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn names(_: &Metadata) -> u64 {
    1
}

/// A file's device and inode number.
pub(super) type FileId = (u64, u64);

/// Identifies a file on this machine. A constant on systems that do not allow an open file to be deleted.
#[cfg(unix)]
pub(super) fn identity(metadata: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
pub(super) fn identity(_: &Metadata) -> FileId {
    (0, 0)
}
