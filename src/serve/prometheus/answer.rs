//! Answers of the API: the envelope's head, and errors with their types and codes.

use std::fmt::Write as _;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::promql::Span;

/// What goes wrong, in Prometheus' types.
#[derive(Debug)]
pub(in crate::serve) enum ApiError {
    BadData(String),
    /// An expression that is none, with the place in its text: Prometheus' words begin with it, and clients of ours get it
    /// as numbers too.
    Expression(Placed),
    Execution(Placed),
    Timeout(String),
    Canceled(String),
    Unavailable,
    NotFound(String),
    Internal(String),
}

/// A message about a part of an expression.
#[derive(Debug)]
pub(in crate::serve) struct Placed {
    pub message: String,
    /// Bytes of the expression's text, where that is known.
    pub span: Option<Span>,
    /// What to write instead.
    pub help: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut place = None;
        let (code, kind, message) = match self {
            ApiError::BadData(message) => (400, "bad_data", message),
            ApiError::Expression(placed) => {
                place = Some((placed.span, placed.help));
                (400, "bad_data", placed.message)
            }
            ApiError::Execution(placed) => {
                place = Some((placed.span, placed.help));
                (422, "execution", placed.message)
            }
            ApiError::Timeout(message) => (503, "timeout", message),
            ApiError::Canceled(message) => (499, "canceled", message),
            ApiError::Unavailable => (503, "unavailable", "the daemon is shutting down".into()),
            ApiError::NotFound(message) => (404, "not_found", message),
            ApiError::Internal(message) => (500, "internal", message),
        };
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({ "status": "error", "errorType": kind, "error": message });
        if let Some((Some(span), help)) = place {
            body["position"] = json!({ "start": span.start, "end": span.end });
            if let Some(help) = help {
                body["help"] = json!(help);
            }
        }
        (code, axum::Json(body)).into_response()
    }
}

pub(super) type Answer = Result<Response, ApiError>;

/// A successful answer around JSON text.
pub(super) fn data(data: &str) -> Response {
    whole(format!("{{\"status\":\"success\",\"data\":{data}}}"))
}

/// A successful answer around JSON text, with warnings.
pub(super) fn with_notes(data: &str, warnings: &[String]) -> Response {
    let mut text = format!("{{\"status\":\"success\",\"data\":{data}");
    if !warnings.is_empty() {
        let _ = write!(text, ",\"warnings\":{}", json!(warnings));
    }
    text.push('}');
    whole(text)
}

/// An answer that is its envelope already.
pub(super) fn whole(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
