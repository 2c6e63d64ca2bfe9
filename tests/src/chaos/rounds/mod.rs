//! Rounds that the short tests and the long run share. Each breaks something, again and again, and accounts for every event.

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

/// How many events a round has, and how fast they come.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The events.
    pub recipe: Recipe,
    /// Records per second.
    pub rate: u32,
}

/// How much a service may write to its log during one fault, in bytes: a fault is a state, not a stream of news.
const LOG_LIMIT: usize = 128 * 1024;

/// A fault while events come: lets go of `share` records, waits until they are worked on, breaks, heals, and waits until
/// everything that was let go has come to its end.
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

/// Waits until `/health/ready` says that something is wrong, while `/health/live` says that the process is well.
pub(super) async fn shows_it(service: &Service, what: &str) {
    until(&format!("{what}: /health/ready says so"), PATIENCE, async || {
        let live = service.ask("/health/live").await.status;
        assert!(live.is_success(), "{what} is no reason to restart the process: {live}");
        let ready = service.ask("/health/ready").await.status;
        if ready.is_success() { Err("it still says ready".to_owned()) } else { Ok(()) }
    })
    .await;
}
