//! How metrics and traces leave the service.
//!
//! | module | the question it answers |
//! |---|---|
//! | `families` | which metrics are there? |
//! | `family` | what is a metric, in any output format? |
//! | `process` | what does the system report of the process? |
//! | `text` | how does Prometheus read them? |
//! | `otlp` | how do traces and metrics reach a collector? |
//! | `dashboards` | which graphs and alerts fit what is declared? |

pub(crate) mod dashboards;
mod families;
pub(crate) mod family;
pub(crate) mod otlp;
mod process;
pub(crate) mod text;

pub(crate) use self::families::Sources;
#[cfg(test)]
pub(crate) use self::process::families as process;
