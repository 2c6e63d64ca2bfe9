//! `GET /metrics`.

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use crate::{exposition::text, http::App};

/// `GET /metrics`: OpenMetrics if the request accepts it, otherwise Prometheus' text format 0.0.4.
pub(in crate::http) async fn prometheus(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (media_type, text) = text::negotiated(app.sources.read(), accept);
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}
