//! The switches as flagd's flag definitions: by HTTP at `/flagd/flags.json`, in files, and pushed over gRPC
//! ([`super::grpc`]). The document follows flagd's schema, <https://flagd.dev/schema/v0/flags.json>.
//!
//! Shares are `fractional` rules over the flag's key and the targeting key, in parts of 10000, always in the same order: a share
//! that grows only adds users. Where a provider knows no targeting key it takes the side that most are on.
//! What a provider hashes is its own affair (Python's and Node's do not agree): for one answer in all languages read shares
//! by OFREP.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value as Json, json};

use super::value::{Unit, Value};
use super::{Flag, Shared, Switchboard, fresh};

const SCHEMA: &str = "https://flagd.dev/schema/v0/flags.json";
/// Parts of a whole in which shares are written.
const PARTS: f64 = 10_000.0;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/flagd/flags.json", get(flags))
}

async fn flags(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let board = shared.switchboard.borrow().clone();
    let etag = board.etag();
    if fresh(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [(header::ETAG, etag.as_str()), (header::CONTENT_TYPE, "application/json")];
    (headers, board.flagd_json().to_owned()).into_response()
}

/// All flags. A feature is a text with its levels as variants, and `name.enabled`, `name.depth`; a dimmer or rollout is a
/// boolean by share, and `name.share`; a limit is a number.
pub fn document(board: &Switchboard) -> Json {
    let mut flags = Map::new();
    for (name, flag) in &board.flags {
        for (key, definition) in definitions(name.as_str(), flag) {
            if key == name.as_str() || board.get(&key).is_none() {
                flags.insert(key, definition);
            }
        }
    }
    json!({
        "$schema": SCHEMA,
        "metadata": { "flagSetId": "brownout", "version": board.version },
        "flags": flags,
    })
}

fn definitions(name: &str, flag: &Flag) -> Vec<(String, Json)> {
    let metadata = json!({
        "kind": flag.value.kind(),
        "revision": flag.revision,
        "depth": flag.depth,
        "pinned": flag.pin.is_some(),
        "why": flag.why,
    });
    let define = |suffix: &str, variants: Json, default: &str, targeting: Json| {
        let definition = json!({
            "state": "ENABLED", "variants": variants, "defaultVariant": default, "targeting": targeting, "metadata": metadata,
        });
        (format!("{name}{suffix}"), definition)
    };
    let booleans = || json!({ "on": true, "off": false });
    let plain = |suffix: &str, variants: Json, default: &str| define(suffix, variants, default, json!({}));
    let number = |suffix: &str, value: Json| plain(suffix, json!({ "value": value }), "value");
    let whole = |value: f64| json!(value.floor() as u64);
    match &flag.value {
        Value::Feature { level, depth, ladder } => {
            let levels: Map<String, Json> = ladder.iter().map(|level| (level.clone(), json!(level))).collect();
            vec![
                plain("", Json::Object(levels), level),
                plain(".enabled", booleans(), on_off(*depth == 0)),
                number(".depth", json!(depth)),
            ]
        }
        Value::Dimmer { share, threshold, limit } => {
            let mut all = vec![define("", booleans(), on_off(*share >= 0.5), fractional(*share))];
            all.push(number(".share", json!(share)));
            all.extend(threshold.map(|threshold| number(".threshold", json!(threshold))));
            all.extend(limit.map(|limit| number(".limit", whole(limit))));
            all
        }
        // Without a value there is no flag: the caller's own default applies.
        Value::Limit { value: None, .. } => Vec::new(),
        Value::Limit { value: Some(value), unit } => {
            let own = if *unit == Unit::InFlight { whole(*value) } else { json!(value) };
            vec![number("", own), number(".int", whole(*value)), number(".float", json!(value))]
        }
        Value::Rollout { share } => {
            vec![define("", booleans(), on_off(*share >= 1.0), fractional(*share)), number(".share", json!(share))]
        }
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn fractional(share: f64) -> Json {
    let on = (share.clamp(0.0, 1.0) * PARTS).round() as u64;
    if on == 0 || on == PARTS as u64 {
        return json!({});
    }
    json!({ "fractional": [["on", on], ["off", PARTS as u64 - on]] })
}

#[cfg(test)]
mod tests {
    use super::super::switchboard::sample;
    use super::*;

    #[test]
    fn every_flag_is_one_that_the_schema_allows() {
        let document = document(&sample());
        assert_eq!(document["$schema"], SCHEMA);
        let flags = document["flags"].as_object().expect("flags");
        for (key, flag) in flags {
            assert_eq!(flag["state"], "ENABLED", "{key}");
            let variants = flag["variants"].as_object().expect("variants");
            let default = flag["defaultVariant"].as_str().expect("a default");
            assert!(variants.contains_key(default), "{key}: {default} is no variant");
            // All variants of a flag have one type.
            let kind = |value: &Json| (value.is_string(), value.is_boolean(), value.is_number());
            assert!(variants.values().all(|value| kind(value) == kind(&variants[default])), "{key}");
        }
        assert_eq!(flags["recs"]["defaultVariant"], "cached");
        assert_eq!(flags["recs.enabled"]["defaultVariant"], "off");
        assert_eq!(flags["related"]["targeting"], json!({ "fractional": [["on", 2500], ["off", 7500]] }));
        assert_eq!(flags["new_search"]["defaultVariant"], "off");
        assert_eq!(flags["checkout"]["variants"]["value"], json!(40));
        assert_eq!(flags["search"]["variants"]["value"], json!(2.5));
    }

    #[test]
    fn whole_shares_need_no_rule() {
        for (share, rule) in [(0.0, json!({})), (1.0, json!({})), (0.00001, json!({}))] {
            assert_eq!(fractional(share), rule, "{share}");
        }
    }
}
