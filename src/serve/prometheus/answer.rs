//! The envelope, errors and numbers of the API, written straight into text.

use std::fmt::Write as _;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::model::Labels;
use crate::promql::{MatrixSeries, SampleValue, Value, VectorSample};
use crate::series::Point;
use crate::time::Timestamp;

/// What goes wrong, in Prometheus' types.
#[derive(Debug)]
pub(super) enum ApiError {
    BadData(String),
    Execution(String),
    Timeout(String),
    Canceled(String),
    Unavailable,
    NotFound(String),
    Internal(String),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, kind, message) = match self {
            ApiError::BadData(message) => (400, "bad_data", message),
            ApiError::Execution(message) => (422, "execution", message),
            ApiError::Timeout(message) => (503, "timeout", message),
            ApiError::Canceled(message) => (499, "canceled", message),
            ApiError::Unavailable => (503, "unavailable", "the daemon is shutting down".into()),
            ApiError::NotFound(message) => (404, "not_found", message),
            ApiError::Internal(message) => (500, "internal", message),
        };
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, axum::Json(json!({ "status": "error", "errorType": kind, "error": message }))).into_response()
    }
}

pub(super) type Answer = Result<Response, ApiError>;

/// A successful answer around JSON text.
pub(super) fn data(data: &str) -> Response {
    with_notes(data, &[], &[])
}

/// A successful answer with warnings and infos.
pub(super) fn with_notes(data: &str, warnings: &[String], infos: &[String]) -> Response {
    let mut text = format!("{{\"status\":\"success\",\"data\":{data}");
    for (key, notes) in [("warnings", warnings), ("infos", infos)] {
        if !notes.is_empty() {
            let _ = write!(text, ",\"{key}\":{}", json!(notes));
        }
    }
    text.push('}');
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A query's value: `{"resultType": ..., "result": ...}`.
pub(super) fn query_data(value: &Value, at: Timestamp) -> String {
    let mut text = String::new();
    match value {
        Value::Scalar(number) => {
            text.push_str("{\"resultType\":\"scalar\",\"result\":");
            float_pair(&mut text, at, *number);
        }
        Value::String(string) => {
            text.push_str("{\"resultType\":\"string\",\"result\":[");
            seconds(&mut text, at);
            let _ = write!(text, ",{}]", json!(string));
        }
        Value::Vector(samples) => {
            text.push_str("{\"resultType\":\"vector\",\"result\":[");
            join(&mut text, samples, vector_sample);
            text.push(']');
        }
        Value::Matrix(series) => {
            text.push_str("{\"resultType\":\"matrix\",\"result\":[");
            join(&mut text, series, matrix_series);
            text.push(']');
        }
    }
    text.push('}');
    text
}

fn join<T>(text: &mut String, items: &[T], write: fn(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(text, item);
    }
}

fn vector_sample(text: &mut String, sample: &VectorSample) {
    text.push_str("{\"metric\":");
    labels_json(text, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            text.push_str(",\"value\":");
            float_pair(text, sample.at, *value);
        }
        SampleValue::Histogram(histogram) => {
            text.push_str(",\"histogram\":");
            histogram_pair(text, sample.at, histogram);
        }
    }
    text.push('}');
}

fn matrix_series(text: &mut String, series: &MatrixSeries) {
    text.push_str("{\"metric\":");
    labels_json(text, &series.labels);
    let floats: Vec<&Point> = series.points.iter().filter(|p| matches!(p, Point::Float(..))).collect();
    let histograms: Vec<&Point> = series.points.iter().filter(|p| matches!(p, Point::Histogram(..))).collect();
    if !floats.is_empty() || histograms.is_empty() {
        text.push_str(",\"values\":[");
        join(text, &floats, point);
        text.push(']');
    }
    if !histograms.is_empty() {
        text.push_str(",\"histograms\":[");
        join(text, &histograms, point);
        text.push(']');
    }
    text.push('}');
}

fn point(text: &mut String, point: &&Point) {
    match point {
        Point::Float(at, value) => float_pair(text, *at, *value),
        Point::Histogram(at, histogram) => histogram_pair(text, *at, histogram),
    }
}

/// `{"name":"value",...}`
pub(super) fn labels_json(text: &mut String, labels: &Labels) {
    text.push('{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let _ = write!(text, "{}:{}", json!(name), json!(value));
    }
    text.push('}');
}

fn float_pair(text: &mut String, at: Timestamp, value: f64) {
    text.push('[');
    seconds(text, at);
    let _ = write!(text, ",\"{}\"]", number(value));
}

fn histogram_pair(text: &mut String, at: Timestamp, histogram: &crate::model::FloatHistogram) {
    text.push('[');
    seconds(text, at);
    let _ = write!(
        text,
        ",{{\"count\":\"{}\",\"sum\":\"{}\",\"buckets\":[",
        number(histogram.count),
        number(histogram.sum)
    );
    for (index, bucket) in histogram.all_buckets().iter().filter(|b| b.count != 0.0).enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (lower, upper, count) = (number(bucket.lower), number(bucket.upper), number(bucket.count));
        // Which ends belong to the bucket, in the numbers of Prometheus' API.
        let ends = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        let _ = write!(text, "{comma}[{ends},\"{lower}\",\"{upper}\",\"{count}\"]");
    }
    text.push_str("]}]");
}

/// Seconds with up to three decimals, as Prometheus writes them.
fn seconds(text: &mut String, at: Timestamp) {
    let millis = at.as_millis();
    let (whole, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let sign = if millis < 0 { "-" } else { "" };
    let _ = match rest {
        0 => write!(text, "{sign}{whole}"),
        _ => write!(text, "{sign}{whole}.{rest:03}"),
    };
}

/// A float as Go's `FormatFloat(v, 'f', -1, 64)`: the shortest digits, never an exponent.
fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => format!("{v}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_those_of_prometheus() {
        for (value, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
        for (millis, text) in [(0, "0"), (1_500, "1.500"), (-1_001, "-1.001"), (1_700_000_000_000, "1700000000")] {
            let mut written = String::new();
            seconds(&mut written, Timestamp::from_millis(millis));
            assert_eq!(written, text);
        }
    }

    #[test]
    fn hostile_label_values_stay_json() {
        let mut text = String::new();
        labels_json(&mut text, &Labels::from_pairs([("a", "\"</script>\u{1}\n")]));
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(parsed["a"], "\"</script>\u{1}\n");
    }
}
