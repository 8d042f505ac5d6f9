//! `logs`: which files are followed, how their lines are read, and what is counted in them.

use super::values::{Interval, LabelName, Pattern};
use crate::model::is_metric_name;
use crate::yaml::{At, Decode, Fields, Spanned};

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Plain,
    Combined,
    Common,
    Json,
    Logfmt,
    Syslog,
    Regex,
    Journald,
}

impl Decode for LogFormat {
    fn decode(at: &mut At<'_>) -> Option<LogFormat> {
        at.one_of(&[
            ("plain", LogFormat::Plain),
            ("combined", LogFormat::Combined),
            ("common", LogFormat::Common),
            ("json", LogFormat::Json),
            ("logfmt", LogFormat::Logfmt),
            ("syslog", LogFormat::Syslog),
            ("regex", LogFormat::Regex),
            ("journald", LogFormat::Journald),
        ])
    }
}

/// Where a file that is seen for the first time is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    End,
    Start,
}

impl Decode for ReadFrom {
    fn decode(at: &mut At<'_>) -> Option<ReadFrom> {
        at.one_of(&[("end", ReadFrom::End), ("start", ReadFrom::Start)])
    }
}

/// One of `logs`.
#[derive(Clone, Debug)]
pub struct LogJob {
    pub job_name: Spanned<String>,
    pub paths: Vec<Spanned<String>>,
    pub exclude: Vec<Spanned<String>>,
    pub format: Spanned<LogFormat>,
    pub pattern: Option<Spanned<Pattern>>,
    pub read_from: ReadFrom,
    pub path_label: bool,
    pub rotate_wait: Interval,
    pub metrics: Vec<LogMetric>,
}

impl Decode for LogJob {
    fn decode(at: &mut At<'_>) -> Option<LogJob> {
        let doc = "One job: files whose lines are read in the same way, and what is counted in them.";
        let mut fields = at.record("log job", doc)?;
        let job_name: Option<Spanned<String>> = fields.required("job_name", "the label `job`; unique");
        let paths: Vec<Spanned<String>> =
            fields.or("paths", "[]", "files; `*` stands for part of a name, `**` for directories");
        let exclude = fields.or("exclude", "[]", "files among them that are left out");
        let format: Spanned<LogFormat> = fields.or("format", "plain", "how a line is taken apart into fields");
        let pattern: Option<Spanned<Pattern>> =
            fields.optional("pattern", "for `format: regex`: an expression whose named groups are the fields");
        let read_from = fields.or("read_from", "end", "where a file that was never seen before is read from");
        let path_label = fields.or("path_label", "false", "true: the file's path becomes the label `path`");
        let rotate_wait = fields.or("rotate_wait", "5s", "how long a rotated file is still read");
        let metrics: Option<Vec<LogMetric>> = fields.required("metrics", "what is counted");
        if format.value == LogFormat::Regex && !fields.has("pattern") {
            let help = Some("add `pattern: '(?P<status>\\d+) ...'`".to_owned());
            fields.problem("format", "`format: regex` needs `pattern`", help);
        }
        if format.value != LogFormat::Regex && fields.has("pattern") {
            let help = Some("write `format: regex`, or use `match` of a metric".to_owned());
            fields.problem("pattern", "`pattern` has no meaning with this format", help);
        }
        if format.value == LogFormat::Journald && fields.has("paths") {
            fields.problem("paths", "the journal has no paths", Some("remove `paths`".to_owned()));
        }
        if format.value != LogFormat::Journald && paths.is_empty() {
            let help = Some("add `paths: [/var/log/app/*.log]`".to_owned());
            fields.problem("paths", "a log job needs `paths`", help);
        }
        fields.finish();
        Some(LogJob {
            job_name: job_name?,
            paths,
            exclude,
            format,
            pattern,
            read_from,
            path_label,
            rotate_wait,
            metrics: metrics?,
        })
    }
}

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
    let labels: super::values::Entries<Spanned<String>> =
        fields.or("labels", "{}", "labels and their values, which may be templates");
    let mut good = Vec::new();
    for (name, value) in labels.0 {
        if crate::model::is_label_name(&name.value) {
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
