//! Native histograms as PromQL computes with them: buckets, sums, differences, quantiles, trims.
//!
//! Follows Prometheus' `model/histogram/float_histogram.go` and `promql/quantile.go` in what comes out, not in how.

mod arithmetic;
mod layout;
mod quantile;
mod reset;
mod sum;
mod text;
mod trim;

pub(crate) use arithmetic::{Combined, IncompatibleSchema};
pub(crate) use quantile::{Skewed, fraction, quantile};
pub(crate) use sum::HistogramSum;
pub(crate) use trim::trimmed;
