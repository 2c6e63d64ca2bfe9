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
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialect {
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

    fn of_entity(self, entity: &EntityType) -> &'static [&'static str] {
        match self {
            Self::Sqlite => entity.sqlite.migrations(),
            Self::Postgres => entity.postgres.migrations(),
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
    /// The statements of each owner, one for each version.
    owners: Vec<(String, Vec<&'static str>)>,
}

impl Schema {
    /// The runtime's own tables and those of the entity types.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if two entity types have the same name, because their versions are counted under it.
    pub(super) fn new(dialect: Dialect, entities: &[EntityType]) -> Result<Self, StoreError> {
        let own = RUNTIME.iter().map(|version| dialect.of_runtime(version)).collect();
        let mut owners: Vec<(String, Vec<&'static str>)> = vec![("runtime".to_owned(), own)];
        for entity in entities {
            let owner = format!("entity {}", entity.name);
            if owners.iter().any(|(known, _)| *known == owner) {
                return Err(StoreError::Unusable(format!("two entity types are called {}; rename one", entity.name)));
            }
            owners.push((owner, dialect.of_entity(entity).to_vec()));
        }
        Ok(Self { owners })
    }

    /// The statements that bring a store with these counts to this schema, in their order; none if it has this schema.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if a newer release has written the store, which the error calls `store`.
    pub(super) fn upgrade(&self, store: &impl Display, counts: &Counts) -> Result<Vec<Cow<'static, str>>, StoreError> {
        let mut statements = Vec::new();
        for (owner, versions) in &self.owners {
            let found = counts.get(owner).map_or(0, |count| usize::try_from(*count).unwrap_or(usize::MAX));
            let known = versions.len();
            let missing = versions.get(found..).ok_or_else(|| {
                StoreError::Unusable(format!(
                    "{store} was written by a newer release (schema version {found} of {owner}, this one knows {known}); \
                     run that release"
                ))
            })?;
            if !missing.is_empty() {
                statements.extend(missing.iter().copied().map(Cow::Borrowed));
                statements.push(Cow::Owned(count(owner, known)));
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
fn count(owner: &str, version: usize) -> String {
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
        let latest =
            |(owner, versions): &(String, Vec<_>)| (owner.clone(), i64::try_from(versions.len()).expect("few"));
        schema.owners.iter().map(latest).collect()
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
