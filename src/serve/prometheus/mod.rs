//! Prometheus' HTTP API: what Grafana's Prometheus data source and people's scripts call.
//!
//! Follows `web/api/v1/api.go` of Prometheus 3.x: GET and POST, its envelope, its error types and codes, and CORS where the
//! configuration allows an origin. Beside Prometheus' fields an error about a part of an expression has `position` (bytes
//! of the expression) and `help`.

mod answer;
mod envelope;
mod params;
mod query;
mod rules;
mod series;
mod status;
mod tree;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get};

use super::{Shared, wrap};

pub use envelope::query_answer;
pub(super) use params::Params;

pub(super) fn routes(shared: &Shared) -> Router<Shared> {
    Router::new()
        .route("/api/v1/query", any(query::instant))
        .route("/api/v1/query_range", any(query::range))
        .route("/api/v1/query_exemplars", any(query::exemplars))
        .route("/api/v1/format_query", any(query::format))
        .route("/api/v1/parse_query", any(query::parse))
        .route("/api/v1/series", any(series::series))
        .route("/api/v1/labels", any(series::labels))
        .route("/api/v1/label/{name}/values", get(series::values))
        .route("/api/v1/metadata", get(series::metadata))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/rules/evaluations", get(rules::evaluations))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/alertmanagers", get(status::alertmanagers))
        .route("/api/v1/targets", get(rules::targets))
        .route("/api/v1/scrape_pools", get(status::scrape_pools))
        .route("/api/v1/status/buildinfo", get(rules::build_info))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/runtimeinfo", get(status::runtime_info))
        .route("/api/v1/status/tsdb", get(status::tsdb))
        .layer(middleware::from_fn(wrap::gzip))
        .layer(middleware::from_fn_with_state(shared.clone(), wrap::cors))
}
