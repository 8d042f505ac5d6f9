//! The nouns of the house: labels, matchers, samples, batches, switch names. Plain values, no behaviour beyond their own.

mod batch;
mod bound;
mod glob;
mod histogram;
mod labels;
mod matcher;
mod relabel;
mod switch;
mod text_map;
mod word;

pub use batch::{Batch, Completeness, MetricKind, MetricMeta, Source};
pub use bound::openmetrics_float;
pub use glob::{Glob, GlobEntry, GlobError};
pub use histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span as BucketSpan};
pub use labels::{
    Fingerprint, Labels, LabelsBuilder, LabelsMap, NAME, PassThrough, Quoted, is_label_name, is_metric_name,
};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use relabel::{Relabel, RelabelAction, RelabelConfig, RelabelError, apply as relabel};
pub use switch::{SwitchName, SwitchNameError};
pub use text_map::TextMap;
pub use word::{Word, Words};

use crate::time::Timestamp;

/// The one NaN that means "this series ended here": Prometheus' `value.StaleNaN`.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a number.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// True only for the staleness marker, not for an ordinary NaN.
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One float at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    pub value: f64,
}
