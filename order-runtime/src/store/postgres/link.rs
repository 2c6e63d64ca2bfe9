//! Connections to the server, and how long anything on one may take.

use std::{str::FromStr, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use tokio_postgres::{Config, NoTls};

use super::{
    Client, error,
    tls::{self, Tls},
};
use crate::store::StoreError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long anything asked of the server may take; then its connection is given up, since it may be dead or hang.
const ANSWER: Duration = Duration::from_secs(20);
/// What the server gives up by itself, so that nothing stays locked by an instance that hangs or is cut off.
const LIMITS: &str = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s";

/// A few connections.
pub(super) struct Link {
    pool: Pool,
}

impl Link {
    /// Up to `connections` of them; they are made when they are needed.
    pub(super) fn new(url: &str, connections: usize) -> Result<Self, StoreError> {
        Self::patient(url, connections, ANSWER)
    }

    /// The same where nobody waits for a free one for longer than `patience`.
    pub(super) fn patient(url: &str, connections: usize, patience: Duration) -> Result<Self, StoreError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let (config, tls) = settings(url)?;
        let manager = match tls {
            Tls::Plain => Manager::from_config(config, NoTls, recycling),
            #[cfg(feature = "tls-postgres")]
            Tls::Rustls(connector) => Manager::from_config(config, connector, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(patience))
            .create_timeout(Some(CONNECT))
            .build();
        pool.map(|pool| Self { pool }).map_err(|error| StoreError::Unusable(error.to_string()))
    }

    /// Works on a connection. One on which something has failed is closed: whatever was under way is then undone.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.connection().await?;
        let result = tokio::time::timeout(ANSWER, work(&connection)).await;
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                drop(Object::take(connection));
                Err(error)
            }
            Err(_) => {
                drop(Object::take(connection));
                Err(StoreError::Unavailable(format!("the server has not answered within {} s", ANSWER.as_secs())))
            }
        }
    }

    /// A connection of its own, outside of [`run`](Self::run)'s limits.
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error::of_server(&error),
            PoolError::Timeout(TimeoutType::Create) => {
                StoreError::Unavailable(format!("no connection within {} s", CONNECT.as_secs()))
            }
            PoolError::Timeout(TimeoutType::Wait) => StoreError::Unavailable(
                "every connection to the server is in use, and none became free in time".to_owned(),
            ),
            other => StoreError::Unavailable(other.to_string()),
        })
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Reads the URL and adds what every connection has.
pub(super) fn settings(url: &str) -> Result<(Config, Tls), StoreError> {
    let (url, wanted) = tls::take(url)?;
    // The parser's own words may hold parts of the URL, and with it the password.
    let mut config = Config::from_str(&url).map_err(|_| StoreError::Unusable("it cannot be read".to_owned()))?;
    let options = config.get_options().map_or_else(|| LIMITS.to_owned(), |own| format!("{LIMITS} {own}"));
    config.options(options).application_name("order-runtime").connect_timeout(CONNECT);
    config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(ANSWER);
    let tls = tls::prepare(&mut config, &wanted)?;
    Ok((config, tls))
}
