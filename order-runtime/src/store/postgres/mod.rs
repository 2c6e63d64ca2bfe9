//! The store for several instances: one PostgreSQL database, written in sets.
//!
//! Each instance has a few connections: one commits, the others load what batches need and what people ask for. A
//! statement that takes too long is given up together with its connection, and the server ends what was left open on it.

mod absence;
mod commit;
mod error;
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

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
pub use deadpool_postgres::ClientWrapper as Client;
use jiff::Timestamp;
use serde_json::Value;
pub use tokio_postgres::{self, Error};
use tracing::warn;
use uuid::Uuid;

pub(crate) use self::link::VIEW;
pub(crate) use self::table::{PostgresTable, Table};
use self::{
    link::{ANSWER, Link},
    queries::RelayLock,
};
use super::{
    Assigned, AuditRow, Changes, Committed, Entity, EntityType, LetterMark, Listed, Load, Loaded, Outbox, Page, Row,
    Store, StoreError, WaitingCount, WaitingRow,
};
use crate::model::{DeadLetterId, PartitionId};

/// How a *set* of entities of one type is loaded and saved in PostgreSQL: written once, for all features.
///
/// The statements run on the runtime's connection and within its transaction. Sets are arrays: `unnest` makes rows of
/// them. Use `prepare_cached`, the statements run for every batch.
pub trait PostgresEntity: Entity {
    /// Statements that bring the schema from one version to the next, oldest first; never change one that was released.
    const MIGRATIONS: &'static [&'static str];

    /// The table. It has a column `version` of type `bigint`, by which the runtime compares and locks rows.
    const TABLE: &'static str;

    /// The column of the id's text: of type `text`, and the table's primary key.
    const ID: &'static str;

    /// Loads those of `ids` that exist, in any order.
    fn load(db: &Client, ids: &[String]) -> impl Future<Output = Result<Vec<Row<Self>>, PostgresError>> + Send;

    /// Inserts rows, passing over those whose id exists, and answers how many it inserted.
    fn insert(db: &Client, rows: &[&Row<Self>]) -> impl Future<Output = Result<u64, PostgresError>> + Send;

    /// Overwrites rows by their id and answers how many it found. They are locked, and have the expected version.
    fn update(db: &Client, rows: &[&Row<Self>]) -> impl Future<Output = Result<u64, PostgresError>> + Send;

    /// A page of entities in the order of their ids (`COLLATE "C"`).
    fn page(db: &Client, page: &Page) -> impl Future<Output = Result<Vec<Row<Self>>, PostgresError>> + Send;
}

/// Why a set was not loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] Error),
    /// A row that the domain cannot read, or cannot write.
    #[error("{0}")]
    Data(Box<dyn std::error::Error + Send + Sync>),
}

impl PostgresError {
    /// A value that does not fit, with the reason.
    pub fn data(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Data(error.into())
    }
}

/// What a URL says, or why it cannot be used; the reason is without its secrets.
pub(crate) fn check_url(url: &str) -> Result<tokio_postgres::Config, String> {
    match link::settings(url) {
        Ok((config, _)) => Ok(config),
        Err(StoreError::Unusable(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

/// A store in one PostgreSQL database.
pub struct PostgresStore {
    /// Commits, one at a time.
    writer: Link,
    /// Loads for batches, and what the relay does.
    loader: Link,
    /// Answers people, so that a slow page never stands before a batch.
    viewer: Link,
    relay: RelayLock,
}

impl PostgresStore {
    /// Opens the store at `url` (`postgres://user:password@host:port/database`) for these entity types, and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the URL, the server's version or the schema do not fit, or access is refused;
    /// [`StoreError::Unavailable`] when the server does not answer.
    pub async fn open(url: &str, entities: &[EntityType]) -> Result<Self, StoreError> {
        if matches!(tls::take(url), Ok((_, tls::Wanted::Require))) {
            warn!("sslmode=require encrypts without asking whose server it is; sslmode=verify-full does");
        }
        schema::migrate(url, entities).await?;
        Self::links(url, VIEW)
    }

    /// Opens a store that a service has run on, to look at it.
    ///
    /// # Errors
    /// As of [`open`](Self::open), and where its schema is not there yet.
    pub async fn connect(url: &str, entities: &[EntityType]) -> Result<Self, StoreError> {
        if Self::check(url, entities).await? {
            return Self::links(url, ANSWER);
        }
        Err(StoreError::Unusable("it has not got this release's schema yet; run the service once".to_owned()))
    }

    /// `view` is how long a person waits for an answer.
    fn links(url: &str, view: Duration) -> Result<Self, StoreError> {
        Ok(Self {
            writer: Link::new(url, 1, ANSWER)?,
            loader: Link::new(url, 4, ANSWER)?,
            viewer: Link::new(url, 2, view)?,
            relay: RelayLock::new(url)?,
        })
    }

    /// Looks whether a service of this release can run on the database, and changes nothing: whether its schema is there
    /// already. Where it is not, the next start of a service makes it.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn check(url: &str, entities: &[EntityType]) -> Result<bool, StoreError> {
        schema::check(&Link::new(url, 1, ANSWER)?, entities).await
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

    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError> {
        if self.relay.is_held().await? {
            self.loader.run(async |db| queries::outbox(db, after, limit).await).await.map(Outbox::Rows)
        } else {
            self.loader.run(async |db| queries::outbox_size(db).await).await.map(Outbox::Elsewhere)
        }
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

    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.loader.run(async |db| queries::forget(db, until, &from).await).await
    }

    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.loader.run(async |db| queries::published(db, &rows).await).await
    }

    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<Value>, StoreError> {
        self.viewer.run(async |db| entity.postgres.view(db, id).await).await
    }

    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.viewer.run(async |db| entity.postgres.page(db, &page).await).await
    }

    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.viewer.run(async |db| queries::window(db, &key).await).await
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
