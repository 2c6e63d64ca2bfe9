//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The time limit for conditions that usually hold within moments. It is generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_mins(1);

const PAUSE: Duration = Duration::from_millis(50);

/// Repeats `ask` until it returns `Ok`; after the deadline, panics with the last `Err`, which describes the missing part.
pub async fn until<T>(what: &str, deadline: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(missing) if start.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}; {missing}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Repeats `condition` until it holds; panics if it does not hold within the deadline.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    until(what, deadline, async || if condition().await { Ok(()) } else { Err("the condition is still false".into()) })
        .await;
}
