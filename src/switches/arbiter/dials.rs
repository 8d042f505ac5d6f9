//! Switches that are no ladders: dimmers, limits and rollouts. Their value is a number, and comes from a law.
//!
//! Several rules may want a value: the smallest share, threshold and limit of those that enforce is in force. A rule that
//! has not been judged since a restart wants what is in force.

use std::collections::BTreeMap;

use super::super::control::{ControlMemory, Published};
use super::super::dial::{Dial, DialRule, DialSource, Measured, share_worth_telling, worth_telling};
use super::super::guards::HeldBack;
use super::super::rollout::{Evidence, Rollout, RolloutMemory, RolloutRule};
use super::super::state::{Actor, Decision, Declaration, Mode, Write};
use super::super::value::{LimitUnit, SwitchKind, SwitchValue, percent, read_share};
use super::Switches;
use crate::model::SwitchName;
use crate::time::Timestamp;

/// Rules of dimmers, limits and rollouts, and what they want.
#[derive(Debug, Default)]
pub(super) struct Dials {
    pub rules: BTreeMap<String, Dial>,
    pub rollouts: BTreeMap<String, Rollout>,
    /// By switch and rule.
    pub wishes: BTreeMap<SwitchName, BTreeMap<String, SwitchValue>>,
}

pub(super) fn dial_key(rule: &str) -> String {
    format!("dial/{rule}")
}

pub(super) fn rollout_key(rule: &str) -> String {
    format!("rollout/{rule}")
}

impl Switches {
    /// The system's clock was set.
    pub(super) fn step_dials(&mut self, by_millis: i64) {
        self.dials.rules.values_mut().for_each(|dial| dial.clock_stepped(by_millis));
        for (rule, rollout) in &mut self.dials.rollouts {
            rollout.clock_stepped(by_millis);
            self.touched.insert(rollout_key(rule));
        }
    }

    /// Takes over the rules of a configuration.
    pub(super) fn configure_dials(
        &mut self,
        rules: Vec<DialRule>,
        rollouts: Vec<RolloutRule>,
        memory: &BTreeMap<String, serde_json::Value>,
    ) {
        let mut before = std::mem::take(&mut self.dials.rules);
        for rule in rules {
            let key = rule.rule.clone();
            let remembered =
                || -> Option<ControlMemory> { serde_json::from_value(memory.get(&dial_key(&rule.rule))?.clone()).ok() };
            let dial = match before.remove(&key) {
                Some(dial) => dial.reloaded(rule),
                None => {
                    let remembered = remembered();
                    Dial::new(rule, remembered)
                }
            };
            self.dials.rules.insert(key, dial);
        }
        let mut before = std::mem::take(&mut self.dials.rollouts);
        for rule in rollouts {
            let Some(SwitchKind::Rollout { initial }) = self.declarations.get(&rule.switch).map(|d| &d.kind) else {
                continue;
            };
            let (key, initial) = (rule.rule.clone(), *initial);
            let kept = before.remove(&key).map(|rollout| rollout.memory().clone());
            let remembered =
                || -> Option<RolloutMemory> { serde_json::from_value(memory.get(&rollout_key(&key))?.clone()).ok() };
            let rollout = Rollout::new(rule, kept.or_else(remembered).unwrap_or_default(), initial);
            self.dials.rollouts.insert(key, rollout);
        }
        let (rules, rollouts) = (&self.dials.rules, &self.dials.rollouts);
        let enforced = |rule: &String| {
            rules.get(rule).is_some_and(|dial| dial.rule().mode == Mode::Enforce)
                || rollouts.get(rule).is_some_and(|rollout| rollout.rule().mode == Mode::Enforce)
        };
        self.dials.wishes.retain(|_, wishes| {
            wishes.retain(|rule, _| enforced(rule));
            !wishes.is_empty()
        });
    }

    /// Whether some enforcing rule gives this switch its value.
    fn is_ruled(&self, name: &SwitchName) -> bool {
        let dial = |dial: &Dial| {
            let rule = dial.rule();
            rule.mode == Mode::Enforce
                && self.asks_here(&rule.rule, &rule.scope)
                && (rule.switch == *name || rule.limit.as_ref() == Some(name))
        };
        let rollout = |rollout: &Rollout| {
            let rule = rollout.rule();
            rule.mode == Mode::Enforce && rule.switch == *name
        };
        self.dials.rules.values().any(dial) || self.dials.rollouts.values().any(rollout)
    }

    /// Brings the value in line with the declaration and the rules.
    pub(super) fn reconcile_value(&mut self, now: Timestamp, name: &SwitchName) -> Option<Write> {
        let declaration = self.declarations.get(name)?;
        let in_force = declaration.value(self.records.get(name));
        let wanted = self.wanted(name, declaration, &in_force);
        let record = self.records.get_mut(name)?;
        record.asks = BTreeMap::new();
        if record.value.as_ref() == Some(&wanted) || record.pin.is_some() {
            return None;
        }
        self.settle_value(now, name, Actor::System, "the rules of this switch changed".into(), "fleet".into())
    }

    /// What the rules want together, within the declared bounds.
    fn wanted(&self, name: &SwitchName, declaration: &Declaration, in_force: &SwitchValue) -> SwitchValue {
        if self.role.is_desk() && !matches!(declaration.kind, SwitchKind::Rollout { .. }) {
            let asks = self.records.get(name).into_iter().flat_map(|record| record.asks.values());
            let wanted = asks.filter_map(|ask| ask.value.clone()).reduce(joined);
            return bounded(&declaration.kind, wanted.unwrap_or_else(|| declaration.healthy()));
        }
        let Some(wishes) = self.dials.wishes.get(name).filter(|wishes| !wishes.is_empty()) else {
            return if self.is_ruled(name) { in_force.clone() } else { declaration.healthy() };
        };
        let joined = wishes.values().cloned().reduce(joined).unwrap_or_else(|| declaration.healthy());
        bounded(&declaration.kind, joined)
    }

    /// Works out the value that is in force and gives the record to write; nothing when no part of it is worth telling.
    pub(super) fn settle_value(
        &mut self,
        now: Timestamp,
        name: &SwitchName,
        by: Actor,
        reason: String,
        scope: String,
    ) -> Option<Write> {
        let declaration = self.declarations.get(name)?;
        let record = self.records.get(name)?;
        let in_force = declaration.value(Some(record));
        let wanted = self.wanted(name, declaration, &in_force);
        let of_rule = matches!(by, Actor::Rule { .. });
        if let Some(pin) = &record.pin {
            let pinned = declaration.kind.read(&pin.level, &declaration.ladder, &wanted).ok()?;
            if of_rule && !tells(&in_force, &pinned) {
                return None;
            }
            return self.put_value(now, name, pinned, by, reason, scope);
        }
        if !tells(&in_force, &wanted) && of_rule {
            self.held_back.remove(name);
            return None;
        }
        // A reload and the end of a pin are no person: a freeze holds over them, too.
        let guarded = of_rule || (self.frozen().is_some() && !matches!(by, Actor::Person { .. }));
        let (granted, held) =
            if guarded { self.admit_value(now, name, &in_force, wanted.clone()) } else { (wanted.clone(), None) };
        self.tell_held_back(now, name, held, (&in_force, &wanted), (&by, &reason, &scope));
        if of_rule && !tells(&in_force, &granted) {
            return None;
        }
        self.put_value(now, name, granted, by, reason, scope)
    }

    /// What the guards let through of a rule's wish.
    fn admit_value(
        &self,
        now: Timestamp,
        name: &SwitchName,
        in_force: &SwitchValue,
        wanted: SwitchValue,
    ) -> (SwitchValue, Option<HeldBack>) {
        if self.frozen().is_some() {
            return (in_force.clone(), Some(HeldBack::Frozen));
        }
        let (SwitchValue::Dimmer { share: from, .. }, SwitchValue::Dimmer { share: to, threshold, limit }) =
            (in_force, &wanted)
        else {
            return (wanted, None);
        };
        let Some(declaration) = self.declarations.get(name) else { return (wanted, None) };
        let held = |why| (SwitchValue::Dimmer { share: *from, threshold: *threshold, limit: *limit }, Some(why));
        let (healthy, sick) = (declaration.depth_of(in_force) == 0, declaration.depth_of(&wanted) > 0);
        let depths = (usize::from(!healthy), usize::from(sick));
        if healthy && sick {
            return match self.guards.admit(depths.0, depths.1, self.degraded_by_rules(name), 0, 0).1 {
                Some(why) => held(why),
                None => (wanted, None),
            };
        }
        if to > from {
            let (turns, overall) = (self.turns_in_hour(now, name), self.decisions_in_hour_overall(now));
            return match self.guards.admit(1, 0, 0, turns, overall).1 {
                Some(why) => held(why),
                None => (wanted, None),
            };
        }
        (wanted, None)
    }

    /// How often a dimmer turned in the last hour: steps in one direction are one decision.
    fn turns_in_hour(&self, now: Timestamp, name: &SwitchName) -> usize {
        let recent = self.decisions.iter().filter(|d| d.at > now - super::HOUR && d.switch == name.as_str());
        let of_rule = recent.filter(|d| d.mode == Mode::Enforce && matches!(d.by, Actor::Rule { .. }));
        let directions = of_rule.filter_map(|d| Some(read_share(&d.to).ok()? > read_share(&d.from).ok()?));
        let (mut turns, mut last) = (0, None);
        for direction in directions {
            turns += usize::from(last != Some(direction));
            last = Some(direction);
        }
        turns
    }

    fn tell_held_back(
        &mut self,
        now: Timestamp,
        name: &SwitchName,
        held: Option<HeldBack>,
        (from, wanted): (&SwitchValue, &SwitchValue),
        (by, reason, scope): (&Actor, &str, &str),
    ) {
        let news = match held {
            Some(held) => self.held_back.insert(name.clone(), held) != Some(held),
            None => self.held_back.remove(name).is_some(),
        };
        if let Some(held) = held.filter(|_| news) {
            self.remember(Decision {
                switch: name.to_string(),
                at: now,
                from: words(from),
                to: words(wanted),
                by: by.clone(),
                reason: format!("{}; {reason}", held.words()),
                mode: Mode::Observe,
                revision: 0,
                scope: scope.to_owned(),
                votes: self.agreement.clone(),
            });
        }
    }

    fn put_value(
        &mut self,
        now: Timestamp,
        name: &SwitchName,
        to: SwitchValue,
        by: Actor,
        reason: String,
        scope: String,
    ) -> Option<Write> {
        let declaration = self.declarations.get(name)?;
        let from = declaration.value(self.records.get(name));
        let record = self.records.get_mut(name)?;
        let expected = record.revision;
        record.revision += 1;
        record.level = to.text();
        record.value = Some(to.clone());
        // A limit follows what a request costs all the time: only that it comes, goes, or halves or doubles is a decision.
        let decided = match (&from, &to) {
            (SwitchValue::Limit { value: Some(a), .. }, SwitchValue::Limit { value: Some(b), .. }) => {
                !matches!(by, Actor::Rule { .. }) && a != b || *b < 0.5 * a || *b > 2.0 * a
            }
            (SwitchValue::Limit { value: a, .. }, SwitchValue::Limit { value: b, .. }) => a != b,
            _ => words(&from) != words(&to),
        };
        if decided {
            record.since = now;
            let (switch, mode, revision) = (name.to_string(), Mode::Enforce, record.revision);
            let (from, to) = (words(&from), words(&to));
            let votes = self.agreement.clone();
            let decision = Decision { switch, at: now, from, to, by, reason, mode, revision, scope, votes };
            record.decision = Some(decision.clone());
            self.remember(decision);
        }
        let record = self.records.get(name)?.clone();
        Some(Write::at(self.role.place(), name.clone(), record, expected))
    }

    /// Takes what the inputs of a `dim` or `limit` rule gave.
    pub fn judge_dial(&mut self, now: Timestamp, rule: &str, measured: Measured) -> Vec<Write> {
        let Some(dial) = self.dials.rules.get_mut(rule) else { return Vec::new() };
        let Some((published, keep)) = dial.take(now, measured) else { return Vec::new() };
        if keep {
            self.touched.insert(dial_key(rule));
        }
        self.dialled(now, rule, published)
    }

    /// Takes the limit that a rule's expression gave.
    pub fn judge_limit(&mut self, now: Timestamp, rule: &str, value: Option<f64>) -> Vec<Write> {
        let published = self.dials.rules.get_mut(rule).and_then(|dial| dial.take_value(value));
        published.map(|published| self.dialled(now, rule, published)).unwrap_or_default()
    }

    fn dialled(&mut self, now: Timestamp, rule: &str, published: Published) -> Vec<Write> {
        let Some(dial) = self.dials.rules.get(rule) else { return Vec::new() };
        let (settings, reason) = (dial.rule().clone(), dial.reason());
        let expression = match &settings.source {
            DialSource::Law(law) => format!("law {}, objective {} s", law.law.as_str(), law.objective),
            DialSource::Value(expression) => expression.clone(),
        };
        let value = match &settings.source {
            DialSource::Law(_) => dial.view().and_then(|view| view.fits),
            DialSource::Value(_) => published.limit,
        };
        let by =
            Actor::Rule { rule: settings.title.clone(), expression, value: value.filter(|value| value.is_finite()) };
        if settings.mode == Mode::Observe {
            self.observed(now, rule, published, by, reason);
            return Vec::new();
        }
        if !self.asks_here(rule, &settings.scope) {
            return Vec::new();
        }
        let mut writes = Vec::new();
        let wishes = self.wishes_of(&settings, published, self.dials.rules[rule].rate_limit());
        for (name, wish) in wishes {
            if let SwitchValue::Feature { depth, .. } = wish {
                writes.extend(self.ask_for(now, rule, &name, depth, by.clone(), reason.clone(), &settings.scope));
                continue;
            }
            self.dials.wishes.entry(name.clone()).or_default().insert(rule.to_owned(), wish);
            writes.extend(self.settle_value(now, &name, by.clone(), reason.clone(), settings.scope.clone()));
        }
        writes
    }

    /// What a rule wants of its switch and of the limit behind it.
    pub(super) fn wishes_of(
        &self,
        rule: &DialRule,
        published: Published,
        rate: Option<f64>,
    ) -> Vec<(SwitchName, SwitchValue)> {
        let wish = |name: &SwitchName| {
            let declaration = self.declarations.get(name)?;
            let wish = match &declaration.kind {
                SwitchKind::Feature => {
                    let depth = published.level.min(declaration.ladder.len() - 1);
                    SwitchValue::Feature { level: declaration.ladder[depth].clone(), depth }
                }
                SwitchKind::Dimmer { .. } => SwitchValue::Dimmer {
                    share: published.share,
                    threshold: published.threshold,
                    limit: published.limit,
                },
                SwitchKind::Limit { unit: unit @ LimitUnit::RequestsPerSecond, .. } => {
                    let value = if matches!(rule.source, DialSource::Value(_)) { published.limit } else { rate };
                    SwitchValue::Limit { value, unit: *unit }
                }
                SwitchKind::Limit { unit, .. } => SwitchValue::Limit { value: published.limit, unit: *unit },
                SwitchKind::Rollout { .. } => return None,
            };
            Some((name.clone(), wish))
        };
        std::iter::once(&rule.switch).chain(&rule.limit).filter_map(wish).collect()
    }

    /// A rule that only observes tells what it would have done.
    fn observed(&mut self, now: Timestamp, rule: &str, published: Published, by: Actor, reason: String) {
        let Some(dial) = self.dials.rules.get_mut(rule) else { return };
        let before = dial.told.unwrap_or(Published { share: 1.0, level: 0, threshold: None, limit: None });
        let news = share_worth_telling(before.share, published.share)
            || before.limit.is_some() != published.limit.is_some()
            || matches!((before.limit, published.limit), (Some(a), Some(b)) if b < 0.5 * a || b > 2.0 * a);
        if !news {
            return;
        }
        dial.told = Some(published);
        let words = |p: &Published| match p.limit {
            Some(limit) => format!("{}, limit {}", percent(p.share), limit.round()),
            None => percent(p.share),
        };
        let (switch, scope) = (dial.rule().switch.to_string(), dial.rule().scope.clone());
        let (from, to, mode) = (words(&before), words(&published), Mode::Observe);
        self.remember(Decision { switch, at: now, from, to, by, reason, mode, revision: 0, scope, votes: None });
    }

    /// Takes what the expressions of a `rollout` rule say.
    pub fn judge_rollout(&mut self, now: Timestamp, rule: &str, evidence: Evidence) -> Option<Write> {
        if self.frozen().is_some() {
            return None;
        }
        let rollout = self.dials.rollouts.get_mut(rule)?;
        let before = (rollout.memory().clone(), rollout.value());
        let why = rollout.judge(now, evidence);
        if *rollout.memory() != before.0 {
            self.touched.insert(rollout_key(rule));
        }
        let title = rollout.rule().title.clone();
        let expression = rollout.rule().abort_when.clone().unwrap_or_else(|| "compare".to_owned());
        let value = evidence.abort_value.or(evidence.new).filter(|value| value.is_finite());
        let by = Actor::Rule { rule: title, expression, value };
        self.rolled(now, rule, &before.1, by, why)
    }

    pub(super) fn rolled(
        &mut self,
        now: Timestamp,
        rule: &str,
        before: &SwitchValue,
        by: Actor,
        why: Option<String>,
    ) -> Option<Write> {
        let rollout = self.dials.rollouts.get(rule)?;
        let (name, value, mode) = (rollout.rule().switch.clone(), rollout.value(), rollout.rule().mode);
        if mode == Mode::Observe {
            let (switch, reason) = (name.to_string(), why?);
            let (from, to, scope) = (words(before), words(&value), "fleet".to_owned());
            self.remember(Decision { switch, at: now, from, to, by, reason, mode, revision: 0, scope, votes: None });
            return None;
        }
        self.dials.wishes.entry(name.clone()).or_default().insert(rule.to_owned(), value);
        let why = why.unwrap_or_else(|| self.dials.rollouts[rule].memory().why.clone());
        self.settle_value(now, &name, by, why, "fleet".to_owned())
    }
}

/// The smaller of two values of one kind.
pub(in crate::switches) fn joined(a: SwitchValue, b: SwitchValue) -> SwitchValue {
    let smaller = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::min);
    match (a, b) {
        (
            SwitchValue::Dimmer { share: a, threshold: ta, limit: la },
            SwitchValue::Dimmer { share: b, threshold: tb, limit: lb },
        ) => SwitchValue::Dimmer { share: a.min(b), threshold: smaller(ta, tb), limit: smaller(la, lb) },
        (SwitchValue::Limit { value: a, unit }, SwitchValue::Limit { value: b, .. }) => {
            SwitchValue::Limit { value: smaller(a, b), unit }
        }
        (a, b) => {
            if a.number() <= b.number() {
                a
            } else {
                b
            }
        }
    }
}

pub(in crate::switches) fn bounded(kind: &SwitchKind, value: SwitchValue) -> SwitchValue {
    match (kind, value) {
        (SwitchKind::Dimmer { min, max }, SwitchValue::Dimmer { share, threshold, limit }) => {
            SwitchValue::Dimmer { share: share.clamp(*min, *max), threshold, limit }
        }
        (SwitchKind::Limit { min, max, .. }, SwitchValue::Limit { value, unit }) => {
            let value = value.map(|value| value.max(*min).min(max.unwrap_or(f64::INFINITY)));
            SwitchValue::Limit { value, unit }
        }
        (_, value) => value,
    }
}

/// Whether the change is worth telling to applications.
pub(in crate::switches) fn tells(from: &SwitchValue, to: &SwitchValue) -> bool {
    match (from, to) {
        (
            SwitchValue::Dimmer { share: a, threshold: ta, limit: la },
            SwitchValue::Dimmer { share: b, threshold: tb, limit: lb },
        ) => share_worth_telling(*a, *b) || worth_telling(*ta, *tb) || worth_telling(*la, *lb),
        (SwitchValue::Limit { value: a, .. }, SwitchValue::Limit { value: b, .. }) => worth_telling(*a, *b),
        (from, to) => from != to,
    }
}

/// A value in a decision: of a rollout its state, too.
fn words(value: &SwitchValue) -> String {
    match value {
        SwitchValue::Rollout { state, .. } => format!("{} {}", value.text(), state.as_str()),
        value => value.text(),
    }
}
