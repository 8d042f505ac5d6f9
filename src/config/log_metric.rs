//! `logs[].metrics`: what is counted in lines.

use super::values::{Entries, Interval, LabelName, Pattern};
use crate::model::{is_label_name, is_metric_name};
use crate::yaml::{At, Decode, Fields, Spanned};

/// A metric's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogMetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One of `logs[].metrics`.
#[derive(Clone, Debug)]
pub struct LogMetric {
    pub kind: LogMetricKind,
    pub name: Spanned<String>,
    pub help: String,
    pub matching: Option<Spanned<Pattern>>,
    pub labels: Vec<(Spanned<LabelName>, Spanned<String>)>,
    pub value: Option<Spanned<String>>,
    pub scale: f64,
    pub buckets: Vec<f64>,
    pub max_series: Option<usize>,
    pub expire: Option<Interval>,
}

impl Decode for LogMetric {
    fn decode(at: &mut At<'_>) -> Option<LogMetric> {
        let doc = "One metric. Give exactly one of counter, gauge and histogram; its value is the metric's name. \
                   In templates `{{field}}` is a field of the line or a named group of `match`.";
        let mut fields = at.record("log metric", doc)?;
        let counter: Option<Spanned<String>> = fields.optional("counter", "counts lines, or adds up `value`");
        let gauge: Option<Spanned<String>> = fields.optional("gauge", "keeps the last `value`");
        let histogram: Option<Spanned<String>> = fields.optional("histogram", "sorts `value` into `buckets`");
        let help = fields.or("help", "''", "what the metric says, for people");
        let matching: Option<Spanned<Pattern>> =
            fields.optional("match", "only lines that match count; named groups are fields");
        let labels: Vec<(Spanned<LabelName>, Spanned<String>)> = read_labels(&mut fields);
        let value: Option<Spanned<String>> = fields.optional("value", "a template that gives a number");
        let scale = fields.or("scale", "1", "the value is multiplied by this: 0.001 makes seconds of milliseconds");
        let buckets: Vec<f64> = fields.or("buckets", "[]", "for a histogram: the upper bounds, rising");
        let max_series = fields
            .optional("max_series", "the most label sets; past it lines are counted under `_other`; if missing 1000");
        let expire = fields.optional("expire", "a label set that was not seen for this long ends; if missing never");
        let all = [
            (LogMetricKind::Counter, "counter", counter),
            (LogMetricKind::Gauge, "gauge", gauge),
            (LogMetricKind::Histogram, "histogram", histogram),
        ];
        let given: Vec<_> = all.into_iter().filter(|(_, key, _)| fields.has(key)).collect();
        let kind = match &given[..] {
            [(kind, _, Some(name))] => Some((*kind, name.clone())),
            [(_, _, None)] => None,
            [] => {
                let help = Some("write `counter: errors_total`, `gauge: ...` or `histogram: ...`".to_owned());
                fields.problem("counter", "a log metric needs its kind and name", help);
                None
            }
            [.., (_, key, _)] => {
                fields.problem(key, "a log metric has one kind", Some("make two metrics of it".to_owned()));
                None
            }
        };
        if let Some((kind, name)) = &kind {
            check_metric(&mut fields, *kind, name, &buckets);
        }
        fields.finish();
        let (kind, name) = kind?;
        Some(LogMetric { kind, name, help, matching, labels, value, scale, buckets, max_series, expire })
    }
}

fn read_labels(fields: &mut Fields<'_>) -> Vec<(Spanned<LabelName>, Spanned<String>)> {
    let labels: Entries<Spanned<String>> = fields.or("labels", "{}", "labels and their values, which may be templates");
    let mut good = Vec::new();
    for (name, value) in labels.0 {
        if is_label_name(&name.value) {
            good.push((Spanned { value: LabelName(name.value), place: name.place }, value));
        } else {
            let help = Some("use letters, digits and `_`, and do not start with a digit".to_owned());
            fields.push(name.place.error(format!("`{}` is not a label name", name.value), help));
        }
    }
    good
}

fn check_metric(fields: &mut Fields<'_>, kind: LogMetricKind, name: &Spanned<String>, buckets: &[f64]) {
    if !is_metric_name(&name.value) {
        let help = Some("use letters, digits, `_` and `:`, and do not start with a digit".to_owned());
        fields.push(name.place.error(format!("`{}` is not a metric name", name.value), help));
    }
    let histogram = kind == LogMetricKind::Histogram;
    if histogram && buckets.is_empty() {
        let help = Some("add the upper bounds, for example `buckets: [0.1, 0.5, 1, 5]`".to_owned());
        fields.problem("histogram", "a histogram needs `buckets`", help);
    }
    if !histogram && fields.has("buckets") {
        fields.problem(
            "buckets",
            "only a histogram has `buckets`",
            Some("remove it, or write `histogram:`".to_owned()),
        );
    }
    if buckets.windows(2).any(|pair| pair[0] >= pair[1]) || buckets.iter().any(|bound| bound.is_nan()) {
        fields.problem("buckets", "the bounds must rise", Some("sort them, each once".to_owned()));
    }
    if kind != LogMetricKind::Counter && !fields.has("value") {
        let key = if histogram { "histogram" } else { "gauge" };
        fields.problem(key, format!("a {key} needs `value`"), Some("add `value: \"{{field}}\"`".to_owned()));
    }
}
