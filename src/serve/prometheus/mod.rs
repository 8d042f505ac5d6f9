//! Prometheus' HTTP API: what Grafana's Prometheus data source and people's scripts call.
//!
//! Follows `web/api/v1/api.go` of Prometheus 3.x: GET and POST, its envelope, its error types and codes.

mod answer;
mod params;
mod query;
mod rules;
mod series;

use axum::Router;
use axum::routing::{any, get};

use super::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/query", any(query::instant))
        .route("/api/v1/query_range", any(query::range))
        .route("/api/v1/query_exemplars", any(async || answer::data("[]")))
        .route("/api/v1/series", any(series::series))
        .route("/api/v1/labels", any(series::labels))
        .route("/api/v1/label/{name}/values", get(series::values))
        .route("/api/v1/metadata", get(series::metadata))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/rules/evaluations", get(rules::evaluations))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/targets", get(rules::targets))
        .route("/api/v1/status/buildinfo", get(rules::build_info))
        .route("/api/v1/format_query", any(query::format))
}
