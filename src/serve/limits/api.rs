//! `acquire`, `release` and a look at a limit, over HTTP.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{Shared, Whole, whole_json};
use super::Verdict;

const PREFIX: &str = "/v1/limits/";

pub(in crate::serve) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/limits/{name}", get(look))
        .route("/v1/limits/{name}/acquire", post(ask))
        .route("/v1/limits/{name}/release", post(release))
}

/// The limit's name in a path that asks to acquire.
pub(in crate::serve) fn path_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix(PREFIX)?.strip_suffix("/acquire")?;
    (!name.is_empty() && !name.contains(['/', '%'])).then_some(name)
}

fn failed(code: StatusCode, message: String) -> Whole {
    whole_json(code, json!({ "status": "error", "error": message }).to_string())
}

fn not_found(name: &str) -> Whole {
    let message = format!("there is no limit `{name}`: a switch of the kind `limit`, or an entry of serve.limits");
    failed(StatusCode::NOT_FOUND, message)
}

async fn look(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    match shared.limit(&name) {
        Some((settings, value, unit)) => {
            let switch = settings.switch.as_str();
            axum::Json(json!({ "name": name, "switch": switch, "limit": value, "unit": unit.as_str() })).into_response()
        }
        None => not_found(&name).map(Into::into),
    }
}

async fn ask(State(shared): State<Shared>, Path(name): Path<String>, body: Bytes) -> Response {
    acquire(&shared, &name, &body).map(Into::into)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    #[serde(default = "one")]
    tokens: u64,
    #[serde(default, borrow)]
    key: Option<std::borrow::Cow<'a, str>>,
}

fn one() -> u64 {
    1
}

/// Answers one wish. A body may be missing: then it is one token without a key.
pub(in crate::serve) fn acquire(shared: &Shared, name: &str, body: &[u8]) -> Whole {
    let wish = if body.iter().all(u8::is_ascii_whitespace) {
        Wish { tokens: 1, key: None }
    } else {
        match serde_json::from_slice::<Wish<'_>>(body) {
            Ok(wish) => wish,
            Err(error) => return failed(StatusCode::BAD_REQUEST, format!("the body is not understood: {error}")),
        }
    };
    if wish.tokens == 0 || wish.key.as_ref().is_some_and(|key| key.len() > crate::limits::LIMIT_KEY_BYTES) {
        let most = crate::limits::LIMIT_KEY_BYTES;
        return failed(
            StatusCode::BAD_REQUEST,
            format!("ask for at least one token, by a key of at most {most} bytes"),
        );
    }
    let Some(verdict) = shared.take(name, wish.key.as_deref(), wish.tokens) else { return not_found(name) };
    let mut response = answered(&verdict);
    if !verdict.allowed {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let seconds = whole_seconds(verdict.wait.unwrap_or(Duration::from_secs(1)));
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer as JSON, written without a tree of values: this is asked with every request of an application.
#[derive(Serialize)]
struct Told {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<f64>,
    /// JSON has no infinity: a limit that limits nothing is null.
    limit: f64,
    remaining: u64,
    unit: &'static str,
    /// Of a refusal; null when nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_seconds: Option<Option<f64>>,
}

fn answered(verdict: &Verdict) -> Whole {
    let told = Told {
        allowed: verdict.allowed,
        lease: verdict.lease.map(|(lease, _)| lease.to_string()),
        lease_seconds: verdict.lease.map(|(_, lasts)| lasts.as_secs_f64()),
        limit: verdict.limit,
        remaining: verdict.remaining,
        unit: verdict.unit.as_str(),
        wait_seconds: (!verdict.allowed).then(|| verdict.wait.map(|wait| wait.as_secs_f64())),
    };
    whole_json(StatusCode::OK, serde_json::to_vec(&told).unwrap_or_default())
}

/// `Retry-After` knows only whole seconds.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[derive(Deserialize)]
struct Back {
    lease: String,
}

async fn release(State(shared): State<Shared>, Path(name): Path<String>, body: Bytes) -> Response {
    let back: Back = match serde_json::from_slice(&body) {
        Ok(back) => back,
        Err(error) => {
            let message = format!("the body is not understood: {error}");
            return failed(StatusCode::BAD_REQUEST, message).map(Into::into);
        }
    };
    let released = back.lease.parse().is_ok_and(|lease| shared.release(&name, lease));
    if released {
        return axum::Json(json!({ "released": true })).into_response();
    }
    // It ended by its time, or the daemon was started again: nothing is held, which is what was wanted.
    (StatusCode::GONE, axum::Json(json!({ "released": false }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_way_takes_plain_names_only() {
        for (path, name) in [
            ("/v1/limits/checkout/acquire", Some("checkout")),
            ("/v1/limits/a%2fb/acquire", None),
            ("/v1/limits//acquire", None),
            ("/v1/limits/checkout/release", None),
            ("/v1/limits/checkout", None),
        ] {
            assert_eq!(path_name(path), name, "{path}");
        }
    }

    #[test]
    fn an_answer_says_what_matters_and_no_more() {
        let verdict = |allowed, limit, wait, lease| Verdict {
            allowed,
            limit,
            unit: super::super::Unit::InFlight,
            remaining: 3,
            wait,
            lease,
        };
        let half = Duration::from_millis(500);
        for (verdict, expected) in [
            (
                verdict(true, 200.0, None, Some((7, half))),
                r#"{"allowed":true,"lease":"7","lease_seconds":0.5,"limit":200.0,"remaining":3,"unit":"in_flight"}"#,
            ),
            (
                verdict(false, f64::INFINITY, None, None),
                r#"{"allowed":false,"limit":null,"remaining":3,"unit":"in_flight","wait_seconds":null}"#,
            ),
            (
                verdict(false, 2.5, Some(half), None),
                r#"{"allowed":false,"limit":2.5,"remaining":3,"unit":"in_flight","wait_seconds":0.5}"#,
            ),
        ] {
            assert_eq!(String::from_utf8_lossy(answered(&verdict).body()), expected);
        }
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let seconds = [0, 1, 1_000, 1_001].map(|millis| whole_seconds(Duration::from_millis(millis)));
        assert_eq!(seconds, [1, 1, 1, 2]);
    }
}
