//! Warnings and infos that come with an answer, in Prometheus' words (`util/annotations/annotations.go`).
//!
//! An annotation is kept once per text, at the place where it came up first.

use std::collections::HashMap;

use super::names::go_quoted;
use crate::promql::ast::Span;
use crate::promql::histogram::Skewed;
use crate::promql::numbers::GoFloat;
use crate::time::Timestamp;

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnotationKind {
    Warning,
    Info,
}

/// One warning or info.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    pub kind: AnnotationKind,
    /// With its prefix `PromQL warning: ` or `PromQL info: `, without a position.
    pub message: String,
    /// The part of the expression it is about.
    pub span: Span,
    details: Option<Forced>,
}

/// How far classic buckets had to be bent to be monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    pub first: Timestamp,
    pub last: Timestamp,
    pub min_bucket: f64,
    pub max_bucket: f64,
    pub max_diff: f64,
    pub samples: usize,
}

impl Annotation {
    /// The text as Prometheus' API shows it: the message and its position in the query, `(line:column)`.
    pub fn text(&self, query: &str) -> String {
        let mut text = self.message.clone();
        if let Some(forced) = &self.details {
            let second = |at: Timestamp| {
                let whole = Timestamp::from_millis(at.as_millis() / 1000 * 1000).to_rfc3339();
                whole.replace(".000Z", "Z")
            };
            text.push_str(&format!(
                ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                GoFloat(forced.min_bucket),
                GoFloat(forced.max_bucket),
                two_digits(forced.max_diff),
                forced.samples,
                second(forced.first),
                second(forced.last),
            ));
        }
        format!("{text} ({})", position(query, self.span))
    }
}

/// `%.2g`.
fn two_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return GoFloat(value).to_string();
    }
    let text = format!("{value:.1e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if (-4..2).contains(&exponent) {
        let rounded: f64 = text.parse().unwrap_or(value);
        return rounded.to_string();
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn position(query: &str, span: Span) -> String {
    let start = span.start as usize;
    let Some(before) = query.as_bytes().get(..start) else { return "unknown position".to_owned() };
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = start - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) + 1;
    format!("{line}:{column}")
}

/// During which operation on histograms something was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Operation::Addition => "addition",
            Operation::Subtraction => "subtraction",
            Operation::Aggregation => "aggregation",
        }
    }
}

/// What is worth saying, before it is put into words.
#[derive(Clone, Debug)]
pub(crate) enum Note<'a> {
    InvalidQuantile(f64),
    InvalidRatio { ratio: f64, cap: f64 },
    BadBucketLabel { name: &'a str, label: &'a str },
    MixedFloatsHistograms(&'a str),
    MixedFloatsHistogramsAggregation,
    MixedClassicNative(&'a str),
    NotCounter(&'a str),
    NotGauge(&'a str),
    MixedExponentialCustom(&'a str),
    IncompatibleBuckets(&'a str),
    SortInRangeQuery,
    ResetCollision(Operation),
    StartOverlap(&'a str),
    PossibleNonCounter(&'a str),
    PossibleNonCounterType { name: &'a str, kind: &'a str },
    Forced(&'a str, Forced),
    IncompatibleTypes { left: &'static str, op: &'static str, right: &'static str },
    HistogramIgnored(&'a str),
    HistogramIgnoredInRange(&'a str),
    NanObservations { name: &'a str, skewed: Skewed },
    BoundsReconciled(Operation),
}

impl Note<'_> {
    fn kind(&self) -> AnnotationKind {
        use Note::*;
        match self {
            PossibleNonCounter(_)
            | PossibleNonCounterType { .. }
            | Forced(..)
            | IncompatibleTypes { .. }
            | HistogramIgnored(_)
            | HistogramIgnoredInRange(_)
            | NanObservations { .. }
            | BoundsReconciled(_) => AnnotationKind::Info,
            _ => AnnotationKind::Warning,
        }
    }

    fn text(&self) -> String {
        let for_name = |name: &str| match name {
            "" => String::new(),
            name => format!(" for metric name {}", go_quoted(name)),
        };
        match self {
            Note::InvalidQuantile(q) => format!("quantile value should be between 0 and 1, got {}", GoFloat(*q)),
            Note::InvalidRatio { ratio, cap } => {
                let (ratio, cap) = (GoFloat(*ratio), GoFloat(*cap));
                format!("ratio value should be between -1 and 1, got {ratio}, capping to {cap}")
            }
            Note::BadBucketLabel { name, label } => {
                let name = for_name(name);
                format!("bucket label \"le\" is missing or has a malformed value of {label:?}{name}")
            }
            Note::MixedFloatsHistograms(name) => {
                format!("encountered a mix of histograms and floats for metric name {name:?}")
            }
            Note::MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            Note::MixedClassicNative(name) => {
                format!("vector contains a mix of classic and native histograms{}", for_name(name))
            }
            Note::NotCounter(name) => format!("this native histogram metric is not a counter: {name:?}"),
            Note::NotGauge(name) => format!("this native histogram metric is not a gauge: {name:?}"),
            Note::MixedExponentialCustom(name) => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"
            ),
            Note::IncompatibleBuckets(op) => {
                format!("incompatible bucket layout encountered for binary operator {op}")
            }
            Note::SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels".to_owned()
            }
            Note::ResetCollision(operation) => {
                format!("conflicting counter resets during histogram {}", operation.as_str())
            }
            Note::StartOverlap(name) => {
                format!("sample has start time that overlaps with previous sample timestamp for metric {name:?}")
            }
            Note::PossibleNonCounter(name) => {
                format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}")
            }
            Note::PossibleNonCounterType { name, kind } => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {kind:?}: {name:?}"
            ),
            Note::Forced(name, _) => format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                for_name(name)
            ),
            Note::IncompatibleTypes { left, op, right } => {
                format!("incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}")
            }
            Note::HistogramIgnored(aggregation) => format!("ignored histogram in {aggregation} aggregation"),
            Note::HistogramIgnoredInRange(name) => {
                format!("ignored histograms in a range containing both floats and histograms for metric name {name:?}")
            }
            Note::NanObservations { name, skewed } => {
                let (function, effect) = match skewed {
                    Skewed::ResultNan => ("histogram_quantile", "result is NaN"),
                    Skewed::Higher => ("histogram_quantile", "result is skewed higher"),
                    Skewed::Excluded => ("histogram_fraction", "which are excluded from all fractions"),
                };
                format!("input to {function} has NaN observations, {effect}{}", for_name(name))
            }
            Note::BoundsReconciled(operation) => {
                format!("mismatched custom buckets were reconciled during {}", operation.as_str())
            }
        }
    }
}

/// The annotations of one evaluation.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    list: Vec<Annotation>,
    by_text: HashMap<String, usize>,
}

impl Annotations {
    /// Adds one, unless it was said before.
    pub(crate) fn add(&mut self, note: &Note<'_>, span: Span) {
        let kind = note.kind();
        let prefix = if kind == AnnotationKind::Warning { "PromQL warning: " } else { "PromQL info: " };
        let message = format!("{prefix}{}", note.text());
        let details = if let Note::Forced(_, forced) = note { Some(*forced) } else { None };
        match self.by_text.get(&message) {
            Some(at) => {
                if let (Some(known), Some(more)) = (&mut self.list[*at].details, details) {
                    known.first = known.first.min(more.first);
                    known.last = known.last.max(more.last);
                    known.min_bucket = known.min_bucket.min(more.min_bucket);
                    known.max_bucket = known.max_bucket.max(more.max_bucket);
                    known.max_diff = known.max_diff.max(more.max_diff);
                    known.samples += more.samples;
                }
            }
            None => {
                self.by_text.insert(message.clone(), self.list.len());
                self.list.push(Annotation { kind, message, span, details });
            }
        }
    }

    /// All of them, in the order they came up.
    pub(crate) fn into_vec(self) -> Vec<Annotation> {
        self.list
    }
}
