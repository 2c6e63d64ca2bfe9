//! Reading request bodies, with limits and only after the request's access is checked.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::{App, problem::Problem};
use crate::telemetry::metrics::Refusal;

/// Maximum size of a body: room for a thousand events.
const BODY_BYTES: usize = 1024 * 1024;
/// Maximum size of all bodies in memory together.
const ALL_BYTES: usize = 32 * BODY_BYTES;
/// Time limit for receiving a whole body.
const BODY: Duration = Duration::from_secs(10);
/// How long a request waits for body memory.
const MEMORY: Duration = Duration::from_secs(5);

/// The free part of the body memory.
pub(super) struct BodyMemory(Semaphore);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Semaphore::new(ALL_BYTES))
    }
}

/// Reads the whole body before the route runs, so that every route has the same limits. The memory is reserved before the first
/// byte, because otherwise several half-received bodies could use up all memory and block each other.
pub(super) async fn whole(State(app): State<App>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    if !is_utf8(&head.headers) {
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body in UTF-8").into_response();
    }
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = announced.unwrap_or(if body.is_end_stream() { 0 } else { BODY_BYTES });
    if bytes > BODY_BYTES {
        return too_large();
    }
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    let Ok(Ok(_held)) = tokio::time::timeout(MEMORY, app.0.bodies.0.acquire_many(permits)).await else {
        app.sources.metrics.refused(Refusal::Busy);
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many bodies are being received; send it again later",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
        .into_response();
    };
    match tokio::time::timeout(BODY, read(body, bytes)).await {
        Ok(Ok(Some(body))) => next.run(Request::from_parts(head, body)).await,
        Ok(Ok(None)) => too_large(),
        Ok(Err(_)) => StatusCode::BAD_REQUEST.into_response(),
        // Otherwise the rest of the body would be read as the next request.
        Err(_) => (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response(),
    }
}

/// Copies a body into one buffer, because many small chunks in separate buffers would take a multiple of its size. `None` if it
/// is larger than `most`.
async fn read(mut body: Body, most: usize) -> Result<Option<Body>, axum::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if data.len() > most - whole.len() {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze().into()))
}

/// Whether the content type names no character set other than UTF-8, which JSON requires (RFC 8259, section 8.1).
fn is_utf8(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut sets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    sets.all(|(_, set)| {
        let set = set.trim().trim_matches('"');
        ["utf-8", "utf8", "us-ascii"].iter().any(|known| set.eq_ignore_ascii_case(known))
    })
}

fn too_large() -> Response {
    StatusCode::PAYLOAD_TOO_LARGE.into_response()
}
