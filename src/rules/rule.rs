//! One rule with its state: ask, take over, write, mark what vanished.

use std::sync::Arc;
use std::time::Duration;

use super::action::{ActionRule, Asked, Bench};
use super::alerting::{AlertContext, AlertRule};
use super::evaluate::{Evaluate, Reading};
use super::evaluations::{Evaluation, Ring};
use super::few::Few;
use super::findings::Missing;
use super::id::{RuleId, RuleType};
use super::inputs::{Input, Inputs};
use super::outcome::{AlertState, Judgement, Outcome};
use super::recording::RecordRule;
use super::ruler::{Counters, Meter, Shared};
use super::spec::{GroupSpec, RuleSpec};
use super::witness::{StoreWitness, Witness};
use crate::model::{Labels, stale_nan};
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
    Failed(Box<str>),
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
    pub asked: Box<[Asked]>,
    pub body: Body,
    pub health: Health,
    /// The instant of the last evaluation; later ones are later.
    pub last_at: Option<Timestamp>,
    /// The series of the last evaluation, with its number.
    outputs: Few<u64>,
    round: u64,
    /// The last evaluations.
    pub ring: Ring,
    pub missing: Missing,
    /// After a restart, while alerts or conditions are held: what its inputs are made of.
    pub upstream: Option<Box<Upstream>>,
}

/// What the recording rules read whose series a rule reads, through as many rules as there are in between.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub inputs: Vec<Input>,
    /// The longest interval of those rules: until all of them have seen what is new.
    pub settle: Duration,
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
    /// How long something took; nothing else is decided by it.
    pub meter: &'a Meter,
    /// Out of turn.
    pub urgent: bool,
    pub interval: Duration,
    pub query_offset: Duration,
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
            RuleSpec::Record(rule) => Body::Record(RecordRule::new(Arc::clone(rule))),
            RuleSpec::Alert(rule) => Body::Alert(AlertRule::new(Arc::clone(rule))),
            _ => Body::Action(ActionRule::of(&spec)),
        };
        Rule {
            id,
            spec,
            asked,
            body,
            health: Health::Unknown,
            last_at: None,
            outputs: Few::default(),
            round: 0,
            ring: Ring::among(shared.rules),
            missing: Missing::default(),
            upstream: None,
        }
    }

    /// Takes over the state of the same rule from before a reload.
    pub fn inherit(&mut self, old: Rule) {
        self.health = old.health;
        self.last_at = old.last_at;
        self.outputs = old.outputs;
        self.round = old.round;
        self.ring.inherit(old.ring);
        self.upstream = old.upstream;
        let texts = |asked: &[Asked]| asked.iter().map(|asked| asked.query.text.clone()).collect::<Vec<_>>();
        if texts(&self.asked) == texts(&old.asked) {
            self.missing = old.missing;
        }
        match (&mut self.body, old.body) {
            (Body::Alert(new), Body::Alert(old)) => {
                new.active = old.active;
                new.gone = old.gone;
                new.inputs_seen = old.inputs_seen;
            }
            (Body::Action(new), Body::Action(mut old)) => {
                for part in &mut new.parts {
                    let same = old.parts.iter_mut().find(|before| before.part == part.part);
                    (part.last, part.held) = same.map_or((None, None), |same| (same.last.take(), same.held.take()));
                }
            }
            _ => {}
        }
    }

    /// The series that it wrote last.
    pub fn outputs(&self) -> impl Iterator<Item = &Labels> {
        self.outputs.keys()
    }

    /// Takes a series for one that it wrote at its last evaluation.
    pub fn adopt(&mut self, labels: Labels) {
        self.outputs.insert(labels, self.round);
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
        let began = (scene.meter)();
        self.last_at = Some(at);
        counters.evaluations += 1;
        let mut note = Evaluation { at, urgent: scene.urgent, ..Evaluation::default() };
        // The view must be gone before anything is appended, or the append would copy what it touches.
        let result = self.ask(&store.view(), at, asked_at, scene, &mut note, out);
        self.health = match result {
            Ok(samples) => {
                note.written = samples.len();
                self.commit(samples, asked_at, store, counters)
            }
            Err(message) => Health::Failed(message.into()),
        };
        if let Health::Failed(message) = &self.health {
            counters.failures += 1;
            note.error = Some(message.to_string());
        }
        if let Body::Alert(alerts) = &mut self.body {
            note.alerts = alerts.active.values().filter(|alert| alert.state != AlertState::Inactive).count();
            counters.unknown += u64::from(std::mem::take(&mut alerts.unknown_count));
        }
        note.took = (scene.meter)().saturating_sub(began);
        self.ring.push(note);
    }

    fn ask(
        &mut self,
        view: &View,
        at: Timestamp,
        asked_at: Timestamp,
        scene: &Scene<'_>,
        note: &mut Evaluation,
        out: &mut Vec<Outcome>,
    ) -> Result<Vec<(Labels, SampleValue)>, String> {
        let evaluator = scene.evaluator;
        self.missing.look(&self.id, &self.asked, view, asked_at);
        match &mut self.body {
            Body::Record(rule) => {
                let result = evaluator.instant(view, &self.asked[0].query.expr, asked_at)?;
                note.saw(&result);
                rule.evaluate(result, scene.limit)
            }
            Body::Alert(_) => {
                let samples = self.ask_alerts(view, at, asked_at, scene, note, out)?;
                Ok(samples.into_iter().map(|(labels, value)| (labels, SampleValue::Float(value))).collect())
            }
            Body::Action(rule) => {
                let upstream = self.upstream.as_deref();
                let fresh = |asked: &Asked, since| {
                    let upstream = upstream.map_or(&[][..], |upstream| &upstream.inputs);
                    let own = &|_: &str| false;
                    let witness = StoreWitness { view, inputs: &asked.inputs, upstream, at: asked_at, own };
                    witness.fresh(&Labels::empty(), since)
                };
                let settle = upstream.map_or(Duration::ZERO, |upstream| upstream.settle);
                let bench = Bench { evaluator, view, at: asked_at, fresh: &fresh, settle };
                let (conditions, failure) = rule.judge(&self.asked, &bench);
                if self.upstream.is_some() && !rule.is_held() {
                    self.upstream = None;
                }
                let readings = conditions.iter().filter_map(|condition| {
                    let value = SampleValue::Float(condition.value?);
                    Some(Reading { labels: condition.labels.clone(), value })
                });
                note.saw(&readings.collect::<Vec<_>>());
                out.push(Outcome::Judged(Judgement { rule: self.id.clone(), at, conditions }));
                failure.map_or(Ok(Vec::new()), Err)
            }
        }
    }

    fn ask_alerts(
        &mut self,
        view: &View,
        at: Timestamp,
        asked_at: Timestamp,
        scene: &Scene<'_>,
        note: &mut Evaluation,
        out: &mut Vec<Outcome>,
    ) -> Result<Vec<(Labels, f64)>, String> {
        let (evaluator, shared) = (scene.evaluator, scene.shared);
        let Body::Alert(rule) = &mut self.body else { return Ok(Vec::new()) };
        let result = evaluator.instant(view, &self.asked[0].query.expr, asked_at)?;
        note.saw(&result);
        let resolving = match self.asked.get(1) {
            Some(asked) if !rule.active.is_empty() => evaluator.instant(view, &asked.query.expr, asked_at)?,
            _ => Vec::new(),
        };
        let query = |text: &str| ask_for_template(evaluator, view, text, at);
        let spec = Arc::clone(&rule.spec);
        let upstream = self.upstream.as_deref();
        let witness = StoreWitness {
            view,
            inputs: &self.asked[0].inputs,
            upstream: upstream.map_or(&[], |upstream| &upstream.inputs),
            at: asked_at,
            own: &|name| spec.labels.get(name).is_some(),
        };
        let context = AlertContext {
            external_labels: &shared.external_labels,
            external_url: &shared.external_url,
            query: &query,
            limit: scene.limit,
            witness: &witness,
            settle: upstream.map_or(Duration::ZERO, |upstream| upstream.settle),
            resolving: &resolving,
        };
        let samples = rule.evaluate(&result, at, &context)?;
        let mut events = rule.take_events(&self.id, at, shared.resend_delay, scene.interval, &shared.external_labels);
        // Of most rules no alert is ever told, so the link is not kept.
        if !events.is_empty() {
            let link = generator_url(&shared.external_url, &self.asked[0].query.text);
            events.iter_mut().for_each(|event| event.generator_url = Arc::clone(&link));
        }
        out.extend(events.into_iter().map(Outcome::Alert));
        if self.upstream.is_some() && rule.active.values().all(|alert| alert.held.is_none()) {
            self.upstream = None;
        }
        Ok(samples)
    }

    /// The system's clock was set: every time moves along.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let step = |at: &mut Option<Timestamp>| *at = at.map(|at| at.shifted(by_millis));
        step(&mut self.last_at);
        self.ring.clock_stepped(by_millis);
        self.missing.clock_stepped(by_millis);
        match &mut self.body {
            Body::Record(_) => {}
            Body::Alert(rule) => rule.active.values_mut().for_each(|alert| alert.clock_stepped(by_millis)),
            Body::Action(rule) => {
                for part in &mut rule.parts {
                    if let Some((_, since)) = &mut part.last {
                        *since = since.shifted(by_millis);
                    }
                    if let Some(held) = &mut part.held {
                        held.clock_stepped(by_millis);
                    }
                }
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
        refused.map_or(Health::Ok, |why: String| Health::Failed(why.into()))
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
        RuleSpec::Dim(_) => (RuleType::Dim, "".into()),
        RuleSpec::Limit(_) => (RuleType::Limit, "".into()),
        RuleSpec::Rollout(_) => (RuleType::Rollout, "".into()),
    };
    let (file, name) = (Arc::clone(&group.file), spec.name().into());
    RuleId { file, group: group.name.as_str().into(), kind, name, labels, nth }
}

fn labels_text<'a>(labels: impl Iterator<Item = (&'a String, &'a str)>) -> Arc<str> {
    let pairs: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",").into()
}

/// The link to an expression on our page.
fn generator_url(external_url: &str, text: &str) -> Arc<str> {
    format!("{external_url}/graph?g0.expr={}&g0.tab=1", query_escape(text)).into()
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
