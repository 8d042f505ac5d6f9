//! `logs`.

use super::discovery;
use crate::config::checker::Checker;
use crate::config::global::Global;
use crate::config::log_metric::{LogMetric, LogMetricKind};
use crate::config::logs::{LogFormat, LogJob};
use crate::limits;
use crate::signals::logs::{Format, JobSettings, Journald, Kind, LogError, MetricSettings, Metrics};
use crate::telemetry::Telemetry;
use crate::time::Timestamp;
use crate::yaml::{Place, Spanned, nearest};

/// All jobs. `instance` is the host's label; empty for its name, which the shell fills in.
pub fn settings(check: &mut Checker<'_>, global: &Global, instance: &str, jobs: &[LogJob]) -> Vec<JobSettings> {
    discovery::unique_jobs(check, "logs", jobs.iter().map(|job| &job.job_name));
    jobs.iter().map(|job| one(check, global, instance, job)).collect()
}

fn one(check: &mut Checker<'_>, global: &Global, instance: &str, job: &LogJob) -> JobSettings {
    let path = |check: &Checker<'_>, text: &Spanned<String>| check.path(&text.value).to_string_lossy().into_owned();
    let settings = JobSettings {
        job_name: job.job_name.value.clone(),
        instance: instance.to_owned(),
        paths: job.paths.iter().map(|text| path(check, text)).collect(),
        exclude: job.exclude.iter().map(|text| path(check, text)).collect(),
        read_from: job.read_from,
        format: format(job),
        metrics: job.metrics.iter().map(metric).collect(),
        scrape_interval: job.scrape_interval.unwrap_or(global.scrape_interval.value).0,
        rotate_wait: job.rotate_wait.0,
        path_label: job.path_label,
        journald: Journald {
            units: job.journald.units.clone(),
            identifiers: job.journald.identifiers.clone(),
            priority: job.journald.priority.clone(),
            journalctl: job.journald.journalctl.as_deref().unwrap_or("journalctl").into(),
        },
    };
    verify(check, job, &settings);
    settings
}

/// Lets the room compile each metric by itself, so that the mistakes of all of them are found.
fn verify(check: &mut Checker<'_>, job: &LogJob, settings: &JobSettings) {
    let mut wrong = false;
    for (index, written) in job.metrics.iter().enumerate() {
        let single = JobSettings { metrics: vec![settings.metrics[index].clone()], ..settings.clone() };
        if let Err(error) = compile(&single) {
            let (place, message, help) = explain(job, written, &error);
            check.error(&place, message, help);
            wrong = true;
        }
    }
    if !wrong && let Err(error) = compile(settings) {
        check.error(&job.job_name.place, error.to_string(), "");
    }
}

fn compile(settings: &JobSettings) -> Result<(), LogError> {
    Metrics::new(settings, Telemetry::new(), Timestamp::ZERO).map(drop)
}

/// Where a mistake is, and how to say it there.
fn explain(job: &LogJob, metric: &LogMetric, error: &LogError) -> (Place, String, String) {
    let templates = || metric.labels.iter().map(|(_, text)| text).chain(&metric.value);
    match error {
        LogError::Field { field, known, .. } => {
            let place = templates().find_map(|text| {
                let at = template_field(&text.value, field)?;
                Some(text.place.within(&text.value, at))
            });
            let mut names: Vec<&str> = known.split(", ").filter(|_| !known.starts_with("none")).collect();
            if let Some(pattern) = &metric.matching {
                names.extend(pattern.value.0.capture_names().flatten());
            }
            let help = match nearest(field, names.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None if names.is_empty() => "add `match` with a named group `(?P<name>...)`, or a `format`".to_owned(),
                None => format!("known: {}", names.join(", ")),
            };
            let message = format!("there is no field `{field}` in this format or in `match`");
            (place.unwrap_or_else(|| metric.name.place.clone()), message, help)
        }
        LogError::Template { template, .. } => {
            let place = templates().find(|text| text.value == *template).map(|text| text.place.clone());
            let message = format!("`{template}` is no template");
            let help = "write `{{field}}`, with any text around it".to_owned();
            (place.unwrap_or_else(|| metric.name.place.clone()), message, help)
        }
        LogError::Path(_) => {
            let place = job.paths.first().map_or(&job.job_name.place, |path| &path.place);
            (place.clone(), error.to_string(), String::new())
        }
        _ => (metric.name.place.clone(), error.to_string(), String::new()),
    }
}

/// Where a template names a field.
fn template_field(template: &str, field: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    while let Some(open) = template[from..].find("{{").map(|at| from + at + 2) {
        let close = open + template[open..].find("}}")?;
        let name = template[open..close].trim();
        if name == field {
            let start = open + template[open..close].find(name)?;
            return Some(start..start + name.len());
        }
        from = close + 2;
    }
    None
}

fn format(job: &LogJob) -> Format {
    match job.format.value {
        LogFormat::Raw => Format::Raw,
        LogFormat::Combined => Format::Combined,
        LogFormat::Common => Format::Common,
        LogFormat::Json => Format::Json,
        LogFormat::Logfmt => Format::Logfmt,
        LogFormat::Syslog => Format::Syslog,
        LogFormat::Regex => {
            Format::Regex(job.pattern.as_ref().map(|p| p.value.0.as_str().to_owned()).unwrap_or_default())
        }
        LogFormat::Journald => Format::Journald,
    }
}

fn metric(written: &LogMetric) -> MetricSettings {
    let kind = match written.kind {
        LogMetricKind::Counter => Kind::Counter,
        LogMetricKind::Gauge => Kind::Gauge,
        LogMetricKind::Histogram => Kind::Histogram(written.buckets.clone()),
    };
    MetricSettings {
        kind,
        name: written.name.value.clone(),
        help: written.help.clone(),
        pattern: written.matching.as_ref().map(|pattern| pattern.value.0.as_str().to_owned()),
        labels: written.labels.iter().map(|(name, text)| (name.value.0.clone(), text.value.clone())).collect(),
        value: written.value.as_ref().map(|text| text.value.clone()),
        scale: written.scale,
        max_series: written.max_series.unwrap_or(limits::LOG_METRIC_SERIES),
        expire: written.expire.map(|span| span.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_its_template() {
        let check = |template: &str, field: &str, expected: Option<&str>| {
            assert_eq!(template_field(template, field).map(|range| &template[range]), expected, "{template}");
        };
        check("{{status}}", "status", Some("status"));
        check("a {{ x }} {{  y }}", "y", Some("y"));
        check("y {{x}}", "y", None);
        check("{{x", "x", None);
    }
}
