//! Whether an answer is the expected one, up to a relative error of 1e-6.

use brownout::model::{FloatHistogram, LabelsMap, is_stale_nan};
use brownout::promql::series_notation::Noted;
use brownout::promql::{MatrixSeries, SampleValue, Value, VectorSample};
use brownout::series::Point;

use super::script::{Eval, Pattern, When};

const EPSILON: f64 = 1e-6;

pub fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < EPSILON * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < EPSILON
}

fn same_histogram(expected: &FloatHistogram, found: &FloatHistogram, hint: bool) -> bool {
    let (mut expected, mut found) = (expected.clone(), found.clone());
    expected.compact();
    found.compact();
    let bounds = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b));
    expected.schema == found.schema
        && (!hint || expected.hint == found.hint)
        && almost_equal(expected.count, found.count)
        && almost_equal(expected.sum, found.sum)
        && bounds(&expected.custom_values, &found.custom_values)
        && expected.zero_threshold == found.zero_threshold
        && almost_equal(expected.zero_count, found.zero_count)
        && expected.negative_spans == found.negative_spans
        && bounds(&expected.negative_buckets, &found.negative_buckets)
        && expected.positive_spans == found.positive_spans
        && bounds(&expected.positive_buckets, &found.positive_buckets)
}

fn same_value(expected: &Noted, found: &SampleValue) -> bool {
    match (&expected.value, found) {
        (Some(SampleValue::Float(expected)), SampleValue::Float(found)) => almost_equal(*expected, *found),
        (Some(SampleValue::Histogram(wanted)), SampleValue::Histogram(found)) => {
            same_histogram(wanted, found, expected.hint_given)
        }
        _ => false,
    }
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => format!("{histogram} {:?}", histogram.hint),
    }
}

fn show_noted(noted: &Noted) -> String {
    noted.value.as_ref().map_or("_".to_owned(), show)
}

/// Compares a value with what an evaluation expects.
pub fn value(eval: &Eval, value: &Value) -> Result<(), String> {
    match value {
        Value::Scalar(found) => match eval.scalar {
            Some(expected) if almost_equal(expected, *found) => Ok(()),
            expected => Err(format!("expected scalar {expected:?}, got {found}")),
        },
        Value::String(found) => match &eval.string {
            Some(expected) if expected == found => Ok(()),
            expected => Err(format!("expected string {expected:?}, got {found:?}")),
        },
        Value::Vector(found) => {
            if eval.scalar.is_some() || eval.string.is_some() || eval.range_vector.is_some() {
                return Err("got an instant vector".to_owned());
            }
            vector(eval, found, eval.ordered)
        }
        Value::Matrix(found) => {
            if eval.ordered {
                return Err("expected an ordered result, got a matrix".to_owned());
            }
            let (from, step, to) = match (eval.range_vector, eval.when) {
                (Some((from, to, step)), _) => (from, step, to),
                (None, When::Range { from, to, step }) => (from, step, to),
                (None, When::Instant(_)) => return Err("got a range vector".to_owned()),
            };
            matrix(eval, found, from, to, step)
        }
    }
}

/// Compares the elements of a vector.
pub fn vector(eval: &Eval, found: &[VectorSample], ordered: bool) -> Result<(), String> {
    let mut seen = LabelsMap::default();
    for (index, sample) in found.iter().enumerate() {
        let place = eval.metrics.iter().position(|(labels, _)| *labels == sample.labels);
        let Some(place) = place else {
            return Err(format!("unexpected {} = {}", sample.labels, show(&sample.value)));
        };
        let expected = match eval.metrics[place].1.as_slice() {
            [one] => one,
            _ => return Err(format!("expected several values for {}", sample.labels)),
        };
        if ordered && place != index {
            return Err(format!("expected {} at place {place}, got it at {index}", sample.labels));
        }
        if !same_value(expected, &sample.value) {
            let (wanted, got) = (show_noted(expected), show(&sample.value));
            return Err(format!("{}: expected {wanted}, got {got}", sample.labels));
        }
        if seen.insert(sample.labels.clone(), ()).is_some() {
            return Err(format!("{} twice", sample.labels));
        }
    }
    match eval.metrics.iter().find(|(labels, _)| !seen.contains_key(labels)) {
        Some((labels, _)) => Err(format!("expected {labels}, got nothing")),
        None => Ok(()),
    }
}

fn matrix(eval: &Eval, found: &[MatrixSeries], from: i64, to: i64, step: i64) -> Result<(), String> {
    if !found.is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("the series are not sorted by their labels".to_owned());
    }
    let mut seen = LabelsMap::default();
    for series in found {
        let Some((_, values)) = eval.metrics.iter().find(|(labels, _)| *labels == series.labels) else {
            return Err(format!("unexpected {} = {:?}", series.labels, series.points));
        };
        let wanted: Vec<(i64, &Noted)> = values
            .iter()
            .enumerate()
            .map(|(i, v)| (from + i as i64 * step, v))
            .filter(|(_, v)| v.value.is_some())
            .collect();
        if values.len() > 1 && from + (values.len() as i64 - 1) * step > to {
            return Err(format!(
                "expected {} points for {}, which is more than there can be",
                values.len(),
                series.labels
            ));
        }
        let got: Vec<(i64, SampleValue)> = series.points.iter().map(timed).collect();
        let same = wanted.len() == got.len()
            && wanted.iter().zip(&got).all(|((at, wanted), (time, got))| at == time && same_value(wanted, got));
        if !same {
            let wanted: Vec<String> = wanted.iter().map(|(at, v)| format!("{}@{at}", show_noted(v))).collect();
            let got: Vec<String> = got.iter().map(|(at, v)| format!("{}@{at}", show(v))).collect();
            return Err(format!(
                "{}: expected\n      {}, got\n      {}",
                series.labels,
                wanted.join(" "),
                got.join(" ")
            ));
        }
        seen.insert(series.labels.clone(), ());
    }
    match eval.metrics.iter().find(|(labels, _)| !seen.contains_key(labels)) {
        Some((labels, _)) => Err(format!("expected {labels}, got nothing")),
        None => Ok(()),
    }
}

/// A point as time and value.
pub fn timed(point: &Point) -> (i64, SampleValue) {
    match point {
        Point::Float(at, value) => (at.as_millis(), SampleValue::Float(*value)),
        Point::Histogram(at, value) => (at.as_millis(), SampleValue::Histogram(value.clone())),
    }
}

/// Compares annotations of one kind with what is said of them.
pub fn annotations(what: &str, expected: &[Pattern], none: bool, found: &[String]) -> Result<(), String> {
    if none && !found.is_empty() {
        return Err(format!("expected no {what}, got {found:?}"));
    }
    for pattern in expected {
        if !found.iter().any(|text| matches(pattern, text)) {
            return Err(format!("expected {what} {}, got {found:?}", describe(pattern)));
        }
    }
    let unexpected = found.iter().find(|text| !expected.iter().any(|pattern| matches(pattern, text)));
    match unexpected {
        Some(text) if !expected.is_empty() => Err(format!("unexpected {what} {text:?}")),
        _ => Ok(()),
    }
}

/// Whether a text looks as expected.
pub fn matches(pattern: &Pattern, text: &str) -> bool {
    match pattern {
        Pattern::Any => true,
        Pattern::Exact(expected) => expected == text,
        Pattern::Regex(regex) => regex.is_match(text),
    }
}

pub fn describe(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Any => "of any kind".to_owned(),
        Pattern::Exact(text) => format!("{text:?}"),
        Pattern::Regex(regex) => format!("matching {:?}", regex.as_str()),
    }
}
