//! Opens the store for commands that use it beside a running service.

use std::sync::Arc;

use super::{Context, Failure};
use crate::store::{Mode, Store};

/// Opens the store read-only; the service may run on it.
pub(super) async fn to_read(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    open(context, Mode::ReadOnly).await
}

/// Opens the store for writes that do not belong to a partition owner; the service may run on it.
pub(super) async fn to_write(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    open(context, Mode::Beside).await
}

async fn open(context: &Context, mode: Mode) -> Result<Arc<dyn Store>, Failure> {
    let url = &context.config.store;
    url.open(&context.dispatcher.entities, mode).await.map_err(|error| {
        if url.is_durable() { Failure::failed(error) } else { Failure::wrong_use(format!("STORE_URL={url}: {error}")) }
    })
}
