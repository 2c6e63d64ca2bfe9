//! Reads stores directly, not through the service.

use std::{collections::HashMap, fs, path::Path};

use rusqlite::{Connection, OpenFlags};
use tokio_postgres::{Client, IsolationLevel, NoTls};

use super::snapshot::{Place, Snapshot};

const POSITIONS: &str =
    "SELECT id, CAST(cluster AS text), CAST(topic_id AS text), partition, next_offset FROM positions WHERE topic = $1";
const LEDGERS: &str = "SELECT ledger_id, applied FROM ledgers";
const WAITING: &str = "SELECT position, record_offset FROM waiting";
const OUTBOX: &str = "SELECT position, source_offset FROM outbox";
const DEAD: &str = "SELECT event_id FROM dead_letters";

/// The partition of each row of `positions`.
type Rows = HashMap<i64, i32>;

/// Reads the content of the SQLite file while the service runs.
pub(super) fn sqlite(path: &Path, topic: &str) -> rusqlite::Result<Snapshot> {
    let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(crate::PATIENCE)?;
    let db = db.transaction()?;
    let mut snapshot = Snapshot::default();
    let mut rows = Rows::new();
    let mut statement = db.prepare(POSITIONS)?;
    let mut found = statement.query([topic])?;
    while let Some(row) = found.next()? {
        position(
            &mut snapshot,
            &mut rows,
            row.get(0)?,
            &row.get::<_, String>(1)?,
            &row.get::<_, String>(2)?,
            (row.get(3)?, row.get(4)?),
        );
    }
    let mut statement = db.prepare(LEDGERS)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        snapshot.ledgers.insert(row.get(0)?, entries(&row.get::<_, String>(1)?));
    }
    for (query, places) in [(WAITING, &mut snapshot.waiting), (OUTBOX, &mut snapshot.outbox)] {
        let mut statement = db.prepare(query)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            places.extend(place(&rows, row.get(0)?, row.get(1)?));
        }
    }
    let mut statement = db.prepare(DEAD)?;
    let ids = statement.query_map([], |row| row.get(0))?;
    snapshot.dead = ids.collect::<Result<_, _>>()?;
    Ok(snapshot)
}

/// Reads the file that a killed service has left, after SQLite's integrity check.
///
/// It opens a copy, so that the service later finds its file and write-ahead log as the kill left them.
pub(super) fn sqlite_as_left(path: &Path, topic: &str) -> Snapshot {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", path.display());
        if Path::new(&from).exists() {
            fs::copy(&from, format!("{}{suffix}", copy.display())).expect("a file can be copied");
        }
    }
    let sound: String = Connection::open(&copy)
        .and_then(|db| db.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .expect("SQLite opens the file after the kill");
    assert_eq!(sound, "ok", "the file is damaged");
    sqlite(&copy, topic).expect("the copy can be read")
}

/// Opens a separate connection for the test.
pub(super) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Reads a consistent snapshot from PostgreSQL, even during writes.
pub(super) async fn postgres(url: &str, topic: &str) -> Result<Snapshot, tokio_postgres::Error> {
    let mut db = connect(url).await?;
    let db = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let mut snapshot = Snapshot::default();
    let mut rows = Rows::new();
    for row in db.query(POSITIONS, &[&topic]).await? {
        position(&mut snapshot, &mut rows, row.get(0), row.get(1), row.get(2), (row.get(3), row.get(4)));
    }
    for row in db.query(LEDGERS, &[]).await? {
        snapshot.ledgers.insert(row.get(0), entries(row.get(1)));
    }
    for (query, places) in [(WAITING, &mut snapshot.waiting), (OUTBOX, &mut snapshot.outbox)] {
        for row in db.query(query, &[]).await? {
            places.extend(place(&rows, row.get(0), row.get(1)));
        }
    }
    let dead = db.query(DEAD, &[]).await?;
    snapshot.dead = dead.iter().map(|row| String::from_utf8_lossy(row.get(0)).into_owned()).collect();
    Ok(snapshot)
}

fn position(
    snapshot: &mut Snapshot,
    rows: &mut Rows,
    id: i64,
    cluster: &str,
    topic_id: &str,
    (partition, next_offset): (i32, i64),
) {
    rows.insert(id, partition);
    snapshot.positions.insert(partition, next_offset);
    snapshot.id_prefixes.insert(partition, format!("{cluster}/{topic_id}/{partition}"));
}

fn place(rows: &Rows, position: i64, offset: i64) -> Option<Place> {
    rows.get(&position).map(|partition| Place { partition: *partition, offset })
}

fn entries(text: &str) -> Vec<u32> {
    text.split(',').filter_map(|number| number.parse().ok()).collect()
}
