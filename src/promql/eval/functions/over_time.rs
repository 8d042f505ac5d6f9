//! `..._over_time`: one number (or histogram) for the samples of a window.

use std::sync::Arc;

use super::range_call::Input;
use crate::model::CounterResetHint;
use crate::promql::eval::annotations::{Note, Operation};
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::Evaluator;
use crate::promql::eval::selector::{FloatPoint, HistogramPoint};
use crate::promql::eval::statistics::{HistogramMean, quantile_of};
use crate::promql::eval::value::SampleValue;
use crate::promql::histogram::{Combined, HistogramSum, IncompatibleSchema};
use crate::promql::numbers::{Kahan, Mean};

type Answer = Result<Option<SampleValue>, EvalError>;

fn float(value: f64) -> Answer {
    Ok(Some(SampleValue::Float(value)))
}

pub(super) fn count(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    float(input.window.len() as f64)
}

pub(super) fn present(_: &mut Evaluator<'_>, _: &Input<'_>) -> Answer {
    float(1.0)
}

/// True (and said) when the window has floats and histograms.
fn mixed(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> bool {
    let mixed = !input.window.floats.is_empty() && !input.window.histograms.is_empty();
    if mixed {
        evaluator.note(&Note::MixedFloatsHistograms(input.name()), input.span);
    }
    mixed
}

pub(super) fn sum(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    if mixed(evaluator, input) {
        return Ok(None);
    }
    if let [first, rest @ ..] = input.window.histograms {
        let mut sum = HistogramSum::new(&first.value);
        let added = add_all(evaluator, input, first, rest, |value| sum.add(value));
        return Ok(added.map(|()| sum.finish().into()));
    }
    let mut total = Kahan::default();
    for point in input.window.floats {
        total.add(point.value);
    }
    float(if total.sum.is_infinite() { total.sum } else { total.value() })
}

pub(super) fn avg(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    if mixed(evaluator, input) {
        return Ok(None);
    }
    if let [first, rest @ ..] = input.window.histograms {
        let mut mean = HistogramMean::new(&first.value);
        let added = add_all(evaluator, input, first, rest, |value| mean.add(value));
        return Ok(added.map(|()| mean.finish().into()));
    }
    let mut mean = Mean::default();
    for point in input.window.floats {
        mean.add(point.value);
    }
    float(mean.value())
}

/// Feeds the histograms to `add`; says what had to be glossed over, `None` for buckets that do not go together.
fn add_all(
    evaluator: &mut Evaluator<'_>,
    input: &Input<'_>,
    first: &HistogramPoint,
    rest: &[HistogramPoint],
    mut add: impl FnMut(&crate::model::FloatHistogram) -> Result<Combined, IncompatibleSchema>,
) -> Option<()> {
    let mut reconciled = false;
    for point in rest {
        match add(&point.value) {
            Ok(combined) => reconciled |= combined.bounds_reconciled,
            Err(IncompatibleSchema) => {
                evaluator.note(&Note::MixedExponentialCustom(input.name()), input.span);
                return None;
            }
        }
    }
    let says = |hint| first.value.hint == hint || rest.iter().any(|point| point.value.hint == hint);
    if says(CounterResetHint::Reset) && says(CounterResetHint::NotReset) {
        evaluator.note(&Note::ResetCollision(Operation::Aggregation), input.span);
    }
    if reconciled {
        evaluator.note(&Note::BoundsReconciled(Operation::Aggregation), input.span);
    }
    Some(())
}

pub(super) fn first(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let (float, histogram) = (input.window.floats.first(), input.window.histograms.first());
    Ok(match (float, histogram) {
        (Some(float), Some(histogram)) if float.at < histogram.at => Some(SampleValue::Float(float.value)),
        (_, Some(histogram)) => Some(SampleValue::Histogram(Arc::clone(&histogram.value))),
        (float, None) => float.map(|point| SampleValue::Float(point.value)),
    })
}

pub(super) fn last(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let (float, histogram) = (input.window.floats.last(), input.window.histograms.last());
    Ok(match (float, histogram) {
        (Some(float), Some(histogram)) if histogram.at < float.at => Some(SampleValue::Float(float.value)),
        (_, Some(histogram)) => Some(SampleValue::Histogram(Arc::clone(&histogram.value))),
        (float, None) => float.map(|point| SampleValue::Float(point.value)),
    })
}

pub(super) fn time_of_first(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let float = input.window.floats.first().map(|point| point.at);
    let histogram = input.window.histograms.first().map(|point| point.at);
    Ok(float.into_iter().chain(histogram).min().map(|at| SampleValue::Float(at as f64 / 1000.0)))
}

pub(super) fn time_of_last(_: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let float = input.window.floats.last().map(|point| point.at);
    let histogram = input.window.histograms.last().map(|point| point.at);
    Ok(float.into_iter().chain(histogram).max().map(|at| SampleValue::Float(at as f64 / 1000.0)))
}

/// The floats of a window, if there are any; says so when histograms are left out.
fn only_floats<'s>(evaluator: &mut Evaluator<'_>, input: &Input<'s>) -> Option<&'s [FloatPoint]> {
    let floats = input.window.floats;
    if floats.is_empty() {
        return None;
    }
    if !input.window.histograms.is_empty() {
        evaluator.note(&Note::HistogramIgnoredInRange(input.name()), input.span);
    }
    Some(floats)
}

/// The float that beats all before it; a NaN is beaten by anything.
fn winner(evaluator: &mut Evaluator<'_>, input: &Input<'_>, beats: fn(f64, f64) -> bool) -> Option<FloatPoint> {
    let floats = only_floats(evaluator, input)?;
    let mut best = floats[0];
    for point in floats {
        if best.value.is_nan() || beats(point.value, best.value) {
            best = *point;
        }
    }
    Some(best)
}

pub(super) fn min(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(winner(evaluator, input, |now, best| now < best).map(|point| SampleValue::Float(point.value)))
}

pub(super) fn max(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(winner(evaluator, input, |now, best| now > best).map(|point| SampleValue::Float(point.value)))
}

pub(super) fn time_of_min(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let point = winner(evaluator, input, |now, best| now <= best);
    Ok(point.map(|point| SampleValue::Float(point.at as f64 / 1000.0)))
}

pub(super) fn time_of_max(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let point = winner(evaluator, input, |now, best| now >= best);
    Ok(point.map(|point| SampleValue::Float(point.at as f64 / 1000.0)))
}

fn variance(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Option<f64> {
    let floats = only_floats(evaluator, input)?;
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    for (index, point) in floats.iter().enumerate() {
        let delta = point.value - mean.value();
        mean.add(delta / (index + 1) as f64);
        squares.add(delta * (point.value - mean.value()));
    }
    Some(squares.value() / floats.len() as f64)
}

pub(super) fn stdvar(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(variance(evaluator, input).map(SampleValue::Float))
}

pub(super) fn stddev(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    Ok(variance(evaluator, input).map(|variance| SampleValue::Float(variance.sqrt())))
}

pub(super) fn quantile(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let q = input.params.first().copied().unwrap_or(f64::NAN);
    if input.window.floats.is_empty() {
        return Ok(None);
    }
    if !(0.0..=1.0).contains(&q) {
        evaluator.note(&Note::InvalidQuantile(q), input.span);
    }
    let floats = only_floats(evaluator, input).unwrap_or_default();
    let mut values: Vec<f64> = floats.iter().map(|point| point.value).collect();
    float(quantile_of(q, &mut values))
}

/// The median of the distances from the median.
pub(super) fn mad(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let Some(floats) = only_floats(evaluator, input) else { return Ok(None) };
    let mut values: Vec<f64> = floats.iter().map(|point| point.value).collect();
    if values.iter().any(|value| value.is_nan()) {
        return float(f64::NAN);
    }
    let median = quantile_of(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    float(quantile_of(0.5, &mut values))
}
