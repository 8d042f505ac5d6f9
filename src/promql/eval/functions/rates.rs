//! `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`.
//!
//! Plain ranges extrapolate to the ends of the range as Prometheus does; `anchored` and `smoothed` ones
//! ([`super::extended`]) need not.

use std::sync::Arc;

use super::extended;
use super::range_call::Input;
use crate::model::{CounterResetHint, FloatHistogram};
use crate::promql::ast::WindowMode;
use crate::promql::eval::annotations::{Note, Operation};
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::Evaluator;
use crate::promql::eval::selector::{Bounds, HistogramPoint};
use crate::promql::eval::value::SampleValue;

/// How a difference over a window is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Falls are resets.
    pub counter: bool,
    pub per_second: bool,
}

type Answer = Result<Option<SampleValue>, EvalError>;

pub(super) fn rate(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(difference(evaluator, input, Meaning { counter: true, per_second: true }))
}

pub(super) fn increase(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(difference(evaluator, input, Meaning { counter: true, per_second: false }))
}

pub(super) fn delta(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(difference(evaluator, input, Meaning { counter: false, per_second: false }))
}

fn difference(evaluator: &mut Evaluator<'_>, input: &Input<'_>, meaning: Meaning) -> Option<SampleValue> {
    let window = &input.window;
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        evaluator.note(&Note::MixedFloatsHistograms(input.name()), input.span);
        return None;
    }
    match (input.bounds.mode, window.histograms.is_empty()) {
        (WindowMode::Plain, true) => float_difference(evaluator, input, meaning),
        (WindowMode::Plain, false) => histogram_difference(evaluator, input, meaning),
        (_, true) => extended::floats(input, meaning),
        (_, false) => extended::histograms(evaluator, input, meaning),
    }
}

fn float_difference(evaluator: &mut Evaluator<'_>, input: &Input<'_>, meaning: Meaning) -> Option<SampleValue> {
    let (points, starts) = (input.window.floats, input.window.float_starts);
    let (first, last) = (points.first()?, points.last()?);
    let mut result = last.value - first.value;
    if meaning.counter {
        let mut overlaps = false;
        for (index, pair) in points.windows(2).enumerate() {
            if let Some(&[before, now]) = starts.get(index..index + 2) {
                overlaps |= now != 0 && now < pair[0].at && now != before;
            }
            if pair[1].value < pair[0].value || start_says_reset(starts, index, pair[0].at, pair[1].at) {
                result += pair[0].value;
            }
        }
        if overlaps {
            evaluator.note(&Note::StartOverlap(input.name()), input.span);
        }
    }
    let ends = Ends { first: (first.at, first.value), last: (last.at, last.value), count: points.len(), result };
    ends.stretched(input.bounds, meaning, starts).map(SampleValue::Float)
}

/// What a difference over floats is made of.
pub(super) struct Ends {
    pub first: (i64, f64),
    pub last: (i64, f64),
    pub count: usize,
    /// The last minus the first value, and the values before resets in their order.
    pub result: f64,
}

impl Ends {
    /// The difference, stretched to the ends of the range.
    pub(super) fn stretched(&self, bounds: &Bounds, meaning: Meaning, starts: &[i64]) -> Option<f64> {
        let Ends { first, last, count, mut result } = *self;
        let stretch = Stretch::new(bounds, first.0, last.0, count);
        let known_start = meaning.counter.then(|| stretch.start_within(starts)).flatten();
        let factor = match known_start {
            Some(start) => {
                result += first.1;
                stretch.factor_from(start)
            }
            None if count == 1 => return None,
            None => stretch.factor((meaning.counter && result > 0.0 && first.1 >= 0.0).then_some(first.1 / result)),
        };
        Some(result * factor / if meaning.per_second { bounds.seconds() } else { 1.0 })
    }
}

fn histogram_difference(evaluator: &mut Evaluator<'_>, input: &Input<'_>, meaning: Meaning) -> Option<SampleValue> {
    let (points, starts) = (input.window.histograms, input.window.histogram_starts);
    let (first, last) = (points.first()?, points.last()?);
    let stretch = Stretch::new(input.bounds, first.at, last.at, points.len());
    let mut result = None;
    if points.len() > 1 {
        result = Some(histogram_growth(evaluator, input, meaning.counter)?);
    }
    let known_start = meaning.counter.then(|| stretch.start_within(starts)).flatten();
    let factor = match known_start {
        Some(start) => {
            match &mut result {
                None => result = Some(first.value.as_ref().clone()),
                Some(result) => add_noted(evaluator, input, result, &first.value)?,
            }
            stretch.factor_from(start)
        }
        None => {
            let grown = result.as_ref()?.count;
            let counts = meaning.counter && grown > 0.0 && first.value.count >= 0.0;
            stretch.factor(counts.then_some(first.value.count / grown))
        }
    };
    let mut result = result?;
    result.scale(factor / if meaning.per_second { input.bounds.seconds() } else { 1.0 });
    Some(result.into())
}

/// From the first to the last sample of a window, and how far the ends of the range are away.
struct Stretch {
    range_start: i64,
    first: i64,
    last: i64,
    to_start: f64,
    to_end: f64,
    sampled: f64,
    average: f64,
}

impl Stretch {
    fn new(bounds: &Bounds, first: i64, last: i64, points: usize) -> Stretch {
        let secs = |millis: i64| millis as f64 / 1000.0;
        let sampled = secs(last - first);
        Stretch {
            range_start: bounds.start,
            first,
            last,
            to_start: secs(first - bounds.start),
            to_end: secs(bounds.end - last),
            sampled,
            average: if points > 1 { sampled / (points - 1) as f64 } else { 0.0 },
        }
    }

    /// The start timestamp of the first sample if it lies within the range: the counter was 0 then.
    fn start_within(&self, starts: &[i64]) -> Option<i64> {
        starts.first().copied().filter(|start| *start != 0 && *start > self.range_start && *start < self.first)
    }

    fn factor_from(&self, start: i64) -> f64 {
        let sampled = (self.last - start) as f64 / 1000.0;
        if sampled == 0.0 { 1.0 } else { (sampled + self.capped_end()) / sampled }
    }

    /// By how much the difference grows when it is stretched to the ends of the range: to an end that is no further
    /// away than 1.1 times the samples are apart, else by half that distance; never to before a counter was 0
    /// (`zero_at`: how far back, in lengths of the sampled stretch).
    fn factor(&self, zero_at: Option<f64>) -> f64 {
        let mut to_start = if self.to_start >= self.average * 1.1 { self.average / 2.0 } else { self.to_start };
        if let Some(lengths) = zero_at {
            let to_zero = self.sampled * lengths;
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if self.sampled == 0.0 { 1.0 } else { (self.sampled + to_start + self.capped_end()) / self.sampled }
    }

    fn capped_end(&self) -> f64 {
        if self.to_end >= self.average * 1.1 { self.average / 2.0 } else { self.to_end }
    }
}

/// The difference between the last and the first histogram of a window, resets made good for.
fn histogram_growth(evaluator: &mut Evaluator<'_>, input: &Input<'_>, counter: bool) -> Option<FloatHistogram> {
    let (points, starts) = (input.window.histograms, input.window.histogram_starts);
    let name = input.name();
    let (first, last) = (&points[0].value, &points[points.len() - 1].value);
    let gauge = |histogram: &FloatHistogram| histogram.hint == CounterResetHint::Gauge;
    if counter && points.iter().any(|point| gauge(&point.value)) {
        evaluator.note(&Note::NotCounter(name), input.span);
    }
    let mut previous = Arc::clone(first);
    // A first sample before a reset does not matter, so neither does its layout.
    let second = &points[1];
    let first_reset = start_says_reset(starts, 0, points[0].at, second.at) || second.value.is_reset_after(first);
    if counter && first_reset {
        previous = Arc::new(FloatHistogram::empty_like(&second.value));
    }
    let custom = previous.uses_custom_buckets();
    let between = if counter { &points[1..points.len() - 1] } else { &[] };
    let mixed = |point: &HistogramPoint| point.value.uses_custom_buckets() != custom;
    if last.uses_custom_buckets() != custom || between.iter().any(mixed) {
        evaluator.note(&Note::MixedExponentialCustom(name), input.span);
        return None;
    }
    let schema = between.iter().map(|point| point.value.schema).chain([last.schema, previous.schema]).min()?;
    let mut result = last.at_schema(schema);
    subtract_noted(evaluator, input, &mut result, &previous)?;
    if counter {
        let mut overlaps = false;
        for (index, pair) in points.windows(2).enumerate() {
            if let Some(&[before, now]) = starts.get(index..index + 2) {
                overlaps |= now != 0 && now < pair[0].at && now != before;
            }
            let current = &pair[1].value;
            if start_says_reset(starts, index, pair[0].at, pair[1].at) || current.is_reset_after(&previous) {
                add_noted(evaluator, input, &mut result, &previous)?;
            }
            previous = Arc::clone(current);
        }
        if overlaps {
            evaluator.note(&Note::StartOverlap(name), input.span);
        }
    } else if !gauge(first) || !gauge(last) {
        evaluator.note(&Note::NotGauge(name), input.span);
    }
    result.hint = CounterResetHint::Gauge;
    result.compact();
    Some(result)
}

/// Adds, and says so when that was not possible (`None`) or not exact.
pub(super) fn add_noted(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    result: &mut FloatHistogram,
    other: &FloatHistogram,
) -> Option<()> {
    let combined = result.add(other);
    noted(evaluator, input, combined.map(|combined| combined.bounds_reconciled).ok(), Operation::Addition)
}

/// Subtracts, and says so when that was not possible (`None`) or not exact.
pub(super) fn subtract_noted(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    result: &mut FloatHistogram,
    other: &FloatHistogram,
) -> Option<()> {
    let combined = result.subtract(other);
    noted(evaluator, input, combined.map(|combined| combined.bounds_reconciled).ok(), Operation::Subtraction)
}

fn noted(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    reconciled: Option<bool>,
    operation: Operation,
) -> Option<()> {
    match reconciled {
        None => evaluator.note(&Note::MixedExponentialCustom(input.name()), input.span),
        Some(true) => evaluator.note(&Note::BoundsReconciled(operation), input.span),
        Some(false) => {}
    }
    reconciled.map(|_| ())
}

/// Whether the start timestamps say that the counter began anew between the samples `index` and `index + 1`.
fn start_says_reset(starts: &[i64], index: usize, at_before: i64, at: i64) -> bool {
    let Some(&[before, now]) = starts.get(index..index + 2) else { return false };
    if now == 0 || now >= at || now < at_before {
        // None, an impossible one, OpenTelemetry's "unknown", or the same start as before.
        return false;
    }
    if now > at_before {
        return true;
    }
    // It points at the sample before: a reset for deltas, but not when the counter's start is not known.
    before <= at_before && before != 0 && before != at_before
}

pub(super) fn irate(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(last_two(evaluator, input, true))
}

pub(super) fn idelta(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(last_two(evaluator, input, false))
}

/// A sample of either kind with its times.
#[derive(Clone)]
struct Either {
    at: i64,
    start: i64,
    value: SampleValue,
}

/// The samples of a window from the given indices on, floats and histograms in one order of time.
fn in_order<'s>(input: &'s Input<'_>, from_float: usize, from_histogram: usize) -> impl Iterator<Item = Either> + 's {
    let window = input.window;
    let (mut float, mut histogram) = (from_float, from_histogram);
    std::iter::from_fn(move || {
        let next_float = window.floats.get(float);
        let next_histogram = window.histograms.get(histogram);
        let take_float = match (next_float, next_histogram) {
            (Some(a), Some(b)) => a.at < b.at,
            (float, _) => float.is_some(),
        };
        if take_float {
            let point = next_float?;
            let start = window.float_starts.get(float).copied().unwrap_or(0);
            float += 1;
            return Some(Either { at: point.at, start, value: SampleValue::Float(point.value) });
        }
        let point = next_histogram?;
        let start = window.histogram_starts.get(histogram).copied().unwrap_or(0);
        histogram += 1;
        Some(Either { at: point.at, start, value: SampleValue::Histogram(Arc::clone(&point.value)) })
    })
}

fn last_two(evaluator: &mut Evaluator<'_>, input: &Input<'_>, rate: bool) -> Option<SampleValue> {
    let window = &input.window;
    let from = (window.floats.len().saturating_sub(2), window.histograms.len().saturating_sub(2));
    let tail: Vec<Either> = in_order(input, from.0, from.1).collect();
    let [.., before, now] = tail.as_slice() else { return None };
    let millis = now.at - before.at;
    if millis == 0 {
        return None;
    }
    let reset = start_says_reset(&[before.start, now.start], 0, before.at, now.at);
    let seconds = if rate { millis as f64 / 1000.0 } else { 1.0 };
    match (&before.value, &now.value) {
        (SampleValue::Float(first), SampleValue::Float(second)) => {
            let fell = rate && (second < first || reset);
            Some(SampleValue::Float(if fell { *second } else { second - first } / seconds))
        }
        (SampleValue::Histogram(first), SampleValue::Histogram(second)) => {
            let gauges = [first, second].map(|histogram| histogram.hint == CounterResetHint::Gauge);
            if rate && gauges.contains(&true) {
                evaluator.note(&Note::NotCounter(input.name()), input.span);
            }
            if !rate && gauges.contains(&false) {
                evaluator.note(&Note::NotGauge(input.name()), input.span);
            }
            let mut result = second.as_ref().clone();
            if !rate || !(reset || second.is_reset_after(first)) {
                subtract_noted(evaluator, input, &mut result, first)?;
            }
            result.hint = CounterResetHint::Gauge;
            result.compact();
            if rate {
                result.divide(seconds);
            }
            Some(result.into())
        }
        _ => {
            evaluator.note(&Note::MixedFloatsHistograms(input.name()), input.span);
            None
        }
    }
}

/// Where counting starts in an `anchored` window: at the last sample at or before the range's start, whatever its
/// kind; `None` when nothing lies after that start.
fn anchor(input: &Input<'_>) -> Option<(usize, usize)> {
    if input.bounds.mode != WindowMode::Anchored {
        return Some((0, 0));
    }
    let (floats, histograms) = (input.window.floats, input.window.histograms);
    let start = input.bounds.start;
    let float = floats.partition_point(|point| point.at <= start);
    let histogram = histograms.partition_point(|point| point.at <= start);
    if float == floats.len() && histogram == histograms.len() {
        return None;
    }
    Some(match (float.checked_sub(1), histogram.checked_sub(1)) {
        (None, None) => (0, 0),
        (Some(f), None) => (f, histogram),
        (None, Some(h)) => (float, h),
        (Some(f), Some(h)) if floats[f].at >= histograms[h].at => (f, histogram),
        (Some(_), Some(h)) => (float, h),
    })
}

pub(super) fn resets(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(count_steps(input, |before, now| {
        let reset = start_says_reset(&[before.start, now.start], 0, before.at, now.at);
        match (&before.value, &now.value) {
            (SampleValue::Float(first), SampleValue::Float(second)) => second < first || reset,
            (SampleValue::Histogram(first), SampleValue::Histogram(second)) => reset || second.is_reset_after(first),
            _ => true,
        }
    }))
}

pub(super) fn changes(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(count_steps(input, |before, now| match (&before.value, &now.value) {
        (SampleValue::Float(first), SampleValue::Float(second)) => {
            first != second && !(first.is_nan() && second.is_nan())
        }
        (SampleValue::Histogram(first), SampleValue::Histogram(second)) => !second.same_data(first),
        _ => true,
    }))
}

fn count_steps(input: &Input<'_>, counts: impl Fn(&Either, &Either) -> bool) -> Option<SampleValue> {
    let (from_float, from_histogram) = anchor(input)?;
    let mut samples = in_order(input, from_float, from_histogram);
    let mut before = samples.next()?;
    let mut count = 0;
    for now in samples {
        count += u32::from(counts(&before, &now));
        before = now;
    }
    Some(SampleValue::Float(f64::from(count)))
}
