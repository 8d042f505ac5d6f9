//! `/silences` and `/silence/{id}`.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, ApiError, json_answer, json_text, read};
use super::body;
use super::params::{Params, is_uuid, passes};
use crate::alerts::{Alerts, Silence, SilenceState};
use crate::engine::{Command, Reply};
use crate::model::{MatchOp, Matcher};
use crate::serve::Shared;
use crate::time::Timestamp;

/// What is said when the disk did not take a silence.
const UNSAVED: &str = "it holds now, but it could not be saved: a restart would lose it";

/// `gettableSilence`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    status: Status,
    updated_at: String,
    annotations: &'a BTreeMap<String, String>,
    comment: &'a str,
    created_by: &'a str,
    ends_at: String,
    matchers: Vec<ShownMatcher<'a>>,
    starts_at: String,
}

#[derive(Serialize)]
struct Status {
    state: SilenceState,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownMatcher<'a> {
    is_equal: bool,
    is_regex: bool,
    name: &'a str,
    value: &'a str,
}

fn shown(silence: &Silence, state: SilenceState) -> Shown<'_> {
    let matcher = |matcher: &'_ Matcher| -> (bool, bool) {
        (
            matches!(matcher.op, MatchOp::Equal | MatchOp::Matches),
            matches!(matcher.op, MatchOp::Matches | MatchOp::NotMatches),
        )
    };
    let matchers = silence.matchers.iter().map(|it| {
        let (is_equal, is_regex) = matcher(it);
        ShownMatcher { is_equal, is_regex, name: &it.name, value: &it.value }
    });
    Shown {
        id: &silence.id,
        status: Status { state },
        updated_at: silence.updated_at.to_rfc3339(),
        annotations: &silence.annotations,
        comment: &silence.comment,
        created_by: &silence.created_by,
        ends_at: silence.ends_at.to_rfc3339(),
        matchers: matchers.collect(),
        starts_at: silence.starts_at.to_rfc3339(),
    }
}

/// Which silences are wanted.
pub(super) struct Wanted {
    active: bool,
    pending: bool,
    expired: bool,
    filter: Vec<Matcher>,
}

impl Wanted {
    pub(super) fn read(params: &Params) -> Result<Wanted, ApiError> {
        Ok(Wanted {
            active: params.flag("active", true)?,
            pending: params.flag("pending", true)?,
            expired: params.flag("expired", true)?,
            filter: params.matchers("filter")?,
        })
    }

    fn has(&self, silence: &Silence, state: SilenceState) -> bool {
        let of_state = match state {
            SilenceState::Active => self.active,
            SilenceState::Pending => self.pending,
            SilenceState::Expired => self.expired,
        };
        of_state
            && passes(&self.filter, |name| {
                silence.matchers.iter().rev().find(|matcher| matcher.name == name).map(|matcher| matcher.value.as_str())
            })
    }
}

/// `GET /silences`.
pub(super) async fn list(State(shared): State<Shared>, params: Params) -> Answer {
    let wanted = Wanted::read(&params)?;
    read(&shared, move |alerts, now| listed(alerts, now, &wanted)).await
}

/// The silences that are wanted: active ones by their end, pending ones by their start, expired ones the latest first.
pub(super) fn listed(alerts: &Alerts, now: Timestamp, wanted: &Wanted) -> Result<String, ApiError> {
    let of_state = |silence| (silence, alerts.silence_state(silence, now));
    let mut list: Vec<(&Silence, SilenceState)> =
        alerts.silences().map(of_state).filter(|(silence, state)| wanted.has(silence, *state)).collect();
    list.sort_by_key(|(silence, state)| match state {
        SilenceState::Active => (0, silence.ends_at.as_millis()),
        SilenceState::Pending => (1, silence.starts_at.as_millis()),
        SilenceState::Expired => (2, -silence.ends_at.as_millis()),
    });
    json_text(&list.into_iter().map(|(silence, state)| shown(silence, state)).collect::<Vec<_>>())
}

/// `POST /silences`: makes a silence, or changes one.
pub(super) async fn post(State(shared): State<Shared>, body: Bytes) -> Answer {
    let silence = body::silence(&body)?;
    match shared.command(Command::SetSilence(Box::new(silence))).await {
        Some(Reply::Made(id)) => Ok(json_answer(json!({ "silenceID": id }).to_string())),
        Some(Reply::NotFound(message)) => Err(ApiError::NotFound(message)),
        Some(Reply::Refused(message)) => Err(ApiError::Bad(message)),
        Some(Reply::Unsaved) => Err(ApiError::Failed(UNSAVED.to_owned())),
        Some(Reply::Done | Reply::Said(_)) => Ok(StatusCode::OK.into_response()),
        None => Err(ApiError::Closing),
    }
}

fn checked(id: &str) -> Result<(), ApiError> {
    let message = || ApiError::Invalid(format!("silenceID in path must be of type uuid: {id:?}"));
    if is_uuid(id) { Ok(()) } else { Err(message()) }
}

/// `GET /silence/{id}`.
pub(super) async fn one(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    checked(&id)?;
    read(&shared, move |alerts, now| match alerts.silence(&id) {
        Some(silence) => json_text(&shown(silence, alerts.silence_state(silence, now))),
        None => Err(ApiError::NotFound(format!("silence {id} not found"))),
    })
    .await
}

/// `DELETE /silence/{id}`: ends it.
pub(super) async fn expire(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    checked(&id)?;
    match shared.command(Command::ExpireSilence(id)).await {
        Some(Reply::Done | Reply::Made(_) | Reply::Said(_)) => Ok(StatusCode::OK.into_response()),
        Some(Reply::NotFound(message)) => Err(ApiError::NotFound(message)),
        Some(Reply::Unsaved) => Err(ApiError::Failed(UNSAVED.to_owned())),
        Some(Reply::Refused(message)) => Err(ApiError::Failed(message)),
        None => Err(ApiError::Closing),
    }
}
