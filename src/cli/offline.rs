//! Queries over a file of OpenMetrics text: no daemon, no network.
//!
//! Every sample must carry its time. The answer is the same JSON as the daemon's.

use std::path::Path;

use serde_json::{Value, json};

use super::failure::Failure;
use super::query::When;
use crate::limits;
use crate::model::{Labels, LabelsBuilder};
use crate::promql::{self, EvalError, Expr, Options, ParseError, SampleValue};
use crate::series::{Appended, Point, Settings, Store, View};
use crate::signals::scrape::{Entry, Format, Parser, series_labels};
use crate::time::Timestamp;

/// A file's series.
pub(super) struct Data {
    view: View,
    /// The time of its latest sample.
    pub(super) last: Timestamp,
}

/// Reads a file.
pub(super) fn load(path: &Path) -> Result<Data, Failure> {
    let shown = path.display();
    let said = |error: std::io::Error| Failure::said(format!("cannot read {shown}: {error}"));
    let size = std::fs::metadata(path).map_err(said)?.len();
    if size > limits::CLI_DATA_BYTES {
        return Err(Failure::said(format!("{shown} is larger than {} bytes: cut it", limits::CLI_DATA_BYTES)));
    }
    let body = std::fs::read(path).map_err(said)?;
    read(&body).map_err(|error| Failure::said(format!("{shown}: {error}")))
}

fn read(body: &[u8]) -> Result<Data, String> {
    let mut samples = samples(body)?;
    let Some(last) = samples.iter().map(|(_, at, _)| *at).max() else {
        return Err("there is no sample in it".into());
    };
    // Files list one series after the other; the store wants each in order of time.
    samples.sort_by_key(|(_, at, _)| *at);
    let mut store = Store::new(Settings { max_series: limits::SERIES, ..Settings::default() });
    for (labels, at, value) in samples {
        if let Appended::Refused(why) = store.append(&labels, at, value) {
            return Err(format!("cannot take {labels} at {}: {why:?}", at.to_rfc3339()));
        }
    }
    Ok(Data { view: store.view(), last })
}

fn samples(body: &[u8]) -> Result<Vec<(Labels, Timestamp, f64)>, String> {
    let ended = body.trim_ascii_end().ends_with(b"# EOF");
    let format = if ended { Format::OpenMetrics } else { Format::Text };
    let (mut parser, mut samples) = (Parser::new(format, body), Vec::new());
    while let Some(entry) = parser.next_entry().map_err(|error| error.to_string())? {
        let Entry::Sample(sample) = entry else { continue };
        let mut labels = LabelsBuilder::new();
        series_labels(sample.series, parser.kind(), &mut labels)
            .map_err(|why| parser.error(why, sample.series).to_string())?;
        let Some(at) = sample.at else {
            return Err(parser
                .error("a sample has no timestamp, and there is nobody to ask when it was", sample.series)
                .to_string());
        };
        samples.push((labels.build(), at, sample.value));
    }
    Ok(samples)
}

/// Evaluates an expression; the answer is the daemon's envelope.
pub(super) fn ask(data: &Data, text: &str, expr: &Expr, when: When) -> Result<String, Failure> {
    let options = Options::default();
    let (at, outcome) = match when {
        When::At(at) => {
            let at = at.unwrap_or(data.last);
            (at, promql::instant(&data.view, expr, at, &options))
        }
        When::Range { start, end, step } => (end, promql::range(&data.view, expr, start, end, step, &options)),
    };
    let outcome = outcome.map_err(|error| Failure::said(failed(&error, text)))?;
    let mut answer = json!({ "status": "success", "data": value_json(&outcome.value, at) });
    if !outcome.annotations.is_empty() {
        let notes: Vec<String> = outcome.annotations.iter().map(|note| note.text(text)).collect();
        answer["warnings"] = json!(notes);
    }
    Ok(answer.to_string())
}

fn failed(error: &EvalError, text: &str) -> String {
    match error.span {
        Some(span) => {
            let marked = ParseError { span, message: error.message.clone(), help: None };
            format!("the expression cannot be evaluated\n{}", marked.render(text))
        }
        None => error.to_string(),
    }
}

fn value_json(value: &promql::Value, at: Timestamp) -> Value {
    let typed = |kind: &str, result: Value| json!({ "resultType": kind, "result": result });
    match value {
        promql::Value::Scalar(number) => typed("scalar", float(at, *number)),
        promql::Value::String(text) => typed("string", json!([at.as_secs_f64(), text])),
        promql::Value::Vector(samples) => {
            let sample = |sample: &promql::VectorSample| match &sample.value {
                SampleValue::Float(value) => {
                    json!({ "metric": metric(&sample.labels), "value": float(sample.at, *value) })
                }
                SampleValue::Histogram(value) => {
                    json!({ "metric": metric(&sample.labels), "histogram": histogram(sample.at, value) })
                }
            };
            typed("vector", samples.iter().map(sample).collect())
        }
        promql::Value::Matrix(series) => {
            let series_json = |series: &promql::MatrixSeries| {
                let (mut values, mut histograms) = (Vec::new(), Vec::new());
                for point in &series.points {
                    match point {
                        Point::Float(at, value) => values.push(float(*at, *value)),
                        Point::Histogram(at, value) => histograms.push(histogram(*at, value)),
                    }
                }
                json!({ "metric": metric(&series.labels), "values": values, "histograms": histograms })
            };
            typed("matrix", series.iter().map(series_json).collect())
        }
    }
}

fn metric(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

fn float(at: Timestamp, value: f64) -> Value {
    json!([at.as_secs_f64(), number(value)])
}

fn histogram(at: Timestamp, histogram: &crate::model::FloatHistogram) -> Value {
    let text = json!({ "count": number(histogram.count), "sum": number(histogram.sum), "buckets": [] });
    json!([at.as_secs_f64(), text])
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# TYPE hits counter\nhits_total{host=\"a\"} 10 100\nhits_total{host=\"a\"} 25 115\n\
                        hits_total{host=\"b\"} 0 100\nhits_total{host=\"b\"} 3 115\n# EOF\n";

    fn asked(file: &str, text: &str, when: When) -> Result<String, String> {
        let data = read(file.as_bytes())?;
        let expr = promql::parse(text).map_err(|error| error.to_string())?;
        ask(&data, text, &expr, when).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_is_asked_as_a_daemon_is() {
        assert_eq!(
            asked(FILE, "sum(hits_total)", When::At(None)).expect("an answer"),
            r#"{"data":{"result":[{"metric":{},"value":[115.0,"28"]}],"resultType":"vector"},"status":"success"}"#
        );
        let range = When::Range {
            start: Timestamp::from_millis(100_000),
            end: Timestamp::from_millis(120_000),
            step: std::time::Duration::from_secs(20),
        };
        let json = asked(FILE, "hits_total{host=\"b\"}", range).expect("an answer");
        assert!(json.contains(r#"[100.0,"0"],[120.0,"3"]"#), "{json}");
        assert!(super::super::values::read(&json).is_ok());
    }

    #[test]
    fn what_cannot_be_asked_is_said_with_its_place() {
        let error = |file, text| asked(file, text, When::At(None)).expect_err("no answer");
        assert!(error("a 1\n", "a").contains("line 1: a sample has no timestamp"));
        assert!(error("a{ 1\n", "a").starts_with("line 1: "));
        assert!(error("# EOF\n", "a").contains("no sample"));
        let many = error(FILE, "hits_total + on() hits_total");
        assert!(many.contains('^') && many.contains("cannot be evaluated"), "{many}");
    }
}
