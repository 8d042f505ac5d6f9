//! What a simulation saw, as lines and as JSON.

use serde_json::{Value, json};

use super::human::{Zone, number};
use super::replay::Why;
use super::simulation::{Happened, Happening};
use super::text::{Style, Text};
use crate::alerts::{AlertStatus, Notification};
use crate::model::Labels;
use crate::rules::AlertState;
use crate::switches::{Actor, Decision, Mode};

/// One line: when, what, to whom, why.
pub(super) fn happened_text(happened: &Happened, why: &Why, zone: &Zone) -> Text {
    let line = Text::styled(Style::Dim, format!("{}  ", zone.full(happened.at)));
    match &happened.what {
        Happening::Alert { labels, from, to, value, .. } => {
            let (style, word) = match (from, to) {
                (_, AlertState::Firing) => (Style::Bad, "fires"),
                (_, AlertState::Pending) => (Style::Warn, "pending"),
                (AlertState::Firing, AlertState::Inactive) => (Style::Good, "resolved"),
                (_, AlertState::Inactive) => (Style::Dim, "calmed"),
            };
            let line = line.and(style, format!("{word:<9}")).then(format!(" {}", alert_name(labels)));
            match to {
                AlertState::Inactive => line,
                _ => line.and(Style::Dim, format!("  value {}: {}", number(*value), why.get(labels))),
            }
        }
        Happening::Decided(decision) => {
            let (style, word) = match decision.mode {
                Mode::Enforce => (Style::Bold, "switch"),
                Mode::Observe => (Style::Dim, "observed"),
            };
            let change = format!(" {}: {} -> {}", decision.switch, decision.from, decision.to);
            line.and(style, format!("{word:<9}")).then(change).and(Style::Dim, format!("  {}", decided_why(decision)))
        }
        Happening::Sent(sent) => {
            let (firing, resolved) = states(sent);
            let names: std::collections::BTreeSet<&str> =
                sent.alerts.iter().filter_map(|alert| alert.labels.get("alertname")).map(String::as_str).collect();
            let names: Vec<&str> = names.into_iter().collect();
            line.and(Style::Bold, format!("{:<9}", "sent"))
                .then(format!(" to {} by {}: {firing} firing, {resolved} resolved", sent.receiver, sent.integration))
                .and(Style::Dim, format!("  {}; {}", reason(sent), names.join(", ")))
        }
        Happening::Scaled(call) => line
            .and(Style::Bold, format!("{:<9}", "scale"))
            .then(format!(" {}: {} -> {} by {}", call.target, call.previous, call.desired, call.webhook))
            .and(Style::Dim, format!("  {}", call.reason)),
    }
}

/// The same for programs.
pub(super) fn happened_json(happened: &Happened, why: &Why) -> Value {
    let mut value = match &happened.what {
        Happening::Alert { labels, annotations, from, to, value } => json!({
            "kind": "alert", "labels": labels_json(labels), "annotations": annotations, "from": from.as_str(),
            "to": to.as_str(), "value": value.to_string(), "why": why.get(labels),
        }),
        Happening::Decided(decision) => json!({
            "kind": "decision", "switch": decision.switch, "from": decision.from, "to": decision.to,
            "mode": decision.mode.as_str(), "scope": decision.scope, "why": decided_why(decision), "decision": decision,
        }),
        Happening::Sent(sent) => json!({
            "kind": "notification", "receiver": sent.receiver, "integration": sent.integration,
            "status": sent.status.as_str(), "why": reason(sent), "notification": sent,
        }),
        Happening::Scaled(call) => json!({
            "kind": "scale", "target": call.target, "from": call.previous, "to": call.desired, "webhook": call.webhook,
            "why": call.reason, "call": call,
        }),
    };
    value["at"] = json!(happened.at.to_rfc3339());
    value
}

fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

/// An alert as people write it: its name, then the other labels.
pub(super) fn alert_name(labels: &Labels) -> String {
    let name = labels.get("alertname").unwrap_or_default();
    let rest: Vec<String> = labels
        .iter()
        .filter(|(label, _)| *label != "alertname" && *label != super::values::NAME)
        .map(|(label, value)| format!("{label}={value:?}"))
        .collect();
    if rest.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", rest.join(", ")) }
}

fn decided_why(decision: &Decision) -> String {
    match &decision.by {
        Actor::Rule { rule, .. } => format!("{rule}: {}", decision.reason),
        Actor::Person { name } => format!("{name}: {}", decision.reason),
        Actor::System => decision.reason.clone(),
    }
}

fn reason(sent: &Notification) -> String {
    let word = serde_json::to_value(sent.reason).ok();
    word.as_ref().and_then(Value::as_str).unwrap_or_default().replace('_', " ")
}

fn states(sent: &Notification) -> (usize, usize) {
    let firing = sent.alerts.iter().filter(|alert| alert.status == AlertStatus::Firing).count();
    (firing, sent.alerts.len() - firing)
}
