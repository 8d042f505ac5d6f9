//! Answers of the API: the envelope's head, and errors with their types and codes.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What goes wrong, in Prometheus' types.
#[derive(Debug)]
pub(super) enum ApiError {
    BadData(String),
    Execution(String),
    Timeout(String),
    Canceled(String),
    Unavailable,
    NotFound(String),
    Internal(String),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, kind, message) = match self {
            ApiError::BadData(message) => (400, "bad_data", message),
            ApiError::Execution(message) => (422, "execution", message),
            ApiError::Timeout(message) => (503, "timeout", message),
            ApiError::Canceled(message) => (499, "canceled", message),
            ApiError::Unavailable => (503, "unavailable", "the daemon is shutting down".into()),
            ApiError::NotFound(message) => (404, "not_found", message),
            ApiError::Internal(message) => (500, "internal", message),
        };
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, axum::Json(json!({ "status": "error", "errorType": kind, "error": message }))).into_response()
    }
}

pub(super) type Answer = Result<Response, ApiError>;

/// A successful answer around JSON text.
pub(super) fn data(data: &str) -> Response {
    whole(format!("{{\"status\":\"success\",\"data\":{data}}}"))
}

/// An answer that is its envelope already.
pub(super) fn whole(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
