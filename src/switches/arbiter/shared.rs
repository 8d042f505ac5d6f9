//! The arbiter in a fleet. It has one of three roles:
//!
//! - **alone**: every rule asks here, and the records are all that there is;
//! - **host**: rules of scope `host` ask here; what the others want is an opinion, which becomes a vote;
//! - **desk**: one for the fleet and one for each zone, on every host. It has no rules of its own: the host that counts
//!   asks for what the votes agree on, people pin, and what the store has replaces what is here.

use std::collections::{BTreeMap, BTreeSet};

use super::super::audit::Audited;
use super::super::fleet::Quorum;
use super::super::rollout::Rollout;
use super::super::scale::ScaleRule;
use super::super::state::{Actor, Agreement, Ask, Decision, Mode, Record, Write};
use super::super::value::{SwitchKind, SwitchValue};
use super::super::votes::Place;
use super::Switches;
use crate::model::SwitchName;
use crate::time::Timestamp;

/// Whom an arbiter decides for, and who asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::switches) enum Role {
    #[default]
    Alone,
    Host,
    Desk(Place),
}

impl Role {
    pub fn is_desk(&self) -> bool {
        matches!(self, Role::Desk(_))
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Role::Alone => Place::Fleet,
            Role::Host => Place::Host,
            Role::Desk(place) => place.clone(),
        }
    }
}

/// A rule that hosts vote on.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::switches) struct SharedRule {
    pub switch: SwitchName,
    /// `host` where the rule is bounded by a share of the hosts; else `zone` or `fleet`.
    pub scope: String,
    pub quorum: Quorum,
    /// The shortest stay on a level before a step back.
    pub min_hold: std::time::Duration,
}

/// What one of this host's rules wants, when it is not the healthy value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::switches) struct Opinion {
    pub switch: SwitchName,
    pub value: SwitchValue,
    /// `None`: since the value was told first.
    pub since: Option<Timestamp>,
    pub expression: String,
    pub measured: Option<f64>,
}

impl Switches {
    pub(in crate::switches) fn with_role(role: Role) -> Switches {
        Switches { role, ..Switches::default() }
    }

    /// The arbiter of one host of a fleet.
    pub fn of_host() -> Switches {
        Switches::with_role(Role::Host)
    }

    /// Whether an enforcing rule of that scope asks this arbiter.
    pub(super) fn asks_here(&self, rule: &str, scope: &str) -> bool {
        self.role != Role::Host || scope == "host" && !self.withheld.contains(rule)
    }

    /// The enforcing rules that hosts vote on, by the key of their votes: `group/rule`, and of the limit behind a dimmer
    /// `group/rule/limit`.
    pub(in crate::switches) fn shared_rules(&self) -> BTreeMap<String, SharedRule> {
        let mut rules = BTreeMap::new();
        let counted = |scope: &str, quorum: &Quorum| scope != "host" || quorum.max_degraded_share.is_some();
        let enforced = self.ladders.values().map(|arm| &arm.rule).filter(|rule| rule.mode == Mode::Enforce);
        for rule in enforced.filter(|rule| counted(&rule.scope, &rule.quorum)) {
            let (switch, scope, quorum) = (rule.switch.clone(), rule.scope.clone(), rule.quorum.clone());
            let shared = SharedRule { switch, scope, quorum, min_hold: rule.ladder.min_hold };
            rules.insert(rule.title.clone(), shared);
        }
        let dials = self.dials.rules.values().map(|dial| dial.rule());
        for rule in dials.filter(|rule| rule.mode == Mode::Enforce && rule.scope != "host") {
            for switch in std::iter::once(&rule.switch).chain(&rule.limit) {
                let (scope, quorum) = (rule.scope.clone(), rule.quorum.clone());
                let min_hold = std::time::Duration::ZERO;
                let key = if *switch == rule.switch { rule.title.clone() } else { format!("{}/{switch}", rule.title) };
                rules.insert(key, SharedRule { switch: switch.clone(), scope, quorum, min_hold });
            }
        }
        rules
    }

    /// What those rules want now, where that is not the healthy value.
    pub(in crate::switches) fn opinions(&self) -> BTreeMap<String, Opinion> {
        let mut opinions: BTreeMap<String, Opinion> = BTreeMap::new();
        let shared = self.shared_rules();
        let enforced = self.ladders.values().filter(|arm| arm.rule.mode == Mode::Enforce);
        for arm in enforced.filter(|arm| shared.contains_key(&arm.rule.title)) {
            let memory = arm.ladder.memory();
            let Some(declaration) = self.declarations.get(&arm.rule.switch) else { continue };
            let depth = memory.depth.min(declaration.ladder.len() - 1);
            let number = |opinion: &Opinion| opinion.value.number();
            // Rules of one name speak with one voice: the deepest.
            if depth == 0 || opinions.get(&arm.rule.title).is_some_and(|other| number(other) >= depth as f64) {
                continue;
            }
            let index = arm.rule.ladder.levels.iter().position(|level| level.depth == depth);
            let opinion = Opinion {
                switch: arm.rule.switch.clone(),
                value: SwitchValue::Feature { level: declaration.ladder[depth].clone(), depth },
                since: Some(memory.moved),
                expression: index.and_then(|index| arm.rule.expressions.get(index).cloned()).unwrap_or_default(),
                measured: index.and_then(|index| arm.values.get(index).copied().flatten()),
            };
            opinions.insert(arm.rule.title.clone(), opinion);
        }
        for dial in self.dials.rules.values() {
            let rule = dial.rule();
            let voted = rule.mode == Mode::Enforce && rule.scope != "host";
            let Some(published) = dial.published().filter(|_| voted) else { continue };
            for (switch, value) in self.wishes_of(rule, published, dial.rate_limit()) {
                let healthy = self.declarations.get(&switch).map(|declaration| declaration.healthy());
                if healthy.is_none_or(|healthy| healthy == value) {
                    continue;
                }
                let key = if switch == rule.switch { rule.title.clone() } else { format!("{}/{switch}", rule.title) };
                let (expression, measured) = (dial.reason(), dial.view().and_then(|view| view.fits));
                let measured = measured.filter(|value| value.is_finite());
                opinions.insert(key, Opinion { switch, value, since: None, expression, measured });
            }
        }
        opinions
    }

    /// Takes the rules of scope `host` that may not degrade this host; what may again is asked for at once.
    pub(in crate::switches) fn withhold(&mut self, now: Timestamp, titles: &BTreeSet<String>) {
        let bounded = |arm: &&super::Arm| arm.rule.scope == "host" && arm.rule.quorum.max_degraded_share.is_some();
        let bounded: Vec<_> = self.ladders.values().filter(bounded).map(|arm| arm.rule.clone()).collect();
        for rule in bounded {
            let is = if titles.contains(&rule.title) {
                self.withheld.insert(rule.rule.clone())
            } else {
                self.withheld.remove(&rule.rule)
            };
            let Some(depth) = self.ladders.get(&rule.rule).map(|arm| arm.ladder.memory().depth).filter(|_| is) else {
                continue;
            };
            let depth = if titles.contains(&rule.title) { 0 } else { depth };
            let by = Actor::Rule { rule: rule.title.clone(), expression: String::new(), value: None };
            let why = match depth {
                0 => "as many hosts as may be are degraded by this rule (quorum.max_degraded_share)",
                _ => "the fleet lets this host degrade, too",
            };
            // What it asks for itself is in force on this host alone: no store is written.
            drop(self.ask_for(now, &rule.rule, &rule.switch, depth, by, why.to_owned(), "host"));
        }
    }

    /// The rules that are held back by others' degradation, by their titles.
    pub(in crate::switches) fn withheld(&self) -> impl Iterator<Item = (&SwitchName, &String)> {
        let held = self.ladders.values().filter(|arm| self.withheld.contains(&arm.rule.rule));
        held.filter(|arm| arm.ladder.memory().depth > 0).map(|arm| (&arm.rule.switch, &arm.rule.title))
    }

    /// Whether a rule asks for something here.
    pub(in crate::switches) fn is_asked_by(&self, title: &str) -> bool {
        let of_title = |rule: &String| self.ladders.get(rule).is_some_and(|arm| arm.rule.title == title);
        self.records.values().flat_map(|record| record.asks.keys()).any(of_title)
    }

    /// What a scale rule waits for beside what this host has degraded itself.
    pub(in crate::switches) fn know_degraded(&mut self, names: BTreeSet<SwitchName>) {
        self.degraded_in_fleet = names;
    }

    /// Asks this desk for what the votes agree on.
    pub(in crate::switches) fn take_ask(
        &mut self,
        now: Timestamp,
        (key, name): (&str, &SwitchName),
        wish: SwitchValue,
        (by, why, scope): (Actor, String, &str),
        votes: Option<Agreement>,
    ) -> Option<Write> {
        self.agreement = votes;
        let write = match wish {
            SwitchValue::Feature { depth, .. } => self.ask_for(now, key, name, depth, by, why, scope),
            wish => self.ask_for_value(now, key, name, wish, by, (why, scope)),
        };
        self.agreement = None;
        write
    }

    fn ask_for_value(
        &mut self,
        now: Timestamp,
        key: &str,
        name: &SwitchName,
        wish: SwitchValue,
        by: Actor,
        (why, scope): (String, &str),
    ) -> Option<Write> {
        let healthy = self.declarations.get(name)?.healthy();
        let asks = &mut self.records.get_mut(name)?.asks;
        if wish == healthy {
            asks.remove(key);
        } else {
            let ask = Ask { level: wish.text(), value: Some(wish), since: now, reason: why.clone() };
            asks.insert(key.to_owned(), ask);
        }
        self.settle_value(now, name, by, why, scope.to_owned())
    }

    /// The record of a switch.
    pub(in crate::switches) fn record(&self, name: &SwitchName) -> Option<&Record> {
        self.records.get(name)
    }

    /// Puts what the store has in the place of what is here. A decision that is news is remembered, and told to the audit
    /// log when it was made here.
    pub(in crate::switches) fn adopt(&mut self, name: &SwitchName, theirs: Record, mine: bool) {
        if let Some(decision) = &theirs.decision {
            let last = self.decisions.iter().rev().find(|known| known.switch == decision.switch && known.revision > 0);
            if last.is_none_or(|known| (known.at, known.revision) != (decision.at, decision.revision)) {
                if mine {
                    self.audit.push(audited(decision));
                }
                self.note(decision.clone());
            }
        }
        self.follow_rollout(name, &theirs);
        self.records.insert(name.clone(), theirs);
    }

    /// Puts back what the store has where a write was refused.
    pub(in crate::switches) fn put_back(&mut self, now: Timestamp, name: &SwitchName, stored: Option<Record>) {
        let Some(declaration) = self.declarations.get(name) else { return };
        let stored = stored.unwrap_or_else(|| Record::healthy(declaration, now));
        self.follow_rollout(name, &stored);
        self.records.insert(name.clone(), stored);
    }

    /// A rollout goes on from its record, whoever led it until now.
    fn follow_rollout(&mut self, name: &SwitchName, record: &Record) {
        let Some(SwitchKind::Rollout { initial }) = self.declarations.get(name).map(|d| d.kind.clone()) else { return };
        let Some(SwitchValue::Rollout { state, step, version, .. }) = &record.value else { return };
        let Some(rollout) = self.dials.rollouts.values_mut().find(|rollout| rollout.rule().switch == *name) else {
            return;
        };
        if record.revision == 0 || rollout.is_at(*state, *step, version) {
            return;
        }
        let why = record.decision.as_ref().map(|decision| decision.reason.clone()).unwrap_or_default();
        let memory = Rollout::memory_at(*state, *step, version, record.since, why);
        *rollout = Rollout::new(rollout.rule().clone(), memory, initial);
        self.dials.wishes.remove(name);
    }

    /// Says until when what is decided holds; nothing is written.
    pub(in crate::switches) fn expire_at(&mut self, write: &mut Write, at: Option<Timestamp>) {
        write.record.expires_at = at;
        if let Some(record) = self.records.get_mut(&write.name) {
            record.expires_at = at;
        }
    }

    /// The same record, one revision on.
    pub(in crate::switches) fn renew(&mut self, name: &SwitchName) -> Option<Write> {
        let record = self.records.get_mut(name)?;
        let expected = record.revision;
        record.revision += 1;
        Some(Write::at(self.role.place(), name.clone(), record.clone(), expected))
    }

    /// Scale rules go on from what the outbox holds, by `scale/` and the rule's title; where it holds nothing they begin
    /// anew. Calls that were on their way are sent again.
    pub(in crate::switches) fn lead_scales(&mut self, now: Timestamp, outbox: &BTreeMap<String, serde_json::Value>) {
        for scale in self.scales.values_mut() {
            let held = outbox.get(&outbox_key(&scale.settings().title)).cloned();
            let memory = held.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
            *scale = ScaleRule::new(scale.settings().clone(), memory);
            scale.resume(now);
        }
    }

    /// The scale rules whose state has changed since the last call, as the outbox holds them.
    pub fn take_scale_states(&mut self) -> Vec<(String, serde_json::Value)> {
        let changed: Vec<String> = self.touched.iter().filter(|key| key.starts_with("scale/")).cloned().collect();
        let mut states = Vec::new();
        for key in changed {
            self.touched.remove(&key);
            let scale = key.strip_prefix("scale/").and_then(|rule| self.scales.get(rule));
            let state = scale.and_then(|scale| {
                let value = serde_json::to_value(scale.memory()).ok()?;
                Some((outbox_key(&scale.settings().title), value))
            });
            states.extend(state);
        }
        states
    }

    /// Nothing of a desk is kept by this host's journal: the store has it.
    pub(in crate::switches) fn forget_changes(&mut self) {
        self.touched.clear();
        self.unwritten.clear();
    }
}

fn outbox_key(title: &str) -> String {
    format!("scale/{title}")
}

/// A decision as the audit log has it.
pub(super) fn audited(decision: &Decision) -> Audited {
    let votes = decision.votes.as_ref().map_or((1, 1), |votes| (votes.agreed, votes.of));
    Audited::Decision { decision: decision.clone(), votes }
}
