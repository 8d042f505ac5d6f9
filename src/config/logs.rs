//! `logs`: which files are followed, how their lines are read, and what is counted in them.

use super::log_metric::LogMetric;
use super::values::{Interval, Pattern};
use crate::signals::logs::ReadFrom;
use crate::yaml::{At, Decode, Spanned};

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Raw,
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
            ("raw", LogFormat::Raw),
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

/// Where reading begins.
#[derive(Clone, Copy, PartialEq)]
struct Begin(ReadFrom);

impl Decode for Begin {
    fn decode(at: &mut At<'_>) -> Option<Begin> {
        at.one_of(&ReadFrom::WORDS).map(Begin)
    }
}

/// Which entries of the journal are read.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub units: Vec<String>,
    pub identifiers: Vec<String>,
    pub priority: Option<String>,
    pub journalctl: Option<String>,
}

impl Decode for Journal {
    fn decode(at: &mut At<'_>) -> Option<Journal> {
        let mut fields = at.record("journald", "Which entries of systemd's journal are read.")?;
        let units = fields.or("units", "[]", "only these units; if empty all");
        let identifiers = fields.or("identifiers", "[]", "only these syslog identifiers; if empty all");
        let priority = fields.optional("priority", "only this priority and graver ones, for example `err`, or a range");
        let journalctl = fields.or("journalctl", "journalctl", "the program that reads the journal");
        fields.finish();
        Some(Journal { units, identifiers, priority, journalctl: Some(journalctl) })
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
    pub journald: Journal,
    pub read_from: ReadFrom,
    pub scrape_interval: Option<Interval>,
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
        let format: Spanned<LogFormat> =
            fields.or("format", "raw", "how a line is taken apart into fields; in a raw line only `match` finds any");
        let pattern: Option<Spanned<Pattern>> =
            fields.optional("pattern", "for `format: regex`: an expression whose named groups are the fields");
        let journald: Option<Journal> = fields.optional("journald", "for `format: journald`: which entries are read");
        let read_from: Begin = fields.or(
            "read_from",
            "checkpoint",
            "checkpoint: go on where reading ended, or at the end of a file that is new to us; start: as checkpoint, but a \
             new file from its start; end: always at the end",
        );
        let scrape_interval =
            fields.optional("scrape_interval", "how often all series are given; if missing the global one");
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
        if format.value != LogFormat::Journald && fields.has("journald") {
            fields.problem("journald", "`journald` needs `format: journald`", Some("write `format: journald`".into()));
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
            journald: journald.unwrap_or_default(),
            read_from: read_from.0,
            scrape_interval,
            path_label,
            rotate_wait,
            metrics: metrics?,
        })
    }
}
