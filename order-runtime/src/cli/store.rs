//! The store, for commands that work on it beside a running service.

use std::sync::Arc;

use super::{Context, Failure};
use crate::{
    config::StoreUrl,
    store::{
        Store,
        postgres::PostgresStore,
        sqlite::{Mode, SqliteStore},
    },
};

/// The store, to be read while the service runs on it.
pub(super) async fn to_read(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    open(context, Mode::ReadOnly).await
}

/// The store, to write what does not belong to the owner of a partition, while the service runs on it.
pub(super) async fn to_write(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    open(context, Mode::Beside).await
}

async fn open(context: &Context, mode: Mode) -> Result<Arc<dyn Store>, Failure> {
    let entities = &context.dispatcher.entities;
    match &context.config.store {
        StoreUrl::Memory => Err(Failure::wrong_use(
            "STORE_URL=memory: a store in memory is seen by its own process only; ask the running service over HTTP",
        )),
        StoreUrl::Sqlite(path) => {
            let store = SqliteStore::open(path, entities, mode).map_err(Failure::failed)?;
            Ok(Arc::new(store))
        }
        StoreUrl::Postgres(url) => {
            let store = PostgresStore::connect(url.expose(), entities).await.map_err(Failure::failed)?;
            Ok(Arc::new(store))
        }
    }
}
