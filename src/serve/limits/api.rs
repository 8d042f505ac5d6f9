//! `acquire`, `release` and a look at a limit, over HTTP.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::super::Shared;

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

fn failed(code: StatusCode, message: String) -> Response {
    (code, axum::Json(json!({ "status": "error", "error": message }))).into_response()
}

fn not_found(name: &str) -> Response {
    let message = format!("there is no limit `{name}`: a switch of the kind `limit`, or an entry of serve.limits");
    failed(StatusCode::NOT_FOUND, message)
}

async fn look(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    match shared.limit(&name) {
        Some((settings, value, unit)) => {
            let switch = settings.switch.as_str();
            axum::Json(json!({ "name": name, "switch": switch, "limit": value, "unit": unit.as_str() })).into_response()
        }
        None => not_found(&name),
    }
}

async fn ask(State(shared): State<Shared>, Path(name): Path<String>, body: Bytes) -> Response {
    acquire(&shared, &name, &body)
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
pub(in crate::serve) fn acquire(shared: &Shared, name: &str, body: &[u8]) -> Response {
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
    // JSON has no infinity: a limit that limits nothing is null.
    let mut body = json!({
        "allowed": verdict.allowed,
        "limit": verdict.limit,
        "unit": verdict.unit.as_str(),
        "remaining": verdict.remaining,
    });
    if let Some((lease, lasts)) = verdict.lease {
        body["lease"] = json!(lease.to_string());
        body["lease_seconds"] = json!(lasts.as_secs_f64());
    }
    if verdict.allowed {
        return axum::Json(body).into_response();
    }
    body["wait_seconds"] = json!(verdict.wait.map(|wait| wait.as_secs_f64()));
    let mut response = (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
    let seconds = whole_seconds(verdict.wait.unwrap_or(Duration::from_secs(1)));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
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
        Err(error) => return failed(StatusCode::BAD_REQUEST, format!("the body is not understood: {error}")),
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
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let seconds = [0, 1, 1_000, 1_001].map(|millis| whole_seconds(Duration::from_millis(millis)));
        assert_eq!(seconds, [1, 1, 1, 2]);
    }
}
