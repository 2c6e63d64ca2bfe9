//! Opens the store for commands that use it beside a running service.

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

/// Opens the store read-only; the service may run on it.
pub(super) async fn to_read(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    open(context, Mode::ReadOnly).await
}

/// Opens the store for writes that do not belong to a partition owner; the service may run on it.
pub(super) async fn to_write(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    open(context, Mode::Beside).await
}

async fn open(context: &Context, mode: Mode) -> Result<Arc<dyn Store>, Failure> {
    let entities = &context.dispatcher.entities;
    match &context.config.store {
        StoreUrl::Memory => Err(Failure::wrong_use(
            "STORE_URL=memory: only its own process can read a store in memory; ask the running service over HTTP",
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
