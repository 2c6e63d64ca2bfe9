//! How fast records leave.

use std::time::{Duration, Instant};

/// Keeps to a rate, in batches.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Records a second; none for no limit.
    rate: Option<f64>,
    started: Instant,
    sent: u64,
}

impl Pace {
    /// Begins now.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        Self { rate, started: Instant::now(), sent: 0 }
    }

    /// How many records go together: at most `most`, and no more than fall to one `tick`.
    pub(crate) fn batch(&self, tick: Duration, most: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        self.rate.map_or(most, |rate| ((rate * tick.as_secs_f64()) as usize).clamp(1, most))
    }

    /// So many records have left; waits until the next may.
    pub(crate) async fn sent(&mut self, records: u64) {
        self.sent += records;
        if let Some(rate) = self.rate {
            #[expect(clippy::cast_precision_loss, reason = "no run sends 2^52 records")]
            let due = self.started + Duration::from_secs_f64(self.sent as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// How many have left in all.
    pub(crate) fn total(&self) -> u64 {
        self.sent
    }
}

/// A rate as it is given: a number above 0.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "a number above 0 is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_rate() {
        let batch = |rate| Pace::new(rate).batch(Duration::from_millis(100), 500);
        assert_eq!([None, Some(20.0), Some(0.5), Some(1e9)].map(batch), [500, 2, 1, 500]);
        assert!(rate("0").is_err() && rate("inf").is_err() && rate("x").is_err());
        assert_eq!(rate("0.5"), Ok(0.5));
    }
}
