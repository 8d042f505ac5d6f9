//! What of an alert must survive a restart, and how it comes back.
//!
//! Every transition and every time an alert was told is a change; values and annotations alone are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::active::Active;
use super::alerting::AlertRule;
use super::id::{RuleId, RuleType};
use super::outcome::AlertState;
use crate::model::Labels;
use crate::time::Timestamp;

/// Changes by key; no value: forget the key.
pub(crate) type Changes = BTreeMap<String, Option<Value>>;

/// What every key begins with.
pub(crate) const KEY_PREFIX: &str = "alert/";

/// An alert as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Saved {
    rule: SavedId,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// A text, because JSON has neither NaN nor infinity.
    value: String,
    state: String,
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    last_sent_at: Option<Timestamp>,
    keep_firing_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_since: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct SavedId {
    file: String,
    group: String,
    name: String,
    labels: String,
    nth: u32,
}

fn key(id: &RuleId, labels: &Labels) -> String {
    format!("{KEY_PREFIX}{id}/{:016x}", labels.hash64())
}

/// Moves what changed in a rule since the last call into `changes`.
pub(crate) fn collect_changes(id: &RuleId, rule: &mut AlertRule, changes: &mut Changes) {
    for labels in rule.gone.drain(..) {
        changes.insert(key(id, &labels), None);
    }
    for alert in rule.active.values_mut().filter(|alert| alert.changed) {
        alert.changed = false;
        changes.insert(key(id, &alert.labels), saved(id, alert));
    }
}

/// Forgets every alert of a rule that is no more.
pub(crate) fn forget(id: &RuleId, rule: &AlertRule, changes: &mut Changes) {
    for labels in rule.active.keys().chain(&rule.gone) {
        changes.insert(key(id, labels), None);
    }
}

fn saved(id: &RuleId, alert: &Active) -> Option<Value> {
    let saved = Saved {
        rule: SavedId {
            file: id.file.to_string(),
            group: id.group.to_string(),
            name: id.name.to_string(),
            labels: id.labels.to_string(),
            nth: id.nth,
        },
        labels: alert.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        annotations: alert.annotations.to_map(),
        value: alert.value.to_string(),
        state: alert.state.as_str().to_owned(),
        active_at: alert.active_at,
        fired_at: alert.fired_at,
        resolved_at: alert.resolved_at,
        last_sent_at: alert.last_sent_at,
        keep_firing_since: alert.keep_firing_since,
        unknown_since: alert.unknown_since,
    };
    serde_json::to_value(saved).ok()
}

/// Reads what [`collect_changes`] gave; `None` for anything else.
pub(crate) fn read(value: Value) -> Option<(RuleId, Active)> {
    let saved: Saved = serde_json::from_value(value).ok()?;
    let id = RuleId {
        file: saved.rule.file.into(),
        group: saved.rule.group.into(),
        kind: RuleType::Alerting,
        name: saved.rule.name.into(),
        labels: saved.rule.labels.into(),
        nth: saved.rule.nth,
    };
    let mut alert = Active::new(Labels::from_pairs(&saved.labels), saved.active_at);
    alert.annotations = Arc::new(saved.annotations.into());
    alert.value = saved.value.parse().unwrap_or_default();
    alert.state = AlertState::read(&saved.state)?;
    alert.fired_at = saved.fired_at;
    alert.resolved_at = saved.resolved_at;
    alert.last_sent_at = saved.last_sent_at;
    alert.keep_firing_since = saved.keep_firing_since;
    alert.unknown_since = saved.unknown_since;
    alert.changed = false;
    Some((id, alert))
}
