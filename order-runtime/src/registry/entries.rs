//! The entries that the attributes of `order-macros` register: constant data in distributed slices.
//!
//! The slices are declared only here; two slices of one name in two crates would panic at first use.
//! The linker decides the order of a slice's elements, so only [`Registry`](super::Registry) reads the slices.

use std::any::{Any, TypeId};

use linkme::distributed_slice;

use crate::{
    dispatch::{Delivery, Handler, Invalid},
    model::RetryPolicy,
    store::{EntityType, table::Description},
};

/// Every `#[event_processor]` of the program.
#[distributed_slice]
pub static ORDER_RUNTIME_PROCESSORS: [ProcessorEntry];
/// Every `#[usecase]` of the program.
#[distributed_slice]
pub static ORDER_RUNTIME_USECASES: [UsecaseEntry];
/// Every `#[contract]` of the program.
#[distributed_slice]
pub static ORDER_RUNTIME_CONTRACTS: [ContractEntry];
/// Every `#[schema]` of the program.
#[distributed_slice]
pub static ORDER_RUNTIME_SCHEMAS: [SchemaEntry];

/// Every `#[entity]` of the program.
#[distributed_slice]
pub static ORDER_RUNTIME_ENTITIES: [EntityEntry];

/// Where an item was declared, as rustc spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The path of the file, as `file!()` gives it.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
    /// The module, as `module_path!()` gives it.
    pub module: &'static str,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One `#[event_processor("X")]`.
#[derive(Debug)]
pub struct ProcessorEntry {
    /// The event's name, such as `ThingHappened`.
    pub event: &'static str,
    /// The version of the event that it handles.
    pub version: u32,
    /// The function's name, `EventProcessor_` and the event.
    pub name: &'static str,
    /// The first line of the function's documentation, or nothing.
    pub summary: &'static str,
    /// The schema that `Event<…>` names, `None` for `Event<Value>`.
    pub input: Option<&'static str>,
    /// The types of its further arguments, as written.
    pub arguments: &'static [&'static str],
    /// What happens after a failure.
    pub policy: RetryPolicy,
    /// Where it is declared.
    pub place: Place,
    /// Decodes the event, injects the arguments and calls the function.
    pub handler: Handler,
}

/// One `#[usecase]`.
#[derive(Debug)]
pub struct UsecaseEntry {
    /// The feature, such as `DoThing`.
    pub feature: &'static str,
    /// The function's name.
    pub name: &'static str,
    /// The first line of the function's documentation, or nothing.
    pub summary: &'static str,
    /// The trait object of the interface that it needs; `None` if it needs none.
    pub interface: Option<fn() -> TypeId>,
    /// Where it is declared.
    pub place: Place,
}

/// One `#[contract]`.
pub struct ContractEntry {
    /// The feature, such as `DoThing`.
    pub feature: &'static str,
    /// The N of `_V<N>`.
    pub version: u32,
    /// The type's name.
    pub name: &'static str,
    /// The trait object of the interface that it implements.
    pub interface: fn() -> TypeId,
    /// A `fn(&Delivery) -> Box<dyn Interface>`; the caller knows the type.
    pub build: &'static (dyn Any + Send + Sync),
    /// Builds the contract and drops it; the delivery notes the injected entities.
    pub probe: fn(&Delivery),
    /// Where it is declared.
    pub place: Place,
}

impl std::fmt::Debug for ContractEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContractEntry").field("name", &self.name).field("place", &self.place).finish_non_exhaustive()
    }
}

/// One `#[schema]`.
#[derive(Debug)]
pub struct SchemaEntry {
    /// The type's name, such as `INPUT_DoThing`.
    pub name: &'static str,
    /// The feature, such as `DoThing`.
    pub feature: &'static str,
    /// The first line of the type's documentation, or nothing.
    pub summary: &'static str,
    /// Its JSON Schema.
    pub schema: fn() -> schemars::Schema,
    /// The JSON name of each field, and the last segment of its type.
    pub fields: &'static [(&'static str, &'static str)],
    /// Decodes and validates JSON text without handling it; used by `publish` and `POST /events`.
    pub check: fn(&str) -> Result<(), Invalid>,
    /// Where it is declared.
    pub place: Place,
}

/// One `#[entity]`.
#[derive(Debug)]
pub struct EntityEntry {
    /// The name of its table.
    pub table: &'static str,
    /// The entity.
    pub entity: fn() -> EntityType,
    /// The description of its table; `None` if its storage is written by hand.
    pub description: Option<&'static Description>,
    /// Where it is declared.
    pub place: Place,
}
