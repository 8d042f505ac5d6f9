//! What Alertmanager has not: the way of an alert in words, and the noisiest rules.
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /api/v1/alerts/explain?alertname=Down&severity=page` | text: routes, what holds the alert back, who is told when |
//! | `GET /api/v1/alerts/noisy` | the rules of the last seven days, those with most messages first |

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, json_text, read};
use super::params::Params;
use crate::model::Labels;
use crate::serve::Shared;

/// `GET /api/v1/alerts/explain`: every parameter is a label.
pub(super) async fn explain(State(shared): State<Shared>, params: Params) -> Answer {
    let labels = Labels::from_pairs(params.pairs());
    if labels.is_empty() {
        return Err(ApiError::Bad("name the alert by its labels: ?alertname=Down&severity=page".to_owned()));
    }
    let mut answer = read(&shared, move |alerts, now| Ok(alerts.explain(&labels, now))).await?;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(answer.into_response())
}

/// `GET /api/v1/alerts/noisy`.
pub(super) async fn noisy(State(shared): State<Shared>) -> Answer {
    read(&shared, move |alerts, now| {
        let rules = alerts.noisy(now);
        let rule = |rule: &crate::alerts::NoisyRule| {
            json!({ "alertname": rule.name, "messages": rule.messages, "starts": rule.starts })
        };
        let rules: Vec<Value> = rules.iter().map(rule).collect();
        json_text(&json!({ "status": "success", "data": { "days": 7, "rules": rules } }))
    })
    .await
}
