//! What an evaluation may be told beside its expression and its time.

use std::fmt;
use std::time::Duration;

use crate::limits;
use crate::model::Labels;
use crate::time::Timestamp;

/// Why a running evaluation is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    Timeout,
    Canceled,
}

/// Start timestamps of samples: since when a counter has been counting. Zero-cost when nobody provides them.
pub trait StartTimes {
    /// The start timestamp of the sample of a series at an instant, if it has one.
    fn start_time(&self, series: &Labels, at: Timestamp) -> Option<Timestamp>;
}

/// Settings of one evaluation. [`Options::default`] is production Prometheus'.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How long a series counts as present after its last sample.
    pub lookback: Duration,
    /// Drop metric names at the end of the evaluation instead of at each function (a Prometheus feature flag).
    pub delayed_name_removal: bool,
    /// `__type__` decides whether a metric is a counter, instead of its name's ending (a Prometheus feature flag).
    pub type_and_unit_labels: bool,
    /// Samples that one evaluation may touch; more is an error.
    pub max_samples: usize,
    /// The step of subqueries that name none: the evaluation interval.
    pub default_subquery_step: Duration,
    /// Asked every few thousand samples.
    pub interrupt: Option<&'a dyn Fn() -> Option<Interrupt>>,
    /// Where start timestamps come from (a Prometheus feature flag); `None`: there are none.
    pub start_times: Option<&'a dyn StartTimes>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            lookback: Duration::from_secs(5 * 60),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            max_samples: limits::QUERY_SAMPLES,
            default_subquery_step: Duration::from_secs(60),
            interrupt: None,
            start_times: None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("lookback", &self.lookback)
            .field("delayed_name_removal", &self.delayed_name_removal)
            .field("type_and_unit_labels", &self.type_and_unit_labels)
            .field("max_samples", &self.max_samples)
            .field("default_subquery_step", &self.default_subquery_step)
            .finish_non_exhaustive()
    }
}
