//! `/metrics` in Prometheus' text format: our own metrics, and what the host's collectors gave last.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::model::{Labels, Matcher, MetricMeta, is_stale_nan};
use crate::series::{Point, View};
use crate::telemetry::Telemetry;
use crate::time::Timestamp;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A sample older than this is not shown.
const FRESH: std::time::Duration = std::time::Duration::from_secs(60);

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    };
    let mut samples = shared.telemetry.samples();
    let about = Arc::clone(&shared.about.borrow());
    for job in &about.exposed_jobs {
        samples.extend(latest(&picture.view, job, picture.now));
    }
    let own = Telemetry::meta();
    let meta = own.iter().map(|m| (m.family.to_string(), m.clone())).chain(picture.meta.as_ref().clone()).collect();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], write(samples, &meta)).into_response()
}

/// The newest sample of each series of a job, without the labels that a scraper sets itself.
fn latest(view: &View, job: &str, now: Timestamp) -> Vec<(Labels, f64)> {
    let newest = |points: &[Point]| match points.last()? {
        Point::Float(_, value) if !is_stale_nan(*value) => Some(*value),
        _ => None,
    };
    view.select(&[Matcher::equal("job", job)], now - FRESH, now)
        .iter()
        .filter_map(|series| {
            let labels = series.labels.filtered(|name| name != "job" && name != "instance");
            Some((labels, newest(&series.points)?))
        })
        .filter(|(labels, _)| !matches!(labels.name(), "up") && !labels.name().starts_with("ALERTS"))
        .collect()
}

/// Writes samples family by family, each with its type and help where they are known.
fn write(mut samples: Vec<(Labels, f64)>, meta: &BTreeMap<String, MetricMeta>) -> String {
    samples.sort_by(|a, b| a.0.name().cmp(b.0.name()).then_with(|| a.0.cmp(&b.0)));
    let (mut text, mut family) = (String::with_capacity(samples.len() * 80), String::new());
    for (labels, value) in &samples {
        let described = describe(labels.name(), meta);
        if let Some(meta) = described.filter(|meta| *meta.family != *family) {
            meta.family.as_ref().clone_into(&mut family);
            let help = meta.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {}", meta.kind.as_str());
        }
        write_sample(&mut text, labels, *value);
    }
    text
}

/// A histogram's and a summary's series have a suffix that its family has not.
fn describe<'a>(name: &str, meta: &'a BTreeMap<String, MetricMeta>) -> Option<&'a MetricMeta> {
    let base = |suffix: &str| meta.get(name.strip_suffix(suffix)?);
    meta.get(name).or_else(|| base("_bucket")).or_else(|| base("_sum")).or_else(|| base("_count"))
}

fn write_sample(text: &mut String, labels: &Labels, value: f64) {
    let plain = labels.to_string();
    let _ = match value {
        v if v.is_nan() => writeln!(text, "{plain} NaN"),
        v if v == f64::INFINITY => writeln!(text, "{plain} +Inf"),
        v if v == f64::NEG_INFINITY => writeln!(text, "{plain} -Inf"),
        v => writeln!(text, "{plain} {v}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MetricKind;

    #[test]
    fn families_come_together_with_their_help_and_escapes_are_right() {
        let meta = |family: &str, kind| {
            let meta = MetricMeta { family: family.into(), kind, help: "What\nit is.".into(), unit: "".into() };
            (family.to_owned(), meta)
        };
        let meta = BTreeMap::from([meta("h", MetricKind::Histogram), meta("a_total", MetricKind::Counter)]);
        let sample = |name: &str, label: &str, value| (Labels::from_pairs([("__name__", name), ("l", label)]), value);
        let samples = vec![
            sample("h_sum", "", 1.5),
            sample("a_total", "x\"\\\n", 3.0),
            sample("h_bucket", "", f64::INFINITY),
            sample("zzz", "", f64::NAN),
        ];
        assert_eq!(
            write(samples, &meta),
            "# HELP a_total What\\nit is.\n# TYPE a_total counter\na_total{l=\"x\\\"\\\\\\n\"} 3\n\
             # HELP h What\\nit is.\n# TYPE h histogram\nh_bucket +Inf\nh_sum 1.5\nzzz NaN\n"
        );
    }
}
