//! What people say besides pins: freeze and unfreeze, and words to rollouts; and the wanted numbers of scale rules, for
//! autoscalers that ask instead of being told (KEDA's `metrics-api` scaler).
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /api/v1/freeze` | the freeze in force, or null |
//! | `POST /api/v1/freeze` | `{"reason", "by", "for" or "until"}`; without an end until somebody ends it |
//! | `DELETE /api/v1/freeze?by=` | |
//! | `POST /api/v1/rollouts/{name}/{word}?by=` | `pause`, `resume`, `abort`, `ack` |
//! | `GET /api/v1/scales/{target}` | `{"desired", "min", "max", ...}`: KEDA reads `valueLocation: desired` |

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::control::{ByQuery, closing, command, done, failed};
use super::{Shared, status};
use crate::engine::Command;
use crate::rules::Listed;
use crate::switches::{FreezeRequest, RolloutWord};
use crate::time::{Timestamp, parse_duration};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/freeze", get(frozen).post(freeze).delete(unfreeze))
        .route("/api/v1/rollouts/{name}/{word}", post(rollout))
        .route("/api/v1/scales/{target}", get(scale))
}

async fn frozen(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture(Listed::Nothing).await else { return closing() };
    done(picture.freeze.map_or(serde_json::Value::Null, |freeze| {
        json!({
            "reason": freeze.reason,
            "by": freeze.by,
            "since": freeze.since.to_rfc3339(),
            "until": freeze.until.map(Timestamp::to_rfc3339),
        })
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezeBody {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    by: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    until: Option<String>,
}

async fn freeze(State(shared): State<Shared>, body: Bytes) -> Response {
    let wish: FreezeBody = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return failed(StatusCode::BAD_REQUEST, format!("the body is no freeze: {error}")),
    };
    let until = match (&wish.lasts, &wish.until) {
        (Some(_), Some(_)) => Err("say either `for` or `until`, not both".to_owned()),
        (Some(lasts), None) => {
            parse_duration(lasts).map(|lasts| Some(shared.clock.now() + lasts)).map_err(|error| error.to_string())
        }
        (None, Some(until)) => Timestamp::from_rfc3339(until)
            .map(Some)
            .ok_or_else(|| format!("{until:?} is no time such as 2026-01-31T12:00:00Z")),
        (None, None) => Ok(None),
    };
    let until = match until {
        Ok(until) => until,
        Err(message) => return failed(StatusCode::BAD_REQUEST, message),
    };
    let by = if wish.by.trim().is_empty() { "somebody".to_owned() } else { wish.by };
    command(&shared, Command::Freeze(FreezeRequest { reason: wish.reason, by, until })).await
}

async fn unfreeze(State(shared): State<Shared>, Query(query): Query<ByQuery>) -> Response {
    command(&shared, Command::Unfreeze { by: query.by() }).await
}

async fn rollout(
    State(shared): State<Shared>,
    Path((switch, word)): Path<(String, String)>,
    Query(query): Query<ByQuery>,
) -> Response {
    match RolloutWord::WORDS.into_iter().find(|(known, _)| *known == word) {
        Some((_, word)) => command(&shared, Command::Rollout { switch, word, by: query.by() }).await,
        None => failed(StatusCode::NOT_FOUND, format!("a rollout knows pause, resume, abort and ack, not `{word}`")),
    }
}

/// Plain, without an envelope: scalers take a path into the answer.
async fn scale(State(shared): State<Shared>, Path(target): Path<String>) -> Response {
    let Some(picture) = shared.picture(Listed::Nothing).await else { return closing() };
    let found = status::scales(&picture).into_iter().find(|scale| scale["target"] == target.as_str());
    match found {
        Some(mut scale) => {
            // Before the first call the minimum is what is asked for.
            if scale["desired"].is_null() {
                scale["desired"] = scale["min"].clone();
            }
            axum::Json(scale).into_response()
        }
        None => failed(StatusCode::NOT_FOUND, format!("no rule scales `{target}`")),
    }
}
