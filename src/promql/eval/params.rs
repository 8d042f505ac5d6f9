//! The parameters of `quantile` and `limit_ratio`: what is said of values out of their range.
//!
//! Over the steps of a range query a parameter may change; then the largest and the smallest are spoken of.

use super::annotations::Note;
use super::evaluator::{Evaluator, Frame};
use crate::promql::ast::{AggregateOp, Span};
use crate::promql::numbers::{go_max, go_min};

/// The values that a parameter took.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParamRange {
    op: AggregateOp,
    span: Span,
    smallest: f64,
    largest: f64,
    any_nan: bool,
}

impl Evaluator<'_> {
    /// Takes note of a parameter at one step of the aggregation at `node`.
    pub(super) fn note_param(&mut self, node: usize, op: AggregateOp, span: Span, value: f64, frame: &Frame) {
        let now = ParamRange { op, span, smallest: value, largest: value, any_nan: value.is_nan() };
        if frame.is_single() {
            self.note_param_range(now);
            return;
        }
        let known = self.params.entry(node).or_insert(now);
        known.smallest = go_min(known.smallest, value);
        known.largest = go_max(known.largest, value);
        known.any_nan |= value.is_nan();
    }

    /// Says what is to be said of the parameters of all steps.
    pub(super) fn note_params(&mut self) {
        let mut ranges: Vec<ParamRange> = self.params.values().copied().collect();
        ranges.sort_by_key(|range| range.span.start);
        for range in ranges {
            self.note_param_range(range);
        }
    }

    fn note_param_range(&mut self, range: ParamRange) {
        let ParamRange { op, span, smallest, largest, any_nan } = range;
        if op == AggregateOp::LimitRatio {
            if largest > 1.0 {
                self.note(&Note::InvalidRatio { ratio: largest, cap: 1.0 }, span);
            }
            if smallest < -1.0 {
                self.note(&Note::InvalidRatio { ratio: smallest, cap: -1.0 }, span);
            }
            return;
        }
        if any_nan {
            self.note(&Note::InvalidQuantile(f64::NAN), span);
        }
        if largest > 1.0 {
            self.note(&Note::InvalidQuantile(largest), span);
        }
        if smallest < 0.0 {
            self.note(&Note::InvalidQuantile(smallest), span);
        }
    }
}
