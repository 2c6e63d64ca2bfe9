//! A dashboard for Grafana and alert rules for Prometheus, made from what is declared: they name the events that there
//! are, and wait as long as the longest retry policy does.

mod alerts;
mod grafana;
mod panels;

pub(crate) use alerts::{alerts, alerts_json};
pub(crate) use grafana::grafana;

#[cfg(test)]
mod tests;
