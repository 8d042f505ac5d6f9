//! Asking a central Prometheus-compatible query API: expressions whose results become series of this host, as if they had been
//! scraped. Follows <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>.
//!
//! An expression that fails, is late, or gives something else than samples gives no series that time: what it gave before ends
//! there, so rules that read it have no data, and hold.

mod answer;
mod asker;

use std::time::Duration;

pub use answer::{Answer, Given};
pub use asker::Asker;

use crate::net::HttpSettings;

/// One API and what it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Unique.
    pub name: String,
    /// Without `/api/v1/query`.
    pub url: String,
    /// With the timeout of one request.
    pub http: HttpSettings,
    pub interval: Duration,
    pub rules: Vec<Rule>,
}

/// One expression and the name of what it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub record: String,
    pub expr: String,
    /// Labels that are added, or replaced.
    pub labels: Vec<(String, String)>,
}
