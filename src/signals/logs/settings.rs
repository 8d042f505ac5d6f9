//! What one log job needs to know, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// One log job: where the lines are, what they look like, and what is counted. [`JobSettings::named`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    pub job_name: String,
    /// The label `instance` of every series: this host.
    pub instance: String,
    /// Absolute paths; `*`, `?`, `[..]` and `**` may stand in them. Files that end in `.gz`, `.zst`, `.xz`, `.bz2`, `.lz4`,
    /// `.Z` or `.zip` are never read.
    pub paths: Vec<String>,
    /// Paths or patterns that are left out. With copytruncate, leave out the copies if a pattern of `paths` finds them.
    pub exclude: Vec<String>,
    pub read_from: ReadFrom,
    pub format: Format,
    pub metrics: Vec<MetricSettings>,
    /// How often all series are given, changed or not.
    pub scrape_interval: Duration,
    /// How long a rotated file must be quiet before it is closed. Whatever is written to it until then is read.
    pub rotate_wait: Duration,
    /// Adds the file's path to every series, as the label `path`.
    pub path_label: bool,
    pub journald: Journald,
}

impl JobSettings {
    /// A job with the defaults, no paths and no metrics.
    pub fn named(job_name: &str, instance: &str) -> JobSettings {
        JobSettings {
            job_name: job_name.to_owned(),
            instance: instance.to_owned(),
            paths: Vec::new(),
            exclude: Vec::new(),
            read_from: ReadFrom::Checkpoint,
            format: Format::Raw,
            metrics: Vec::new(),
            scrape_interval: Duration::from_secs(1),
            rotate_wait: Duration::from_secs(5),
            path_label: false,
            journald: Journald::default(),
        }
    }
}

/// Where reading begins in a file that was there before the job. One that appears later is read from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReadFrom {
    /// Where the checkpoint says, else at the end.
    #[default]
    Checkpoint,
    /// Where the checkpoint says, else at the start.
    Start,
    /// At the end, whatever the checkpoint says about the place; the counters of the checkpoint go on.
    End,
}

impl ReadFrom {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, ReadFrom); 3] =
        [("checkpoint", ReadFrom::Checkpoint), ("start", ReadFrom::Start), ("end", ReadFrom::End)];
}

/// What a line looks like.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Plain lines: only `match` finds fields.
    #[default]
    Raw,
    /// nginx's and Apache's `combined`, with any further columns as `extra_1`, `extra_2` ...
    Combined,
    /// Apache's `common`, with any further columns likewise.
    Common,
    /// One object a line; a nested field is named by its path: `http.status`.
    Json,
    Logfmt,
    /// RFC 5424, RFC 3164, and what syslog daemons write to files.
    Syslog,
    /// Named captures are the fields.
    Regex(String),
    /// The systemd journal instead of files; `match` looks at `MESSAGE`, every field of the entry can be used.
    Journald,
}

/// Which entries of the journal are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journald {
    /// Units; all when empty.
    pub units: Vec<String>,
    /// Syslog identifiers; all when empty.
    pub identifiers: Vec<String>,
    /// A priority (`err`) or a range (`emerg..err`), as `journalctl --priority` takes it.
    pub priority: Option<String>,
    /// The program to run.
    pub journalctl: PathBuf,
}

impl Default for Journald {
    fn default() -> Journald {
        Journald { units: Vec::new(), identifiers: Vec::new(), priority: None, journalctl: "journalctl".into() }
    }
}

/// What a metric does with a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Adds `value`, or 1 without it.
    Counter,
    /// Takes over `value`.
    Gauge,
    /// Observes `value`; upper bounds in rising order, without `+Inf`.
    Histogram(Vec<f64>),
}

/// One metric of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSettings {
    pub kind: Kind,
    /// The name of the series, as it is.
    pub name: String,
    pub help: String,
    /// Only lines in which this expression is found count; its named groups are fields. Without it every line of the
    /// job's format counts.
    pub pattern: Option<String>,
    /// Label names and templates: `{{field}}`, with any text around.
    pub labels: BTreeMap<String, String>,
    /// A template that gives a number.
    pub value: Option<String>,
    /// The number is multiplied by this: 0.001 makes seconds of milliseconds.
    pub scale: f64,
    /// Label sets; what comes later is counted under `_other`.
    pub max_series: usize,
    /// A label set that was not met for this long ends.
    pub expire: Option<Duration>,
}

impl MetricSettings {
    /// A metric with the defaults, on every line.
    pub fn named(kind: Kind, name: &str) -> MetricSettings {
        MetricSettings {
            kind,
            name: name.to_owned(),
            help: String::new(),
            pattern: None,
            labels: BTreeMap::new(),
            value: None,
            scale: 1.0,
            max_series: limits::LOG_METRIC_SERIES,
            expire: None,
        }
    }
}

/// Why a job cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("job {0}: there are no paths: write at least one absolute path")]
    NoPaths(String),
    #[error("path {0}")]
    Path(#[from] crate::model::GlobError),
    #[error("{place}: invalid regular expression {pattern:?}: {reason}")]
    Regex { place: String, pattern: String, reason: String },
    #[error("metric {0:?} is no metric name: use letters, digits, _ and :, and start with none of the digits")]
    MetricName(String),
    #[error(
        "metric {metric}: {label:?} is no label name: use letters, digits and _, and start with none of the digits"
    )]
    LabelName { metric: String, label: String },
    #[error("metric {metric}: {template:?} is no template: write {{{{field}}}}, with any text around it")]
    Template { metric: String, template: String },
    #[error("metric {metric}: there is no field {field:?} in this format or in match; there are {known}")]
    Field { metric: String, field: String, known: String },
    #[error("metric {0}: a gauge and a histogram need a value: write value: \"{{{{field}}}}\"")]
    NoValue(String),
    #[error("metric {0}: buckets must be finite numbers in rising order, at least one, at most 200")]
    Buckets(String),
    #[error("metric {0}: scale must be a finite number other than 0, and greater than 0 for a counter")]
    Scale(String),
    #[error("metric {0} is declared twice with different kinds or buckets")]
    Conflict(String),
}
