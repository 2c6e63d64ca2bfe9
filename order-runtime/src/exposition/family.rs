//! A metric as it was read: the same for text and for OTLP.

use crate::telemetry::metrics::histogram::Distribution;

/// All values of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    /// The name as OpenTelemetry writes it, with dots: `messaging.process.duration`. Prometheus sees underscores, the unit,
    /// and `_total` behind a counter.
    pub(crate) name: String,
    /// Its description, in one sentence.
    pub(crate) help: &'static str,
    pub(crate) unit: Unit,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A count of the things in the metric's name.
    None,
    Seconds,
    Bytes,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows while the process runs.
    Counter,
    /// It goes up and down.
    Gauge,
    Histogram,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Names as Prometheus writes them, with underscores.
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Whole(u64),
    Real(f64),
    Histogram(Distribution),
}

impl Family {
    pub(crate) fn new(name: impl Into<String>, kind: Kind, help: &'static str) -> Self {
        Self { name: name.into(), help, unit: Unit::None, kind, samples: Vec::new() }
    }

    pub(crate) fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    pub(crate) fn with(mut self, labels: Vec<(&'static str, String)>, value: Value) -> Self {
        self.add(labels, value);
        self
    }

    pub(crate) fn add(&mut self, labels: Vec<(&'static str, String)>, value: Value) {
        self.samples.push(Sample { labels, value });
    }

    /// The name as Prometheus writes it, without unit and `_total`.
    pub(crate) fn stem(&self) -> String {
        self.name.replace('.', "_")
    }

    /// The whole name as Prometheus writes it; a histogram has `_bucket`, `_sum` and `_count` behind it.
    #[cfg(test)]
    pub(crate) fn full_name(&self) -> String {
        let unit = match self.unit {
            Unit::None => "",
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.stem())
    }
}
