//! From `STORE_URL` to an opened store. No other file chooses between the kinds of store.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{
    EntityType, Store, StoreError,
    memory::MemoryStore,
    postgres::{PostgresStore, PostgresUrl},
    sqlite::SqliteStore,
};

/// The URL of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH`.
    Sqlite(PathBuf),
    /// `postgres://…`.
    Postgres(PostgresUrl),
    /// `memory`.
    Memory,
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// The purpose for which a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Runs the service. The store is created if it does not exist, and its schema is brought up to date. No other process may
    /// run on a store that is a file at the same time.
    Run,
    /// Does an operator's work beside a service that may run at the same time: reads everything, and writes only data that does
    /// not belong to a partition owner. The store itself isolates the two; its schema is not changed.
    Beside,
    /// Only reads, also while the service runs. SQLite enforces it: every write fails with [`StoreError::Unusable`].
    ReadOnly,
}

impl StoreUrl {
    /// Parses `sqlite://PATH`, `postgres://…` or `memory`. The error states the expected form, and contains no secrets of the
    /// text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or memory";
        let text = text.trim();
        if text.eq_ignore_ascii_case("memory") {
            return Ok(Self::Memory);
        }
        match text.split_once("://") {
            Some(("sqlite", ":memory:")) => {
                Err("memory; the in-memory store is selected by this word alone".to_owned())
            }
            Some(("sqlite", path)) if path.contains(['?', '#']) => {
                Err("sqlite://PATH without parameters; the service sets what it needs".to_owned())
            }
            Some(("sqlite", path)) if !path.is_empty() && !path.ends_with('/') => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("postgres" | "postgresql", _)) => {
                PostgresUrl::parse(text).map(Self::Postgres).map_err(|why| format!("{FORMS}; {why}"))
            }
            Some((scheme, _)) if scheme.starts_with("postgres") => {
                Err(format!("{FORMS}; the scheme is postgres, without the name of a driver"))
            }
            None if text.contains("host=") || text.contains("password=") => {
                Err(format!("{FORMS}; the form with keywords is not supported, write it as a URL"))
            }
            _ => Err(FORMS.to_owned()),
        }
    }

    /// Whether the store outlives its process. If it does not, no other process can open it.
    pub(crate) fn is_durable(&self) -> bool {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => true,
            Self::Memory => false,
        }
    }

    /// Opens the store for these entity types.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when an operator must change something; [`StoreError::Unavailable`] when it may succeed later.
    pub(crate) async fn open(&self, entities: &[EntityType], mode: Mode) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Sqlite(path) => {
                let (path, entities) = (path.clone(), entities.to_vec());
                let store = blocking(move || SqliteStore::open(&path, &entities, mode)).await?;
                Ok(Arc::new(store))
            }
            Self::Postgres(url) => Ok(Arc::new(PostgresStore::open(url.expose(), entities, mode).await?)),
            Self::Memory if mode == Mode::Run => Ok(Arc::new(MemoryStore::default())),
            Self::Memory => Err(StoreError::Unusable(
                "only its own process can read a store in memory; ask the running service over HTTP".to_owned(),
            )),
        }
    }

    /// Checks whether a service of this release can run on the store, and changes nothing. Returns a text for an operator.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) async fn check(&self, entities: &[EntityType]) -> Result<String, StoreError> {
        let is_current = match self {
            Self::Sqlite(path) => {
                let (path, entities) = (path.clone(), entities.to_vec());
                blocking(move || SqliteStore::check(&path, &entities)).await?
            }
            Self::Postgres(url) => PostgresStore::check(url.expose(), entities).await?,
            Self::Memory => return Ok("memory: gone on exit".to_owned()),
        };
        Ok(if is_current { self.to_string() } else { format!("{self}: the first run creates or upgrades its tables") })
    }
}

/// Runs work that blocks its thread, as a migration does for long, on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("opening it was aborted: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::fixture::{entity, sqlite};

    #[test]
    fn stores() {
        for (text, wanted) in [
            ("memory", Some(StoreUrl::Memory)),
            ("sqlite://service.db", Some(StoreUrl::Sqlite("service.db".into()))),
            ("sqlite:///var/lib/service.db", Some(StoreUrl::Sqlite("/var/lib/service.db".into()))),
            ("sqlite://", None),
            ("sqlite://dir/", None),
            ("sqlite://a.db?mode=ro", None),
            ("mysql://a", None),
        ] {
            assert_eq!(StoreUrl::parse(text).ok(), wanted, "{text}");
        }
        assert!(matches!(StoreUrl::parse("postgres://u:secret@localhost/service"), Ok(StoreUrl::Postgres(_))));
    }

    #[test]
    fn the_error_of_a_url_does_not_quote_it() {
        for (text, cure) in [
            ("postgres://u:secret@db/service", "sslmode=disable"),
            ("postgres://u:p@secret@localhost/service", "%40"),
            ("postgresql+asyncpg://u:secret@localhost/service", "without the name of a driver"),
            ("host=localhost password=secret", "write it as a URL"),
        ] {
            let why = StoreUrl::parse(text).expect_err("it cannot be used");
            assert!(why.contains(cure) && !why.contains("secret"), "{text}: {why}");
        }
    }

    #[tokio::test]
    async fn a_store_in_memory_is_opened_only_by_its_service() {
        let url = StoreUrl::Memory;
        assert_eq!(url.open(&[entity()], Mode::Run).await.expect("a store").kind(), "memory");
        for mode in [Mode::Beside, Mode::ReadOnly] {
            let refused =
                url.open(&[entity()], mode).await.map(|store| store.kind()).expect_err("another process has it");
            assert!(refused.to_string().contains("ask the running service over HTTP"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_check_creates_nothing_and_says_what_the_first_run_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let url = StoreUrl::Sqlite(path.clone());
        let check = async || url.check(&[entity()]).await;
        let found = check().await.expect("a service can run on it");
        assert_eq!(found, format!("{url}: the first run creates or upgrades its tables"));
        assert!(!path.exists());

        let running = sqlite(&path);
        assert_eq!(check().await.expect("a service runs on it"), url.to_string());
        running.close().await;

        let db = rusqlite::Connection::open(&path).expect("a database");
        let count = |version: i64| db.execute("UPDATE migrations SET version = ?1 WHERE owner = 'runtime'", [version]);
        assert_eq!(count(3).expect("an older layout"), 1);
        assert!(check().await.expect("the first run upgrades it").contains("upgrades its tables"));
        assert_eq!(count(99).expect("a newer layout"), 1);
        assert!(check().await.expect_err("it is newer").to_string().contains("newer release"));

        let absent = StoreUrl::Sqlite(folder.path().join("absent/store.db"));
        let refused = absent.check(&[entity()]).await.expect_err("no folder").to_string();
        assert!(refused.contains("absent does not exist; create it, or set STORE_URL"), "{refused}");
    }
}
