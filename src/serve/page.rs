//! The status page: embedded files that need nothing from the network, and the one call that feeds them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::{Shared, control, fleet, status};
use crate::rules::Listed;
use crate::telemetry::Metric;

pub(super) fn routes() -> Router<Shared> {
    let page = || async { asset("text/html; charset=utf-8", include_str!("assets/index.html")) };
    Router::new()
        .route("/", get(page))
        .route("/graph", get(page))
        .route("/app.css", get(async || asset("text/css; charset=utf-8", include_str!("assets/app.css"))))
        .route("/app.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/app.js"))))
        .route(
            "/switches.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("assets/switches.js"))),
        )
        .route("/fleet.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/fleet.js"))))
        .route("/icon.svg", get(async || asset("image/svg+xml", include_str!("assets/icon.svg"))))
        .route("/api/v1/status/overview", get(overview))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Everything the page shows besides its charts, in one answer.
async fn overview(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture(Listed::All).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let decisions: Vec<Value> = picture.decisions.iter().rev().take(40).map(control::decision_json).collect();
    let about = Arc::clone(&shared.about.borrow());
    let config_ok = shared.telemetry.get(Metric::ConfigLastReloadSuccessful, &[]).is_none_or(|value| value > 0.0);
    axum::Json(json!({
        "now": picture.now.as_secs_f64(),
        "host": about.host,
        "version": about.version,
        "started": about.started.as_secs_f64(),
        "mode": about.mode,
        "config": { "ok": config_ok, "file": about.config_file, "problem": about.config_problem },
        "ready": *shared.ready.borrow(),
        "series": picture.series_count,
        "switches": control::switches(&shared, &picture),
        "scales": status::scales(&picture),
        "alerts": status::alerts(&picture),
        "groups": status::groups(&picture),
        "outbox": { "waiting": picture.outbox.waiting, "dropped": picture.outbox.dropped },
        "decisions": decisions,
        "fleet": fleet::json(&picture),
        "losses": losses(&shared),
    }))
    .into_response()
}

/// What was dropped, cut, refused or failed since the start: nothing of it goes unseen.
fn losses(shared: &Shared) -> Vec<Value> {
    const WATCHED: [Metric; 16] = [
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
        Metric::ForwardDropped,
        Metric::HeartbeatsFailed,
        Metric::StoreWriteFailures,
        Metric::JournalWriteFailures,
        Metric::HttpRefused,
    ];
    let samples = shared.telemetry.samples();
    let of = |metric: &Metric| {
        let total: f64 =
            samples.iter().filter(|(labels, _)| labels.name() == metric.name()).map(|(_, value)| value).sum();
        (total > 0.0).then(|| json!({ "metric": metric.name(), "help": metric.help(), "total": total }))
    };
    WATCHED.iter().filter_map(of).collect()
}
