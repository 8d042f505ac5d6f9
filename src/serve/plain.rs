//! Switches over plain HTTP, from memory.
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /v1/switches` | all switches as JSON, with an `ETag`; `If-None-Match` gives 304 |
//! | `GET /v1/switches/{name}` | one of them, with a tag of its own |
//! | `GET /switches/{name}` | its value as one word, for a shell script |
//! | `?wait=30s&after=REVISION` on any of these | waits until the answer is another one than `after`, then 200; 304 when the time is over |
//! | `GET /v1/stream` | each change as a server-sent event `switch` |
//!
//! `REVISION` is what `ETag` and `revision` of an answer said. A stream begins with every switch, unless `Last-Event-ID`
//! says that the reader knows them; only the last event of a state carries its `id`, so that a reader that was cut off in the
//! middle gets all of it again.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Kill, Shared, Switchboard, fresh, stream};
use crate::limits;
use crate::telemetry::Metric;
use crate::time::parse_duration;
use crate::yaml::nearest;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/switches", get(list))
        .route("/v1/switches/{name}", get(one))
        .route("/switches/{name}", get(word))
        .route("/v1/stream", get(changes))
}

#[derive(Deserialize)]
struct Wish {
    wait: Option<String>,
    after: Option<String>,
}

/// What is asked for, with its tag; `None` when there is no such switch.
type Asked<'a> = dyn Fn(&Switchboard) -> Option<(String, String)> + Send + Sync + 'a;

async fn list(State(shared): State<Shared>, Query(wish): Query<Wish>, headers: HeaderMap) -> Response {
    let all = |board: &Switchboard| {
        let switches: Vec<Json> = board.flags.iter().map(|(name, flag)| flag.to_json(name.as_str())).collect();
        Some((board.version.clone(), json!({ "revision": board.version, "switches": switches }).to_string()))
    };
    answer(&shared, &wish, &headers, "application/json", &all).await.unwrap_or_else(|| not_found(&shared, ""))
}

async fn one(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Response {
    let one = |board: &Switchboard| {
        let flag = board.get(&name)?;
        Some((flag.tag(&name), flag.to_json(&name).to_string()))
    };
    let answer = answer(&shared, &wish, &headers, "application/json", &one).await;
    answer.unwrap_or_else(|| not_found(&shared, &name))
}

async fn word(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Response {
    let word = |board: &Switchboard| {
        let flag = board.get(&name)?;
        Some((flag.tag(&name), format!("{}\n", flag.value.text())))
    };
    let answer = answer(&shared, &wish, &headers, "text/plain; charset=utf-8", &word).await;
    answer.unwrap_or_else(|| (StatusCode::NOT_FOUND, "no such switch\n").into_response())
}

fn not_found(shared: &Shared, name: &str) -> Response {
    let board = shared.switchboard.borrow();
    let hint = nearest(name, board.flags.keys().map(|name| name.as_str()));
    let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let body = json!({ "status": "error", "error": format!("there is no switch `{name}`{hint}") });
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

async fn answer(
    shared: &Shared,
    wish: &Wish,
    headers: &HeaderMap,
    kind: &'static str,
    asked: &Asked<'_>,
) -> Option<Response> {
    let wait = match wish.wait.as_deref().map(parse_duration) {
        None => Duration::ZERO,
        Some(Ok(wait)) => wait.min(limits::LONG_POLL),
        Some(Err(error)) => return Some((StatusCode::BAD_REQUEST, format!("wait: {error}\n")).into_response()),
    };
    let mut boards = shared.switchboard.clone();
    let mut now = asked(&boards.borrow_and_update())?;
    let after = wish.after.as_deref().map(|after| after.trim_matches('"').to_owned());
    if let Some(after) = &after
        && !wait.is_zero()
    {
        let Ok(_place) = shared.streams.try_acquire() else {
            shared.telemetry.count(Metric::StreamsRefused, &[]);
            let headers = [(header::RETRY_AFTER, "5")];
            return Some((StatusCode::SERVICE_UNAVAILABLE, headers, "too many readers wait\n").into_response());
        };
        let end = tokio::time::sleep(wait);
        tokio::pin!(end);
        while now.0 == *after {
            tokio::select! {
                Ok(()) = boards.changed() => now = asked(&boards.borrow_and_update())?,
                () = &mut end => break,
            }
        }
    }
    let etag = format!("\"{}\"", now.0);
    if after.as_deref() == Some(&now.0) || fresh(headers, &etag) {
        return Some((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let headers = [(header::ETAG, etag.as_str()), (header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    Some((headers, now.1).into_response())
}

async fn changes(State(shared): State<Shared>, kill: Kill, headers: HeaderMap) -> Response {
    let known = stream::last_event_id(&headers);
    stream::events(shared, kill, move |board, before| {
        if before.is_none() && known.as_deref() == Some(&board.version) {
            return None;
        }
        Some(changed(board, before)).filter(|text| !text.is_empty())
    })
}

/// The events that lead from one state to the next.
fn changed(board: &Switchboard, before: Option<&Switchboard>) -> String {
    let is_new = |name, flag| before.is_none_or(|before| before.flags.get(name) != Some(flag));
    let mut events: Vec<(&str, Json)> = board
        .flags
        .iter()
        .filter(|(name, flag)| is_new(*name, *flag))
        .map(|(name, flag)| ("switch", flag.to_json(name.as_str())))
        .collect();
    let gone = before.into_iter().flat_map(|before| before.flags.keys());
    let gone = gone.filter(|name| !board.flags.contains_key(*name));
    events.extend(gone.map(|name| ("removed", json!({ "name": name.as_str() }))));
    let last = events.len();
    let write = |(index, (event, data)): (usize, (&str, Json))| {
        let id = if index + 1 == last { format!("id: {}\n", board.version) } else { String::new() };
        format!("{id}event: {event}\ndata: {data}\n\n")
    };
    events.into_iter().enumerate().map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::super::switchboard::sample;
    use super::*;

    #[test]
    fn a_stream_tells_what_changed_and_marks_the_end_of_a_state() {
        let before = sample();
        let all = changed(&before, None);
        assert_eq!(all.matches("event: switch").count(), 7);
        assert_eq!(all.matches("id: 12-1").count(), 1, "a state that was cut off is not taken for whole");
        assert!(all[all.rfind("id: 12-1").expect("an id")..].contains("\"name\":\"search\""), "{all}");
        let mut after = sample();
        after.version = "13-1".into();
        after.flags.retain(|name, _| name.as_str() != "banner");
        after.flags.values_mut().nth(2).expect("recs").why = "quiet".into();
        let text = changed(&after, Some(&before));
        assert_eq!((text.matches("event: switch").count(), text.matches("event: removed").count()), (1, 1), "{text}");
        assert_eq!(changed(&after, Some(&after)), "");
    }
}
