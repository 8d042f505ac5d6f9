//! Tailed logs: files followed through rotation, lines counted into metrics.
//!
//! [`run`] follows one job. A line that is written is in a batch within some milliseconds; a batch of all series goes out
//! each interval. Offsets and counters are one [`Checkpoint`], so a restart neither loses a line nor counts one twice; a
//! job that ends hands its last one over. How files are followed is said in `follow.rs`, how lines become series in
//! `metric.rs`. When a job is taken away for good, the caller ends its series with the [`source`] of the job.

mod checkpoint;
mod desk;
mod dry;
mod fields;
mod follow;
mod format;
mod journal;
mod metric;
mod pace;
mod settings;
mod tail;
mod tracked;
mod watch;

pub use checkpoint::{Checkpoint, FileMark, MetricState, SeriesState};
pub use desk::{Output, source};
pub use dry::{DryRun, dry_run};
pub use metric::Metrics;
pub use settings::{Format, JobSettings, Journald, Kind, LogError, MetricSettings, ReadFrom};
pub use tail::run;
