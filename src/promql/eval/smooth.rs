//! `smoothed` selectors: values between samples; and range vectors with points at their very ends.

use std::sync::Arc;

use super::annotations::{Note, Operation};
use super::error::EvalError;
use super::evaluator::{Element, Evaluator};
use super::selector::{Bounds, FloatPoint, HistogramPoint, Loaded, Window};
use super::value::SampleValue;
use crate::model::{CounterResetHint, FloatHistogram};
use crate::promql::ast::{Expr, Span, WindowMode};
use crate::promql::histogram::IncompatibleSchema;

/// The value between two floats; a counter that fell is taken to have started again from 0.
pub(super) fn between_floats(first: FloatPoint, second: FloatPoint, at: i64, counter: bool) -> f64 {
    let from = if counter && second.value < first.value { 0.0 } else { first.value };
    from + (second.value - from) * (at - first.at) as f64 / (second.at - first.at) as f64
}

impl Evaluator<'_> {
    /// The histogram between two histograms.
    pub(super) fn between_histograms(
        &mut self,
        first: &HistogramPoint,
        second: &HistogramPoint,
        at: i64,
        counter: bool,
        span: Span,
    ) -> Result<FloatHistogram, IncompatibleSchema> {
        if at == first.at {
            return Ok(first.value.as_ref().clone());
        }
        let mut result = second.value.as_ref().clone();
        if at == second.at {
            return Ok(result);
        }
        let fraction = (at - first.at) as f64 / (second.at - first.at) as f64;
        if counter && second.value.is_reset_after(&first.value) {
            result.scale(fraction);
            return Ok(result);
        }
        if result.subtract(&first.value)?.bounds_reconciled {
            self.note(&Note::BoundsReconciled(Operation::Subtraction), span);
        }
        result.scale(fraction);
        if result.add(&first.value)?.bounds_reconciled {
            self.note(&Note::BoundsReconciled(Operation::Addition), span);
        }
        Ok(result)
    }

    /// The elements of `selector smoothed`: between the sample before and the sample after `at`.
    pub(super) fn smoothed_vector(&mut self, expr: &Expr, loaded: &Loaded, at: i64) -> Result<Vec<Element>, EvalError> {
        let lookback = self.lookback();
        let mut vector = Vec::with_capacity(loaded.series.len());
        for series in &loaded.series {
            let window = series.window(at - lookback, at + lookback);
            self.touch(window.len())?;
            let name = series.labels.name();
            if !window.floats.is_empty() && !window.histograms.is_empty() {
                self.note(&Note::MixedFloatsHistograms(name), expr.span);
                continue;
            }
            let value = if window.histograms.is_empty() {
                smoothed_float(window.floats, at).map(SampleValue::Float)
            } else {
                self.smoothed_histogram(window, at, expr.span)
            };
            if let Some(value) = value {
                vector.push(Element { labels: series.labels.clone(), value, drop_name: false });
            }
        }
        Ok(vector)
    }

    fn smoothed_histogram(&mut self, window: Window<'_>, at: i64, span: Span) -> Option<SampleValue> {
        let points = window.histograms;
        let next = points.partition_point(|point| point.at < at);
        if let Some(exact) = points.get(next).filter(|point| point.at == at) {
            return Some(SampleValue::Histogram(Arc::clone(&exact.value)));
        }
        let previous = &points[next.checked_sub(1)?];
        let Some(following) = points.get(next) else {
            // A hint is about two samples that follow each other, and this one is repeated.
            let mut carried = previous.value.as_ref().clone();
            carried.hint = CounterResetHint::Unknown;
            return Some(carried.into());
        };
        if previous.value.uses_custom_buckets() != following.value.uses_custom_buckets() {
            self.note(&Note::MixedExponentialCustom(window.labels.name()), span);
            return None;
        }
        let gauge = |point: &HistogramPoint| point.value.hint == CounterResetHint::Gauge;
        let counter = !gauge(previous) || !gauge(following);
        match self.between_histograms(previous, following, at, counter, span) {
            Ok(histogram) => Some(histogram.into()),
            Err(IncompatibleSchema) => {
                self.note(&Note::MixedExponentialCustom(window.labels.name()), span);
                None
            }
        }
    }
}

fn smoothed_float(points: &[FloatPoint], at: i64) -> Option<f64> {
    let next = points.partition_point(|point| point.at < at);
    if let Some(exact) = points.get(next).filter(|point| point.at == at) {
        return Some(exact.value);
    }
    let previous = points[next.checked_sub(1)?];
    Some(points.get(next).map_or(previous.value, |following| between_floats(previous, *following, at, false)))
}

/// The floats of a range vector as they are shown: `anchored` and `smoothed` ones begin and end at the range's ends.
pub(super) fn bounded(window: Window<'_>, bounds: &Bounds) -> Result<Vec<FloatPoint>, EvalError> {
    let smoothed = match bounds.mode {
        WindowMode::Plain => return Ok(window.floats.to_vec()),
        WindowMode::Anchored => false,
        WindowMode::Smoothed => true,
    };
    if !window.histograms.is_empty() {
        return Err(EvalError::execution("anchored modifier is not supported with histograms"));
    }
    let Some((mut first, mut last)) = edges(window.floats, bounds, smoothed) else { return Ok(Vec::new()) };
    let left = left_value(window.floats, first, bounds.start, smoothed, false);
    let right = right_value(window.floats, last, bounds.end, smoothed, false);
    if window.floats[first].at <= bounds.start {
        first += 1;
    }
    last = if window.floats[last].at >= bounds.end { last } else { last + 1 };
    let mut points = vec![FloatPoint { at: bounds.start, value: left }];
    points.extend_from_slice(window.floats.get(first..last).unwrap_or_default());
    points.push(FloatPoint { at: bounds.end, value: right });
    Ok(points)
}

/// The indices of the points that decide the values at both ends of the range; `None` when nothing lies within.
pub(super) fn edges<P: super::selector::Timed>(
    points: &[P],
    bounds: &Bounds,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let last = points.len().checked_sub(1)?;
    let first = points[..last].partition_point(|point| point.at() <= bounds.start).saturating_sub(1);
    let last = if smoothed { points[..last].partition_point(|point| point.at() < bounds.end) } else { last };
    let outside = points[last].at() <= bounds.start || (smoothed && points[first].at() > bounds.end);
    (!outside).then_some((first, last))
}

/// The float at the start of a range.
pub(super) fn left_value(points: &[FloatPoint], first: usize, start: i64, smoothed: bool, counter: bool) -> f64 {
    match points.get(first + 1) {
        Some(next) if smoothed && points[first].at < start => between_floats(points[first], *next, start, counter),
        _ => points[first].value,
    }
}

/// The float at the end of a range.
pub(super) fn right_value(points: &[FloatPoint], last: usize, end: i64, smoothed: bool, counter: bool) -> f64 {
    if smoothed && last > 0 && points[last].at > end {
        return between_floats(points[last - 1], points[last], end, counter);
    }
    points[last].value
}
