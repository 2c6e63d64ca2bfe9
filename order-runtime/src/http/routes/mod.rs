//! What is answered.

mod consumer;
mod dlq;
mod documents;
mod entities;
mod events;
mod health;
mod metrics;
mod stats;
mod waiting;

use axum::{
    Router, middleware,
    routing::{get, post},
};

use super::{App, admin, page};

/// All routes, without layers.
pub(super) fn all(app: &App) -> Router {
    let name = app.dispatcher.name;
    let administration = Router::new()
        .route("/events", post(events::publish))
        .route("/consumer/pause", post(consumer::pause))
        .route("/consumer/resume", post(consumer::resume))
        .route("/waiting", get(waiting::list))
        .route("/waiting/retry", post(waiting::retry))
        .route("/waiting/dead-letter", post(waiting::dead_letter))
        .route("/dlq", get(dlq::list))
        .route("/dlq/{id}", get(dlq::show))
        .route("/dlq/{id}/edit", post(dlq::edit))
        .route("/dlq/replay", get(dlq::replay_state).post(dlq::replay).delete(dlq::stop_replay))
        .route("/dlq/park", post(dlq::park))
        .route("/dlq/unpark", post(dlq::unpark))
        .route("/dlq/purge", post(dlq::purge))
        .route("/dlq/audit", get(dlq::audit))
        .route_layer(middleware::from_fn_with_state(app.clone(), admin::only));
    let mut router = Router::new()
        .route("/", get(page::index))
        .route("/page/live", get(page::live))
        .route("/page/assets/{version}/{*name}", get(page::asset))
        .route("/health", get(health::all))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::prometheus))
        .route("/openapi.json", get(documents::openapi))
        .route("/asyncapi.json", get(documents::asyncapi))
        .route("/docs", get(documents::page))
        .route("/stats", get(stats::stats))
        .route("/processors", get(stats::processors))
        .route("/partitions", get(stats::partitions));
    if !app.dispatcher.entities.is_empty() {
        router = router
            .route(&format!("/{name}"), get(entities::page))
            .route(&format!("/{name}/{{id}}"), get(entities::one))
            .route(&format!("/{name}/{{id}}/events"), get(entities::history));
    }
    router.merge(administration).with_state(app.clone())
}
