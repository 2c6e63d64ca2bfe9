//! The ranges of a replay.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;

use crate::{
    broker::{BrokerError, kafka::MetadataClient},
    dead_letters::time,
    model::PartitionId,
};

/// The selected part of a topic.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RangeSelection {
    /// The topic.
    pub(crate) topic: String,
    /// Start of the range: an offset, a time (RFC 3339, or a time ago such as 2h), or `beginning`.
    #[arg(long, value_name = "OFFSET|TIME", default_value = "beginning")]
    pub(crate) from: Bound,
    /// End of the range, exclusive: an offset, a time, or `end`.
    #[arg(long, value_name = "OFFSET|TIME", default_value = "end")]
    pub(crate) to: Bound,
    /// Only these partitions, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    pub(crate) partitions: Vec<i32>,
}

/// The start or end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The first offset of the log.
    Beginning,
    /// The offset after the last record of the log.
    End,
    /// This offset, in each partition.
    Offset(i64),
    /// The first record at this time or later, in each partition.
    Time(Timestamp),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map(Self::Offset).map_err(|_| "the offset is too large".to_owned())
            }
            other => time(other).map(Self::Time).map_err(|_| {
                "expected an offset, a time such as 2026-01-31T12:00:00Z or 2h, beginning or end".to_owned()
            }),
        }
    }
}

/// Consecutive offsets of one partition, from `from` to before `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) id: PartitionId,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Range {
    /// Maximum number of records: transactions and compaction may leave gaps.
    pub(crate) fn at_most(&self) -> u64 {
        u64::try_from(self.to - self.from).unwrap_or_default()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}: at most {} records", self.id, self.from, self.to, self.at_most())
    }
}

/// Why the ranges cannot be determined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RangeError {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The topic does not have the partition.
    #[error("{topic} has no partition {partition}; it has 0 to {last}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition that was requested.
        partition: i32,
        /// The topic's last partition.
        last: i32,
    },
    /// The range has records whose event ids may be forgotten.
    #[error(
        "{partition} cannot be replayed from offset {from}: event ids are kept for {retention} only (STORE_RETENTION), so events \
         before offset {first} would count again; start there, or use --shadow"
    )]
    TooOld {
        /// The partition.
        partition: String,
        /// The start of the range.
        from: i64,
        /// The first offset whose event ids are surely known.
        first: i64,
        /// How long event ids are kept.
        retention: humantime::FormattedDuration,
    },
}

/// The ranges of a selection that have records. With `retention`, a range that starts earlier is refused.
///
/// # Errors
/// If the broker does not answer, a partition does not exist, or a range starts before the first offset whose event ids are
/// known.
pub(crate) fn ranges(
    metadata: &MetadataClient,
    selection: &RangeSelection,
    retention: Option<Duration>,
) -> Result<Vec<Range>, RangeError> {
    let RangeSelection { topic, from, to, partitions } = selection;
    let count = metadata.partitions(topic)?.ok_or_else(|| BrokerError::UnknownTopic(topic.clone()))?;
    let last = i32::try_from(count).unwrap_or(i32::MAX) - 1;
    let wanted: Vec<i32> = if partitions.is_empty() { (0..=last).collect() } else { partitions.clone() };
    if let Some(partition) = wanted.iter().find(|partition| !(0..=last).contains(*partition)) {
        return Err(RangeError::NoPartition { topic: topic.clone(), partition: *partition, last });
    }
    let cluster = metadata.identity()?.cluster;
    let named: Vec<(String, i32)> = wanted.iter().map(|partition| (topic.clone(), *partition)).collect();
    let mut ranges = Vec::with_capacity(wanted.len());
    for offer in metadata.offers(&cluster, &named, None)? {
        let at = |bound| -> Result<i64, BrokerError> {
            let offset = match bound {
                Bound::Beginning => offer.log_start,
                Bound::End => offer.log_end,
                Bound::Offset(offset) => offset,
                Bound::Time(time) => {
                    metadata.offset_at(topic, offer.id.partition, time.as_millisecond())?.unwrap_or(offer.log_end)
                }
            };
            Ok(offset.clamp(offer.log_start, offer.log_end))
        };
        let (from, to) = (at(*from)?, at(*to)?);
        if let Some(retention) = retention
            && let Ok(oldest) = Timestamp::now().checked_sub(retention)
        {
            let first = at(Bound::Time(oldest))?;
            if from < first && from < to {
                return Err(RangeError::TooOld {
                    partition: offer.id.to_string(),
                    from,
                    first,
                    retention: humantime::format_duration(retention),
                });
            }
        }
        if from < to {
            ranges.push(Range { id: offer.id, from, to });
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_offsets_times_or_ends() {
        assert_eq!("beginning".parse(), Ok(Bound::Beginning));
        assert_eq!("end".parse(), Ok(Bound::End));
        assert_eq!("42".parse(), Ok(Bound::Offset(42)));
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(Bound::Time(Timestamp::UNIX_EPOCH)));
        assert!(matches!("2h".parse(), Ok(Bound::Time(_))));
        for wrong in ["-1", "soon", "99999999999999999999"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
        }
    }
}
