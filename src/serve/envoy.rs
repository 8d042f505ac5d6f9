//! The switches as a layer of Envoy's runtime: by REST at `/v3/discovery:runtime`, over gRPC ([`super::grpc`]) and as files.
//!
//! | key | value |
//! | --- | --- |
//! | `brownout.NAME.share` | per cent of the service that is given: 100 when healthy; a dimmer's or rollout's share |
//! | `brownout.NAME.shed` | 100 less that, for filters that take something away |
//! | `brownout.NAME.depth` | a feature's place on its ladder, 0 when healthy |
//! | `brownout.NAME.level.LEVEL` | 100 for the level that a feature is at, 0 for the others |
//! | `brownout.NAME.limit` | a limit's value, a whole number |
//! | `circuit_breakers.NAME.default.max_requests` | the same of a limit in requests in flight: Envoy's cluster of that name obeys it |
//!
//! Whole per cents are integers, others `FractionalPercent`: Envoy takes a value that it cannot read for none at all
//! without a word, so nothing else is ever published.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::value::{Unit, Value};
use super::{Shared, Switchboard};

pub(super) const TYPE_URL: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";

pub(super) const PATH: &str = "/v3/discovery:runtime";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route(PATH, post(discover))
}

/// Every key with its value: a number or a `FractionalPercent`.
pub fn layer(board: &Switchboard) -> Map<String, Json> {
    let mut layer = Map::new();
    for (name, flag) in &board.flags {
        let layer = &mut layer;
        let mut put = |part: &str, value: Json| drop(layer.insert(format!("brownout.{name}.{part}"), value));
        if let Some(share) = flag.value.share() {
            put("share", percent(share));
            put("shed", percent(1.0 - share));
        }
        match &flag.value {
            Value::Feature { level, depth, ladder } => {
                put("depth", json!(depth));
                for other in ladder {
                    put(&format!("level.{other}"), json!(if other == level { 100 } else { 0 }));
                }
            }
            Value::Dimmer { threshold, limit, .. } => {
                for (part, number) in [("threshold", threshold), ("limit", limit)] {
                    if let Some(number) = number {
                        put(part, json!(number.max(0.0).floor() as u64));
                    }
                }
            }
            Value::Limit { value: Some(value), unit } => {
                let whole = json!(value.max(0.0).floor() as u64);
                put("limit", whole.clone());
                if *unit == Unit::InFlight {
                    layer.insert(format!("circuit_breakers.{name}.default.max_requests"), whole);
                }
            }
            Value::Limit { value: None, .. } | Value::Rollout { .. } => {}
        }
    }
    layer
}

fn percent(share: f64) -> Json {
    let millionths = (share.clamp(0.0, 1.0) * 1e6).round() as u64;
    if millionths.is_multiple_of(10_000) {
        json!(millionths / 10_000)
    } else {
        json!({ "numerator": millionths, "denominator": "MILLION" })
    }
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    version_info: String,
    #[serde(default)]
    resource_names: Vec<String>,
}

async fn discover(State(shared): State<Shared>, body: Bytes) -> Response {
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, format!("this is no DiscoveryRequest: {error}\n")).into_response();
        }
    };
    let board = Arc::clone(&shared.switchboard.borrow());
    if request.version_info == board.version {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let layer = Json::Object(layer(&board));
    let resource = |name: &String| json!({ "@type": TYPE_URL, "name": name, "layer": layer });
    let resources: Vec<Json> = request.resource_names.iter().map(resource).collect();
    axum::Json(json!({ "version_info": board.version, "type_url": TYPE_URL, "resources": resources })).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::switchboard::sample;
    use super::*;

    #[test]
    fn every_value_is_one_that_envoy_can_read() {
        let layer = layer(&sample());
        for (key, expected) in [
            ("brownout.recs.share", json!(50)),
            ("brownout.recs.depth", json!(1)),
            ("brownout.recs.level.cached", json!(100)),
            ("brownout.recs.level.full", json!(0)),
            ("brownout.related.share", json!(25)),
            ("brownout.related.shed", json!(75)),
            ("brownout.related.threshold", json!(12)),
            ("brownout.checkout.limit", json!(40)),
            ("circuit_breakers.checkout.default.max_requests", json!(40)),
            ("brownout.search.limit", json!(2)),
            ("brownout.new_search.share", json!(10)),
        ] {
            assert_eq!(layer.get(key), Some(&expected), "{key}");
        }
        assert_eq!(layer.get("circuit_breakers.search.default.max_requests"), None, "a rate is no number in flight");
        assert!(layer.values().all(|value| value.is_u64() || value["numerator"].is_u64()));
        assert_eq!(percent(0.123456), json!({ "numerator": 123456, "denominator": "MILLION" }));
    }
}
