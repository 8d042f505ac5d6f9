//! Tailed logs: files followed through rotation, lines counted into metrics.

mod checkpoint;
mod fields;
mod follow;
mod format;
mod metric;
mod settings;
mod tracked;

pub use metric::Metrics;
pub use settings::{Format, JobSettings, Journald, Kind, LogError, MetricSettings, ReadFrom};
