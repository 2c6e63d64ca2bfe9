//! The store for several instances: one PostgreSQL database, written in sets of rows.
//!
//! Each instance has a few connections: one commits, the others load rows for batches and answer queries of people. A
//! statement that takes too long is abandoned together with its connection; the server then rolls back the open transaction.

mod absence;
mod commit;
mod error;
mod generated;
mod letters;
mod link;
mod partitions;
mod queries;
mod rows;
mod schema;
mod sets;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod url;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
pub use deadpool_postgres::ClientWrapper as Client;
use jiff::Timestamp;
use serde_json::Value;
pub use tokio_postgres::{self, Error};
use tracing::warn;
use uuid::Uuid;

pub(crate) use self::link::VIEW;
pub(crate) use self::table::{PostgresTable, Table};
pub use self::url::PostgresUrl;
use self::{
    link::{ANSWER, Link},
    queries::RelayLock,
};
use super::{
    Assigned, AuditRow, Changes, Committed, Entity, EntityType, LetterMark, LetterStore, Listed, Load, Loaded, Mode,
    Outbox, OutboxStore, Page, PartitionStore, ReadModel, Row, Store, StoreError, WaitingCount, WaitingRow,
    migrations::{Dialect, Schema},
};
use crate::model::{DeadLetterId, PartitionId};

/// How a *set* of entities of one type is loaded and saved in PostgreSQL.
///
/// `#[entity]` generates the table and everything here; an entity with `#[entity(storage = manual)]` implements it by hand. Its
/// table, [`Entity::TABLE`], has a column `version` of type `bigint`, by which the runtime compares and locks rows. The statements run on the runtime's connection and within its transaction. Sets are passed as arrays; `unnest` turns them
/// into rows. Use `prepare_cached`, because the statements run for every batch.
pub trait PostgresEntity: Entity {
    /// Statements that bring the schema from one version to the next, oldest first; never change one that was released.
    const MIGRATIONS: &'static [&'static str] = &[];

    /// The column that holds the id as text. It has the type `text` and is the table's primary key.
    const ID: &'static str;

    /// The version of the schema.
    fn schema_version() -> u32 {
        u32::try_from(Self::MIGRATIONS.len()).unwrap_or(u32::MAX)
    }

    /// The statements that bring the schema from version `from` to [`schema_version`](Self::schema_version); 0 for none yet.
    fn migration(from: u32) -> Vec<String> {
        Self::MIGRATIONS.iter().skip(from as usize).map(|statement| (*statement).to_owned()).collect()
    }

    /// Loads those of `ids` that exist, in any order.
    fn load(db: &Client, ids: &[String]) -> impl Future<Output = Result<Vec<Row<Self>>, PostgresError>> + Send;

    /// Inserts rows, skips those whose id exists, and returns the number of inserted rows.
    fn insert(db: &Client, rows: &[&Row<Self>]) -> impl Future<Output = Result<u64, PostgresError>> + Send;

    /// Overwrites rows by their id and returns the number of rows found. The rows are locked and have the expected version.
    fn update(db: &Client, rows: &[&Row<Self>]) -> impl Future<Output = Result<u64, PostgresError>> + Send;

    /// Deletes rows by their ids and returns the number of rows found. The rows are locked and have the expected version.
    fn remove(db: &Client, ids: &[String]) -> impl Future<Output = Result<u64, PostgresError>> + Send;

    /// A page of entities in the order of their ids (`COLLATE "C"`).
    fn page(db: &Client, page: &Page) -> impl Future<Output = Result<Vec<Row<Self>>, PostgresError>> + Send;
}

/// Why a set could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// An error of the server, or of the connection to it.
    #[error(transparent)]
    Server(#[from] Error),
    /// A row that the domain cannot read, or cannot write.
    #[error("{0}")]
    Data(Box<dyn std::error::Error + Send + Sync>),
}

impl PostgresError {
    /// The error for a value that does not fit, with the reason.
    pub fn data(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Data(error.into())
    }
}

/// A store in one PostgreSQL database.
pub struct PostgresStore {
    /// Commits, one at a time.
    writer: Link,
    /// Loads rows for batches, and serves the relay.
    loader: Link,
    /// Answers queries of people, so that a slow page never delays a batch.
    viewer: Link,
    relay: RelayLock,
}

impl PostgresStore {
    /// Opens the store at `url` (`postgres://user:password@host:port/database`) for these entity types.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the URL, the server's version or the schema do not fit, or access is refused;
    /// [`StoreError::Unavailable`] when the server does not answer.
    pub async fn open(url: &str, entities: &[EntityType], mode: Mode) -> Result<Self, StoreError> {
        let schema = Schema::new(Dialect::Postgres, entities)?;
        // The time limit of an operation that a person waits for.
        let view = match mode {
            Mode::Run => {
                if matches!(tls::take(url), Ok((_, tls::Wanted::Require))) {
                    warn!(
                        "sslmode=require encrypts, but does not verify the server's certificate; sslmode=verify-full does"
                    );
                }
                schema::migrate(url, &schema).await?;
                VIEW
            }
            Mode::Beside | Mode::ReadOnly => {
                schema::require(&Link::new(url, 1, ANSWER)?, &schema).await?;
                ANSWER
            }
        };
        Ok(Self {
            writer: Link::new(url, 1, ANSWER)?,
            loader: Link::new(url, 4, ANSWER)?,
            viewer: Link::new(url, 2, view)?,
            relay: RelayLock::new(url)?,
        })
    }

    /// Checks whether a service of this release can run on the database, and changes nothing. Returns whether the schema is
    /// up to date; if not, the next start of a service migrates it.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) async fn check(url: &str, entities: &[EntityType]) -> Result<bool, StoreError> {
        let schema = Schema::new(Dialect::Postgres, entities)?;
        schema::is_current(&Link::new(url, 1, ANSWER)?, &schema).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn durable(&self) -> bool {
        true
    }

    fn shared(&self) -> bool {
        true
    }

    async fn claim(&self, group: &str) -> Result<Uuid, StoreError> {
        self.writer.run(async |db| partitions::claim(db, group).await).await
    }

    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.loader.run(async |db| queries::forget(db, until, &from).await).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.viewer.run(async |db| queries::ping(db).await).await
    }

    async fn close(&self) {
        self.relay.release();
        self.writer.close();
        self.loader.close();
        self.viewer.close();
    }
}

#[async_trait]
impl PartitionStore for PostgresStore {
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
        self.loader.run(async |db| partitions::assigned(db, partitions).await).await
    }

    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
        self.loader.run(async |db| partitions::reload(db, partition).await).await
    }

    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
        self.loader.run(async |db| partitions::begin(db, partition, next_offset).await).await
    }

    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError> {
        self.loader.run(async |db| partitions::knows_topic(db, partition).await).await
    }

    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        let wanted = queries::Wanted::of(wanted)?;
        self.loader.run(async |db| queries::load(db, &wanted).await).await
    }

    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError> {
        commit::commit(&self.writer, &changes).await
    }

    async fn committable(&self, _partition: &PartitionId, position: i64) -> Result<i64, StoreError> {
        Ok(position)
    }

    async fn runs_alone(
        &self,
        partition: &PartitionId,
        assignment: i64,
        offset: Option<i64>,
    ) -> Result<u32, StoreError> {
        self.loader.run(async |db| partitions::runs_alone(db, partition, assignment, offset).await).await
    }

    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
        self.loader.run(async |db| partitions::ended(db, assignments).await).await
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
        self.viewer.run(async |db| partitions::waiting(db, limit).await).await
    }

    async fn count_waiting(&self, partitions: &[PartitionId]) -> Result<Vec<WaitingCount>, StoreError> {
        self.viewer.run(async |db| partitions::count_waiting(db, partitions).await).await
    }

    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError> {
        self.viewer.run(async |db| partitions::positions(db).await).await
    }
}

#[async_trait]
impl OutboxStore for PostgresStore {
    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError> {
        if self.relay.is_held().await? {
            self.loader.run(async |db| queries::outbox(db, after, limit).await).await.map(Outbox::Rows)
        } else {
            self.loader.run(async |db| queries::outbox_size(db).await).await.map(Outbox::Elsewhere)
        }
    }

    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.loader.run(async |db| queries::published(db, &rows).await).await
    }
}

#[async_trait]
impl ReadModel for PostgresStore {
    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<Value>, StoreError> {
        self.viewer.run(async |db| entity.postgres.view(db, id).await).await
    }

    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.viewer.run(async |db| entity.postgres.page(db, &page).await).await
    }
}

#[async_trait]
impl LetterStore for PostgresStore {
    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.viewer.run(async |db| queries::window(db, &key).await).await
    }

    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError> {
        self.viewer.run(async |db| letters::mark(db, &entry, &marks).await).await
    }

    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError> {
        self.viewer.run(async |db| letters::marks(db, &ids).await).await
    }

    async fn remembered(&self, dead_letters: Vec<DeadLetterId>, windows: Vec<Vec<u8>>) -> Result<Loaded, StoreError> {
        let wanted = queries::Wanted::of(Load { windows, dead_letters, ..Load::default() })?;
        self.viewer.run(async |db| queries::load(db, &wanted).await).await
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.viewer.run(async |db| letters::audit(db, limit).await).await
    }
}
