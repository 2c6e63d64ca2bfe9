//! The schema of the SQL stores: its versions, and the rules by which a store is refused or upgraded.
//!
//! A store counts in its table `migrations` how many versions of each owner it has: of the runtime, and of each entity type. If
//! the count is higher than this release knows, a newer release has written the store, and it is refused. If it is lower, the
//! next start of a service runs the missing statements in one transaction. Each kind of store only reads its counts and runs
//! the statements that [`Schema::upgrade`] returns.

use std::{borrow::Cow, collections::HashMap, fmt::Display};

use super::{EntityType, StoreError};

/// A version of the runtime's own tables, in the SQL of each kind of store.
struct Version {
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! version {
    ($name:literal) => {
        Version {
            sqlite: include_str!(concat!("migrations/", $name, ".sqlite.sql")),
            postgres: include_str!(concat!("migrations/", $name, ".postgres.sql")),
        }
    };
}

/// The versions of the runtime's own tables, oldest first. A new one is a file for each kind of store, and its name here. Never
/// change one that was released.
const RUNTIME: [Version; 4] =
    [version!("1-tables"), version!("2-suspect"), version!("3-letter-marks"), version!("4-suspects")];

/// The SQL of a kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    fn of_runtime(self, version: &Version) -> &'static str {
        match self {
            Self::Sqlite => version.sqlite,
            Self::Postgres => version.postgres,
        }
    }

    fn version_of_entity(self, entity: &EntityType) -> u32 {
        match self {
            Self::Sqlite => entity.sqlite.schema_version(),
            Self::Postgres => entity.postgres.schema_version(),
        }
    }

    fn of_entity(self, entity: &EntityType, from: u32) -> Vec<String> {
        match self {
            Self::Sqlite => entity.sqlite.migration(from),
            Self::Postgres => entity.postgres.migration(from),
        }
    }
}

/// Reads the [`Counts`] of a store that has the table `migrations`.
pub(super) const COUNTS: &str = "SELECT owner, version FROM migrations";

/// How many versions of each owner a store has. An owner without an entry has none.
pub(super) type Counts = HashMap<String, i64>;

/// The schema that this release needs.
#[derive(Debug)]
pub(super) struct Schema {
    dialect: Dialect,
    owners: Vec<Owner>,
}

/// An owner of tables.
#[derive(Debug)]
struct Owner {
    name: String,
    /// The version of its tables in this release.
    version: u32,
    /// The entity type; `None` for the runtime.
    entity: Option<EntityType>,
}

impl Owner {
    /// The statements that bring its tables from version `from` to this release's.
    fn migration(&self, dialect: Dialect, from: u32) -> Vec<Cow<'static, str>> {
        match &self.entity {
            Some(entity) => dialect.of_entity(entity, from).into_iter().map(Cow::Owned).collect(),
            None => {
                let missing = RUNTIME.iter().skip(from as usize);
                missing.map(|version| Cow::Borrowed(dialect.of_runtime(version))).collect()
            }
        }
    }
}

impl Schema {
    /// The runtime's own tables and those of the entity types.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if two entity types have the same name, because their versions are counted under it.
    pub(super) fn new(dialect: Dialect, entities: &[EntityType]) -> Result<Self, StoreError> {
        let version = u32::try_from(RUNTIME.len()).unwrap_or(u32::MAX);
        let mut owners = vec![Owner { name: "runtime".to_owned(), version, entity: None }];
        for entity in entities {
            let name = format!("entity {}", entity.name);
            if owners.iter().any(|known| known.name == name) {
                return Err(StoreError::Unusable(format!("two entity types are called {}; rename one", entity.name)));
            }
            owners.push(Owner { name, version: dialect.version_of_entity(entity), entity: Some(*entity) });
        }
        Ok(Self { dialect, owners })
    }

    /// The statements that bring a store with these counts to this schema, in their order; none if it has this schema.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if a newer release has written the store, which the error calls `store`.
    pub(super) fn upgrade(&self, store: &impl Display, counts: &Counts) -> Result<Vec<Cow<'static, str>>, StoreError> {
        let mut statements = Vec::new();
        for owner in &self.owners {
            let Owner { name, version, .. } = owner;
            let found = counts.get(name).map_or(0, |count| u32::try_from(*count).unwrap_or(u32::MAX));
            if found > *version {
                return Err(StoreError::Unusable(format!(
                    "{store} was written by a newer release (schema version {found} of {name}, this one knows {version}); run \
                     that release"
                )));
            }
            if found < *version {
                statements.extend(owner.migration(self.dialect, found));
                statements.push(Cow::Owned(count(name, *version)));
            }
        }
        Ok(statements)
    }

    /// Whether a store with these counts has this schema; false if its schema is older or missing.
    ///
    /// # Errors
    /// As for [`upgrade`](Self::upgrade).
    pub(super) fn is_current(&self, store: &impl Display, counts: &Counts) -> Result<bool, StoreError> {
        Ok(self.upgrade(store, counts)?.is_empty())
    }

    /// Refuses a store that does not have exactly this schema.
    ///
    /// # Errors
    /// As for [`upgrade`](Self::upgrade); also [`StoreError::Unusable`] if the schema is older or missing.
    pub(super) fn require(&self, store: &impl Display, counts: &Counts) -> Result<(), StoreError> {
        if self.is_current(store, counts)? {
            return Ok(());
        }
        Err(StoreError::Unusable(format!("{store} does not have this release's schema yet; run the service once")))
    }
}

/// The statement that writes an owner's count.
fn count(owner: &str, version: u32) -> String {
    // Both kinds of SQL write a quote within a text twice.
    let owner = owner.replace('\'', "''");
    format!(
        "INSERT INTO migrations (owner, version) VALUES ('{owner}', {version})
         ON CONFLICT (owner) DO UPDATE SET version = excluded.version"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        conformance::fixture::{Counter, entity},
        postgres::PostgresEntity,
        sqlite::SqliteEntity,
    };

    const DIALECTS: [Dialect; 2] = [Dialect::Sqlite, Dialect::Postgres];

    fn schema(dialect: Dialect) -> Schema {
        Schema::new(dialect, &[entity()]).expect("names that differ")
    }

    /// The counts of a store that has every version.
    fn latest(schema: &Schema) -> Counts {
        schema.owners.iter().map(|owner| (owner.name.clone(), owner.version.into())).collect()
    }

    fn refusal(result: Result<impl Sized, StoreError>) -> String {
        match result {
            Err(StoreError::Unusable(text)) => text,
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it is not refused"),
        }
    }

    #[test]
    fn an_empty_store_gets_every_version_of_each_owner() {
        for dialect in DIALECTS {
            let schema = schema(dialect);
            let statements = schema.upgrade(&"it", &Counts::new()).expect("it is not newer");
            let own: Vec<&str> = RUNTIME.iter().map(|version| dialect.of_runtime(version)).collect();
            assert_eq!(statements[..RUNTIME.len()], own, "the runtime's tables come first");
            assert!(statements[RUNTIME.len()].contains(&format!("('runtime', {})", RUNTIME.len())), "{statements:?}");
            let declared = match dialect {
                Dialect::Sqlite => <Counter as SqliteEntity>::MIGRATIONS,
                Dialect::Postgres => <Counter as PostgresEntity>::MIGRATIONS,
            };
            assert_eq!(statements[RUNTIME.len() + 1..statements.len() - 1], *declared);
            assert!(statements[statements.len() - 1].contains("('entity Counter', "), "{statements:?}");
            assert!(refusal(schema.require(&"it", &Counts::new())).contains("run the service once"));
        }
    }

    #[test]
    fn only_missing_versions_run() {
        for dialect in DIALECTS {
            let schema = schema(dialect);
            let mut found = latest(&schema);
            assert!(schema.upgrade(&"it", &found).expect("it is not newer").is_empty());
            assert!(schema.require(&"it", &found).is_ok());

            found.insert("runtime".to_owned(), 3);
            let statements = schema.upgrade(&"it", &found).expect("it is not newer");
            assert_eq!(statements.len(), 2, "{statements:?}");
            assert_eq!(statements[0], dialect.of_runtime(&RUNTIME[3]));
            assert!(!schema.is_current(&"it", &found).expect("it is not newer"));
        }
    }

    #[test]
    fn a_newer_store_is_refused_by_the_name_of_its_owner() {
        for dialect in DIALECTS {
            let schema = schema(dialect);
            for owner in ["runtime", "entity Counter"] {
                let mut found = latest(&schema);
                *found.get_mut(owner).expect("an owner") += 1;
                for text in [
                    refusal(schema.upgrade(&"store.db", &found)),
                    refusal(schema.is_current(&"store.db", &found)),
                    refusal(schema.require(&"store.db", &found)),
                ] {
                    assert!(text.starts_with("store.db was written by a newer release (schema version "), "{text}");
                    assert!(text.contains(&format!(" of {owner}, ")) && text.ends_with("run that release"), "{text}");
                }
            }
            let impossible = Counts::from([("runtime".to_owned(), -1)]);
            assert!(refusal(schema.upgrade(&"it", &impossible)).contains("newer release"));
        }
    }

    #[test]
    fn owners_that_this_release_does_not_know_are_left_alone() {
        let schema = schema(Dialect::Sqlite);
        let mut found = latest(&schema);
        found.insert("entity Former".to_owned(), 9);
        assert!(schema.require(&"it", &found).is_ok());
    }

    #[test]
    fn two_entity_types_of_one_name_are_refused() {
        for dialect in DIALECTS {
            let text = refusal(Schema::new(dialect, &[entity(), entity()]));
            assert_eq!(text, "two entity types are called Counter; rename one");
        }
    }
}
