//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what should take moments: generous, for a busy machine; a passing test never uses it up.
pub const PATIENCE: Duration = Duration::from_mins(1);

const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until the answer is `Ok`; panics with the last `Err`, which says what is still missing.
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

/// Asks again and again until the condition holds; panics when it does not within the deadline.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    until(what, deadline, async || if condition().await { Ok(()) } else { Err("the condition is still false".into()) })
        .await;
}
