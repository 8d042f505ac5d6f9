//! `rate`, `increase` and `delta` of `anchored` and `smoothed` ranges: from end to end, without extrapolation.

use super::range_call::Input;
use super::rates::{Meaning, add_noted, subtract_noted};
use crate::model::{CounterResetHint, FloatHistogram};
use crate::promql::ast::WindowMode;
use crate::promql::eval::annotations::Note;
use crate::promql::eval::evaluator::Evaluator;
use crate::promql::eval::selector::HistogramPoint;
use crate::promql::eval::smooth::{edges, left_value, right_value};
use crate::promql::eval::value::SampleValue;
use crate::promql::histogram::IncompatibleSchema;

pub(super) fn floats(input: &Input<'_>, meaning: Meaning) -> Option<SampleValue> {
    let (points, bounds) = (input.window.floats, input.bounds);
    let smoothed = bounds.mode == WindowMode::Smoothed;
    let (first, last) = edges(points, bounds, smoothed)?;
    let left = left_value(points, first, bounds.start, smoothed, meaning.counter);
    let right = right_value(points, last, bounds.end, smoothed, meaning.counter);
    let mut result = right - left;
    if meaning.counter {
        let from = if points[first].at <= bounds.start { first + 1 } else { first };
        let until = if points[last].at >= bounds.end { last } else { last + 1 };
        let mut previous = left;
        let within = points.get(from..until).unwrap_or_default();
        for value in within.iter().map(|point| point.value).chain([right]) {
            if value < previous {
                result += previous;
            }
            previous = value;
        }
    }
    Some(SampleValue::Float(if meaning.per_second { result / bounds.seconds() } else { result }))
}

pub(super) fn histograms(evaluator: &mut Evaluator<'_>, input: &Input<'_>, meaning: Meaning) -> Option<SampleValue> {
    let (points, bounds) = (input.window.histograms, input.bounds);
    let smoothed = bounds.mode == WindowMode::Smoothed;
    let (first, last) = edges(points, bounds, smoothed)?;
    check_kinds(evaluator, input, points.get(first..=last)?, meaning.counter)?;
    let left = match points.get(first + 1) {
        Some(next) if smoothed && points[first].at < bounds.start => {
            interpolated(evaluator, input, (&points[first], next), bounds.start, meaning.counter)?
        }
        _ => points[first].value.as_ref().clone(),
    };
    let right = if smoothed && last > 0 && points[last].at > bounds.end {
        interpolated(evaluator, input, (&points[last - 1], &points[last]), bounds.end, meaning.counter)?
    } else {
        points[last].value.as_ref().clone()
    };
    let gauge = |histogram: &FloatHistogram| histogram.hint == CounterResetHint::Gauge;
    let gauges = gauge(&left) && gauge(&right);
    if !meaning.counter && !gauges {
        evaluator.note(&Note::NotGauge(input.name()), input.span);
    }
    let mut result = right.clone();
    subtract_noted(evaluator, input, &mut result, &left)?;
    if meaning.counter
        && let Some(lost) = lost_in_resets(evaluator, input, (first, last), left, &right)?
    {
        add_noted(evaluator, input, &mut result, &lost)?;
    }
    if meaning.per_second {
        result.divide(bounds.seconds());
    }
    result.hint = CounterResetHint::Gauge;
    result.compact();
    Some(result.into())
}

fn check_kinds(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    points: &[HistogramPoint],
    counter: bool,
) -> Option<()> {
    let custom = points.first()?.value.uses_custom_buckets();
    for point in points {
        if point.value.uses_custom_buckets() != custom {
            evaluator.note(&Note::MixedExponentialCustom(input.name()), input.span);
            return None;
        }
        if counter && point.value.hint == CounterResetHint::Gauge {
            evaluator.note(&Note::NotCounter(input.name()), input.span);
        }
    }
    Some(())
}

fn interpolated(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    (before, after): (&HistogramPoint, &HistogramPoint),
    at: i64,
    counter: bool,
) -> Option<FloatHistogram> {
    match evaluator.between_histograms(before, after, at, counter, input.span) {
        Ok(histogram) => Some(histogram),
        Err(IncompatibleSchema) => {
            evaluator.note(&Note::MixedExponentialCustom(input.name()), input.span);
            None
        }
    }
}

/// What the counter had reached before each reset between the ends; `Some(None)` for nothing.
///
/// A reset that the interpolation at the left end went across is accounted for already.
fn lost_in_resets(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    (first, last): (usize, usize),
    left: FloatHistogram,
    right: &FloatHistogram,
) -> Option<Option<FloatHistogram>> {
    let (points, bounds) = (input.window.histograms, input.bounds);
    let mut previous = left;
    let mut from = first + 1;
    if bounds.mode == WindowMode::Smoothed
        && points[first].at < bounds.start
        && let Some(next) = points.get(first + 1)
        && next.value.is_reset_after(&points[first].value)
    {
        previous = next.value.as_ref().clone();
        from += 1;
    }
    if from > last {
        return Some(None);
    }
    let mut lost: Option<FloatHistogram> = None;
    let within = points[from..last].iter().map(|point| point.value.as_ref());
    for current in within.chain([right]) {
        if current.is_reset_after(&previous) {
            match &mut lost {
                Some(lost) => add_noted(evaluator, input, lost, &previous)?,
                None => lost = Some(previous),
            }
        }
        previous = current.clone();
    }
    Some(lost)
}
