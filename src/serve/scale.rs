//! What scale rules want, for autoscalers that ask: `GET /v1/scale/{name}` -> `{"desired": 7, ...}`. KEDA's `metrics-api`
//! scaler reads it with `valueLocation: desired`.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v1/scale/{name}", get(scale))
}

/// The wish of a scale rule. Until its expression has given one, it is the least that the rule allows.
async fn scale(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let Some(picture) = shared.picture().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({ "error": "shutting down" }))).into_response();
    };
    let Some(scale) = picture.scales.iter().find(|scale| scale.settings.target == name) else {
        let error = format!("no scale rule has the target `{name}`");
        return (StatusCode::NOT_FOUND, axum::Json(json!({ "error": error }))).into_response();
    };
    axum::Json(json!({
        "desired": scale.memory.desired.unwrap_or(scale.settings.min),
        "min": scale.settings.min,
        "max": scale.settings.max,
        "generation": scale.memory.generation,
    }))
    .into_response()
}
