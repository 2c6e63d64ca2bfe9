//! Rounds that the short tests and the long run share. Each injects a fault repeatedly, and accounts for every event.

mod kafka;
mod kills;
mod line;
mod members;
mod neighbours;
mod store;

pub use kafka::broker_dies;
pub use kills::{Kills, kills};
pub use line::{bad_line_to_kafka, bad_line_to_postgres, flipped_bytes};
pub use members::{members_come_and_go, sleeper};
pub use neighbours::{Latency, Trouble, neighbours};
pub use store::{disk_full, postgres_dies};

use super::{Recipe, Run};
use crate::{
    service::Service,
    wait::{PATIENCE, until},
};

/// The number and rate of a round's events.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The events.
    pub recipe: Recipe,
    /// Records per second.
    pub rate: u32,
}

/// The maximum number of bytes that a service may log during one fault. A lasting fault must not flood the log.
const LOG_LIMIT: usize = 128 * 1024;

/// Injects a fault under load: releases `share` records, waits until the service works on them, runs `breaks` (which also
/// repairs), and waits until all released records are settled.
pub(super) async fn fault(run: &mut Run, service: &Service, what: &str, share: usize, breaks: impl AsyncFnOnce()) {
    run.caught_up(&format!("before: {what}")).await;
    let before = run.progress().await;
    let log = service.log().len();
    run.producer.release(share);
    until(&format!("events are worked on before: {what}"), PATIENCE, async || {
        let now = run.progress().await;
        if now > before { Ok(()) } else { Err(format!("{now} records are done")) }
    })
    .await;
    breaks().await;
    run.caught_up(&format!("after: {what}")).await;
    run.check_now().await;
    let written = service.log().len() - log;
    assert!(written < LOG_LIMIT, "{what}: the service has logged {written} bytes:\n{}", service.log());
}

/// Waits until `/health/ready` fails, and checks that `/health/live` does not.
pub(super) async fn shows_it(service: &Service, what: &str) {
    until(&format!("{what}: /health/ready fails"), PATIENCE, async || {
        let live = service.ask("/health/live").await.status;
        assert!(live.is_success(), "{what} is no reason to restart the process: {live}");
        let ready = service.ask("/health/ready").await.status;
        if ready.is_success() { Err("it is still ready".to_owned()) } else { Ok(()) }
    })
    .await;
}
