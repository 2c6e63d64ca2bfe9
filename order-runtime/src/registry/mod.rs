//! The registry: all declarations of the program, collected, checked and indexed.

mod entries;
mod view;

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

pub use entries::{
    ContractEntry, EntityEntry, ORDER_RUNTIME_CONTRACTS, ORDER_RUNTIME_ENTITIES, ORDER_RUNTIME_PROCESSORS,
    ORDER_RUNTIME_SCHEMAS, ORDER_RUNTIME_USECASES, Place, ProcessorEntry, SchemaEntry, UsecaseEntry,
};
use foldhash::fast::RandomState;
pub(crate) use view::ProcessorView;

use crate::{
    dispatch::{Contracts, Delivery},
    store::EntityType,
};

/// All declarations, sorted by name and then by place, so that the order is the same in every build.
#[derive(Debug)]
pub struct Registry {
    processors: Vec<&'static ProcessorEntry>,
    schemas: BTreeMap<&'static str, &'static SchemaEntry>,
    /// The contract that configuration chose for each interface.
    contracts: HashMap<TypeId, &'static ContractEntry>,
    /// The processors of each event name, by version.
    by_event: HashMap<&'static str, Vec<usize>, RandomState>,
}

/// The entries of every declared entity, by the name of its table.
pub(crate) fn declared_entities() -> Vec<&'static EntityEntry> {
    let mut entries: Vec<_> = ORDER_RUNTIME_ENTITIES.iter().collect();
    entries.sort_unstable_by_key(|entry| (entry.table, entry.place));
    entries
}

/// The tables that belong to two entities, of entries by the name of their table.
fn two_tables(entries: &[&'static EntityEntry]) -> Vec<RegistryError> {
    let pairs = entries.windows(2).filter(|pair| pair[0].table == pair[1].table);
    pairs
        .map(|pair| RegistryError::TwoTables { table: pair[0].table, places: [pair[0].place, pair[1].place] })
        .collect()
}

/// Every declared entity, by the name of its table.
pub fn entities() -> Vec<EntityType> {
    declared_entities().into_iter().map(|entry| (entry.entity)()).collect()
}

/// The result of a look-up of an event's processor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup {
    /// The processor, with its index in [`Registry::processors`].
    Found(usize, &'static ProcessorEntry),
    /// No processor handles events of that name.
    UnknownEvent,
    /// Processors handle events of that name, but only other versions.
    UnknownVersion,
}

impl Registry {
    /// Collects all declarations that are linked into this program. `chosen` has the contract version of a feature; the default
    /// is the highest.
    ///
    /// # Errors
    /// All conflicts, each with the places that it concerns.
    pub(crate) fn build(chosen: &BTreeMap<String, u32>) -> Result<Self, RegistryErrors> {
        let registry = Self::from_entries(
            ORDER_RUNTIME_PROCESSORS.iter(),
            ORDER_RUNTIME_USECASES.iter(),
            ORDER_RUNTIME_CONTRACTS.iter(),
            ORDER_RUNTIME_SCHEMAS.iter(),
            chosen,
        )?;
        let tables = two_tables(&declared_entities());
        if tables.is_empty() { Ok(registry) } else { Err(RegistryErrors(tables)) }
    }

    pub(crate) fn from_entries(
        processors: impl Iterator<Item = &'static ProcessorEntry>,
        usecases: impl Iterator<Item = &'static UsecaseEntry>,
        contracts: impl Iterator<Item = &'static ContractEntry>,
        schemas: impl Iterator<Item = &'static SchemaEntry>,
        chosen: &BTreeMap<String, u32>,
    ) -> Result<Self, RegistryErrors> {
        let mut errors = Vec::new();

        let mut processors: Vec<_> = processors.collect();
        processors.sort_unstable_by_key(|entry| (entry.event, entry.version, entry.place));
        if processors.is_empty() {
            errors.push(RegistryError::Empty);
        }
        for pair in processors.windows(2) {
            if let [first, second] = pair
                && (first.event, first.version) == (second.event, second.version)
            {
                errors.push(RegistryError::DuplicateProcessor {
                    event: first.event,
                    version: first.version,
                    places: [first.place, second.place],
                });
            }
        }

        let mut usecases: Vec<_> = usecases.collect();
        usecases.sort_unstable_by_key(|entry| (entry.feature, entry.place));
        for pair in usecases.windows(2) {
            if let [first, second] = pair
                && first.feature == second.feature
            {
                errors.push(RegistryError::DuplicateUsecase {
                    feature: first.feature,
                    places: [first.place, second.place],
                });
            }
        }

        let contracts = choose_contracts(contracts, &usecases, chosen, &mut errors);

        let mut all_schemas: Vec<_> = schemas.collect();
        all_schemas.sort_unstable_by_key(|entry| (entry.name, entry.place));
        for pair in all_schemas.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                errors.push(RegistryError::DuplicateSchema { name: first.name, places: [first.place, second.place] });
            }
        }
        let schemas: BTreeMap<_, _> = all_schemas.into_iter().map(|entry| (entry.name, entry)).collect();
        for entry in &processors {
            if let Some(name) = entry.input
                && !schemas.contains_key(name)
            {
                errors.push(RegistryError::UnregisteredSchema { name, place: entry.place });
            }
        }

        if !errors.is_empty() {
            return Err(RegistryErrors(errors));
        }
        let mut by_event: HashMap<&'static str, Vec<usize>, RandomState> = HashMap::default();
        for (index, entry) in processors.iter().enumerate() {
            by_event.entry(entry.event).or_default().push(index);
        }
        Ok(Self { processors, schemas, contracts, by_event })
    }

    /// Finds the processor of an event with one hash look-up, whatever the number of processors.
    pub(crate) fn find(&self, event: &str, version: u32) -> Lookup {
        let Some(candidates) = self.by_event.get(event) else { return Lookup::UnknownEvent };
        candidates
            .iter()
            .map(|&index| (index, self.processors[index]))
            .find(|(_, entry)| entry.version == version)
            .map_or(Lookup::UnknownVersion, |(index, entry)| Lookup::Found(index, entry))
    }

    /// All processors, by event and version.
    pub(crate) fn processors(&self) -> &[&'static ProcessorEntry] {
        &self.processors
    }

    /// The schema of that name.
    pub(crate) fn schema(&self, name: &str) -> Option<&'static SchemaEntry> {
        self.schemas.get(name).copied()
    }

    /// Checks that the program declares every entity that the chosen contracts use, because the store keeps no others.
    ///
    /// # Errors
    /// Each contract that uses an undeclared entity.
    pub(crate) fn check_entities(self: &Arc<Self>, entities: &[EntityType]) -> Result<(), RegistryErrors> {
        let mut contracts: Vec<_> = self.contracts.values().copied().collect();
        contracts.sort_unstable_by_key(|entry| (entry.name, entry.place));
        let mut errors = Vec::new();
        for entry in contracts {
            let registry: Arc<dyn Contracts> = Arc::clone(self) as _;
            for (type_id, path) in Delivery::needs_of(&registry, entry.probe) {
                if entities.iter().all(|entity| entity.type_id != type_id) {
                    let entity = path.rsplit("::").next().unwrap_or(path);
                    errors.push(RegistryError::UndeclaredEntity { name: entry.name, entity, place: entry.place });
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(RegistryErrors(errors)) }
    }

    /// The contract chosen for an interface, by the id of its trait object.
    pub(crate) fn contract(&self, interface: TypeId) -> Option<&'static ContractEntry> {
        self.contracts.get(&interface).copied()
    }
}

impl Contracts for Registry {
    fn build(&self, interface: TypeId) -> Option<&'static (dyn Any + Send + Sync)> {
        self.contract(interface).map(|entry| entry.build)
    }
}

fn choose_contracts(
    contracts: impl Iterator<Item = &'static ContractEntry>,
    usecases: &[&'static UsecaseEntry],
    chosen: &BTreeMap<String, u32>,
    errors: &mut Vec<RegistryError>,
) -> HashMap<TypeId, &'static ContractEntry> {
    let mut of_feature: BTreeMap<&'static str, Vec<&'static ContractEntry>> = BTreeMap::new();
    for entry in contracts {
        of_feature.entry(entry.feature).or_default().push(entry);
    }
    let mut by_interface = HashMap::new();
    for (feature, entries) in &mut of_feature {
        entries.sort_unstable_by_key(|entry| (entry.version, entry.place));
        for pair in entries.windows(2) {
            if let [first, second] = pair
                && first.version == second.version
            {
                errors.push(RegistryError::DuplicateContract { name: first.name, places: [first.place, second.place] });
            }
        }
        let selected = match chosen.get(*feature) {
            Some(version) => entries.iter().find(|entry| entry.version == *version),
            None => entries.last(),
        };
        match selected {
            Some(entry) => {
                by_interface.insert((entry.interface)(), *entry);
            }
            None => errors.push(RegistryError::UnknownContract {
                feature: (*feature).to_owned(),
                chosen: chosen.get(*feature).copied().unwrap_or_default(),
                known: entries.iter().map(|entry| entry.version).collect(),
            }),
        }
    }
    for (feature, version) in chosen {
        if !of_feature.contains_key(feature.as_str()) {
            errors.push(RegistryError::UnknownContract {
                feature: feature.clone(),
                chosen: *version,
                known: Vec::new(),
            });
        }
    }
    for usecase in usecases {
        let known_feature = of_feature.contains_key(usecase.feature);
        if let Some(interface) = usecase.interface
            && !known_feature
            && !by_interface.contains_key(&interface())
        {
            errors.push(RegistryError::NoContract { feature: usecase.feature, place: usecase.place });
        }
    }
    by_interface
}

/// All conflicts between the declarations of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryErrors(pub Vec<RegistryError>);

impl fmt::Display for RegistryErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RegistryErrors {}

/// One conflict between declarations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No processor is registered.
    #[error(
        "no event processor is registered. Either there is none below `events/` of the crate whose `dispatcher()` runs here, or `#[cfg]` leaves it out, or the crate that has them is not linked: pass its own `dispatcher()` to `order_runtime::run`"
    )]
    Empty,
    /// Two processors handle the same version of one event.
    #[error("two processors handle {event} version {version}: at {} and at {}; remove one, or give it another version", places[0], places[1])]
    DuplicateProcessor {
        /// The event.
        event: &'static str,
        /// The version.
        version: u32,
        /// Both places.
        places: [Place; 2],
    },
    /// Two use cases of one feature.
    #[error("two use cases are called USECASE_{feature}: at {} and at {}; rename one", places[0], places[1])]
    DuplicateUsecase {
        /// The feature.
        feature: &'static str,
        /// Both places.
        places: [Place; 2],
    },
    /// Two contracts of one feature and version.
    #[error("two contracts are called {name}: at {} and at {}; give one the next version", places[0], places[1])]
    DuplicateContract {
        /// The contract.
        name: &'static str,
        /// Both places.
        places: [Place; 2],
    },
    /// Two schemas of one name.
    #[error("two schemas are called {name}: at {} and at {}; rename one", places[0], places[1])]
    DuplicateSchema {
        /// The schema.
        name: &'static str,
        /// Both places.
        places: [Place; 2],
    },
    /// A processor takes an event whose type is not a registered schema.
    #[error("the processor at {place} takes {name}, which is not registered; write #[schema] on it")]
    UnregisteredSchema {
        /// The schema.
        name: &'static str,
        /// The processor.
        place: Place,
    },
    /// A use case needs an interface that nothing implements.
    #[error(
        "USECASE_{feature} at {place} needs INTERFACE_HELPER_{feature}, which no contract implements; write CONTRACT_HELPER_{feature}_V0"
    )]
    NoContract {
        /// The feature.
        feature: &'static str,
        /// The use case.
        place: Place,
    },
    /// A contract uses an entity that the program does not declare.
    #[error(
        "{name} at {place} takes WorkingSet<{entity}>, and the program does not declare {entity} as an entity; write `#[entity(table = \"…\")]` above it"
    )]
    UndeclaredEntity {
        /// The contract.
        name: &'static str,
        /// The entity.
        entity: &'static str,
        /// The contract's place.
        place: Place,
    },
    /// Two entities have the same table.
    #[error("the table {table} belongs to the entities at {} and at {}; give one of them another", places[0], places[1])]
    TwoTables {
        /// The table.
        table: &'static str,
        /// Where the two are declared.
        places: [Place; 2],
    },
    /// `APP_CONTRACTS` names a contract that does not exist.
    #[error("APP_CONTRACTS chooses version {chosen} of {feature}, which has {}", versions(known))]
    UnknownContract {
        /// The feature.
        feature: String,
        /// The chosen version.
        chosen: u32,
        /// The versions that exist.
        known: Vec<u32>,
    },
}

fn versions(known: &[u32]) -> String {
    if known.is_empty() {
        return "no contract; see `processors` for the features".to_owned();
    }
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    format!("only {}", known.join(", "))
}
