//! OpenFeature's remote evaluation protocol, OFREP 0.3: `/ofrep/v1/evaluate/flags` and `/ofrep/v1/evaluate/flags/{key}`.
//!
//! A feature switch `name` can be read as three flags: `name` (a text: the level's name), `name.enabled` (a boolean: true
//! at the healthy level) and `name.depth` (a whole number: 0 at the healthy level).
//!
//! Providers are easily upset, so: an answer is never 429, every answer has `reason` and `variant`, every error has
//! `errorCode` and `errorDetails`, and a body without a context is taken.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::Shared;
use super::switchboard::{Flag, Switchboard};
use crate::telemetry::Metric;
use crate::yaml::nearest;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/ofrep/v1/evaluate/flags", post(bulk)).route("/ofrep/v1/evaluate/flags/{key}", post(single))
}

async fn single(State(shared): State<Shared>, Path(key): Path<String>, body: Bytes) -> Response {
    if let Err(details) = check_body(&body) {
        let body = json!({ "key": key, "errorCode": "PARSE_ERROR", "errorDetails": details });
        return (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    }
    let board = Arc::clone(&shared.switchboard.borrow());
    match find(&board, &key) {
        Some((flag, part)) => {
            shared.telemetry.count(Metric::FlagEvaluations, &[("switch", key.as_str())]);
            let answer = evaluation(&key, flag, part);
            ([(header::ETAG, etag(&board))], axum::Json(answer)).into_response()
        }
        None => {
            let known = board.flags.keys().map(|name| name.as_str());
            let hint = nearest(&key, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            let details = format!("no switch `{key}` is declared in brownout.yaml{hint}");
            let body = json!({ "key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": details });
            (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
        }
    }
}

async fn bulk(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(details) = check_body(&body) {
        let body = json!({ "errorCode": "PARSE_ERROR", "errorDetails": details });
        return (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    }
    let board = Arc::clone(&shared.switchboard.borrow());
    let etag = etag(&board);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*")) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let flags: Vec<Value> = board
        .flags
        .iter()
        .flat_map(|(name, flag)| {
            let name = name.as_str();
            [Part::Level, Part::Enabled, Part::Depth].map(|part| evaluation(&part.key(name), flag, part))
        })
        .collect();
    ([(header::ETAG, etag)], axum::Json(json!({ "flags": flags, "metadata": {} }))).into_response()
}

/// A context is not needed to answer, but a body that is no JSON object is a mistake that its sender should see.
fn check_body(body: &[u8]) -> Result<(), String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err("the body must be a JSON object such as {\"context\": {}}".into()),
        Err(error) => Err(format!("the body is no JSON: {error}")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Level,
    Enabled,
    Depth,
}

impl Part {
    fn key(self, name: &str) -> String {
        match self {
            Part::Level => name.to_owned(),
            Part::Enabled => format!("{name}.enabled"),
            Part::Depth => format!("{name}.depth"),
        }
    }
}

/// A switch of exactly this name comes before a part of another switch.
fn find<'a>(board: &'a Switchboard, key: &str) -> Option<(&'a Flag, Part)> {
    let named = |name: &str| board.flags.iter().find(|(n, _)| n.as_str() == name).map(|(_, flag)| flag);
    let part = |suffix, part| Some((named(key.strip_suffix(suffix)?)?, part));
    let whole = named(key).map(|flag| (flag, Part::Level));
    whole.or_else(|| part(".enabled", Part::Enabled)).or_else(|| part(".depth", Part::Depth))
}

fn evaluation(key: &str, flag: &Flag, part: Part) -> Value {
    let value = match part {
        Part::Level => json!(flag.level),
        Part::Enabled => json!(flag.depth == 0),
        Part::Depth => json!(flag.depth),
    };
    json!({
        "key": key,
        "value": value,
        "reason": "STATIC",
        "variant": flag.level,
        "metadata": {
            "depth": flag.depth,
            "revision": flag.revision,
            "since": flag.since.to_rfc3339(),
            "pinned": flag.pin.is_some(),
            "why": flag.why,
        },
    })
}

fn etag(board: &Switchboard) -> String {
    format!("\"{}\"", board.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SwitchName;
    use crate::store::Table;
    use crate::switches::{Declaration, OnSilence};
    use crate::time::Timestamp;

    fn board() -> Switchboard {
        let declaration = |name: &str| Declaration {
            name: SwitchName::new(name).expect("a name"),
            description: String::new(),
            kind: crate::switches::SwitchKind::Feature,
            ladder: vec!["full".into(), "off".into()],
            on_silence: OnSilence::Hold,
        };
        let declarations = [declaration("recs"), declaration("a.enabled"), declaration("a")];
        Switchboard::new(&declarations, &Table::default(), 1, Timestamp::ZERO)
    }

    #[test]
    fn a_switch_can_be_read_as_text_boolean_and_number() {
        let board = board();
        let value = |key: &str| {
            let (flag, part) = find(&board, key)?;
            Some(evaluation(key, flag, part)["value"].clone())
        };
        assert_eq!(value("recs"), Some(json!("full")));
        assert_eq!(value("recs.enabled"), Some(json!(true)));
        assert_eq!(value("recs.depth"), Some(json!(0)));
        assert_eq!(value("a.enabled"), Some(json!("full")), "a switch of that very name comes first");
        assert_eq!(value("a.depth"), Some(json!(0)));
        assert_eq!(value("nothing"), None);
    }

    #[test]
    fn an_answer_has_what_strict_providers_look_for() {
        let board = board();
        let (flag, part) = find(&board, "recs").expect("a flag");
        let answer = evaluation("recs", flag, part);
        for key in ["key", "value", "reason", "variant", "metadata"] {
            assert!(answer.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_body_may_be_missing_but_not_nonsense() {
        for good in ["", "  ", "{}", r#"{"context":{"targetingKey":"x"}}"#] {
            assert_eq!(check_body(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["[]", "{", "1"] {
            assert!(check_body(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
