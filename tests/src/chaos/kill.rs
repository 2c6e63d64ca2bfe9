//! SIGKILL while a transaction is open.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio_postgres::Client;

use crate::service::Service;

/// The time limit for finding an open transaction.
const DEADLINE: Duration = Duration::from_secs(10);

/// How a process was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Whether a transaction was open, which therefore never finished.
    pub in_flight: bool,
    /// The number of times the process was stopped for a check.
    pub looks: u32,
}

/// Stops the process at random instants until it has an open transaction, and kills it there. After `DEADLINE` it is killed
/// anyway. A stopped process can neither commit nor roll back between the check and the kill.
pub async fn kill_in_flight(service: Service, mut has_transaction: impl AsyncFnMut() -> bool) -> Kill {
    let start = Instant::now();
    let mut looks = 0;
    loop {
        service.pause().await;
        looks += 1;
        let in_flight = has_transaction().await;
        if in_flight || start.elapsed() > DEADLINE {
            service.kill();
            return Kill { in_flight, looks };
        }
        service.go_on();
        tokio::time::sleep(Duration::from_micros(rand::random_range(500..15_000))).await;
    }
}

/// Whether a write transaction is open on the file.
pub(super) fn sqlite_is_writing(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let Ok(db) = Connection::open_with_flags(path, flags) else { return false };
    let begun = db.busy_timeout(Duration::ZERO).and_then(|()| db.execute_batch("BEGIN IMMEDIATE; ROLLBACK"));
    begun.is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}

/// Whether the role has an open transaction that has written or locked something and waits for its client.
pub(super) async fn postgres_is_writing(db: &Client, role: &str) -> bool {
    // The server still executes requests that the client sent before it was stopped, so `active` is not conclusive yet.
    let settled = async || {
        let query = "SELECT count(*) FILTER (WHERE state = 'active'),
                count(*) FILTER (WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL)
            FROM pg_stat_activity WHERE usename = $1";
        let row = db.query_one(query, &[&role]).await.expect("the server answers");
        (row.get::<_, i64>(0) == 0).then(|| row.get::<_, i64>(1) > 0)
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        if let Some(writing) = settled().await {
            return writing;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}
