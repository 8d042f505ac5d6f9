//! Alertmanager's HTTP API, version 2, under `/api/v2`: what Prometheus, amtool and Grafana's data source call.
//!
//! Follows Alertmanager's `api/v2/openapi.yaml` and, where that leaves something open, its `api/v2/api.go`: parameters,
//! shapes, messages and codes. Reads get a copy of the alerts and are worked out on the blocking pool; a change is a
//! command to the engine and is durable before it is answered.

mod alerts;
mod answer;
mod body;
mod ours;
mod params;
mod silences;
mod status;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::get;

use super::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v2/status", get(status::status))
        .route("/api/v2/receivers", get(status::receivers))
        .route("/api/v2/alerts", get(alerts::list).post(alerts::post))
        .route("/api/v2/alerts/groups", get(alerts::groups))
        .route("/api/v1/alerts/explain", get(ours::explain))
        .route("/api/v1/alerts/noisy", get(ours::noisy))
        .route("/api/v2/silences", get(silences::list).post(silences::post))
        .route("/api/v2/silence/{id}", get(silences::one).delete(silences::expire))
}
