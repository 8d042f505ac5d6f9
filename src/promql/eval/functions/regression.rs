//! `deriv`, `predict_linear`, `double_exponential_smoothing`: floats only.

use super::range_call::Input;
use crate::promql::eval::annotations::Note;
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::Evaluator;
use crate::promql::eval::selector::FloatPoint;
use crate::promql::eval::value::SampleValue;
use crate::promql::numbers::Kahan;

type Answer = Result<Option<SampleValue>, EvalError>;

/// At least two floats; says so when histograms are left out.
fn enough_floats<'s>(evaluator: &mut Evaluator<'_>, input: &Input<'s>) -> Option<&'s [FloatPoint]> {
    let floats = input.window.floats;
    if !floats.is_empty() && !input.window.histograms.is_empty() {
        evaluator.note(&Note::HistogramIgnoredInRange(input.name()), input.span);
    }
    (floats.len() > 1).then_some(floats)
}

pub(super) fn deriv(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let Some(points) = enough_floats(evaluator, input) else { return Ok(None) };
    // Times are taken relative to one close by, to lose no digits.
    let (slope, _) = linear_regression(points, points[0].at);
    Ok(Some(SampleValue::Float(slope)))
}

pub(super) fn predict_linear(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let Some(points) = enough_floats(evaluator, input) else { return Ok(None) };
    let ahead = input.params.first().copied().unwrap_or(f64::NAN);
    let (slope, intercept) = linear_regression(points, input.at);
    Ok(Some(SampleValue::Float(slope * ahead + intercept)))
}

/// Least squares: the slope per second, and the value at `origin`.
fn linear_regression(points: &[FloatPoint], origin: i64) -> (f64, f64) {
    let first = points[0].value;
    if points.iter().all(|point| point.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    for point in points {
        let x = (point.at - origin) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(point.value);
        xy_sum.add(x * point.value);
        xx_sum.add(x * x);
    }
    let n = points.len() as f64;
    let (x_sum, y_sum) = (x_sum.value(), y_sum.value());
    let covariance = xy_sum.value() - x_sum * y_sum / n;
    let variance = xx_sum.value() - x_sum * x_sum / n;
    let slope = covariance / variance;
    (slope, y_sum / n - slope * x_sum / n)
}

/// Holt's method: a smoothed level (`sf`) and a smoothed trend (`tf`).
pub(super) fn double_exponential_smoothing(evaluator: &mut Evaluator<'_>, input: &Input<'_>) -> Answer {
    let param = |index: usize| input.params.get(index).copied().unwrap_or(f64::NAN);
    let (level_factor, trend_factor) = (param(0), param(1));
    for (factor, what, short) in [(level_factor, "smoothing", "sf"), (trend_factor, "trend", "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            let message = format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
            return Err(EvalError::execution(message));
        }
    }
    let Some(points) = enough_floats(evaluator, input) else { return Ok(None) };
    let mut before = 0.0;
    let mut level = points[0].value;
    let mut trend = points[1].value - points[0].value;
    for (index, point) in points.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let smoothed = level_factor * point.value + (1.0 - level_factor) * (level + trend);
        (before, level) = (level, smoothed);
    }
    Ok(Some(SampleValue::Float(level)))
}
