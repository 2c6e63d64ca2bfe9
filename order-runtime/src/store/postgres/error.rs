//! Maps PostgreSQL errors to [`StoreError`]: try again later, refuse the data, or require an operator.

use tokio_postgres::{Error, error::SqlState};

use super::PostgresError;
use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        of_server(&error)
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Server(error) => of_server(&error),
            PostgresError::Data(error) => Self::Refused(error.to_string()),
        }
    }
}

/// Maps an error by the class of its SQLSTATE (PostgreSQL's documentation, appendix A).
pub(super) fn of_server(error: &Error) -> StoreError {
    let text = said(error);
    let Some(state) = error.code() else {
        // The driver rejects a value that does not fit its column itself; any other error without a state is the network.
        return if is_of_a_value(error) { StoreError::Refused(text) } else { StoreError::Unavailable(text) };
    };
    match state.code().get(..2).unwrap_or_default() {
        // Data exceptions, and constraints.
        "22" | "23" => StoreError::Refused(text),
        // A value that is too long for its index.
        _ if *state == SqlState::PROGRAM_LIMIT_EXCEEDED => StoreError::Refused(text),
        // Denied access, a missing database, SQL and schema errors, features that this server does not support.
        "28" | "3D" | "42" | "3F" | "0A" => StoreError::Unusable(text),
        // Includes a read-only server, which another server is taking over from.
        _ => StoreError::Unavailable(text),
    }
}

/// Whether the error is a conflict with another transaction, after which the whole transaction can be tried again.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error.code(), Some(state) if *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED)
}

fn is_of_a_value(error: &Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing") || text.starts_with("error deserializing")
}

fn said(error: &Error) -> String {
    // The driver's own text of a server's error only names the kind of error.
    match error.as_db_error() {
        Some(reported) => format!("{} ({})", reported.message(), reported.code().code()),
        None => std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    }
}
