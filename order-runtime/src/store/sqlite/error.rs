//! Maps SQLite errors to [`StoreError`]: try again later, refuse the data, or require an operator.

use std::{io, path::Path};

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            // A full disk, a lock of another process and a failing device may all be temporary.
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
            // Everything else that SQLite itself reports concerns the file, its schema or a statement, not one event. As a
            // data error, it would turn every event into a dead letter.
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

/// The error for a failure to open `path`, with its remedy.
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

/// The error for a file system failure while `path` was prepared, with its remedy.
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
