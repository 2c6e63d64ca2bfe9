//! Rate limiting of published records.

use std::time::{Duration, Instant};

/// Limits the rate of records that are sent in batches.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Records per second; `None` means no limit.
    rate: Option<f64>,
    started: Instant,
    sent: u64,
}

impl Pace {
    /// Starts measuring now.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        Self { rate, started: Instant::now(), sent: 0 }
    }

    /// The batch size: the number of records for one `tick` at this rate, from 1 to `most`.
    pub(crate) fn batch(&self, tick: Duration, most: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        self.rate.map_or(most, |rate| ((rate * tick.as_secs_f64()) as usize).clamp(1, most))
    }

    /// Counts sent records, and waits until the rate allows the next ones.
    pub(crate) async fn sent(&mut self, records: u64) {
        self.sent += records;
        if let Some(rate) = self.rate {
            #[expect(clippy::cast_precision_loss, reason = "no run sends 2^52 records")]
            let due = self.started + Duration::from_secs_f64(self.sent as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Number of records sent in total.
    pub(crate) fn total(&self) -> u64 {
        self.sent
    }
}

/// Parses a rate: a finite number above 0.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| is_rate(*rate)).ok_or_else(|| "expected a number above 0".to_owned())
}

/// Whether a number is finite and above 0.
pub(super) fn is_rate(number: f64) -> bool {
    number.is_finite() && number > 0.0
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
