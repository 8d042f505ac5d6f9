//! The daemon's JSON as the command line reads it. A field that a daemon of another version does not send is empty.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::time::Timestamp;

/// An instant in RFC 3339; what is none of it, and Go's zero time, is nothing.
pub(super) fn instant<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    Ok(text.as_deref().and_then(Timestamp::from_rfc3339).filter(|at| at.as_millis() > 0))
}

/// Seconds since the epoch.
fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    f64::deserialize(from).map(Timestamp::from_secs_f64)
}

/// `/api/v1/status/overview`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Overview {
    #[serde(deserialize_with = "seconds")]
    pub(super) now: Timestamp,
    pub(super) host: String,
    #[serde(default)]
    pub(super) version: String,
    #[serde(deserialize_with = "seconds")]
    pub(super) started: Timestamp,
    #[serde(default)]
    pub(super) mode: String,
    pub(super) config: Config,
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) series: u64,
    #[serde(default)]
    pub(super) switches: Vec<Switch>,
    #[serde(default)]
    pub(super) scales: Vec<Scale>,
    #[serde(default)]
    pub(super) alerts: Vec<Alert>,
    #[serde(default)]
    pub(super) groups: Vec<Group>,
    #[serde(default)]
    pub(super) outbox: Outbox,
    #[serde(default)]
    pub(super) losses: Vec<Loss>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    pub(super) ok: bool,
    #[serde(default)]
    pub(super) file: String,
    #[serde(default)]
    pub(super) problem: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Outbox {
    #[serde(default)]
    pub(super) waiting: u64,
    #[serde(default)]
    pub(super) dropped: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Loss {
    pub(super) metric: String,
    #[serde(default)]
    pub(super) help: String,
    pub(super) total: f64,
}

/// A switch with the rules behind it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Switch {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) ladder: Vec<String>,
    pub(super) level: String,
    pub(super) depth: usize,
    #[serde(default, deserialize_with = "instant")]
    pub(super) since: Option<Timestamp>,
    #[serde(default)]
    pub(super) revision: u64,
    #[serde(default)]
    pub(super) why: String,
    #[serde(default)]
    pub(super) pin: Option<Pin>,
    #[serde(default)]
    pub(super) rules: Vec<LadderRule>,
    /// What kind it is, and its value.
    #[serde(default)]
    pub(super) value: Value,
    /// Why it is not where its rules want it, and why nothing moves at all.
    #[serde(default)]
    pub(super) held_back: Option<String>,
    #[serde(default)]
    pub(super) frozen: Option<String>,
    /// Of a host of a fleet: since when the shared store has been out of reach.
    #[serde(default, deserialize_with = "instant")]
    pub(super) stale_since: Option<Timestamp>,
    /// Who voted for where it is.
    #[serde(default)]
    pub(super) votes: Option<Votes>,
    #[serde(default)]
    pub(super) dials: Vec<Dial>,
    #[serde(default)]
    pub(super) rollouts: Vec<RolloutRule>,
}

/// A switch's value, as far as the command line shows it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Value {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) threshold: Option<f64>,
    #[serde(default)]
    pub(super) limit: Option<f64>,
}

/// A rule that gives a dimmer or a limit its value.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dial {
    pub(super) title: String,
    #[serde(default)]
    pub(super) mode: String,
    #[serde(default)]
    pub(super) law: Option<String>,
    #[serde(default)]
    pub(super) objective_seconds: f64,
    #[serde(default)]
    pub(super) share: Option<f64>,
    #[serde(default)]
    pub(super) threshold: Option<f64>,
    #[serde(default)]
    pub(super) limit: Option<f64>,
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
    #[serde(default)]
    pub(super) view: Option<DialView>,
}

/// The inside of a law.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DialView {
    pub(super) rate: Option<f64>,
    pub(super) slow_share: Option<f64>,
    pub(super) samples: Option<f64>,
    pub(super) cost_seconds: Option<f64>,
    pub(super) cost_ratio: f64,
    pub(super) target: f64,
    pub(super) used: f64,
    pub(super) fits: Option<f64>,
    pub(super) tight: bool,
    pub(super) fitting_for_seconds: f64,
    pub(super) hold_seconds: f64,
    pub(super) silent_seconds: f64,
}

/// A rollout and how far it got.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RolloutRule {
    pub(super) title: String,
    #[serde(default)]
    pub(super) mode: String,
    #[serde(default)]
    pub(super) version: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) step: usize,
    #[serde(default)]
    pub(super) steps: Vec<RolloutStep>,
    #[serde(default)]
    pub(super) why: String,
    #[serde(default, deserialize_with = "instant")]
    pub(super) baked_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "instant")]
    pub(super) failing_since: Option<Timestamp>,
    #[serde(default, deserialize_with = "instant")]
    pub(super) silent_since: Option<Timestamp>,
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RolloutStep {
    pub(super) share: f64,
    pub(super) seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Pin {
    pub(super) level: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) by: String,
    #[serde(default, deserialize_with = "instant")]
    pub(super) until: Option<Timestamp>,
}

/// A degrade rule and where its ladder stands.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct LadderRule {
    pub(super) title: String,
    #[serde(default)]
    pub(super) mode: String,
    #[serde(default)]
    pub(super) scope: String,
    pub(super) level: String,
    #[serde(default, deserialize_with = "instant")]
    pub(super) moved: Option<Timestamp>,
    #[serde(default, deserialize_with = "instant")]
    pub(super) quiet_since: Option<Timestamp>,
    #[serde(default)]
    pub(super) quiet_needed_seconds: f64,
    #[serde(default, deserialize_with = "instant")]
    pub(super) next_climb: Option<Timestamp>,
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
    #[serde(default)]
    pub(super) min_hold_seconds: f64,
    /// The `for` of each level, in the order of the conditions.
    #[serde(default)]
    pub(super) level_for_seconds: Vec<f64>,
}

/// One condition of an action rule.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Condition {
    pub(super) part: String,
    #[serde(default)]
    pub(super) expression: String,
    #[serde(default)]
    pub(super) truth: String,
    #[serde(default)]
    pub(super) value: Option<f64>,
    #[serde(default, deserialize_with = "instant")]
    pub(super) since: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Scale {
    pub(super) target: String,
    #[serde(default)]
    pub(super) mode: String,
    #[serde(default)]
    pub(super) desired: Option<f64>,
    #[serde(default)]
    pub(super) failures: u64,
}

/// A pending or firing alert, as in `/api/v1/alerts`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) state: String,
    #[serde(rename = "activeAt", default, deserialize_with = "instant")]
    pub(super) active_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) value: String,
}

impl Alert {
    pub(super) fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }

    /// The sentence for people, if its rule has one.
    pub(super) fn summary(&self) -> &str {
        let of = |key| self.annotations.get(key).map(String::as_str).filter(|text| !text.is_empty());
        of("summary").or_else(|| of("description")).or_else(|| of("message")).unwrap_or("")
    }
}

/// `/api/v1/alerts`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alerts {
    pub(super) alerts: Vec<Alert>,
}

/// A group of rules, as in `/api/v1/rules`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    #[serde(default)]
    pub(super) file: String,
    #[serde(default)]
    pub(super) interval: f64,
    #[serde(default)]
    pub(super) rules: Vec<Rule>,
}

/// `/api/v1/rules`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) query: String,
    #[serde(default)]
    pub(super) health: String,
    #[serde(default)]
    pub(super) state: String,
    #[serde(default, rename = "lastError")]
    pub(super) last_error: String,
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
    #[serde(default)]
    pub(super) findings: Vec<Finding>,
    #[serde(default, rename = "unknownAlerts")]
    pub(super) unknown_alerts: u64,
}

/// A selector that matches nothing.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Finding {
    pub(super) message: String,
    #[serde(default)]
    pub(super) line: u64,
}

/// `/api/v1/rules/evaluations`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Histories {
    pub(super) rules: Vec<History>,
}

/// The last evaluations of one rule, newest first.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct History {
    pub(super) name: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) group: String,
    #[serde(default)]
    pub(super) file: String,
    #[serde(default)]
    pub(super) evaluations: Vec<Evaluation>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Evaluation {
    #[serde(default, deserialize_with = "instant")]
    pub(super) time: Option<Timestamp>,
    #[serde(default)]
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) urgent: bool,
    #[serde(default)]
    pub(super) samples: u64,
    #[serde(default)]
    pub(super) alerts: u64,
    #[serde(default)]
    pub(super) values: Vec<Element>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// An element of a result.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Element {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) value: String,
}

/// The votes behind a decision of a fleet.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Votes {
    pub(super) agreed: u32,
    pub(super) of: u32,
    #[serde(default)]
    pub(super) hosts: Vec<String>,
}

/// One change of a switch.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Decision {
    pub(super) switch: String,
    #[serde(default, deserialize_with = "instant")]
    pub(super) at: Option<Timestamp>,
    pub(super) from: String,
    pub(super) to: String,
    #[serde(default)]
    pub(super) by: Option<Actor>,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) mode: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Actor {
    Rule {
        rule: String,
    },
    Person {
        name: String,
    },
    System,
    #[serde(other)]
    Other,
}

impl Decision {
    /// Who decided.
    pub(super) fn who(&self) -> &str {
        match &self.by {
            Some(Actor::Rule { rule }) => rule,
            Some(Actor::Person { name }) => name,
            Some(Actor::System) => "brownout",
            Some(Actor::Other) | None => "",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SWITCHES: &str = r#"[
      {"name":"recommendations","description":"personalised recommendations","ladder":["full","cached","off"],
       "level":"cached","depth":1,"since":"2023-11-14T22:14:00.000Z","revision":7,
       "why":"checkout:latency_seconds:p99 > 0.5 held for 5s (value 0.8123)","pin":null,
       "rules":[{"title":"checkout/recommendations","mode":"enforce","scope":"fleet","level":"cached",
         "moved":"2023-11-14T22:14:00.000Z","quiet_since":"2023-11-14T22:14:30.000Z","quiet_needed_seconds":60.0,
         "next_climb":"2023-11-14T22:15:30.000Z","conditions":[
           {"part":"cached","expression":"checkout:latency_seconds:p99 > 0.5","truth":"false","value":null,"since":"2023-11-14T22:14:28.000Z"},
           {"part":"off","expression":"checkout:latency_seconds:p99\n  > 0.8","truth":"false","value":null,"since":"2023-11-14T22:13:20.000Z"},
           {"part":"recover","expression":"checkout:latency_seconds:p99 < 0.4","truth":"true","value":0.123456,"since":"2023-11-14T22:14:30.000Z"}]}]},
      {"name":"search","description":"","ladder":["on","off"],"level":"off","depth":1,
       "since":"2023-11-14T22:14:50.000Z","revision":2,"why":"pinned by ann: known deploy",
       "pin":{"level":"off","reason":"known deploy","by":"ann","since":"2023-11-14T22:14:50.000Z","until":"2023-11-14T23:14:50.000Z"},
       "rules":[]}]"#;

    /// Two switches: one on its way back, one pinned.
    pub(in crate::cli) fn switches() -> Vec<Switch> {
        serde_json::from_str(SWITCHES).expect("switches")
    }

    const OVERVIEW: &str = r#"{"now":1700000090.0,"host":"web-7","version":"0.1.0","started":1699990000.5,"mode":"enforce",
      "config":{"ok":true,"file":"/etc/brownout/brownout.yaml","problem":null},"ready":true,"series":1234,"switches":SWITCHES,
      "scales":[{"target":"checkout","mode":"enforce","desired":12.0,"failures":2}],
      "alerts":[
        {"labels":{"alertname":"CheckoutSlow","severity":"critical","job":"checkout"},"annotations":{"summary":"p99 is 1.2s"},
         "state":"firing","activeAt":"2023-11-14T22:14:00.000Z","value":"1.2e+00"},
        {"labels":{"alertname":"DiskFillsUp","device":"/dev/sda1"},"annotations":{},"state":"pending",
         "activeAt":"2023-11-14T22:14:45.000Z","value":"9.5e-01"}],
      "groups":[{"name":"checkout","file":"rules/checkout.yaml","interval":1.0,"rules":[
        {"name":"checkout:latency_seconds:p99","type":"recording","query":"histogram_quantile(0.99, x)","health":"ok"},
        {"name":"CheckoutSlow","type":"alerting","query":"checkout:latency_seconds:p99 > 0.8","health":"ok","state":"firing"},
        {"name":"recommendations","type":"degrade","query":"x > 1\ny","health":"ok","conditions":[
          {"part":"cached","expression":"x\n > 1","truth":"no data"},{"part":"recover","expression":"y","truth":"false"}]},
        {"name":"Broken","type":"alerting","query":"a / b","health":"err","state":"inactive","lastError":"many-to-many matching"}]}],
      "outbox":{"waiting":3,"dropped":0},
      "losses":[{"metric":"brownout_log_lines_cut_total","help":"Log lines longer than the limit.","total":4.0}]}"#;

    const DECISIONS: &str = r#"[{"switch":"recommendations","at":"2023-11-14T22:14:00.000Z","from":"full","to":"cached",
        "by":{"kind":"rule","rule":"checkout/recommendations","expression":"x > 1","value":1.5},"reason":"it was slow","mode":"enforce","revision":7,"scope":"fleet"},
       {"switch":"search","at":"2023-11-14T22:14:50.000Z","from":"on","to":"off","by":{"kind":"person","name":"ann"},"reason":"known deploy","mode":"enforce","revision":2,"scope":"fleet"},
       {"switch":"search","at":"2023-11-14T22:13:50.000Z","from":"on","to":"off","by":{"kind":"system"},"reason":"a trial","mode":"observe","revision":0,"scope":"fleet"}]"#;

    /// One of a rule, one of a person, and one that was only observed.
    pub(in crate::cli) fn decisions() -> Vec<Decision> {
        serde_json::from_str(DECISIONS).expect("decisions")
    }

    /// A host in trouble.
    pub(in crate::cli) fn overview() -> Overview {
        serde_json::from_str(&OVERVIEW.replace("SWITCHES", SWITCHES)).expect("an overview")
    }
}
