//! `/metrics` and `/federate` in Prometheus' text format.
//!
//! `/metrics` shows our own metrics, and what the host's collectors and logs gave last, without the `job` and `instance`
//! that a scraper sets itself. Where two jobs have the same metric their series keep `job`, so that none comes twice; a
//! scraper calls it `exported_job`. `/federate` shows the newest sample of every series that is asked for, with its time, its
//! own labels and the external ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::prometheus::Params;
use crate::limits;
use crate::model::{Labels, Matcher, MetricKind, MetricMeta, is_stale_nan};
use crate::rules::Listed;
use crate::series::{Point, View};
use crate::telemetry::Telemetry;
use crate::time::Timestamp;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A sample older than this is not shown on `/metrics`.
const FRESH: Duration = Duration::from_secs(60);
/// A sample older than this is not shown on `/federate`: Prometheus' lookback.
const LOOKBACK: Duration = Duration::from_secs(5 * 60);

/// A series with its value, and its time where that is shown.
type Shown = (Labels, f64, Option<Timestamp>);
type Meta = BTreeMap<String, MetricMeta>;

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture(Listed::Nothing).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    };
    let own = shared.telemetry.samples();
    let about = Arc::clone(&shared.about.borrow());
    let work = tokio::task::spawn_blocking(move || {
        let jobs: Vec<_> = about.exposed_jobs.iter().map(|job| latest(&picture.view, job, picture.now)).collect();
        let mut samples = exposed(jobs);
        samples.extend(own.into_iter().map(|(labels, value)| (labels, value, None)));
        write(samples, &families(&picture.meta))
    });
    text(work.await)
}

fn text(written: Result<String, tokio::task::JoinError>) -> Response {
    match written {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn families(known: &Meta) -> Meta {
    let own = Telemetry::meta().into_iter().map(|meta| (meta.family.to_string(), meta));
    own.chain(known.iter().map(|(family, meta)| (family.clone(), meta.clone()))).collect()
}

/// The newest float of each series of a job.
fn latest(view: &View, job: &str, now: Timestamp) -> Vec<(Labels, f64)> {
    let newest = |labels: &Labels, point: Option<Point>| match point? {
        Point::Float(_, value) if !is_stale_nan(value) => Some((labels.clone(), value)),
        _ => None,
    };
    view.resolve(&[Matcher::equal("job", job)])
        .into_iter()
        .filter_map(|series| newest(view.labels(series)?, view.last_before(series, now, FRESH)))
        .filter(|(labels, _)| !matches!(labels.name(), "up") && !labels.name().starts_with("ALERTS"))
        .collect()
}

/// The series of all jobs as a scraper is to see them.
fn exposed(jobs: Vec<Vec<(Labels, f64)>>) -> Vec<Shown> {
    let (mut once, mut shared) = (BTreeSet::new(), BTreeSet::new());
    for job in &jobs {
        let names: BTreeSet<String> = job.iter().map(|(labels, _)| labels.name().to_owned()).collect();
        for name in names {
            if !once.insert(name.clone()) {
                shared.insert(name);
            }
        }
    }
    let strip = |(labels, value): (Labels, f64)| {
        let keeps_job = shared.contains(labels.name());
        let labels = labels.filtered(|name| name != "instance" && (name != "job" || keeps_job));
        (labels, value, None)
    };
    jobs.into_iter().flatten().map(strip).collect()
}

pub(super) async fn federate(State(shared): State<Shared>, params: Params) -> Response {
    let selectors = match params.matchers() {
        Ok(selectors) => selectors,
        Err(error) => return error.into_response(),
    };
    let place = tokio::time::timeout(limits::QUERY_TIME, Arc::clone(&shared.queries).acquire_owned()).await;
    let (Ok(Ok(place)), Some(picture)) = (place, shared.picture(Listed::Nothing).await) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too busy, or shutting down\n").into_response();
    };
    let external = shared.about.borrow().external_labels.clone();
    let work = tokio::task::spawn_blocking(move || {
        let found = federated(&picture.view, &selectors, picture.now, &external);
        drop(place);
        found.map(|samples| write(samples, &families(&picture.meta)))
    });
    match work.await {
        Ok(Some(written)) => text(Ok(written)),
        Ok(None) => {
            let message = format!("more than {} series: narrow match[]\n", limits::FEDERATED_SERIES);
            (StatusCode::UNPROCESSABLE_ENTITY, message).into_response()
        }
        Err(error) => text(Err(error)),
    }
}

/// The newest samples of all series that any selector matches; `None` when they are too many.
fn federated(view: &View, selectors: &[Vec<Matcher>], now: Timestamp, external: &Labels) -> Option<Vec<Shown>> {
    let mut found = BTreeMap::new();
    for matchers in selectors {
        for series in view.resolve(matchers) {
            let Some(Point::Float(at, value)) = view.last_before(series, now, LOOKBACK) else { continue };
            let Some(labels) = view.labels(series).filter(|labels| !labels.name().is_empty()) else { continue };
            if !is_stale_nan(value) {
                found.insert(labels.clone(), (value, at));
            }
            if found.len() > limits::FEDERATED_SERIES {
                return None;
            }
        }
    }
    let outward = |(labels, (value, at)): (Labels, (f64, Timestamp))| {
        let mut builder = labels.to_builder();
        for (name, value) in external.iter().filter(|(name, _)| labels.get(name).is_none()) {
            builder.set(name, value);
        }
        (builder.build(), value, Some(at))
    };
    Some(found.into_iter().map(outward).collect())
}

/// Writes samples family by family, each with its type and help where they are known.
fn write(samples: Vec<Shown>, meta: &Meta) -> String {
    let mut samples: Vec<_> = samples
        .into_iter()
        .map(|sample| {
            let described = describe(sample.0.name(), meta);
            let family = described.map_or(sample.0.name(), |meta| &*meta.family).to_owned();
            (family, described, sample)
        })
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.2.0.name().cmp(b.2.0.name())).then_with(|| a.2.0.cmp(&b.2.0)));
    samples.dedup_by(|a, b| a.2.0 == b.2.0);
    let (mut text, mut family) = (String::with_capacity(samples.len() * 80), String::new());
    for (of, described, (labels, value, at)) in &samples {
        if let Some(meta) = described.filter(|_| *of != family) {
            let help = meta.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {of} {help}\n# TYPE {of} {}", type_word(meta.kind));
        }
        family.clone_from(of);
        write_sample(&mut text, labels, *value, *at);
    }
    text
}

/// A histogram's and a summary's series have a suffix that its family has not.
fn describe<'a>(name: &str, meta: &'a Meta) -> Option<&'a MetricMeta> {
    let base = |suffix: &str| meta.get(name.strip_suffix(suffix)?);
    meta.get(name).or_else(|| base("_bucket")).or_else(|| base("_sum")).or_else(|| base("_count"))
}

/// The types that this format knows.
fn type_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter | MetricKind::Gauge | MetricKind::Histogram | MetricKind::Summary => kind.as_str(),
        MetricKind::Info | MetricKind::StateSet => "gauge",
        MetricKind::GaugeHistogram | MetricKind::Unknown => "untyped",
    }
}

fn write_sample(text: &mut String, labels: &Labels, value: f64, at: Option<Timestamp>) {
    let plain = labels.to_string();
    let _ = match value {
        v if v.is_nan() => write!(text, "{plain} NaN"),
        v if v == f64::INFINITY => write!(text, "{plain} +Inf"),
        v if v == f64::NEG_INFINITY => write!(text, "{plain} -Inf"),
        v => write!(text, "{plain} {v}"),
    };
    let _ = match at {
        Some(at) => writeln!(text, " {}", at.as_millis()),
        None => writeln!(text),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_nan;
    use crate::series::Store;

    fn meta(family: &str, kind: MetricKind) -> (String, MetricMeta) {
        let meta = MetricMeta { family: family.into(), kind, help: "What\nit is.".into(), unit: "".into() };
        (family.to_owned(), meta)
    }

    #[test]
    fn families_come_together_with_their_help_and_escapes_are_right() {
        let meta = BTreeMap::from([meta("h", MetricKind::Histogram), meta("a_total", MetricKind::Counter)]);
        let sample =
            |name: &str, label: &str, value| (Labels::from_pairs([("__name__", name), ("l", label)]), value, None);
        let samples = vec![
            sample("h_sum", "", 1.5),
            sample("a_total", "x\"\\\n", 3.0),
            sample("h_other", "", 2.0),
            sample("h_bucket", "", f64::INFINITY),
            sample("zzz", "", f64::NAN),
        ];
        assert_eq!(
            write(samples, &meta),
            "# HELP a_total What\\nit is.\n# TYPE a_total counter\na_total{l=\"x\\\"\\\\\\n\"} 3\n\
             # HELP h What\\nit is.\n# TYPE h histogram\nh_bucket +Inf\nh_sum 1.5\nh_other 2\nzzz NaN\n"
        );
    }

    fn series(job: &str, name: &str) -> Labels {
        Labels::from_pairs([("__name__", name), ("job", job), ("instance", "i")])
    }

    #[test]
    fn a_metric_of_two_jobs_keeps_their_names() {
        let one = vec![(series("a", "lines"), 1.0), (series("a", "only"), 2.0)];
        let two = vec![(series("b", "lines"), 3.0)];
        assert_eq!(
            write(exposed(vec![one, two]), &BTreeMap::new()),
            "lines{job=\"a\"} 1\nlines{job=\"b\"} 3\nonly 2\n"
        );
    }

    #[test]
    fn federation_shows_newest_samples_with_times_and_external_labels_and_nothing_stale() {
        let at = Timestamp::from_millis;
        let mut store = Store::default();
        for (job, name, time, value) in [
            ("a", "m", 100_000, 1.0),
            ("a", "m", 200_000, 2.0),
            ("b", "m", 200_000, 5.0),
            ("b", "m", 201_000, stale_nan()),
            ("c", "m", 1_000, 7.0),
            ("a", "other", 200_000, 9.0),
        ] {
            store.append(&series(job, name), at(time), value);
        }
        let external = Labels::from_pairs([("zone", "z"), ("job", "never")]);
        let selectors = [vec![Matcher::equal("__name__", "m")], vec![Matcher::equal("job", "a")]];
        let found = federated(&store.view(), &selectors, at(302_000), &external).expect("few");
        let meta = BTreeMap::from([meta("m", MetricKind::Unknown)]);
        assert_eq!(
            write(found, &meta),
            "# HELP m What\\nit is.\n# TYPE m untyped\nm{instance=\"i\", job=\"a\", zone=\"z\"} 2 200000\n\
             other{instance=\"i\", job=\"a\", zone=\"z\"} 9 200000\n"
        );
    }
}
