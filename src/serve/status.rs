//! Groups, rules, alerts and ladders as the JSON that Prometheus' API and the page show.

use std::cell::Cell;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::measure;
use crate::engine::{DialPicture, LadderPicture, Picture, RolloutPicture, ScalePicture};
use crate::model::Labels;
use crate::rules::{
    ActiveAlert, AlertState, ConditionStatus, Evaluation, Finding, GroupStatus, Part, Query, RuleId, RuleSpec,
    RuleStatus, RuleType,
};
use crate::series::View;
use crate::switches::{DialSource, Mode};
use crate::time::Timestamp;

/// Prometheus writes this where an evaluation has not happened yet.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The groups as `/api/v1/rules` has them.
pub(super) fn groups(picture: &Picture) -> Vec<Value> {
    let explain = Explain { view: &picture.view, left: Cell::new(EXPLAINED) };
    picture.groups.iter().map(|status| group(status, &explain)).collect()
}

/// So many findings of one answer say what may be meant: to find that out takes a look at every metric name.
const EXPLAINED: usize = 50;

/// Explains findings as long as it may.
struct Explain<'a> {
    view: &'a View,
    left: Cell<usize>,
}

impl Explain<'_> {
    fn message(&self, finding: &Finding) -> String {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                finding.message(self.view)
            }
            None => finding.summary(),
        }
    }
}

fn group(group: &GroupStatus, explain: &Explain<'_>) -> Value {
    json!({
        "name": &*group.name,
        "file": &*group.file,
        "interval": group.interval.as_secs_f64(),
        "limit": group.limit,
        "rules": group.rules.iter().map(|status| rule(status, explain)).collect::<Vec<_>>(),
        "evaluationTime": group.evaluation_seconds,
        "lastEvaluation": time_or_never(group.last_evaluation),
        "missedEvaluations": group.missed,
    })
}

fn rule(rule: &RuleStatus, explain: &Explain<'_>) -> Value {
    let mut value = json!({
        "name": &*rule.id.name,
        "query": &*rule.query,
        "labels": rule.spec.labels(),
        "health": rule.health.as_str(),
        "evaluationTime": rule.evaluation_seconds,
        "lastEvaluation": time_or_never(rule.last_evaluation),
        "type": rule.id.kind.as_str(),
    });
    if !rule.last_error().is_empty() {
        value["lastError"] = json!(rule.last_error());
    }
    if !rule.findings.is_empty() {
        let finding = |finding: &Finding| {
            json!({
                "selector": finding.selector,
                "message": explain.message(finding),
                "since": finding.since.to_rfc3339(),
                "line": finding.place.line(),
            })
        };
        value["findings"] = Value::Array(rule.findings.iter().map(finding).collect());
    }
    match rule.id.kind {
        RuleType::Alerting => {
            value["state"] = json!(rule.state_str());
            value["duration"] = json!(rule.duration.as_secs_f64());
            value["keepFiringFor"] = json!(rule.keep_firing_for.as_secs_f64());
            value["annotations"] = json!(rule.spec.annotations());
            value["alerts"] = Value::Array(rule.alerts.iter().map(alert).collect());
            if let RuleSpec::Alert(spec) = &rule.spec {
                let unknown = rule.alerts.iter().filter(|alert| alert.unknown_since.is_some()).count();
                value["unknownAlerts"] = json!(unknown);
                value["onUnknown"] = json!(spec.on_unknown.as_str());
                if let Some(query) = &spec.resolve_when {
                    value["resolveWhen"] = json!(&*query.text);
                }
            }
        }
        RuleType::Recording => {}
        _ => {
            value["conditions"] = Value::Array(conditions(rule));
        }
    }
    value
}

fn conditions(rule: &RuleStatus) -> Vec<Value> {
    let parts = rule.spec.asked();
    rule.conditions.iter().zip(parts).map(|(status, (part, query))| condition(status, &part, query)).collect()
}

fn condition(status: &ConditionStatus, part: &Part, query: &Query) -> Value {
    let sides = measure::sides(&query.expr);
    let (measure, set_point) = sides.map_or((None, None), |(measure, point)| (Some(measure), Some(point)));
    json!({
        "part": part.name(),
        "measure": measure,
        "set_point": set_point,
        "expression": &*status.query,
        "truth": status.condition.as_ref().map_or("not evaluated", |condition| condition.truth.as_str()),
        "value": status.condition.as_ref().and_then(|condition| condition.value).filter(|value| value.is_finite()),
        "since": status.since.map(Timestamp::to_rfc3339),
    })
}

/// The last evaluations of one rule, newest first.
pub(super) fn evaluations(id: &RuleId, evaluations: &[Evaluation]) -> Value {
    let one = |evaluation: &Evaluation| {
        let value = |(of, value): &(Labels, f64)| json!({ "labels": labels(of), "value": scientific(*value) });
        json!({
            "time": evaluation.at.to_rfc3339(),
            "seconds": evaluation.took.as_secs_f64(),
            "urgent": evaluation.urgent,
            "samples": evaluation.elements,
            "written": evaluation.written,
            "alerts": evaluation.alerts,
            "values": evaluation.values.iter().map(value).collect::<Vec<_>>(),
            "error": evaluation.error,
        })
    };
    json!({
        "name": &*id.name,
        "type": id.kind.as_str(),
        "file": &*id.file,
        "group": &*id.group,
        "evaluations": evaluations.iter().rev().map(one).collect::<Vec<_>>(),
    })
}

/// Every pending and firing alert as `/api/v1/alerts` has it.
pub(super) fn alerts(picture: &Picture) -> Vec<Value> {
    let rules = picture.groups.iter().flat_map(|group| &group.rules);
    rules.flat_map(|rule| &rule.alerts).filter(|alert| alert.state != AlertState::Inactive).map(alert).collect()
}

fn alert(alert: &ActiveAlert) -> Value {
    let mut value = json!({
        "labels": labels(&alert.labels),
        "annotations": alert.annotations,
        "state": alert.state.as_str(),
        "activeAt": alert.active_at.to_rfc3339(),
        "value": scientific(alert.value),
    });
    if let Some(since) = alert.keep_firing_since {
        value["keepFiringSince"] = json!(since.to_rfc3339());
    }
    if let Some(since) = alert.unknown_since {
        value["unknownSince"] = json!(since.to_rfc3339());
    }
    if let Some(until) = alert.held_until {
        value["heldUntil"] = json!(until.to_rfc3339());
    }
    value
}

fn labels(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>())
}

/// The rules behind a switch, with what their conditions say.
pub(super) fn ladders(picture: &Picture, switch: &str) -> Vec<Value> {
    picture.ladders.iter().filter(|ladder| ladder.rule.switch.as_str() == switch).map(|l| ladder(picture, l)).collect()
}

fn ladder(picture: &Picture, ladder: &LadderPicture) -> Value {
    let status =
        picture.groups.iter().flat_map(|group| &group.rules).find(|rule| rule.id.to_string() == ladder.rule.rule);
    let seconds = |span: std::time::Duration| span.as_secs_f64();
    let levels = &ladder.rule.ladder.levels;
    json!({
        "rule": ladder.rule.rule,
        "title": ladder.rule.title,
        "mode": ladder.rule.mode.as_str(),
        "scope": ladder.rule.scope,
        "level": ladder.level,
        "moved": ladder.ladder.memory().moved.to_rfc3339(),
        "quiet_since": ladder.ladder.memory().quiet_since.map(Timestamp::to_rfc3339),
        "quiet_needed_seconds": ladder.ladder.quiet_needed().as_secs_f64(),
        "next_climb": ladder.next_climb.map(Timestamp::to_rfc3339),
        "min_hold_seconds": ladder.rule.ladder.min_hold.as_secs_f64(),
        "level_for_seconds": levels.iter().map(|level| seconds(level.hold)).collect::<Vec<_>>(),
        "conditions": status.map(conditions).unwrap_or_default(),
    })
}

fn status_of<'a>(picture: &'a Picture, rule: &str) -> Option<&'a RuleStatus> {
    picture.groups.iter().flat_map(|group| &group.rules).find(|status| status.id.to_string() == rule)
}

/// The laws behind a switch, with what they measure and what they would do.
pub(super) fn dials(picture: &Picture, switch: &str) -> Vec<Value> {
    let of = |dial: &&DialPicture| {
        dial.rule.switch.as_str() == switch || dial.rule.limit.as_ref().is_some_and(|limit| limit.as_str() == switch)
    };
    picture.dials.iter().filter(of).map(|dial| self::dial(picture, dial)).collect()
}

fn dial(picture: &Picture, dial: &DialPicture) -> Value {
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let mut value = json!({
        "rule": dial.rule.rule,
        "title": dial.rule.title,
        "mode": dial.rule.mode.as_str(),
        "scope": dial.rule.scope,
        "reason": dial.reason,
        "share": dial.published.map(|published| published.share),
        "threshold": dial.published.and_then(|published| published.threshold),
        "limit": dial.published.and_then(|published| published.limit),
        "conditions": status_of(picture, &dial.rule.rule).map(conditions).unwrap_or_default(),
    });
    if let DialSource::Law(settings) = &dial.rule.source {
        value["law"] = json!(settings.law.as_str());
        value["objective_seconds"] = json!(settings.objective);
        value["shares"] = json!(settings.levels);
    }
    if let Some(view) = &dial.view {
        value["view"] = json!({
            "rate": finite(view.rate),
            "slow_share": finite(view.slow),
            "samples": finite(view.evidence),
            "cost_seconds": view.cost,
            "cost_ratio": view.ratio,
            "target": view.target,
            "used": view.used,
            "fits": view.fits,
            "tight": view.tight,
            "fitting_for_seconds": view.fitting_for,
            "hold_seconds": view.hold,
            "silent_seconds": view.silent,
        });
    }
    value
}

/// The rollouts behind a switch.
pub(super) fn rollouts(picture: &Picture, switch: &str) -> Vec<Value> {
    let of = |rollout: &&RolloutPicture| rollout.rule.switch.as_str() == switch;
    picture.rollouts.iter().filter(of).map(|rollout| self::rollout(picture, rollout)).collect()
}

fn rollout(picture: &Picture, rollout: &RolloutPicture) -> Value {
    let step = |(share, hold): &(f64, std::time::Duration)| json!({ "share": share, "seconds": hold.as_secs_f64() });
    json!({
        "rule": rollout.rule.rule,
        "title": rollout.rule.title,
        "mode": rollout.rule.mode.as_str(),
        "version": rollout.rule.version,
        "state": rollout.memory.state.as_str(),
        "step": rollout.memory.step,
        "steps": rollout.rule.steps.iter().map(step).collect::<Vec<_>>(),
        "since": rollout.memory.since.to_rfc3339(),
        "why": rollout.memory.why,
        "baked_at": rollout.baked_at.map(Timestamp::to_rfc3339),
        "failing_since": rollout.memory.failing_since.map(Timestamp::to_rfc3339),
        "silent_since": rollout.memory.silent_since.map(Timestamp::to_rfc3339),
        "conditions": status_of(picture, &rollout.rule.rule).map(conditions).unwrap_or_default(),
    })
}

/// The scale rules.
pub(super) fn scales(picture: &Picture) -> Vec<Value> {
    picture.scales.iter().map(scale).collect()
}

fn scale(scale: &ScalePicture) -> Value {
    json!({
        "target": scale.settings.target,
        "rule": scale.settings.title,
        "mode": match scale.settings.mode { Mode::Observe => "observe", Mode::Enforce => "enforce" },
        "min": scale.settings.min,
        "max": scale.settings.max,
        "desired": scale.memory.desired,
        "generation": scale.memory.generation,
        "last_call": scale.memory.last_call.map(Timestamp::to_rfc3339),
        "in_flight": scale.memory.in_flight.as_ref().map(|call| call.desired),
        "failures": scale.memory.failures,
        "trouble": scale.memory.trouble,
    })
}

/// Milliseconds as seconds.
pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

fn time_or_never(at: Option<Timestamp>) -> String {
    at.map_or(NEVER.to_owned(), Timestamp::to_rfc3339)
}

/// Go's `FormatFloat(v, 'e', -1, 64)`: how Prometheus writes an alert's value.
fn scientific(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let number: i32 = exponent.parse().unwrap_or(0);
    let mut written = String::from(digits);
    let _ = write!(written, "e{}{:02}", if number < 0 { '-' } else { '+' }, number.abs());
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_values_are_written_as_prometheus_does() {
        for (value, text) in
            [(1.0, "1e+00"), (0.5, "5e-01"), (-123456.0, "-1.23456e+05"), (0.0, "0e+00"), (1e100, "1e+100")]
        {
            assert_eq!(scientific(value), text);
        }
        assert_eq!(scientific(f64::INFINITY), "+Inf");
    }
}
