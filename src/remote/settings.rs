//! What a receiver of remote write needs to know: Prometheus' `remote_write`.

use std::time::Duration;

use crate::model::{Labels, RelabelConfig};
use crate::net::HttpSettings;

/// One of `remote_write`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Unique; names the receiver in metrics and its queue on the disk.
    pub name: String,
    pub url: String,
    /// With the timeout of a request.
    pub http: HttpSettings,
    /// Labels that a series gets where it has none of that name.
    pub external_labels: Labels,
    /// Applied behind the external labels.
    pub write_relabel_configs: Vec<RelabelConfig>,
    pub queue: QueueSettings,
    /// How often types and help texts are sent; `None` for never.
    pub metadata_interval: Option<Duration>,
    /// Families in one request.
    pub metadata_families: usize,
}

/// How samples are gathered, and how failures are met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueSettings {
    /// Samples in one request.
    pub max_samples_per_send: usize,
    /// The longest that a sample waits for others; also what the end of the process can cost.
    pub batch_send_deadline: Duration,
    pub min_backoff: Duration,
    pub max_backoff: Duration,
    /// Whether "too many requests" is tried again.
    pub retry_on_http_429: bool,
    /// Samples older than this are dropped instead of sent; zero for none.
    pub sample_age_limit: Duration,
    /// What the queue may hold on the disk, in bytes.
    pub max_disk_usage: u64,
}
