//! `rules`, `rules/evaluations`, `alerts`, `targets`, `status/buildinfo`.

use axum::extract::State;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, data};
use super::params::Params;
use crate::serve::{Shared, status};

pub(super) async fn rules(State(shared): State<Shared>, params: Params) -> Answer {
    let kind = match params.get("type") {
        None => None,
        Some("alert") => Some("alerting"),
        Some("record") => Some("recording"),
        Some(other) => {
            return Err(ApiError::BadData(format!(
                "invalid parameter \"type\": {other:?} is neither alert nor record"
            )));
        }
    };
    let picture = shared.picture().await.ok_or(ApiError::Unavailable)?;
    let names = params.list("rule_name[]");
    let (files, groups_wanted) = (params.list("file[]"), params.list("rule_group[]"));
    let without_alerts = params.get("exclude_alerts") == Some("true");
    let wanted = |list: &[&str], value: &Value| list.is_empty() || list.iter().any(|name| *value == **name);
    let mut groups: Vec<Value> = status::groups(&picture);
    groups.retain(|group| wanted(&files, &group["file"]) && wanted(&groups_wanted, &group["name"]));
    for group in &mut groups {
        let Some(rules) = group["rules"].as_array_mut() else { continue };
        // Grafana knows two kinds of rules; ours are shown to whoever asks for all.
        rules.retain(|rule| kind.is_none_or(|kind| rule["type"] == kind) && wanted(&names, &rule["name"]));
        for rule in rules.iter_mut().filter(|_| without_alerts) {
            if rule.get("alerts").is_some() {
                rule["alerts"] = json!([]);
            }
        }
    }
    if kind.is_some() || !names.is_empty() {
        groups.retain(|group| group["rules"].as_array().is_some_and(|rules| !rules.is_empty()));
    }
    Ok(data(&json!({ "groups": groups }).to_string()))
}

/// Ours, not Prometheus': the last evaluations of the rules named by `rule`, of the group named by `group` if there is one.
pub(super) async fn evaluations(State(shared): State<Shared>, params: Params) -> Answer {
    let Some(rule) = params.get("rule") else {
        return Err(ApiError::BadData("parameter \"rule\" is missing: the name of a rule".into()));
    };
    let group = params.get("group").map(str::to_owned);
    let found = shared.evaluations(group, rule.to_owned()).await.ok_or(ApiError::Unavailable)?;
    if found.is_empty() {
        return Err(ApiError::NotFound(format!("there is no rule {rule:?}")));
    }
    let rules: Vec<Value> = found.iter().map(|(id, list)| status::evaluations(id, list)).collect();
    Ok(data(&json!({ "rules": rules }).to_string()))
}

pub(super) async fn alerts(State(shared): State<Shared>) -> Answer {
    let picture = shared.picture().await.ok_or(ApiError::Unavailable)?;
    Ok(data(&json!({ "alerts": status::alerts(&picture) }).to_string()))
}

pub(super) async fn targets(State(shared): State<Shared>) -> Answer {
    Ok(data(&json!({ "activeTargets": (shared.targets)(), "droppedTargets": [] }).to_string()))
}

/// Without `features`: with them Grafana takes a server for another product.
pub(super) async fn build_info() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Ok(data(
        &json!({
            // Clients look at this to learn which API they can rely on.
            "version": "3.5.0",
            "revision": version,
            "branch": "brownout",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        })
        .to_string(),
    ))
}
