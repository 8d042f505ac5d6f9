//! What a collector hands to the engine: samples of one source at one instant.

use std::sync::Arc;

use super::Labels;
use crate::time::Timestamp;

/// Who gave a batch: one system collector set, one probe target, one log file's metrics, one scrape target.
/// Two batches of the same source follow each other; what one had and the next has not went stale.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(pub Arc<str>);

impl Source {
    /// A source by its kind and its name, for example `("probe", "links/http://10.0.0.1/")`.
    pub fn new(kind: &str, name: &str) -> Source {
        Source(format!("{kind}/{name}").into())
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a batch shows all series of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// A series of this source that is missing here ended: it gets a staleness marker at the batch's time.
    Whole,
    /// Only some series; the others go on.
    Partial,
}

/// Prometheus' metric types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

impl MetricKind {
    /// The word of the exposition formats and of `/api/v1/metadata`.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Summary => "summary",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
            MetricKind::Unknown => "unknown",
        }
    }
}

/// Type, help and unit of one metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMeta {
    /// The family's name, for a counter with its `_total`.
    pub family: Arc<str>,
    pub kind: MetricKind,
    pub help: Arc<str>,
    pub unit: Arc<str>,
}

/// Samples of one source at one instant.
#[derive(Clone, Debug)]
pub struct Batch {
    pub source: Source,
    /// The time of every sample here that has none of its own.
    pub at: Timestamp,
    /// Each series at most once. A collector keeps its [`Labels`] from one batch to the next.
    pub samples: Vec<(Labels, f64)>,
    /// Samples that carry their own time (scraped with `honor_timestamps`); they get no staleness markers.
    pub timed: Vec<(Labels, Timestamp, f64)>,
    pub completeness: Completeness,
    /// What is new or changed among the families; empty when nothing is.
    pub meta: Vec<MetricMeta>,
    /// True when rules that read these series are to be evaluated at once, not at their next tick:
    /// probe results and log matches.
    pub urgent: bool,
}

impl Batch {
    /// A whole batch without samples: that is how a source says that all of its series ended.
    pub fn ended(source: Source, at: Timestamp) -> Batch {
        Batch {
            source,
            at,
            samples: Vec::new(),
            timed: Vec::new(),
            completeness: Completeness::Whole,
            meta: Vec::new(),
            urgent: false,
        }
    }
}
