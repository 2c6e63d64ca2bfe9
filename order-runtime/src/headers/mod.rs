//! Reads and writes the headers of dead letters, in the formats of this service and of other frameworks.

mod read;
mod write;

pub(crate) use self::{
    read::{Family, is_of_a_family, read},
    write::{FailedRecord, add},
};
