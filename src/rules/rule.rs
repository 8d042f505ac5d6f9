//! One rule with its state: ask, take over, write, mark what vanished.

use std::sync::Arc;

use super::action::{ActionRule, Asked};
use super::alerting::{AlertContext, AlertRule};
use super::evaluate::Evaluate;
use super::id::{RuleId, RuleType};
use super::inputs::Inputs;
use super::outcome::{Judgement, Outcome};
use super::recording::RecordRule;
use super::ruler::{Counters, Shared};
use super::spec::{AlertSpec, GroupSpec, RuleSpec};
use crate::model::{Labels, LabelsMap, stale_nan};
use crate::promql::{self, SampleValue};
use crate::series::{Appended, Store, View};
use crate::time::Timestamp;

/// Whether the last evaluation went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not evaluated yet.
    Unknown,
    Ok,
    /// It failed, with this message. The state of its alerts is as it was before.
    Failed(String),
}

impl Health {
    /// The word of `/api/v1/rules`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Ok => "ok",
            Health::Failed(_) => "err",
        }
    }
}

/// A rule.
pub(crate) struct Rule {
    pub id: RuleId,
    pub spec: RuleSpec,
    pub asked: Vec<Asked>,
    pub body: Body,
    pub health: Health,
    /// The instant of the last evaluation; later ones are later.
    pub last_at: Option<Timestamp>,
    /// The series of the last evaluation, with its number.
    outputs: LabelsMap<u64>,
    round: u64,
}

/// The state of a rule by its kind.
pub(crate) enum Body {
    Record(RecordRule),
    Alert(AlertRule),
    Action(ActionRule),
}

/// Where and how a rule is evaluated.
pub(crate) struct Scene<'a> {
    pub evaluator: &'a dyn Evaluate,
    pub shared: &'a Shared,
    pub interval: std::time::Duration,
    pub query_offset: std::time::Duration,
    pub limit: usize,
}

impl Rule {
    pub fn new(group: &GroupSpec, spec: RuleSpec, nth: u32, shared: &Shared) -> Rule {
        let id = rule_id(group, &spec, nth);
        let ask = |query: &super::query::Query| Asked {
            query: query.clone(),
            inputs: Inputs::of(&query.expr, shared.lookback),
        };
        let asked = spec.queries().into_iter().map(ask).collect();
        let body = match &spec {
            RuleSpec::Record(rule) => Body::Record(RecordRule::new(&rule.record, &rule.labels)),
            RuleSpec::Alert(rule) => Body::Alert(alert_rule(rule, shared)),
            RuleSpec::Degrade(_) | RuleSpec::Scale(_) => Body::Action(ActionRule::of(&spec)),
        };
        let (outputs, health) = (LabelsMap::default(), Health::Unknown);
        Rule { id, spec, asked, body, health, last_at: None, outputs, round: 0 }
    }

    /// Takes over the state of the same rule from before a reload.
    pub fn inherit(&mut self, old: Rule) {
        self.health = old.health;
        self.last_at = old.last_at;
        self.outputs = old.outputs;
        self.round = old.round;
        match (&mut self.body, old.body) {
            (Body::Alert(new), Body::Alert(old)) => {
                new.active = old.active;
                new.gone = old.gone;
            }
            (Body::Action(new), Body::Action(mut old)) => {
                for part in &mut new.parts {
                    let same = old.parts.iter_mut().find(|before| before.part == part.part);
                    part.last = same.and_then(|before| before.last.take());
                }
            }
            _ => {}
        }
    }

    /// The series that it wrote last.
    pub fn outputs(&self) -> impl Iterator<Item = &Labels> {
        self.outputs.keys()
    }

    /// Whether it wrote this series at its last evaluation.
    pub fn writes(&self, labels: &Labels) -> bool {
        self.outputs.contains_key(labels)
    }

    /// Evaluates the rule at `at`, which must be later than the last time, and writes its series.
    pub fn evaluate(
        &mut self,
        at: Timestamp,
        scene: &Scene<'_>,
        store: &mut Store,
        counters: &mut Counters,
        out: &mut Vec<Outcome>,
    ) {
        let asked_at = at - scene.query_offset;
        self.last_at = Some(at);
        counters.evaluations += 1;
        // The view must be gone before anything is appended, or the append would copy what it touches.
        let result = self.ask(&store.view(), at, asked_at, scene, out);
        self.health = match result {
            Ok(samples) => self.commit(samples, asked_at, store, counters),
            Err(message) => Health::Failed(message),
        };
        if let Health::Failed(_) = self.health {
            counters.failures += 1;
        }
    }

    fn ask(
        &mut self,
        view: &View,
        at: Timestamp,
        asked_at: Timestamp,
        scene: &Scene<'_>,
        out: &mut Vec<Outcome>,
    ) -> Result<Vec<(Labels, SampleValue)>, String> {
        let evaluator = scene.evaluator;
        match &mut self.body {
            Body::Record(rule) => {
                let result = evaluator.instant(view, &self.asked[0].query.expr, asked_at)?;
                rule.evaluate(result, scene.limit)
            }
            Body::Alert(rule) => {
                let result = evaluator.instant(view, &self.asked[0].query.expr, asked_at)?;
                let shared = scene.shared;
                let query = |text: &str| ask_for_template(evaluator, view, text, at);
                let context = AlertContext {
                    external_labels: &shared.external_labels,
                    external_url: &shared.external_url,
                    query: &query,
                    limit: scene.limit,
                };
                let samples = rule.evaluate(&result, at, &context)?;
                let events =
                    rule.take_events(&self.id, at, shared.resend_delay, scene.interval, &shared.external_labels);
                out.extend(events.into_iter().map(Outcome::Alert));
                Ok(samples.into_iter().map(|(labels, value)| (labels, SampleValue::Float(value))).collect())
            }
            Body::Action(rule) => {
                let (conditions, failure) = rule.judge(&self.asked, evaluator, view, asked_at);
                out.push(Outcome::Judged(Judgement { rule: self.id.clone(), at, conditions }));
                failure.map_or(Ok(Vec::new()), Err)
            }
        }
    }

    /// Writes the results, and a staleness marker for each series that it wrote last time and not now.
    fn commit(
        &mut self,
        samples: Vec<(Labels, SampleValue)>,
        at: Timestamp,
        store: &mut Store,
        counters: &mut Counters,
    ) -> Health {
        self.round += 1;
        let (round, mut refused) = (self.round, None);
        for (labels, value) in samples {
            let appended = match value {
                SampleValue::Float(value) => store.append(&labels, at, value),
                SampleValue::Histogram(value) => store.append_histogram(&labels, at, Arc::unwrap_or_clone(value)),
            };
            if let Appended::Refused(why) = appended {
                counters.refused += 1;
                refused.get_or_insert_with(|| format!("the store refused {labels}: {why:?}"));
            } else {
                self.outputs.insert(labels, round);
            }
        }
        self.outputs.retain(|labels, last| {
            if *last != round {
                store.append(labels, at, stale_nan());
            }
            *last == round
        });
        refused.map_or(Health::Ok, Health::Failed)
    }
}

fn ask_for_template(
    evaluator: &dyn Evaluate,
    view: &View,
    text: &str,
    at: Timestamp,
) -> Result<Vec<(Labels, f64)>, String> {
    let expr = promql::parse(text).map_err(|error| error.to_string())?;
    let result = evaluator.once(view, expr, at)?;
    Ok(result.iter().map(|reading| (reading.labels.clone(), reading.float())).collect())
}

fn rule_id(group: &GroupSpec, spec: &RuleSpec, nth: u32) -> RuleId {
    let (kind, labels) = match spec {
        RuleSpec::Record(rule) => {
            (RuleType::Recording, labels_text(rule.labels.iter().map(|(name, value)| (name, value.as_str()))))
        }
        RuleSpec::Alert(rule) => {
            (RuleType::Alerting, labels_text(rule.labels.iter().map(|(name, text)| (name, &*text.source))))
        }
        RuleSpec::Degrade(_) => (RuleType::Degrade, "".into()),
        RuleSpec::Scale(_) => (RuleType::Scale, "".into()),
    };
    let (file, name) = (Arc::clone(&group.file), spec.name().into());
    RuleId { file, group: group.name.as_str().into(), kind, name, labels, nth }
}

fn labels_text<'a>(labels: impl Iterator<Item = (&'a String, &'a str)>) -> Arc<str> {
    let pairs: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",").into()
}

fn alert_rule(spec: &AlertSpec, shared: &Shared) -> AlertRule {
    AlertRule {
        name: spec.alert.as_str().into(),
        hold: spec.hold,
        keep_firing_for: spec.keep_firing_for,
        labels: spec.labels.clone(),
        annotations: spec.annotations.clone(),
        generator_url: format!("{}/graph?g0.expr={}&g0.tab=1", shared.external_url, query_escape(&spec.expr.text))
            .into(),
        active: LabelsMap::default(),
        gone: Vec::new(),
    }
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
