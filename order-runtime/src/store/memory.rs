//! The store without a disk: for tests and for services whose events need none.

use std::marker::PhantomData;

use super::Entity;

/// One entity type's rows, with the type erased.
pub(crate) trait MemoryTable: Send {}

struct Table<T>(PhantomData<fn() -> T>);

impl<T: Entity> MemoryTable for Table<T> {}

pub(crate) fn new_table<T: Entity>() -> Box<dyn MemoryTable> {
    Box::new(Table::<T>(PhantomData))
}
