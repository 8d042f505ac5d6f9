//! Answers and errors in the forms of Alertmanager's API: a plain JSON text for its own errors, an object with a code for
//! those of its framework (a body or a parameter that is not of the API's shape).

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::alerts::Alerts;
use crate::serve::Shared;
use crate::time::Timestamp;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// 400, as a JSON text.
    Bad(String),
    /// 404, as a JSON text.
    NotFound(String),
    /// 500, as a JSON text.
    Failed(String),
    /// The body is no JSON of the wanted kind: 400, as an object.
    Unreadable(String),
    /// A field or parameter is missing or of a wrong form: 422, as an object.
    Invalid(String),
    /// The daemon is shutting down.
    Closing,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let text = |code: StatusCode, message: &str| (code, axum::Json(json!(message))).into_response();
        let object = |status: StatusCode, code: u16, message: &str| {
            (status, axum::Json(json!({ "code": code, "message": message }))).into_response()
        };
        match self {
            ApiError::Bad(message) => text(StatusCode::BAD_REQUEST, &message),
            ApiError::NotFound(message) => text(StatusCode::NOT_FOUND, &message),
            ApiError::Failed(message) => text(StatusCode::INTERNAL_SERVER_ERROR, &message),
            ApiError::Unreadable(message) => object(StatusCode::BAD_REQUEST, 400, &message),
            ApiError::Invalid(message) => object(StatusCode::UNPROCESSABLE_ENTITY, 602, &message),
            ApiError::Closing => text(StatusCode::SERVICE_UNAVAILABLE, "the daemon is shutting down"),
        }
    }
}

pub(super) type Answer = Result<Response, ApiError>;

/// JSON, or the error that kept it from being made.
pub(super) fn json_text(value: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| ApiError::Failed(error.to_string()))
}

/// JSON text as an answer.
pub(super) fn json_answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Works something out of the alerts as they are now, off the engine's thread and a few at a time.
pub(super) async fn read(
    shared: &Shared,
    work: impl FnOnce(&Alerts, Timestamp) -> Result<String, ApiError> + Send + 'static,
) -> Answer {
    let place = Arc::clone(&shared.queries).acquire_owned().await.map_err(|_| ApiError::Closing)?;
    let alerts = shared.alerts().await.ok_or(ApiError::Closing)?;
    let now = shared.clock.now();
    let done = tokio::task::spawn_blocking(move || {
        let text = work(&alerts, now);
        drop(place);
        text
    });
    let text = done.await.map_err(|error| ApiError::Failed(error.to_string()))??;
    Ok(json_answer(text))
}
