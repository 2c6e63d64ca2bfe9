//! A dashboard for Grafana and alert rules for Prometheus, generated from the declarations: they name the declared events and
//! use the longest retry policy.

mod alerts;
mod grafana;
mod panels;

pub(crate) use alerts::{alerts, alerts_json};
pub(crate) use grafana::grafana;

#[cfg(test)]
mod tests;
