//! How many answers that may be large are made at the same time: each holds what it reads until it is written as JSON.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{App, problem::Problem};
use crate::telemetry::metrics::Refusal;

/// Answers at the same time; others wait for their turn.
const READERS: usize = 4;
/// How long they wait.
const TURN: Duration = Duration::from_secs(5);

/// Turns at reading what may be large.
pub(super) struct Readers(Semaphore);

impl Default for Readers {
    fn default() -> Self {
        Self(Semaphore::new(READERS))
    }
}

/// Waits for a turn, which lasts until the permit is dropped.
pub(super) async fn turn(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    if let Ok(Ok(permit)) = tokio::time::timeout(TURN, app.0.readers.0.acquire()).await {
        return Ok(permit);
    }
    app.sources.metrics.refused(Refusal::Busy);
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many large answers are being made; ask again later")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5")))
}
