//! Both sides' answers in one form, and what is different between two.

use std::collections::BTreeMap;

use brownout::model::{FloatHistogram, Labels};
use brownout::promql::{AnnotationKind, EvalError, Outcome, SampleValue};
use brownout::series::Point;
use serde_json::Value as Json;

/// What may lie between two equal numbers: absolute near zero, else relative.
const EPSILON: f64 = 1e-9;

/// Warnings and infos that came after version 3.5.
const NEWER: [&str; 1] = ["sort is ineffective for range queries"];

#[derive(Clone, Debug)]
pub enum Number {
    Float(f64),
    /// Count, sum, and buckets as (ends, lower, upper, count).
    Histogram(f64, f64, Vec<[f64; 4]>),
}

#[derive(Debug)]
pub enum Answer {
    Error(String),
    Scalar(f64),
    Text(String),
    /// In the order of the answer.
    Vector(Vec<(String, Number)>),
    Matrix(BTreeMap<String, Vec<(i64, Number)>>),
}

/// An answer with what is said about it.
#[derive(Debug)]
pub struct Said {
    pub answer: Answer,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Said {
    pub fn error(message: impl Into<String>) -> Said {
        Said { answer: Answer::Error(message.into()), warnings: Vec::new(), infos: Vec::new() }
    }

    /// Reads the envelope of Prometheus' API.
    pub fn of_json(json: &Json) -> Said {
        if json["status"] != "success" {
            return Said::error(json["error"].as_str().unwrap_or_default());
        }
        let list = |key: &str| {
            let texts = json[key].as_array().into_iter().flatten();
            texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let result = &json["data"]["result"];
        let items = || result.as_array().into_iter().flatten();
        let answer = match json["data"]["resultType"].as_str() {
            Some("scalar") => Answer::Scalar(number(&result[1])),
            Some("string") => Answer::Text(result[1].as_str().unwrap_or_default().to_owned()),
            Some("vector") => Answer::Vector(items().map(|item| (metric(&item["metric"]), sample(item))).collect()),
            _ => Answer::Matrix(items().map(|item| (metric(&item["metric"]), points(item))).collect()),
        };
        Said { answer, warnings: list("warnings"), infos: list("infos") }
    }

    /// Takes ours.
    pub fn of_outcome(result: Result<Outcome, EvalError>, text: &str) -> Said {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => return Said::error(error.to_string()),
        };
        let notes = |kind| {
            let of_kind = outcome.annotations.iter().filter(|note| note.kind == kind);
            let newer = |note: &String| NEWER.iter().any(|words| note.contains(words));
            of_kind.map(|note| note.text(text)).filter(|note| !newer(note)).collect()
        };
        let value = |value: &SampleValue| match value {
            SampleValue::Float(value) => Number::Float(*value),
            SampleValue::Histogram(value) => native(value),
        };
        let answer = match &outcome.value {
            brownout::promql::Value::Scalar(value) => Answer::Scalar(*value),
            brownout::promql::Value::String(text) => Answer::Text(text.clone()),
            brownout::promql::Value::Vector(samples) => {
                Answer::Vector(samples.iter().map(|s| (labels(&s.labels), value(&s.value))).collect())
            }
            brownout::promql::Value::Matrix(series) => {
                let point = |point: &Point| match point {
                    Point::Float(at, value) => (at.as_millis(), Number::Float(*value)),
                    Point::Histogram(at, value) => (at.as_millis(), native(value)),
                };
                Answer::Matrix(
                    series.iter().map(|s| (labels(&s.labels), s.points.iter().map(point).collect())).collect(),
                )
            }
        };
        Said { answer, warnings: notes(AnnotationKind::Warning), infos: notes(AnnotationKind::Info) }
    }
}

fn labels(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value:?},")).collect()
}

fn metric(json: &Json) -> String {
    let pairs: BTreeMap<&String, &str> = json
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name, value.as_str().unwrap_or_default()))
        .collect();
    pairs.iter().map(|(name, value)| format!("{name}={value:?},")).collect()
}

fn number(json: &Json) -> f64 {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn millis(json: &Json) -> i64 {
    (json.as_f64().unwrap_or(0.0) * 1000.0).round() as i64
}

fn sample(item: &Json) -> Number {
    match item.get("histogram") {
        Some(pair) => histogram(&pair[1]),
        None => Number::Float(number(&item["value"][1])),
    }
}

fn points(item: &Json) -> Vec<(i64, Number)> {
    let list = |key: &str| item[key].as_array().into_iter().flatten();
    let floats = list("values").map(|pair| (millis(&pair[0]), Number::Float(number(&pair[1]))));
    let mut points: Vec<_> = floats.chain(list("histograms").map(|p| (millis(&p[0]), histogram(&p[1])))).collect();
    points.sort_by_key(|(at, _)| *at);
    points
}

fn histogram(json: &Json) -> Number {
    let bucket = |b: &Json| [b[0].as_f64().unwrap_or(-1.0), number(&b[1]), number(&b[2]), number(&b[3])];
    let buckets = json["buckets"].as_array().into_iter().flatten().map(bucket).filter(known).collect();
    Number::Histogram(number(&json["count"]), number(&json["sum"]), buckets)
}

/// Buckets without a number do not count: an empty one times infinity is such a one, and a TSDB adds empty buckets
/// where other histograms of a chunk have some.
fn known(bucket: &[f64; 4]) -> bool {
    !bucket[3].is_nan()
}

fn native(histogram: &FloatHistogram) -> Number {
    let ends = |lower, upper| match (lower, upper) {
        (false, true) => 0.0,
        (true, false) => 1.0,
        (false, false) => 2.0,
        (true, true) => 3.0,
    };
    let all = histogram.all_buckets();
    let filled = all.iter().filter(|b| b.count != 0.0);
    let buckets = filled.map(|b| [ends(b.lower_inclusive, b.upper_inclusive), b.lower, b.upper, b.count]);
    let buckets = buckets.filter(known).collect();
    Number::Histogram(histogram.count, histogram.sum, buckets)
}

fn same_float(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= EPSILON * a.abs().max(b.abs()).max(1.0)
}

fn same(a: &Number, b: &Number) -> bool {
    match (a, b) {
        (Number::Float(a), Number::Float(b)) => same_float(*a, *b),
        (Number::Histogram(count, sum, buckets), Number::Histogram(count_b, sum_b, buckets_b)) => {
            let pairs = || buckets.iter().zip(buckets_b).all(|(a, b)| a.iter().zip(b).all(|(a, b)| same_float(*a, *b)));
            same_float(*count, *count_b) && same_float(*sum, *sum_b) && buckets.len() == buckets_b.len() && pairs()
        }
        _ => false,
    }
}

/// How two answers differ, if they do. `ordered`: the order of a vector counts.
pub fn difference(ours: &Said, theirs: &Said, ordered: bool) -> Option<String> {
    let values = match (&ours.answer, &theirs.answer) {
        (Answer::Error(_), Answer::Error(_)) => return None,
        (Answer::Scalar(a), Answer::Scalar(b)) => (!same_float(*a, *b)).then(|| format!("{a} / {b}")),
        (Answer::Text(a), Answer::Text(b)) => (a != b).then(|| format!("{a} / {b}")),
        (Answer::Vector(a), Answer::Vector(b)) => vectors(a, b, ordered),
        (Answer::Matrix(a), Answer::Matrix(b)) => matrices(a, b),
        (a, b) => Some(format!("{} / {}", short(a), short(b))),
    };
    let notes = |kind: &str, a: &[String], b: &[String]| {
        (a.is_empty() != b.is_empty()).then(|| format!("{kind}: {a:?} / {b:?}"))
    };
    values
        .or_else(|| notes("warnings", &ours.warnings, &theirs.warnings))
        .or_else(|| notes("infos", &ours.infos, &theirs.infos))
}

fn short(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(600).collect()
}

/// What `sort` orders by.
fn rank(value: &Number) -> f64 {
    match value {
        Number::Float(value) => *value,
        Number::Histogram(..) => f64::NAN,
    }
}

fn vectors(first: &[(String, Number)], second: &[(String, Number)], ordered: bool) -> Option<String> {
    let (mut a, mut b): (Vec<_>, Vec<_>) = (first.iter().collect(), second.iter().collect());
    a.sort_by(|x, y| x.0.cmp(&y.0));
    b.sort_by(|x, y| x.0.cmp(&y.0));
    if a.len() != b.len() {
        return Some(format!("{} elements / {}: {} / {}", a.len(), b.len(), short(&a), short(&b)));
    }
    if ordered {
        // Equal values come in any order, with Prometheus even in another one each time.
        let falls = |list: &[(String, Number)]| list.iter().map(|(_, value)| rank(value)).collect::<Vec<_>>();
        let (a, b) = (falls(first), falls(second));
        if let Some(at) = (0..a.len()).find(|at| !same_float(a[*at], b[*at])) {
            return Some(format!("order: at {at} {} / {}", a[at], b[at]));
        }
    }
    let mut pairs = a.iter().zip(&b);
    pairs.find(|(x, y)| x.0 != y.0 || !same(&x.1, &y.1)).map(|(x, y)| format!("{x:?} / {y:?}"))
}

fn matrices(a: &BTreeMap<String, Vec<(i64, Number)>>, b: &BTreeMap<String, Vec<(i64, Number)>>) -> Option<String> {
    if !a.keys().eq(b.keys()) {
        return Some(format!("{} series / {}: {} / {}", a.len(), b.len(), short(&a.keys()), short(&b.keys())));
    }
    for ((labels, a), (_, b)) in a.iter().zip(b) {
        if a.len() != b.len() {
            return Some(format!("{labels}: {} points / {}", a.len(), b.len()));
        }
        let mut pairs = a.iter().zip(b);
        if let Some((x, y)) = pairs.find(|(x, y)| x.0 != y.0 || !same(&x.1, &y.1)) {
            return Some(format!("{labels}: {x:?} / {y:?}"));
        }
    }
    None
}
