//! Counters, processors and partitions.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    engine::observe::{PartitionView, ProcessorCounters, StatsView},
    http::App,
    registry::ProcessorView,
};

/// `GET /stats`.
pub(in crate::http) async fn stats(State(app): State<App>) -> Json<StatsView> {
    Json(app.operations.stats())
}

/// `GET /partitions`.
pub(in crate::http) async fn partitions(State(app): State<App>) -> Json<Vec<PartitionView>> {
    Json(app.operations.partitions())
}

/// A processor with its counters since the start.
#[derive(Serialize)]
pub(in crate::http) struct Processor {
    #[serde(flatten)]
    view: ProcessorView,
    #[serde(flatten)]
    stats: ProcessorCounters,
}

/// `GET /processors`.
pub(in crate::http) async fn processors(State(app): State<App>) -> Json<Vec<Processor>> {
    let stats = app.operations.processors();
    let processors = app.registry.processors().iter().zip(stats);
    Json(processors.map(|(entry, stats)| Processor { view: ProcessorView::of(entry), stats }).collect())
}
