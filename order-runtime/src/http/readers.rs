//! Limits how many large answers are made at the same time: each keeps what it reads in memory until it is written as JSON.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{App, problem::Problem};
use crate::telemetry::metrics::Refusal;

/// Maximum number of large answers at the same time; others wait for a permit.
const READERS: usize = 4;
/// How long an answer waits for its permit.
const PERMIT: Duration = Duration::from_secs(5);

/// The permits of large answers.
pub(super) struct Readers(Semaphore);

impl Default for Readers {
    fn default() -> Self {
        Self(Semaphore::new(READERS))
    }
}

/// Waits for a permit, which lasts until it is dropped.
pub(super) async fn permit(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    if let Ok(Ok(permit)) = tokio::time::timeout(PERMIT, app.0.readers.0.acquire()).await {
        return Ok(permit);
    }
    app.sources.metrics.refused(Refusal::Busy);
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many large answers are being made; try again later")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5")))
}
