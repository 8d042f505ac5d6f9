//! The envelope of a query's answer, written straight into text: status, data, warnings and infos.
//!
//! It is that of Prometheus' `/api/v1/query` and `/api/v1/query_range` to the letter (`web/api/v1/json_codec.go`,
//! `util/jsonutil`), and `brownout query --output json` writes the very same.

use std::fmt::Write as _;

use serde_json::json;

use crate::model::Labels;
use crate::promql::{AnnotationKind, MatrixSeries, Outcome, SampleValue, Value, VectorSample};
use crate::series::Point;
use crate::time::Timestamp;

/// Warnings, and infos, that one answer shows; further ones are counted.
const NOTES: usize = 10;

/// The whole answer to the query `text`, asked about `at` (a range query: about its end).
pub fn query_answer(outcome: &Outcome, at: Timestamp, text: &str) -> String {
    answer(outcome, at, text, &Extra::default())
}

/// What an answer may have beside its value.
#[derive(Default)]
pub(super) struct Extra {
    pub stats: Option<serde_json::Value>,
    /// One more warning, the last.
    pub warning: Option<&'static str>,
}

pub(super) fn answer(outcome: &Outcome, at: Timestamp, text: &str, extra: &Extra) -> String {
    let data = query_data(&outcome.value, at, extra.stats.as_ref());
    let mut answer = format!("{{\"status\":\"success\",\"data\":{data}");
    for (key, kind, word) in [("warnings", AnnotationKind::Warning, "warning"), ("infos", AnnotationKind::Info, "info")]
    {
        let of_kind = || outcome.annotations.iter().filter(|note| note.kind == kind);
        let mut notes: Vec<String> = of_kind().take(NOTES).map(|note| note.text(text)).collect();
        let more = of_kind().count().saturating_sub(NOTES);
        if more > 0 {
            notes.push(format!("{more} more {word} annotations omitted"));
        }
        if kind == AnnotationKind::Warning {
            notes.extend(extra.warning.map(str::to_owned));
        }
        if !notes.is_empty() {
            let _ = write!(answer, ",\"{key}\":{}", json!(notes));
        }
    }
    answer.push('}');
    answer
}

/// A query's value: `{"resultType": ..., "result": ...}`, with `"stats"` when they are given.
fn query_data(value: &Value, at: Timestamp, stats: Option<&serde_json::Value>) -> String {
    let mut text = String::new();
    match value {
        Value::Scalar(number) => {
            text.push_str("{\"resultType\":\"scalar\",\"result\":");
            // One that is alone is written by other code than one of a vector: never with an exponent.
            scalar_pair(&mut text, at, *number);
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
    if let Some(stats) = stats {
        let _ = write!(text, ",\"stats\":{stats}");
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

fn scalar_pair(text: &mut String, at: Timestamp, value: f64) {
    text.push('[');
    seconds(text, at);
    let _ = write!(text, ",\"{}\"]", plain_number(value));
}

fn float_pair(text: &mut String, at: Timestamp, value: f64) {
    text.push('[');
    seconds(text, at);
    let _ = write!(text, ",\"{}\"]", number(value));
}

fn histogram_pair(text: &mut String, at: Timestamp, histogram: &crate::model::FloatHistogram) {
    text.push('[');
    seconds(text, at);
    let _ = write!(text, ",{{\"count\":\"{}\",\"sum\":\"{}\"", number(histogram.count), number(histogram.sum));
    for (index, bucket) in histogram.all_buckets().iter().filter(|b| b.count != 0.0).enumerate() {
        let comma = if index > 0 { "," } else { ",\"buckets\":[" };
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
    // Without a bucket that holds anything there is no list.
    text.push_str(if histogram.all_buckets().iter().any(|bucket| bucket.count != 0.0) { "]}]" } else { "}]" });
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

/// A float as the API writes it: the shortest digits, with an exponent below 1e-6 and from 1e21 on.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return plain_number(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A float as Go's `FormatFloat(v, 'f', -1, 64)`: the shortest digits, never an exponent.
fn plain_number(value: f64) -> String {
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
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (9.99e20, "999000000000000000000"),
            (1e-7, "1e-07"),
            (0.000001, "0.000001"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(plain_number(1e21), "1000000000000000000000");
        assert_eq!(plain_number(1e-7), "0.0000001");
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

    #[test]
    fn a_histogram_without_buckets_has_no_list_of_them() {
        let mut text = String::new();
        let histogram = crate::model::FloatHistogram {
            hint: crate::model::CounterResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            positive_buckets: Vec::new(),
            negative_buckets: Vec::new(),
            custom_values: Vec::new(),
        };
        histogram_pair(&mut text, Timestamp::from_millis(1_500), &histogram);
        assert_eq!(text, r#"[1.500,{"count":"0","sum":"0"}]"#);
    }

    #[test]
    fn one_number_alone_has_no_exponent_and_a_vectors_has() {
        let answer = |value| {
            let outcome = Outcome { value, annotations: Vec::new(), samples_touched: 0 };
            query_answer(&outcome, Timestamp::from_millis(2_000), "1e21")
        };
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[2,"1000000000000000000000"]}}"#;
        assert_eq!(answer(Value::Scalar(1e21)), scalar);
        let sample = VectorSample {
            labels: Labels::from_pairs([("a", "b")]),
            at: Timestamp::from_millis(2_000),
            value: SampleValue::Float(1e21),
        };
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[2,"1e+21"]}]}}"#;
        assert_eq!(answer(Value::Vector(vec![sample])), vector);
    }
}
