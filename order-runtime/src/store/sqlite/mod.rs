//! The embedded store: one SQLite file.
//!
//! Two threads own a connection each. The engine's connection does all writes and the reads of batches: its cache has the pages
//! that it has just written, while any other connection would read them again after each commit. The viewer's connection
//! answers queries of people, so that a slow page never delays a batch.

mod commit;
mod connect;
mod error;
mod file;
mod generated;
mod letters;
mod mounts;
mod partitions;
mod queries;
mod rows;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::{io, path::Path, rc::Rc, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
pub use rusqlite;
use rusqlite::{Connection, types::Value, vtab::array::Array};
use serde_json::Value as Json;
use uuid::Uuid;

pub(crate) use self::table::{SqliteTable, Table};
use self::{
    file::Lock,
    watch::Watch,
    worker::{Duties, Worker},
};
use super::{
    Assigned, AuditRow, Changes, Committed, Entity, EntityType, LetterMark, LetterStore, Listed, Load, Loaded, Mode,
    Outbox, OutboxStore, Page, PartitionStore, ReadModel, Row, Store, StoreError, WaitingCount, WaitingRow,
    migrations::{Dialect, Schema},
};
use crate::model::{DeadLetterId, PartitionId};

/// How a *set* of entities of one type is loaded and saved in SQLite.
///
/// `#[entity]` generates the table and everything here; an entity with `#[entity(storage = manual)]` implements it by hand. The statements run on the runtime's connection and within its transaction. Use `prepare_cached`, because they run for every
/// batch. [`keys`] turns many ids into one parameter.
pub trait SqliteEntity: Entity {
    /// Statements that bring the schema from one version to the next, oldest first; never change one that was released.
    const MIGRATIONS: &'static [&'static str] = &[];

    /// The version of the schema.
    fn schema_version() -> u32 {
        u32::try_from(Self::MIGRATIONS.len()).unwrap_or(u32::MAX)
    }

    /// The statements that bring the schema from version `from` to [`schema_version`](Self::schema_version); 0 for none yet.
    fn migration(from: u32) -> Vec<String> {
        Self::MIGRATIONS.iter().skip(from as usize).map(|statement| (*statement).to_owned()).collect()
    }

    /// Loads those of `ids` that exist, in any order.
    fn load(db: &Connection, ids: &[Self::Id]) -> rusqlite::Result<Vec<Row<Self>>>;

    /// Inserts rows, in the order of their ids, skips those whose id exists, and returns the number of inserted rows.
    fn insert(db: &Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize>;

    /// Updates the rows that have the expected version, in the order of their ids, and returns their number.
    fn update(db: &Connection, rows: &[(&Row<Self>, u64)]) -> rusqlite::Result<usize>;

    /// Deletes the rows that have the expected version, and returns their number.
    fn remove(db: &Connection, ids: &[(&Self::Id, u64)]) -> rusqlite::Result<usize>;

    /// A page of entities in the order of their ids.
    fn page(db: &Connection, page: &Page) -> rusqlite::Result<Vec<Row<Self>>>;
}

/// Keys as one parameter of a statement, which reads them with the table-valued function `rarray`:
///
/// ```sql
/// SELECT things.* FROM rarray(?1) AS wanted CROSS JOIN things ON thing_id = wanted.value
/// ```
///
/// One statement for each key costs twice as much. `CROSS JOIN` makes SQLite look up the keys in their order, instead of
/// reading the whole table.
pub fn keys<K: Into<Value>>(keys: impl IntoIterator<Item = K>) -> Array {
    Rc::new(keys.into_iter().map(Into::into).collect())
}

/// Maximum number of the engine's writes and reads that wait for its thread; far more than it ever requests at once.
const ENGINE_QUEUE: usize = 4_096;
/// Maximum number of queries that wait for the viewer; a further one fails at once with [`StoreError::Unavailable`].
const VIEWER_QUEUE: usize = 64;
/// Time limit of a viewer's query, so that the queries behind it are answered within the time limit of an HTTP request.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// A store in one SQLite file. Each commit is durable: write-ahead log, `synchronous=FULL`.
///
/// A commit succeeds only if the path still names the file afterwards; a write to a file that was deleted, moved or replaced is
/// an error. An idle store detects such a loss within a second; see [`Store::lost`].
pub struct SqliteStore {
    /// `None` in [`Mode::ReadOnly`].
    engine: Option<Worker>,
    viewer: Worker,
    /// Only in [`Mode::Run`].
    watch: Option<Arc<Watch>>,
}

impl SqliteStore {
    /// Opens the store at `path` for these entity types. Blocks the thread, possibly for long when the schema is migrated.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the file is not a store of this release or cannot be written, it has a second name or is
    /// mounted without its folder, its folder does not exist, or another process runs on it; [`StoreError::Unavailable`] when the
    /// disk is full or another program locks the file.
    pub fn open(path: &Path, entities: &[EntityType], mode: Mode) -> Result<Self, StoreError> {
        let schema = Schema::new(Dialect::Sqlite, entities)?;
        let (path, engine) = match mode {
            Mode::Run => return Self::run(path, &schema),
            Mode::Beside => {
                let path = connect::existing(path)?;
                let guest = connect::guest(&path, &schema)?;
                (path, Some(Worker::start(guest, plain("store-engine")).map_err(not_started)?))
            }
            Mode::ReadOnly => (connect::existing(path)?, None),
        };
        let viewer = Worker::start(connect::reader(&path, &schema)?, plain("store-viewer")).map_err(not_started)?;
        Ok(Self { engine, viewer, watch: None })
    }

    /// Checks whether a service of this release can run on the file, and changes nothing. Returns whether the file exists and
    /// its schema is up to date; if not, the next start of a service creates or upgrades it.
    ///
    /// # Errors
    /// As for [`open`](Self::open), except that a running process is no error.
    pub(crate) fn check(path: &Path, entities: &[EntityType]) -> Result<bool, StoreError> {
        let schema = Schema::new(Dialect::Sqlite, entities)?;
        file::expect_folder(path)?;
        Ok(path.exists() && connect::is_current(path, &schema)?)
    }

    fn run(path: &Path, schema: &Schema) -> Result<Self, StoreError> {
        let (path, lock) = file::lock(path)?;
        file::warn_of_readers(&path);
        let connection = connect::writer(&path, schema)?;
        let watch = Arc::new(Watch::start(&path)?);
        // Each thread holds the locks until its connection is closed.
        let lock = Arc::new(lock);
        let (looks, ends, view_ends) = (Arc::clone(&watch), Arc::clone(&watch), Arc::clone(&watch));
        let view_lock = Arc::clone(&lock);
        let engine = Duties {
            name: "store-engine",
            queue: ENGINE_QUEUE,
            limit: None,
            // The watch itself notifies the callers of `lost`.
            chore: Box::new(move || drop(looks.check())),
            end: Box::new(move |connection| end_writing(connection, &ends, lock)),
        };
        let engine = Worker::start(connection, engine).map_err(not_started)?;
        let viewer = Duties {
            name: "store-viewer",
            queue: VIEWER_QUEUE,
            limit: Some(QUERY_LIMIT),
            chore: Box::new(|| {}),
            end: Box::new(move |connection| leave(connection, &view_ends, view_lock)),
        };
        let viewer = Worker::start(connect::reader(&path, schema)?, viewer).map_err(not_started)?;
        Ok(Self { engine: Some(engine), viewer, watch: Some(watch) })
    }

    /// Opens a store in memory, which ends when it is dropped. It waits for no disk.
    #[cfg(test)]
    pub(crate) fn in_memory(entities: &[EntityType]) -> Result<Self, StoreError> {
        let (writer, reader) = connect::in_memory(&Schema::new(Dialect::Sqlite, entities)?)?;
        let engine = Some(Worker::start(writer, plain("store-engine")).map_err(not_started)?);
        Ok(Self { engine, viewer: Worker::start(reader, plain("store-viewer")).map_err(not_started)?, watch: None })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(engine) = &self.engine else {
            return Err(StoreError::Unusable("it was opened read-only".to_owned()));
        };
        let Some(watch) = self.watch.clone() else { return engine.run(work).await };
        let watched = move |db: &mut Connection| {
            watch.make_room(db)?;
            let done = work(db);
            watch.check().and(done)
        };
        engine.run(watched).await
    }

    /// Runs a read of the engine.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.there()?;
        self.engine.as_ref().unwrap_or(&self.viewer).run(work).await
    }

    /// Runs a query of a person.
    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.there()?;
        self.viewer.run(work).await
    }

    /// Returns an error if the store is known to be lost.
    fn there(&self) -> Result<(), StoreError> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.known())
    }
}

/// The duties of a thread that neither watches the file nor limits its statements.
fn plain(name: &'static str) -> Duties {
    Duties { name, queue: ENGINE_QUEUE, limit: None, chore: Box::new(|| {}), end: Box::new(drop) }
}

fn not_started(error: io::Error) -> StoreError {
    StoreError::Unavailable(format!("failed to start a thread: {error}"))
}

/// Checkpoints the write-ahead log, so that the main file can be copied alone, and closes the connection. If the checkpoint
/// fails, the next start repeats it.
fn end_writing(connection: Connection, watch: &Watch, lock: Arc<Lock>) {
    if watch.known().is_ok()
        && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    {
        tracing::warn!(%error, "failed to checkpoint the store's write-ahead log; the next start repeats it");
    }
    leave(connection, watch, lock);
}

/// Closes a connection, then releases the locks. If the store is lost, both are leaked.
fn leave(connection: Connection, watch: &Watch, lock: Arc<Lock>) {
    if watch.check().is_err() {
        // Closing the last connection deletes the write-ahead log by its name, which may belong to another file by now. The
        // system closes the files when the process ends.
        std::mem::forget((connection, lock));
        return;
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the store was not closed cleanly");
    }
    drop(lock);
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn durable(&self) -> bool {
        true
    }

    async fn claim(&self, group: &str) -> Result<Uuid, StoreError> {
        let group = group.to_owned();
        self.write(move |db| partitions::claim(db, &group)).await
    }

    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.write(move |db| queries::forget(db, until, &from)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write(queries::ping).await
    }

    async fn lost(&self) -> String {
        match &self.watch {
            Some(watch) => watch.lost().await,
            None => std::future::pending().await,
        }
    }

    fn log_bytes(&self) -> Option<u64> {
        self.watch.as_ref().map(|watch| watch.log_bytes())
    }

    async fn close(&self) {
        // The viewer first: the engine's connection is then the last one, and deletes the write-ahead log.
        self.viewer.close().await;
        if let Some(engine) = &self.engine {
            engine.close().await;
        }
    }
}

#[async_trait]
impl PartitionStore for SqliteStore {
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
        let partitions = partitions.to_vec();
        self.write(move |db| partitions::assigned(db, &partitions)).await
    }

    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
        let partition = partition.clone();
        self.read(move |db| partitions::reload(db, &partition)).await
    }

    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
        let partition = partition.clone();
        self.write(move |db| partitions::begin(db, &partition, next_offset)).await
    }

    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError> {
        let partition = partition.clone();
        self.read(move |db| partitions::knows_topic(db, &partition)).await
    }

    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        self.read(move |db| queries::load(db, wanted)).await
    }

    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError> {
        self.write(move |db| commit::commit(db, &changes)).await
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
        let partition = partition.clone();
        self.write(move |db| partitions::runs_alone(db, &partition, assignment, offset)).await
    }

    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
        let assignments = assignments.to_vec();
        self.write(move |db| partitions::ended(db, &assignments)).await
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
        self.query(move |db| partitions::waiting(db, limit)).await
    }

    async fn count_waiting(&self, partitions: &[PartitionId]) -> Result<Vec<WaitingCount>, StoreError> {
        let wanted = partitions.to_vec();
        self.viewer.run(move |db| partitions::count_waiting(db, &wanted)).await
    }

    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError> {
        self.query(|db| partitions::positions(db)).await
    }
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError> {
        self.read(move |db| queries::outbox(db, after, limit)).await.map(Outbox::Rows)
    }

    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |db| queries::published(db, &rows)).await
    }
}

#[async_trait]
impl ReadModel for SqliteStore {
    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<Json>, StoreError> {
        let id = id.to_owned();
        self.query(move |db| entity.sqlite.view(db, &id)).await
    }

    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.query(move |db| entity.sqlite.page(db, &page)).await
    }
}

#[async_trait]
impl LetterStore for SqliteStore {
    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.query(move |db| queries::window(db, &key)).await
    }

    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError> {
        self.write(move |db| letters::mark(db, &entry, &marks)).await
    }

    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError> {
        self.query(move |db| letters::marks(db, &ids)).await
    }

    async fn remembered(&self, dead_letters: Vec<DeadLetterId>, windows: Vec<Vec<u8>>) -> Result<Loaded, StoreError> {
        let wanted = Load { windows, dead_letters, ..Load::default() };
        self.viewer.run(move |db| queries::load(db, wanted)).await
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.query(move |db| letters::audit(db, limit)).await
    }
}
