//! What a query gave: the JSON of `/api/v1/query` and `/api/v1/query_range`, read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::time::Timestamp;

/// The labels of a series, its name among them.
pub(super) type Metric = BTreeMap<String, String>;

/// The label that holds a metric's name.
pub(super) const NAME: &str = "__name__";

/// An answer with its notes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) result: Found,
    /// Warnings and infos of the evaluation.
    pub(super) notes: Vec<String>,
}

/// What was found. Values are the very texts of the API.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// A number or a text.
    One(String),
    Vector(Vec<(Metric, Point)>),
    Matrix(Vec<(Metric, Vec<Point>)>),
}

/// A value at a time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: Timestamp,
    pub(super) value: String,
}

impl Point {
    /// As a number; a histogram is none.
    pub(super) fn number(&self) -> Option<f64> {
        match self.value.as_str() {
            "+Inf" => Some(f64::INFINITY),
            "-Inf" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    data: Data,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: Metric,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    histogram: Option<(f64, Histogram)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Histogram)>,
}

#[derive(Deserialize)]
struct Histogram {
    count: String,
    sum: String,
}

fn float((at, value): (f64, String)) -> Point {
    Point { at: Timestamp::from_secs_f64(at), value }
}

fn histogram((at, histogram): (f64, Histogram)) -> Point {
    let value = format!("{{count {}, sum {}}}", histogram.count, histogram.sum);
    Point { at: Timestamp::from_secs_f64(at), value }
}

impl Series {
    fn points(self) -> (Metric, Vec<Point>) {
        let floats = self.value.into_iter().chain(self.values).map(float);
        let histograms = self.histogram.into_iter().chain(self.histograms).map(histogram);
        let mut points: Vec<Point> = floats.chain(histograms).collect();
        points.sort_by_key(|point| point.at);
        (self.metric, points)
    }
}

/// Reads a successful answer.
///
/// # Errors
/// When it is none.
pub(super) fn read(json: &str) -> Result<Answer, serde_json::Error> {
    let envelope: Envelope = serde_json::from_str(json)?;
    let Data { kind, result } = envelope.data;
    let result = match kind.as_str() {
        "vector" => {
            let series: Vec<Series> = serde_json::from_value(result)?;
            let first = |(metric, points): (Metric, Vec<Point>)| Some((metric, points.into_iter().next()?));
            Found::Vector(series.into_iter().map(Series::points).filter_map(first).collect())
        }
        "matrix" => {
            let series: Vec<Series> = serde_json::from_value(result)?;
            Found::Matrix(series.into_iter().map(Series::points).collect())
        }
        _ => Found::One(serde_json::from_value::<(f64, String)>(result)?.1),
    };
    Ok(Answer { result, notes: envelope.warnings.into_iter().chain(envelope.infos).collect() })
}

/// A series as PromQL writes it: `name{label="value"}`.
pub(super) fn series_text(metric: &Metric) -> String {
    let name = metric.get(NAME).map_or("", String::as_str);
    let labels: Vec<String> =
        metric.iter().filter(|(label, _)| *label != NAME).map(|(label, value)| format!("{label}={value:?}")).collect();
    match labels.is_empty() {
        true if name.is_empty() => "{}".to_owned(),
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(", ")),
    }
}

/// The labels that tell several series apart, and those that all have in common.
pub(super) fn split_labels<'a>(metrics: &[&'a Metric]) -> (Vec<&'a str>, Metric) {
    let Some((first, others)) = metrics.split_first() else { return (Vec::new(), Metric::new()) };
    let shared: Metric = first
        .iter()
        .filter(|(label, value)| others.iter().all(|other| other.get(*label) == Some(*value)))
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    let mut telling: Vec<&str> = metrics
        .iter()
        .flat_map(|metric| metric.keys())
        .map(String::as_str)
        .filter(|l| !shared.contains_key(*l))
        .collect();
    telling.sort_unstable();
    telling.dedup();
    (telling, shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_is_read() {
        let found = |json: &str| read(json).expect(json).result;
        assert_eq!(
            found(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2.5"]}}"#),
            Found::One("2.5".into())
        );
        let Found::Vector(samples) = found(
            r#"{"data":{"resultType":"vector","result":[
                {"metric":{"__name__":"up"},"value":[1.5,"1"]},
                {"metric":{},"histogram":[2,{"count":"3","sum":"4.5","buckets":[]}]}]}}"#,
        ) else {
            panic!("no vector")
        };
        assert_eq!(samples[0].1, Point { at: Timestamp::from_millis(1_500), value: "1".into() });
        assert_eq!(samples[1].1.value, "{count 3, sum 4.5}");
        let Found::Matrix(series) =
            found(r#"{"data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"1"],[2,"+Inf"]]}]}}"#)
        else {
            panic!("no matrix")
        };
        assert_eq!(series[0].1[1].number(), Some(f64::INFINITY));
        assert!(read("{}").is_err());
    }

    #[test]
    fn series_are_told_apart_by_what_differs() {
        let metric = |pairs: &[(&str, &str)]| -> Metric {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (a, b) =
            (metric(&[("__name__", "up"), ("job", "x")]), metric(&[("__name__", "up"), ("job", "y"), ("z", "1")]));
        let (telling, shared) = split_labels(&[&a, &b]);
        assert_eq!(telling, ["job", "z"]);
        assert_eq!(shared, metric(&[("__name__", "up")]));
        assert_eq!(series_text(&b), r#"up{job="y", z="1"}"#);
        assert_eq!(series_text(&Metric::new()), "{}");
    }
}
