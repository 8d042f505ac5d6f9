//! The status page: three embedded files that need nothing from the network, and the one call that feeds them.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::{Shared, control};
use crate::telemetry::Metric;

pub(super) fn routes() -> Router<Shared> {
    let page = || async { asset("text/html; charset=utf-8", include_str!("assets/index.html")) };
    Router::new()
        .route("/", get(page))
        .route("/graph", get(page))
        .route("/app.css", get(async || asset("text/css; charset=utf-8", include_str!("assets/app.css"))))
        .route("/app.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/app.js"))))
        .route("/icon.svg", get(async || asset("image/svg+xml", include_str!("assets/icon.svg"))))
        .route("/api/v1/status/overview", get(overview))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Everything the page shows besides its charts, in one answer.
async fn overview(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let decisions: Vec<Value> = picture.decisions.iter().rev().take(40).map(control::decision_json).collect();
    let dropped: Vec<Value> = losses(&shared);
    let config_ok = shared.telemetry.get(Metric::ConfigLastReloadSuccessful, &[]).is_none_or(|value| value > 0.0);
    axum::Json(json!({
        "now": picture.now.as_secs_f64(),
        "host": picture.about.host,
        "version": picture.about.version,
        "started": picture.about.started.as_secs_f64(),
        "mode": picture.about.mode,
        "config": { "ok": config_ok, "file": picture.about.config_file, "problem": picture.about.config_problem },
        "ready": *shared.ready.borrow(),
        "series": picture.series_count,
        "switches": control::switches(&shared, &picture),
        "scales": picture.scales,
        "alerts": picture.alerts,
        "groups": picture.groups,
        "outbox": picture.outbox,
        "decisions": decisions,
        "losses": dropped,
        "jobs": picture.about.jobs,
    }))
    .into_response()
}

/// What was dropped, cut, refused or failed since the start: nothing of it goes unseen.
fn losses(shared: &Shared) -> Vec<Value> {
    const WATCHED: [Metric; 15] = [
        Metric::EventsDropped,
        Metric::TaskPanics,
        Metric::SamplesRefused,
        Metric::LogLinesCut,
        Metric::LogBytesLost,
        Metric::LogFilesRefused,
        Metric::LogSeriesLimited,
        Metric::ScrapeBodyTooLarge,
        Metric::RuleGroupIterationsMissed,
        Metric::NotificationsFailed,
        Metric::NotificationsGivenUp,
        Metric::NotificationsDropped,
        Metric::StoreWriteFailures,
        Metric::JournalWriteFailures,
        Metric::HttpRefused,
    ];
    let samples = shared.telemetry.samples();
    let of = |metric: &Metric| {
        let total: f64 = samples.iter().filter(|(labels, _)| labels.name() == metric.name()).map(|(_, value)| value).sum();
        (total > 0.0).then(|| json!({ "metric": metric.name(), "help": metric.help(), "total": total }))
    };
    WATCHED.iter().filter_map(of).collect()
}
