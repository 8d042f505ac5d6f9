//! The fleet's configuration over HTTP.
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /api/v1/fleet/config` | which revision is stable, which is on its way and how far, what happened, and what each host runs |
//! | `GET /api/v1/fleet/config/{revision}` | the files of a revision |
//! | `POST /api/v1/fleet/config` | `{"files": [{"name", "text"}], "steps", "bake", "alerts", "by", "why", "acknowledge", "dry_run"}`: a new revision |
//! | `POST /api/v1/fleet/config/promote` | `{"by"}`: what is on its way for everybody, now |
//! | `POST /api/v1/fleet/config/rollback` | `{"by", "why", "to"}`: back to the stable one, or to this one |
//! | `POST /api/v1/fleet/config/acknowledge` | `{"by"}`: a rollback was seen |

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::control::{closing, done, failed};
use super::{Ask, ConfigAsk, Shared};
use crate::limits;
use crate::rules::Listed;
use crate::switches::{BundleFile, Candidate, FleetPicture, Push, RunsConfig, Stage, StageWord};
use crate::time::{Timestamp, parse_duration};

/// Text in JSON has its line ends and quotes escaped.
const BODY_BYTES: usize = 2 * limits::FLEET_CONFIG_BYTES;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/fleet/config", get(show).post(push).layer(DefaultBodyLimit::max(BODY_BYTES)))
        .route("/api/v1/fleet/config/{word}", get(files).post(say))
}

async fn show(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture(Listed::Nothing).await else { return closing() };
    done(picture.fleet.as_ref().map_or(Value::Null, json))
}

/// The stage, and what each host runs.
pub(super) fn json(fleet: &FleetPicture) -> Value {
    let Stage { last, stable, candidate, locked, history, .. } = &fleet.config.stage;
    let first = |name: &String| candidate.is_some() && fleet.hosts[name].first;
    let hosts = fleet.hosts.iter().filter(|(_, host)| host.gone_since.is_none());
    json!({
        "last": last,
        "stable": stable,
        "candidate": candidate.as_ref().map(|candidate| self::candidate(&fleet.config.stage, candidate)),
        "locked": locked.as_ref().map(|locked| {
            json!({ "revision": locked.revision, "at": locked.at.to_rfc3339(), "why": locked.why })
        }),
        "running": runs(&fleet.config.running),
        "hosts": hosts.map(|(name, host)| json!({
            "name": name,
            "first": first(name),
            "runs": host.config.as_ref().map(runs),
        })).collect::<Vec<_>>(),
        "history": history.iter().map(|passed| json!({
            "at": passed.at.to_rfc3339(),
            "revision": passed.revision,
            "what": passed.what.words(),
            "by": passed.by,
            "why": passed.why,
        })).collect::<Vec<_>>(),
    })
}

fn candidate(stage: &Stage, candidate: &Candidate) -> Value {
    let baked = candidate.baking.map(|baking| baking.since + std::time::Duration::from_secs(candidate.bake_seconds));
    json!({
        "revision": candidate.revision,
        "by": candidate.by,
        "at": candidate.at.to_rfc3339(),
        "steps": candidate.steps,
        "step": candidate.step,
        "bake_seconds": candidate.bake_seconds,
        "alerts": candidate.alerts,
        "since": candidate.since.map(Timestamp::to_rfc3339),
        "taken_by": stage.taken_by().map(Timestamp::to_rfc3339),
        "baking_since": candidate.baking.map(|baking| baking.since.to_rfc3339()),
        "baking_hosts": candidate.baking.map(|baking| baking.hosts),
        "baked_at": baked.map(Timestamp::to_rfc3339),
    })
}

/// What a host runs.
pub(super) fn runs(runs: &RunsConfig) -> Value {
    json!({
        "revision": runs.revision,
        "refused": runs.refused.as_ref().map(|refused| json!({ "revision": refused.revision, "why": refused.why })),
        "alerts": runs.alerts,
    })
}

async fn ask(shared: &Shared, ask: ConfigAsk) -> Response {
    let (reply, answer) = oneshot::channel();
    if shared.asks.send(Ask::FleetConfig(ask, reply)).await.is_err() {
        return closing();
    }
    match answer.await {
        Ok(Ok(data)) => done(data),
        Ok(Err(message)) => failed(StatusCode::UNPROCESSABLE_ENTITY, message),
        Err(_) => closing(),
    }
}

async fn files(State(shared): State<Shared>, Path(revision): Path<String>) -> Response {
    match revision.parse() {
        Ok(revision) => ask(&shared, ConfigAsk::Bundle(revision)).await,
        Err(_) => failed(StatusCode::NOT_FOUND, format!("{revision:?} is no revision: write its number")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushBody {
    files: Vec<BundleFile>,
    /// Shares of the hosts; without them everybody at once.
    #[serde(default)]
    steps: Vec<f64>,
    #[serde(default)]
    bake: Option<String>,
    #[serde(default)]
    alerts: Option<Vec<String>>,
    #[serde(default)]
    by: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    acknowledge: bool,
    #[serde(default)]
    dry_run: bool,
}

/// How long a step is baked that does not say it.
const DEFAULT_BAKE: &str = "10m";
/// Which alerts are looked at when nobody names them: those of the daemon itself.
const DEFAULT_ALERTS: &str = "Brownout*";

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let text = if body.iter().all(u8::is_ascii_whitespace) { &b"{}"[..] } else { body };
    serde_json::from_slice(text).map_err(|error| format!("the body is not understood: {error}"))
}

fn named(by: String) -> String {
    if by.trim().is_empty() { "somebody".to_owned() } else { by }
}

async fn push(State(shared): State<Shared>, body: Bytes) -> Response {
    let wish: PushBody = match read(&body) {
        Ok(wish) => wish,
        Err(message) => return failed(StatusCode::BAD_REQUEST, message),
    };
    let bake = match parse_duration(wish.bake.as_deref().unwrap_or(DEFAULT_BAKE)) {
        Ok(bake) => bake,
        Err(error) => return failed(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let push = Push {
        by: named(wish.by),
        why: wish.why,
        steps: wish.steps,
        bake,
        alerts: wish.alerts.unwrap_or_else(|| vec![DEFAULT_ALERTS.to_owned()]),
        acknowledge: wish.acknowledge,
    };
    ask(&shared, ConfigAsk::Push { files: wish.files, push, try_only: wish.dry_run }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SayBody {
    #[serde(default)]
    by: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    to: Option<u64>,
}

async fn say(State(shared): State<Shared>, Path(word): Path<String>, body: Bytes) -> Response {
    let SayBody { by, why, to } = match read(&body) {
        Ok(body) => body,
        Err(message) => return failed(StatusCode::BAD_REQUEST, message),
    };
    let by = named(by);
    let word = match word.as_str() {
        "promote" => StageWord::Promote { by },
        "rollback" => StageWord::RollBack { by, why, to },
        "acknowledge" => StageWord::Acknowledge { by },
        other => {
            let message = format!("one can say promote, rollback and acknowledge, not `{other}`");
            return failed(StatusCode::NOT_FOUND, message);
        }
    };
    ask(&shared, ConfigAsk::Say(word)).await
}
