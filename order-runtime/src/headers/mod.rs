//! The headers of dead letters: those that other frameworks write, and how the service writes and reads them.

mod read;
mod write;

pub(crate) use self::{
    read::{Family, is_of_a_family, read},
    write::{FailedRecord, add},
};
