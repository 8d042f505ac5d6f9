//! What the host that counts decides. It knows nothing that is not in the records and the census: another host that is
//! elected goes on at once. What it remembers between two looks (since when votes have been too few) only makes a recovery
//! wait longer when it is lost.
//!
//! For each rule and each place it speaks for: worse at once; better one level at a time, each after `min_hold` since the
//! last change (the record says when) and after the votes have been too few for `clear.for`.

use std::collections::BTreeSet;

use super::super::arbiter::SharedRule;
use super::super::state::{Actor, Agreement, Ask, Declaration, OnSilence};
use super::super::value::{SwitchKind, SwitchValue, percent};
use super::super::votes::{Place, Vote};
use super::state::{Asked, DECISION_LIFE, Fleet};
use super::tally::{self, Body, Step};
use super::told::silent_depth;
use crate::limits;
use crate::model::SwitchName;
use crate::time::Timestamp;

/// A dimmer is agreed on by its parts: share, threshold, limit.
const PARTS: usize = 3;

impl Fleet {
    pub(super) fn count(&mut self, now: Timestamp, out: &mut Asked) {
        let zones: BTreeSet<&str> = self.known.hosts().map(|(_, seen)| seen.member.zone.as_str()).collect();
        let zones: Vec<String> = zones.into_iter().map(str::to_owned).collect();
        for zone in zones {
            self.desk(now, &Place::Zone(zone));
        }
        let places: Vec<Place> = self.desks.keys().cloned().collect();
        let rules = std::mem::take(&mut self.rules);
        for place in &places {
            let scope = if *place == Place::Fleet { "fleet" } else { "zone" };
            for (key, rule) in rules.iter().filter(|(_, rule)| rule.scope == scope) {
                self.speak_after_silence(now, place, key, &rule.switch, out);
                self.count_rule(now, place, key, rule, out);
            }
        }
        self.rules = rules;
        for place in &places {
            self.drop_orphans(now, place, out);
            self.look_after(now, place, out);
            self.renew(now, place, out);
        }
    }

    fn is_pending(&self, place: &Place, name: &SwitchName) -> bool {
        self.pending.contains_key(&(place.clone(), name.clone()))
    }

    fn count_rule(&mut self, now: Timestamp, place: &Place, key: &str, rule: &SharedRule, out: &mut Asked) {
        let Some(desk) = self.desks.get(place).filter(|_| !self.is_pending(place, &rule.switch)) else { return };
        let Some(declaration) = desk.declarations().find(|d| d.name == rule.switch).cloned() else { return };
        let Some(ask) = desk.record(&rule.switch).map(|record| record.asks.get(key).cloned()) else { return };
        let in_force = asked_value(&declaration, ask.as_ref());
        let healthy = declaration.healthy();
        let zones: Vec<Option<String>> = match place {
            Place::Zone(zone) => vec![Some(zone.clone())],
            _ if rule.quorum.zones.is_some() => self.known.zones(key).into_iter().map(Some).collect(),
            _ => vec![None],
        };
        let mut agreed = parts(&in_force);
        let (mut worse, mut better) = (false, false);
        let mut counted = None;
        let counted_parts = if matches!(declaration.kind, SwitchKind::Dimmer { .. }) { PARTS } else { 1 };
        for (part, value) in agreed.iter_mut().enumerate().take(counted_parts) {
            let number = |vote: &Vote| vote_parts(&declaration, vote)[part];
            let bodies: Vec<_> = zones.iter().map(|zone| self.known.body(now, key, zone.as_deref(), &number)).collect();
            let (all, named): (Vec<Body>, Vec<_>) = bodies.into_iter().unzip();
            match tally::count(&rule.quorum, &all, *value, parts(&healthy)[part]) {
                Step::Hold => {}
                Step::Worse(to) => (*value, worse) = (to, true),
                Step::Better(to) => (*value, better) = (to, true),
            }
            if part == 0 {
                counted = Some((all, named));
            }
        }
        let Some((bodies, named)) = counted else { return };
        let moves = named.into_iter().flatten().filter(|_| worse || better);
        let named: Vec<(f64, String)> = moves.map(|(n, host)| (n, host.to_owned())).collect();
        let clearing = (place.clone(), key.to_owned());
        if !worse && !better {
            self.clearing.remove(&clearing);
            return;
        }
        if !worse {
            let since = *self.clearing.entry(clearing.clone()).or_insert(now);
            let moved = ask.as_ref().map_or(now, |ask| self.moved(now, place, key, ask));
            if now.since(since) < rule.quorum.clear_for || now.since(moved) < rule.min_hold {
                return;
            }
        } else if self.is_capped(now, place, key, rule, &ask) {
            return;
        }
        self.clearing.remove(&clearing);
        let to = value_of(&declaration, &in_force, agreed, worse);
        let tallied = Tallied { bodies, named, worse, number: parts(&to)[0] };
        self.decide(now, place, (key, rule), to, &tallied, out);
    }

    /// When an ask last changed: by our own clock where we saw it, for that of who wrote it may be wrong.
    fn moved(&self, now: Timestamp, place: &Place, key: &str, ask: &Ask) -> Timestamp {
        let seen = self.moves.get(&(place.clone(), key.to_owned()));
        match seen.filter(|(since, _)| *since == ask.since) {
            Some((_, Some(at))) => *at,
            // In the future nothing changed: that clock was wrong, and it was before we looked.
            _ if ask.since > now => self.since,
            _ => ask.since,
        }
    }

    fn decide(
        &mut self,
        now: Timestamp,
        place: &Place,
        (key, rule): (&str, &SharedRule),
        to: SwitchValue,
        tallied: &Tallied,
        out: &mut Asked,
    ) {
        let votes = tallied.agreement();
        let first = tallied.named.first().and_then(|(_, host)| self.known.vote(host, key));
        let (expression, value) = match first.filter(|_| tallied.worse) {
            Some(vote) => (vote.expression.clone(), vote.measured),
            None => (String::new(), None),
        };
        let why = if tallied.worse {
            format!("{} of {} hosts: {expression}", votes.agreed, votes.of)
        } else {
            let (few, share) = (tallied.named.len(), percent(rule.quorum.clear_share));
            format!("{few} of {} hosts still ask for more: fewer than {share}", votes.of)
        };
        let by = Actor::Rule { rule: key.to_owned(), expression, value };
        let scope = rule.scope.clone();
        let desk = self.desk(now, place);
        let write = desk.take_ask(now, (key, &rule.switch), to, (by, why, &scope), Some(votes));
        if let Some(write) = write {
            self.under_office(now, place, write, out);
        }
    }

    /// Whether the hosts that this rule has degraded are as many as may be.
    fn is_capped(&self, now: Timestamp, place: &Place, key: &str, rule: &SharedRule, ask: &Option<Ask>) -> bool {
        let Some(most) = rule.quorum.max_degraded_share.filter(|_| ask.is_none()) else { return false };
        let Place::Zone(zone) = place else { return false };
        let none = |_: &Vote| 0.0;
        let hosts = |zone: Option<&str>| self.known.body(now, key, zone, &none).0.known;
        let degraded = self.desks.iter().filter_map(|(other, desk)| match other {
            Place::Zone(name) => {
                let asked = desk.record(&rule.switch).is_some_and(|record| record.asks.contains_key(key));
                asked.then(|| hosts(Some(name)))
            }
            _ => None,
        });
        degraded.sum::<f64>() + hosts(Some(zone)) > most * hosts(None) + 1e-9
    }

    /// What applications were told while nobody decided is what the next decision goes on from.
    fn speak_after_silence(&mut self, now: Timestamp, place: &Place, key: &str, name: &SwitchName, out: &mut Asked) {
        if self.is_pending(place, name) {
            return;
        }
        let seen = self.ends_seen.get(&(place.clone(), name.clone())).map(|(_, at)| *at);
        let Some(desk) = self.desks.get_mut(place) else { return };
        let Some(declaration) = desk.declarations().find(|d| d.name == *name).cloned() else { return };
        let Some(record) = desk.record(name) else { return };
        let Some(depth) = silent_depth(&declaration, record, now, seen) else { return };
        if declaration.on_silence == OnSilence::Hold {
            return;
        }
        // Every rule's ask is brought there; the first that is, writes.
        let asks: Vec<String> = record.asks.keys().filter(|rule| *rule != key).cloned().collect();
        if asks.iter().any(|rule| declaration.depth(&record.asks[rule].level).is_some_and(|asked| asked > depth)) {
            return;
        }
        let to = SwitchValue::Feature { level: declaration.ladder[depth].clone(), depth };
        let why = "nobody decided for too long".to_owned();
        let write = desk.take_ask(now, (key, name), to, (Actor::System, why, "fleet"), None);
        if let Some(write) = write {
            self.under_office(now, place, write, out);
        }
    }

    /// A rule that no host runs any more asks for nothing: its ask goes once its hosts are forgotten.
    fn drop_orphans(&mut self, now: Timestamp, place: &Place, out: &mut Asked) {
        let Some(desk) = self.desks.get(place) else { return };
        let asked = desk.records().flat_map(|(name, record)| record.asks.keys().map(move |key| (key, name)));
        let gone =
            |key: &String| !self.rules.contains_key(key) && !self.known.runs(key) && self.known.zones(key).is_empty();
        let orphans: Vec<(String, SwitchName)> =
            asked.filter(|(key, _)| gone(key)).map(|(key, name)| (key.clone(), name.clone())).collect();
        for (key, name) in orphans {
            if self.is_pending(place, &name) {
                continue;
            }
            let desk = self.desk(now, place);
            let Some(healthy) = desk.declarations().find(|d| d.name == name).map(Declaration::healthy) else {
                continue;
            };
            let why = format!("no host runs {key} any more");
            let write = desk.take_ask(now, (&key, &name), healthy, (Actor::System, why, "fleet"), None);
            if let Some(write) = write {
                self.under_office(now, place, write, out);
            }
        }
    }

    /// Pins end, and what a guard held back is looked at again.
    fn look_after(&mut self, now: Timestamp, place: &Place, out: &mut Asked) {
        if self.pending.keys().any(|(of, _)| of == place) {
            return;
        }
        let (mut writes, mut calls) = (Vec::new(), Vec::new());
        self.desk(now, place).tick(now, &mut writes, &mut calls);
        for write in writes {
            if !self.is_pending(place, &write.name) {
                self.under_office(now, place, write, out);
            }
        }
    }

    /// Somebody still stands for what rules decided: half a life before its end it is said again.
    fn renew(&mut self, now: Timestamp, place: &Place, out: &mut Asked) {
        let Some(desk) = self.desks.get(place) else { return };
        let due: Vec<SwitchName> = desk
            .declarations()
            .filter(|declaration| {
                let Some(record) = desk.record(&declaration.name) else { return false };
                let watched =
                    matches!(declaration.on_silence, OnSilence::Degrade(_)) && self.is_ruled(place, declaration);
                let late = record.expires_at.is_none_or(|end| end.since(now) < DECISION_LIFE / 2);
                (watched || !record.asks.is_empty()) && late
            })
            .map(|declaration| declaration.name.clone())
            .collect();
        for name in due {
            if !self.is_pending(place, &name)
                && let Some(write) = self.desk(now, place).renew(&name)
            {
                self.under_office(now, place, write, out);
            }
        }
    }

    fn is_ruled(&self, place: &Place, declaration: &Declaration) -> bool {
        let scope = if *place == Place::Fleet { "fleet" } else { "zone" };
        self.rules.values().any(|rule| rule.switch == declaration.name && rule.scope == scope)
    }

    /// Takes a judgement of a rollout's rule: the host that counts leads it, on what it sees itself.
    pub fn judge_rollout(
        &mut self,
        now: Timestamp,
        rule: &str,
        evidence: super::super::rollout::Evidence,
        out: &mut Asked,
    ) {
        if !self.counts(now) {
            return;
        }
        let desk = self.desk(now, &Place::Fleet);
        let Some(name) = desk.rollouts().find(|r| r.rule().rule == rule).map(|r| r.rule().switch.clone()) else {
            return;
        };
        if self.is_pending(&Place::Fleet, &name) {
            return;
        }
        if let Some(write) = self.desk(now, &Place::Fleet).judge_rollout(now, rule, evidence) {
            self.under_office(now, &Place::Fleet, write, out);
        }
    }

    fn under_office(&mut self, now: Timestamp, place: &Place, mut write: super::super::state::Write, out: &mut Asked) {
        let Some(term) = self.term.clone() else { return };
        let watched = self.desks.get(place).and_then(|desk| desk.declarations().find(|d| d.name == write.name));
        let watched = watched.is_some_and(|declaration| {
            matches!(declaration.on_silence, OnSilence::Degrade(_)) && self.is_ruled(place, declaration)
        });
        let end = (watched || !write.record.asks.is_empty()).then(|| now + DECISION_LIFE);
        self.desk(now, place).expire_at(&mut write, end);
        write.term = Some(term);
        self.write(now, write, out);
    }
}

/// What was counted, for the decision's words.
struct Tallied {
    bodies: Vec<Body>,
    named: Vec<(f64, String)>,
    worse: bool,
    number: f64,
}

impl Tallied {
    fn agreement(&self) -> Agreement {
        let of = self.bodies.iter().map(|body| body.known).sum::<f64>().round() as u32;
        let live: usize = self.bodies.iter().map(|body| body.live).sum();
        let worse = |number: f64| if self.worse { number <= self.number } else { number < self.number };
        let voted: Vec<&String> = self.named.iter().filter(|(n, _)| worse(*n)).map(|(_, host)| host).collect();
        if self.worse {
            let hosts = voted.iter().take(limits::FLEET_NAMES).map(|host| (*host).clone()).collect();
            return Agreement { agreed: voted.len() as u32, of, hosts };
        }
        Agreement { agreed: live.saturating_sub(voted.len()) as u32, of, hosts: Vec::new() }
    }
}

/// What a rule asks for in a record.
fn asked_value(declaration: &Declaration, ask: Option<&Ask>) -> SwitchValue {
    let Some(ask) = ask else { return declaration.healthy() };
    match (&declaration.kind, &ask.value) {
        (SwitchKind::Feature, _) => match declaration.depth(&ask.level) {
            Some(depth) => SwitchValue::Feature { level: ask.level.clone(), depth },
            None => declaration.healthy(),
        },
        (_, Some(value)) => value.clone(),
        _ => declaration.healthy(),
    }
}

/// The parts of a value that hosts agree on, each by itself; less is worse.
pub(super) fn parts(value: &SwitchValue) -> [f64; PARTS] {
    let open = f64::INFINITY;
    match value {
        SwitchValue::Feature { depth, .. } => [-(*depth as f64), open, open],
        SwitchValue::Dimmer { share, threshold, limit } => [*share, threshold.unwrap_or(open), limit.unwrap_or(open)],
        SwitchValue::Limit { value, .. } => [value.unwrap_or(open), open, open],
        SwitchValue::Rollout { share, .. } => [*share, open, open],
    }
}

pub(super) fn vote_parts(declaration: &Declaration, vote: &Vote) -> [f64; PARTS] {
    match (&vote.value, declaration.depth(&vote.level)) {
        (Some(value), _) => parts(value),
        (None, Some(depth)) => [-(depth as f64), f64::INFINITY, f64::INFINITY],
        (None, None) => parts(&declaration.healthy()),
    }
}

/// The value that the parts make; a ladder recovers one level at a time.
fn value_of(
    declaration: &Declaration,
    before: &SwitchValue,
    [first, threshold, limit]: [f64; PARTS],
    worse: bool,
) -> SwitchValue {
    let some = |value: f64| Some(value).filter(|value| value.is_finite());
    match before {
        SwitchValue::Feature { depth, .. } => {
            let agreed = (-first).max(0.0) as usize;
            let to = if worse { agreed } else { agreed.max(depth.saturating_sub(1)) };
            let to = to.min(declaration.ladder.len() - 1);
            SwitchValue::Feature { level: declaration.ladder[to].clone(), depth: to }
        }
        SwitchValue::Dimmer { .. } => {
            SwitchValue::Dimmer { share: first, threshold: some(threshold), limit: some(limit) }
        }
        SwitchValue::Limit { unit, .. } => SwitchValue::Limit { value: some(first), unit: *unit },
        SwitchValue::Rollout { .. } => before.clone(),
    }
}
