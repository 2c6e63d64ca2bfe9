//! Reads and writes the headers of dead letters, in the formats of this service and of other frameworks.

mod formats;
mod read;
mod write;

pub(crate) use self::formats::HeaderFormat;
pub(crate) use self::{
    read::{describes_failure, read},
    write::{FailedRecord, add},
};
