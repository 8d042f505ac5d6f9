//! `status/*`, `alertmanagers`, `scrape_pools`: what the daemon says of itself in Prometheus' words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, data};
use super::params::Params;
use crate::limits;
use crate::model::{Labels, MatchOp, Matcher, NAME};
use crate::series::View;
use crate::serve::Shared;
use crate::time::{Timestamp, format_duration};

pub(super) async fn config(State(shared): State<Shared>) -> Answer {
    let about = Arc::clone(&shared.about.borrow());
    Ok(data(&json!({ "yaml": about.config_text }).to_string()))
}

/// The flags that have a counterpart here.
pub(super) async fn flags(State(shared): State<Shared>) -> Answer {
    let about = Arc::clone(&shared.about.borrow());
    let flags = json!({
        "config.file": about.config_file,
        "query.lookback-delta": "5m",
        "query.max-concurrency": limits::QUERIES_AT_ONCE.to_string(),
        "query.max-samples": limits::QUERY_SAMPLES.to_string(),
        "query.timeout": format_duration(limits::QUERY_TIME),
        "storage.remote.flush-deadline": "5s",
        "web.cors.origin": about.cors_origin.as_ref().map_or("", |origin| origin.as_str()),
        "web.enable-lifecycle": "true",
        "web.max-connections": limits::HTTP_CONNECTIONS.to_string(),
    });
    Ok(data(&flags.to_string()))
}

pub(super) async fn runtime_info(State(shared): State<Shared>) -> Answer {
    let about = Arc::clone(&shared.about.borrow());
    let now = shared.clock.now();
    let info = json!({
        "startTime": about.started.to_rfc3339(),
        "CWD": "",
        "hostname": about.host,
        "serverTime": now.to_rfc3339(),
        "reloadConfigSuccess": about.config_problem.is_none(),
        "lastConfigTime": about.config_taken.to_rfc3339(),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": 1,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "on demand",
    });
    Ok(data(&info.to_string()))
}

pub(super) async fn tsdb(State(shared): State<Shared>, params: Params) -> Answer {
    let limit = match params.number("limit")? {
        usize::MAX => 10,
        limit => limit,
    };
    let view = shared.view().await.ok_or(ApiError::Unavailable)?;
    let work = tokio::task::spawn_blocking(move || tsdb_json(&view, limit));
    let answer = work.await.map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(data(&answer.map_err(ApiError::Internal)?.to_string()))
}

fn tsdb_json(view: &View, limit: usize) -> Result<Value, String> {
    let any = Matcher::new(MatchOp::NotEqual, NAME, "").map_err(|error| error.to_string())?;
    let series = view.resolve(&[any]);
    let (mut oldest, mut newest) = (Timestamp::MAX, Timestamp::MIN);
    let mut metrics: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let sets: Vec<&Labels> = series.iter().filter_map(|one| view.labels(*one)).collect();
    for labels in &sets {
        *metrics.entry(labels.name()).or_default() += 1;
        for pair in labels.iter() {
            *pairs.entry(pair).or_default() += 1;
        }
    }
    let mut points = Vec::new();
    for one in &series {
        points.clear();
        view.points_into(*one, Timestamp::MIN, Timestamp::MAX, &mut points);
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            (oldest, newest) = (oldest.min(first.time()), newest.max(last.time()));
        }
    }
    let mut values: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for (name, value) in pairs.keys() {
        let (set, bytes) = values.entry(name).or_default();
        if set.insert(value) {
            *bytes += value.len();
        }
    }
    let top = |list: Vec<(String, usize)>| {
        let mut list = list;
        list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        list.into_iter().take(limit).map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>()
    };
    Ok(json!({
        "headStats": {
            "numSeries": sets.len(),
            "numLabelPairs": pairs.len(),
            "chunkCount": 0,
            "minTime": if sets.is_empty() { 0 } else { oldest.as_millis() },
            "maxTime": if sets.is_empty() { 0 } else { newest.as_millis() },
        },
        "seriesCountByMetricName": top(metrics.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()),
        "labelValueCountByLabelName": top(values.iter().map(|(name, (set, _))| ((*name).to_owned(), set.len())).collect()),
        "memoryInBytesByLabelName": top(values.iter().map(|(name, (_, bytes))| ((*name).to_owned(), *bytes)).collect()),
        "seriesCountByLabelValuePair":
            top(pairs.iter().map(|((name, value), count)| (format!("{name}={value}"), *count)).collect()),
    }))
}

/// The Alertmanagers that alerts are forwarded to; the daemon's own is not among them.
pub(super) async fn alertmanagers(State(shared): State<Shared>) -> Answer {
    let active: Vec<_> = (shared.alertmanagers)().into_iter().map(|url| json!({ "url": url })).collect();
    Ok(data(&json!({ "activeAlertmanagers": active, "droppedAlertmanagers": [] }).to_string()))
}

pub(super) async fn scrape_pools(State(shared): State<Shared>) -> Answer {
    let targets = (shared.targets)();
    let pools: BTreeSet<&str> = targets.iter().filter_map(|target| target["scrapePool"].as_str()).collect();
    Ok(data(&json!({ "scrapePools": pools }).to_string()))
}
