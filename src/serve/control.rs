//! Switches with the rules behind them, decisions and pins as plain JSON.
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /api/v1/switches` | every switch with its ladder, level, reason, pin and the rules behind it |
//! | `GET /api/v1/switches/{name}` | one of them |
//! | `POST /api/v1/switches/{name}/pin` | `{"level", "for" or "until", "reason", "by"}` |
//! | `DELETE /api/v1/switches/{name}/pin` | |
//! | `GET /api/v1/decisions?limit=N` | the latest decisions, newest first |

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Flag, Shared, status};
use crate::engine::{Command, Picture, Reply};
use crate::limits;
use crate::rules::Listed;
use crate::switches::PinRequest;
use crate::time::{Timestamp, parse_duration};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/switches", get(list))
        .route("/api/v1/switches/{name}", get(one))
        .route("/api/v1/switches/{name}/pin", post(pin).delete(unpin))
        .route("/api/v1/decisions", get(decisions))
}

pub(super) fn failed(code: StatusCode, message: impl Into<String>) -> Response {
    (code, axum::Json(json!({ "status": "error", "error": message.into() }))).into_response()
}

pub(super) fn done(data: Value) -> Response {
    axum::Json(json!({ "status": "success", "data": data })).into_response()
}

pub(super) fn closing() -> Response {
    failed(StatusCode::SERVICE_UNAVAILABLE, "shutting down")
}

async fn list(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture(Listed::Acting).await else { return closing() };
    done(Value::Array(switches(&shared, &picture)))
}

/// Every switch as JSON.
pub(super) fn switches(shared: &Shared, picture: &Picture) -> Vec<Value> {
    let board = shared.switchboard.borrow().clone();
    board.flags.iter().map(|(name, flag)| switch(name.as_str(), flag, picture)).collect()
}

fn switch(name: &str, flag: &Flag, picture: &Picture) -> Value {
    let mut switch = flag.to_json(name);
    let held = picture.held_back.iter().find(|(held, _)| held.as_str() == name);
    switch["held_back"] = json!(held.map(|(_, words)| words));
    switch["frozen"] = json!(picture.freeze.as_ref().map(|freeze| format!("{} (by {})", freeze.reason, freeze.by)));
    switch["stale_since"] =
        json!(picture.fleet.as_ref().and_then(|fleet| fleet.stale_since).map(Timestamp::to_rfc3339));
    let decided = picture.decisions.iter().rev().find(|decision| decision.switch == name && decision.revision > 0);
    switch["votes"] = json!(decided.and_then(|decision| decision.votes.as_ref()));
    switch["rules"] = Value::Array(status::ladders(picture, name));
    switch["dials"] = json!(status::dials(picture, name));
    switch["rollouts"] = json!(status::rollouts(picture, name));
    switch
}

async fn one(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let Some(picture) = shared.picture(Listed::Acting).await else { return closing() };
    match switches(&shared, &picture).into_iter().find(|switch| switch["name"] == name.as_str()) {
        Some(switch) => done(switch),
        None => failed(StatusCode::NOT_FOUND, format!("there is no switch `{name}`")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinBody {
    level: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    by: String,
}

/// When a pin ends that says neither `for` nor `until`.
const DEFAULT_PIN: &str = "1h";

async fn pin(State(shared): State<Shared>, Path(name): Path<String>, body: Bytes) -> Response {
    let wish: PinBody = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return failed(StatusCode::BAD_REQUEST, format!("the body is no pin: {error}")),
    };
    let until = match (&wish.lasts, &wish.until) {
        (Some(_), Some(_)) => Err("say either `for` or `until`, not both".to_owned()),
        (None, Some(until)) => {
            Timestamp::from_rfc3339(until).ok_or_else(|| format!("{until:?} is no time such as 2026-01-31T12:00:00Z"))
        }
        (lasts, None) => parse_duration(lasts.as_deref().unwrap_or(DEFAULT_PIN))
            .map(|lasts| shared.clock.now() + lasts)
            .map_err(|error| error.to_string()),
    };
    let until = match until {
        Ok(until) => until,
        Err(message) => return failed(StatusCode::BAD_REQUEST, message),
    };
    let by = if wish.by.trim().is_empty() { "somebody".to_owned() } else { wish.by };
    let request = PinRequest { switch: name, level: wish.level, until, reason: wish.reason, by };
    command(&shared, Command::Pin(request)).await
}

#[derive(Deserialize)]
pub(super) struct ByQuery {
    #[serde(default)]
    by: Option<String>,
}

impl ByQuery {
    /// Who asks.
    pub(super) fn by(self) -> String {
        self.by.unwrap_or_else(|| "somebody".to_owned())
    }
}

async fn unpin(State(shared): State<Shared>, Path(name): Path<String>, Query(query): Query<ByQuery>) -> Response {
    command(&shared, Command::Unpin { switch: name, by: query.by() }).await
}

pub(super) async fn command(shared: &Shared, command: Command) -> Response {
    match shared.command(command).await {
        Some(Reply::Done | Reply::Made(_) | Reply::Said(_)) => done(Value::Null),
        Some(Reply::Refused(message) | Reply::NotFound(message)) => failed(StatusCode::UNPROCESSABLE_ENTITY, message),
        Some(Reply::Unsaved) => failed(StatusCode::INTERNAL_SERVER_ERROR, "done, but it could not be saved"),
        None => closing(),
    }
}

#[derive(Deserialize)]
struct DecisionsQuery {
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    switch: Option<String>,
}

async fn decisions(State(shared): State<Shared>, Query(query): Query<DecisionsQuery>) -> Response {
    let Some(picture) = shared.picture(Listed::Nothing).await else { return closing() };
    let wanted =
        |decision: &&crate::switches::Decision| query.switch.as_ref().is_none_or(|name| decision.switch == *name);
    let limit = query.limit.unwrap_or(100).min(limits::DECISIONS_KEPT);
    let latest: Vec<Value> = picture.decisions.iter().rev().filter(wanted).take(limit).map(decision_json).collect();
    done(Value::Array(latest))
}

/// A decision as JSON, its time as text.
pub(super) fn decision_json(decision: &crate::switches::Decision) -> Value {
    let mut value = serde_json::to_value(decision).unwrap_or_default();
    value["at"] = json!(decision.at.to_rfc3339());
    value
}
