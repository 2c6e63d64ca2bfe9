//! Connections to the server, and the time limits of operations on them.

use std::{future::pending, ops::Deref, panic, pin::Pin, str::FromStr, time::Duration};

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio::{runtime::Handle, task::JoinHandle, time::Instant};
use tokio_postgres::Config;

use super::{
    Client, error,
    tls::{self, Tls},
};
use crate::store::StoreError;

/// Time limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Time limit of an operation on the server, including the wait for a free connection. The connection is then closed, because
/// it may be dead or hang.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// The same limit when a person waits for the answer. Together with the limit for opening a connection, it is below the time
/// limit of an HTTP response, so that the response can report the slow store.
pub(crate) const VIEW: Duration = Duration::from_secs(9);
/// Limits that the server itself enforces, so that an instance that hangs or is disconnected does not keep its locks.
const LIMITS: &str = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s";

/// A pool of a few connections.
pub(super) struct Link {
    pool: Pool,
    /// Time limit of an operation.
    answer: Duration,
}

impl Link {
    /// A pool of up to `connections` connections, which are opened when needed. No operation takes longer than `answer`.
    pub(super) fn new(url: &str, connections: usize, answer: Duration) -> Result<Self, StoreError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let (config, tls) = settings(url)?;
        let runtime = Handle::try_current().map_err(|error| StoreError::Unusable(error.to_string()))?;
        let manager = Manager::from_connect(config, HomeConnect { runtime, tls }, recycling);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(answer))
            .create_timeout(Some(CONNECT))
            .build();
        pool.map(|pool| Self { pool, answer }).map_err(|error| StoreError::Unusable(error.to_string()))
    }

    /// Runs `work` on a connection. If the work fails, takes too long or is dropped, the connection is closed and the server
    /// rolls back the open transaction.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let until = Instant::now() + self.answer;
        let lent = self.lend().await?;
        let answer = tokio::time::timeout_at(until, work(&lent)).await.map_err(|_| {
            StoreError::Unavailable(format!("the server has not answered within {} s", self.answer.as_secs()))
        })??;
        lent.give_back();
        Ok(answer)
    }

    /// Lends a connection for work without the time limit of [`run`](Self::run).
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        let connection = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error::of_server(&error),
            PoolError::Timeout(TimeoutType::Create) => {
                StoreError::Unavailable(format!("no connection within {} s", CONNECT.as_secs()))
            }
            PoolError::Timeout(TimeoutType::Wait) => StoreError::Unavailable(
                "every connection to the server is in use, and none became free in time".to_owned(),
            ),
            other => StoreError::Unavailable(other.to_string()),
        })?;
        Ok(Lent(Some(connection)))
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection that is closed when it is dropped, unless it was given back.
///
/// A future can be dropped at any of its awaits, even in the middle of a transaction. The next user of the connection would
/// otherwise continue that transaction and commit the abandoned changes.
pub(super) struct Lent(Option<Object>);

impl Lent {
    /// Returns the connection to its pool. It must not have an open transaction.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        // Only `give_back` and `drop` empty it, and neither leaves it usable.
        self.0.as_ref().unwrap_or_else(|| unreachable!("a connection that was given back"))
    }
}

/// Opens connections on the runtime that created the link, whichever runtime asks. A task drives each connection; on the HTTP
/// runtime, it would stall whenever HTTP does and end with it.
struct HomeConnect {
    runtime: Handle,
    tls: Tls,
}

type Connected = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connect for HomeConnect {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let (config, tls) = (config.clone(), self.tls.clone());
        let connecting = self.runtime.spawn(async move { tls::connect(&config, tls).await });
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected,
                Err(error) => match error.try_into_panic() {
                    Ok(reason) => panic::resume_unwind(reason),
                    // The runtime is shutting down; the pool's timeout ends the wait.
                    Err(_) => pending().await,
                },
            }
        })
    }
}

/// Parses the URL and adds the settings of every connection.
pub(super) fn settings(url: &str) -> Result<(Config, Tls), StoreError> {
    let (url, wanted) = tls::take(url)?;
    // The parser's own message may contain parts of the URL, including the password.
    let mut config = Config::from_str(&url).map_err(|_| StoreError::Unusable("it cannot be read".to_owned()))?;
    let options = config.get_options().map_or_else(|| LIMITS.to_owned(), |own| format!("{LIMITS} {own}"));
    config.options(options).application_name("order-runtime").connect_timeout(CONNECT);
    config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(ANSWER);
    let tls = tls::prepare(&mut config, &wanted)?;
    Ok((config, tls))
}
