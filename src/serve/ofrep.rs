//! OpenFeature's remote evaluation protocol, OFREP 0.3: `/ofrep/v1/evaluate/flags`, `/ofrep/v1/evaluate/flags/{key}`, and
//! its change events (ADR-0008) at `/ofrep/v1/stream`.
//!
//! | switch | flags |
//! | --- | --- |
//! | feature | `name` (text: the level), `name.enabled` (boolean: healthy), `name.depth` (whole number) |
//! | dimmer | `name` (boolean, for this share of the targeting keys), `name.share` (number), `name.threshold`, `name.limit` |
//! | limit | `name` (number: whole for requests in flight), `name.int` (whole number), `name.float` (number); none while nothing is limited |
//! | rollout | `name` (boolean, for this share of the targeting keys), `name.share` (number) |
//! | any | `name.switch` (object: everything that is known) |
//!
//! Shares are sticky by targeting key ([`bucket`]); the answer's reason is then `SPLIT`. Without a targeting key a dimmer
//! draws anew for each evaluation, so that its share of the requests is right, and a rollout is only true at 100 %.
//!
//! Providers are easily upset, so: an answer is never 429, every answer has `reason` and `variant`, every error has
//! `errorCode` and `errorDetails`, a body without a context is taken, and a number that is no count has a decimal point.
//!
//! Answers are written once for each state of the switches ([`Answers`]): an evaluation looks one up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::value::{Value, bucket, fnv};
use super::{Flag, Kill, Shared, Switchboard, Whole, fresh, stream, whole_json};
use crate::rng::Rng;
use crate::telemetry::Metric;
use crate::yaml::nearest;

pub(super) const SINGLE: &str = "/ofrep/v1/evaluate/flags/";
const STREAM: &str = "/ofrep/v1/stream";
/// Providers that hear nothing from a stream for this long open it again.
const INACTIVITY_SECONDS: u64 = 120;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/ofrep/v1/evaluate/flags", post(bulk))
        .route("/ofrep/v1/evaluate/flags/{key}", post(single))
        .route(STREAM, get(events))
}

/// The answers for one state of the switches, by key, and that state's tag.
pub(super) struct Answers {
    by_key: BTreeMap<String, Answer>,
    etag: Option<HeaderValue>,
}

struct Answer {
    form: Form,
    counter: OnceLock<Arc<AtomicU64>>,
}

enum Form {
    Fixed(Bytes),
    /// By share of the targeting keys of a switch.
    Split {
        switch: String,
        share: f64,
        on: Bytes,
        off: Bytes,
        /// Whether a request without a targeting key draws; otherwise it gets `off`.
        draws: bool,
    },
}

impl Answer {
    /// The answer for this targeting key; `draw` is a number in [0, 1) that is used when there is none.
    fn body(&self, targeting_key: Option<&str>, draw: impl FnOnce() -> f64) -> Bytes {
        match &self.form {
            Form::Fixed(body) => body.clone(),
            Form::Split { switch, share, on, off, draws } => {
                let at = match targeting_key {
                    Some(key) => bucket(switch, key),
                    None if *draws => draw(),
                    None => 1.0,
                };
                if at < *share { on.clone() } else { off.clone() }
            }
        }
    }
}

impl Answers {
    /// Writes all answers of a board.
    pub(super) fn of(board: &Switchboard) -> Answers {
        let mut answers = BTreeMap::new();
        for (name, flag) in &board.flags {
            for (key, form) in forms(name.as_str(), flag) {
                // A switch of exactly this name comes before a part of another switch.
                if key == name.as_str() || board.get(&key).is_none() {
                    answers.insert(key, Answer { form, counter: OnceLock::new() });
                }
            }
        }
        Answers { by_key: answers, etag: HeaderValue::from_str(&board.etag()).ok() }
    }
}

fn forms(name: &str, flag: &Flag) -> Vec<(String, Form)> {
    let fixed = |suffix: &str, value: Json, variant: &str| {
        let key = format!("{name}{suffix}");
        let body = evaluation(&key, flag, value, variant, "STATIC");
        (key, Form::Fixed(body))
    };
    let split = |share: f64, draws| {
        if share <= 0.0 || share >= 1.0 {
            let on = share >= 1.0;
            return fixed("", json!(on), on_off(on));
        }
        let half = |on| evaluation(name, flag, json!(on), on_off(on), "SPLIT");
        let (on, off) = (half(true), half(false));
        (name.to_owned(), Form::Split { switch: name.to_owned(), share, on, off, draws })
    };
    let text = flag.value.text();
    let mut all = match &flag.value {
        Value::Feature { level, depth, .. } => vec![
            fixed("", json!(level), level),
            fixed(".enabled", json!(*depth == 0), level),
            fixed(".depth", json!(depth), level),
        ],
        Value::Dimmer { share, threshold, limit } => {
            let mut all = vec![split(*share, true), fixed(".share", json!(share), &text)];
            all.extend(threshold.map(|threshold| fixed(".threshold", json!(threshold), &text)));
            all.extend(limit.map(|limit| fixed(".limit", json!(limit.floor() as u64), &text)));
            all
        }
        // Without a value there is no flag: the caller's own default applies, as without us.
        Value::Limit { value: None, .. } => Vec::new(),
        Value::Limit { value: Some(value), unit } => {
            let whole = json!(value.floor() as u64);
            let own = if *unit == super::Unit::InFlight { whole.clone() } else { json!(value) };
            vec![fixed("", own, &text), fixed(".int", whole, &text), fixed(".float", json!(value), &text)]
        }
        Value::Rollout { share } => vec![split(*share, false), fixed(".share", json!(share), &text)],
    };
    all.push(fixed(".switch", flag.to_json(name), &text));
    all
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn evaluation(key: &str, flag: &Flag, value: Json, variant: &str, reason: &str) -> Bytes {
    let mut metadata = json!({
        "kind": flag.value.kind(),
        "depth": flag.depth,
        "revision": flag.revision,
        "since": flag.since.to_rfc3339(),
        "pinned": flag.pin.is_some(),
        "why": flag.why,
    });
    if let Some(pin) = &flag.pin {
        metadata["pinReason"] = json!(pin.reason);
        metadata["pinBy"] = json!(pin.by);
        metadata["pinUntil"] = json!(pin.until.to_rfc3339());
    }
    let answer = json!({ "key": key, "value": value, "reason": reason, "variant": variant, "metadata": metadata });
    Bytes::from(answer.to_string())
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    context: Option<Context<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow, default)]
    targeting_key: Option<std::borrow::Cow<'a, str>>,
}

/// The targeting key of a body. A context is not needed to answer, but a body that is no JSON object is a mistake that its
/// sender should see.
fn targeting_key(body: &[u8]) -> Result<Option<std::borrow::Cow<'_, str>>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("the body must be a JSON object such as {\"context\": {}}".into());
    }
    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(body) => Ok(body.context.and_then(|context| context.targeting_key).filter(|key| !key.is_empty())),
        Err(error) => Err(format!("the body is not understood: {error}")),
    }
}

async fn single(State(shared): State<Shared>, Path(key): Path<String>, body: Bytes) -> Response {
    evaluate(&shared, &key, &body).map(Into::into)
}

/// Answers one evaluation.
pub(super) fn evaluate(shared: &Shared, key: &str, body: &[u8]) -> Whole {
    let targeting_key = match targeting_key(body) {
        Ok(key) => key,
        Err(details) => {
            let body = json!({ "key": key, "errorCode": "PARSE_ERROR", "errorDetails": details });
            return whole_json(StatusCode::BAD_REQUEST, body.to_string());
        }
    };
    let board = shared.switchboard.borrow();
    let answers = board.ofrep.get(|| Answers::of(&board));
    let Some(answer) = answers.by_key.get(key) else { return unknown(&board, key) };
    let counter = || shared.telemetry.counter(Metric::FlagEvaluations, &[("switch", key)]);
    answer.counter.get_or_init(counter).fetch_add(1, Ordering::Relaxed);
    let mut response = whole_json(StatusCode::OK, answer.body(targeting_key.as_deref(), || draw(shared)));
    if let Some(etag) = &answers.etag {
        response.headers_mut().insert(header::ETAG, etag.clone());
    }
    response
}

/// The next number of the sequence that requests without a targeting key draw from.
fn draw(shared: &Shared) -> f64 {
    Rng::seeded(shared.draws.fetch_add(1, Ordering::Relaxed)).unit()
}

fn unknown(board: &Switchboard, key: &str) -> Whole {
    let known = board.flags.keys().map(|name| name.as_str());
    let hint = nearest(key, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let details = format!("no switch `{key}` is declared in brownout.yaml{hint}");
    let body = json!({ "key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": details });
    whole_json(StatusCode::NOT_FOUND, body.to_string())
}

async fn bulk(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let targeting_key = match targeting_key(&body) {
        Ok(key) => key,
        Err(details) => {
            let body = json!({ "errorCode": "PARSE_ERROR", "errorDetails": details });
            return (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
        }
    };
    let board = Arc::clone(&shared.switchboard.borrow());
    // Another user gets other answers of the same switches.
    let etag = match &targeting_key {
        Some(key) => format!("\"{}-{:x}\"", board.version, fnv(key.bytes())),
        None => board.etag(),
    };
    if fresh(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let mut text = String::from("{\"flags\":[");
    for (index, answer) in board.ofrep.get(|| Answers::of(&board)).by_key.values().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&String::from_utf8_lossy(&answer.body(targeting_key.as_deref(), || draw(&shared))));
    }
    let streams = json!([
        { "type": "sse", "endpoint": { "requestUri": STREAM }, "inactivityDelaySec": INACTIVITY_SECONDS }
    ]);
    text.push_str(&format!("],\"metadata\":{{\"version\":{}}},\"eventStreams\":{streams}}}", json!(board.version)));
    ([(header::ETAG, etag.as_str()), (header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Says that something changed; what, the provider asks for. The first event comes at once, unless the provider says that
/// it knows this state: what changed while it was not connected is not lost.
async fn events(State(shared): State<Shared>, kill: Kill, headers: HeaderMap) -> Response {
    let known = stream::last_event_id(&headers);
    let mut first = true;
    stream::events(shared, kill, move |board, _| {
        let knows = std::mem::replace(&mut first, false) && known.as_deref() == Some(&board.version);
        let data = json!({
            "type": "refetchEvaluation",
            "etag": board.etag(),
            "lastModified": board.at.as_millis() / 1000,
        });
        (!knows).then(|| format!("id: {}\nevent: message\ndata: {data}\n\n", board.version))
    })
}

#[cfg(test)]
mod tests {
    use super::super::switchboard::sample;
    use super::*;

    fn answer(key: &str, targeting_key: Option<&str>) -> Json {
        let answers = Answers::of(&sample());
        let body = answers.by_key.get(key).map(|answer| answer.body(targeting_key, || 0.2));
        body.map_or(Json::Null, |body| serde_json::from_slice(&body).expect("JSON"))
    }

    #[test]
    fn every_kind_can_be_read_in_the_type_that_its_readers_want() {
        for (key, value, reason) in [
            ("recs", json!("cached"), "STATIC"),
            ("recs.enabled", json!(false), "STATIC"),
            ("recs.depth", json!(1), "STATIC"),
            ("related.share", json!(0.25), "STATIC"),
            ("related.threshold", json!(12.5), "STATIC"),
            ("related.limit", json!(40), "STATIC"),
            ("checkout", json!(40), "STATIC"),
            ("checkout.float", json!(40.0), "STATIC"),
            ("search", json!(2.5), "STATIC"),
            ("search.int", json!(2), "STATIC"),
            ("related", json!(true), "SPLIT"),
            ("new_search", json!(false), "SPLIT"),
            ("new_search.share", json!(0.1), "STATIC"),
        ] {
            let answer = answer(key, None);
            assert_eq!((&answer["value"], answer["reason"].as_str()), (&value, Some(reason)), "{key}: {answer}");
            for part in ["key", "value", "reason", "variant", "metadata"] {
                assert!(answer.get(part).is_some(), "{key} has no {part}");
            }
        }
        assert_eq!(answer("recs.switch", None)["value"]["ladder"], json!(["full", "cached", "off"]));
        assert_eq!(answer("nothing", None), Json::Null);
        assert_eq!(answer("quiet", None), Json::Null, "nothing is limited");
        // A provider that wants a float takes no integer.
        assert!(Answers::of(&sample()).by_key["checkout.float"].body(None, || 0.0).starts_with(b"{\"key\""));
        let text = String::from_utf8(Answers::of(&sample()).by_key["checkout.float"].body(None, || 0.0).to_vec());
        assert!(text.expect("text").contains("\"value\":40.0"));
    }

    #[test]
    fn shares_stick_to_the_targeting_key() {
        let given = |key: &str| (0..2_000).filter(|n| answer(key, Some(&format!("u{n}")))["value"] == true).count();
        assert!((430..570).contains(&given("related")), "a quarter of the users");
        assert!((150..250).contains(&given("new_search")), "a tenth of the users");
        for user in ["a", "b", "c"] {
            assert_eq!(answer("related", Some(user)), answer("related", Some(user)));
            assert_eq!(answer("related", Some(user))["value"], json!(bucket("related", user) < 0.25));
        }
    }

    #[test]
    fn a_pin_is_told_with_its_reason_and_end() {
        let metadata = &answer("banner", None)["metadata"];
        assert_eq!(metadata["pinned"], true);
        assert_eq!((&metadata["pinBy"], &metadata["pinReason"]), (&json!("ann"), &json!("deploy")));
        assert_eq!(metadata["pinUntil"], "1970-01-01T00:01:00.000Z");
        // Metadata of flags may hold texts, numbers and booleans only.
        let flat = |value: &Json| value.is_string() || value.is_number() || value.is_boolean();
        assert!(metadata.as_object().expect("an object").values().all(flat));
    }

    #[test]
    fn a_switch_of_that_very_name_comes_before_a_part_of_another() {
        let mut board = sample();
        let flag = board.get("search").expect("a switch").clone();
        board.flags.insert(crate::model::SwitchName::new("recs.depth").expect("a name"), flag);
        let body = Answers::of(&board).by_key["recs.depth"].body(None, || 0.0);
        assert_eq!(serde_json::from_slice::<Json>(&body).expect("JSON")["value"], 2.5);
    }

    #[test]
    fn a_body_may_be_missing_but_not_nonsense() {
        for (good, key) in [
            ("", None),
            ("  ", None),
            ("{}", None),
            (r#"{"context":{}}"#, None),
            (r#"{"context":null}"#, None),
            (r#"{"context":{"targetingKey":"x","plan":{"a":[1]}}}"#, Some("x")),
            (r#"{"context":{"targetingKey":"\u0078"}}"#, Some("x")),
            (r#"{"context":{"targetingKey":""}}"#, None),
        ] {
            assert_eq!(targeting_key(good.as_bytes()).expect(good).as_deref(), key, "{good}");
        }
        for bad in ["[]", "{", "1", r#"{"context":{"targetingKey":7}}"#] {
            assert!(targeting_key(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
