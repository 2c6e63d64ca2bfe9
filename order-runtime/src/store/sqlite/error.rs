//! What an SQLite error means for whoever asked: try again, give up on the data, or call for somebody.

use std::{io, path::Path};

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            // A full disk, a lock of another process and a failing device may all pass by themselves.
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::CannotOpen,
            ) => Self::Unavailable(text),
            Some(
                ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange,
            ) => Self::Refused(text),
            // Everything else that SQLite itself reports is about the file, its schema or a statement, not about one event:
            // were it taken for a data error, every event would become a dead letter.
            Some(_) => Self::Unusable(text),
            None => match error {
                Error::ToSqlConversionFailure(_)
                | Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..)
                | Error::NulError(_) => Self::Refused(text),
                _ => Self::Unusable(text),
            },
        }
    }
}

/// An error of opening `path`, with what to do about it.
pub(super) fn opening(path: &Path, error: Error) -> StoreError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Unusable(format!(
            "{path} is not an SQLite database; set STORE_URL to another file, or move this one away"
        )),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Unusable(format!(
            "{path} is damaged ({error}); restore it from a backup, or move it away to begin with an empty store"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            StoreError::Unusable(format!(
                "{path} cannot be opened for writing ({error}); give this user write permission to the file and its folder"
            ))
        }
        _ => match StoreError::from(error) {
            StoreError::Unavailable(text) => StoreError::Unavailable(format!("{path}: {text}")),
            StoreError::Unusable(text) | StoreError::Refused(text) => StoreError::Unusable(format!("{path}: {text}")),
            foreign @ StoreError::ForeignGroup { .. } => foreign,
        },
    }
}

/// An error of the file system while `path` was made ready, with what to do about it.
pub(super) fn preparing(path: &Path, error: &io::Error) -> StoreError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Unusable(format!(
            "{path} cannot be written ({error}); give this user write permission to the file and its folder, \
             or set STORE_URL to another path"
        )),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => StoreError::Unusable(
            format!("{path} cannot be opened ({error}); set STORE_URL to a file in a folder that exists"),
        ),
        _ => StoreError::Unavailable(format!("{path}: {error}")),
    }
}
