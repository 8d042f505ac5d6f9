//! All switches of this host: rules ask, people pin, and the arbiter decides and says why.
//!
//! The arbiter changes its own picture at once and gives the new record as a [`Write`]. A write that the store did not
//! take is given again until it is ([`Switches::write_failed`]); a record of the store with a higher revision replaces
//! ours ([`Switches::store_has`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::SwitchKind;
use super::audit::Audited;
use super::dial::{Dial, DialRule};
use super::fleet::Quorum;
use super::freeze::{Freeze, Freezes};
use super::guards::{Guards, HOUR, HeldBack};
use super::ladder::{Ladder, LadderMemory, LadderSettings, Move, Said, Truth};
use super::rollout::{Rollout, RolloutRule};
use super::scale::{ScaleCall, ScaleRule, ScaleSettings, ScaleVerdict};
use super::state::{Actor, Agreement, Ask, Decision, Declaration, Mode, OnSilence, Pin, Record, Write};
use crate::limits;
use crate::model::SwitchName;
use crate::time::{Timestamp, format_duration};

pub use commands::{FreezeRequest, PinRequest, Refused};
use dials::Dials;
pub(super) use dials::{joined, tells};
use shared::audited;
pub(super) use shared::{Opinion, Role, SharedRule};

/// How long a write that failed waits before it is given again.
const WRITE_RETRY: Duration = Duration::from_secs(1);

/// A `degrade` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct LadderRule {
    /// Unique among the rules.
    pub rule: String,
    /// `group/rule`, for messages.
    pub title: String,
    pub switch: SwitchName,
    pub ladder: LadderSettings,
    /// One a level, in the order of the rule.
    pub expressions: Vec<String>,
    /// The same of the levels' `clear.when`.
    pub clear_expressions: Vec<Option<String>>,
    pub recover_expression: Option<String>,
    pub mode: Mode,
    /// `host`, `zone` or `fleet`.
    pub scope: String,
    pub quorum: Quorum,
    /// Requests below which the conditions say nothing.
    pub min_samples: u32,
}

/// What the arbiter needs to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub declarations: Vec<Declaration>,
    pub ladders: Vec<LadderRule>,
    pub scales: Vec<ScaleSettings>,
    pub dials: Vec<DialRule>,
    pub rollouts: Vec<RolloutRule>,
    pub guards: Guards,
}

/// One condition as it was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub truth: Truth,
    pub value: Option<f64>,
}

/// The conditions of a `degrade` rule as they were judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LadderJudged {
    /// In the order of the rule.
    pub levels: Vec<Judged>,
    /// The levels' `clear.when`, as many as there are levels; `None` where a level has none.
    pub clears: Vec<Option<Judged>>,
    /// `recover.when`, where the rule has one.
    pub recover: Option<Judged>,
}

/// The state of all switches, and of the rules that move them.
#[derive(Debug, Default)]
pub struct Switches {
    declarations: BTreeMap<SwitchName, Declaration>,
    records: BTreeMap<SwitchName, Record>,
    /// The revision that the store is known to have.
    stored: BTreeMap<SwitchName, u64>,
    unwritten: BTreeMap<SwitchName, Timestamp>,
    ladders: BTreeMap<String, Arm>,
    scales: BTreeMap<String, ScaleRule>,
    decisions: VecDeque<Decision>,
    decided: u64,
    touched: BTreeSet<String>,
    guards: Guards,
    /// Switches whose rules ask for another level than a guard lets them have.
    held_back: BTreeMap<SwitchName, HeldBack>,
    dials: Dials,
    freezes: Freezes,
    audit: Vec<Audited>,
    role: Role,
    /// The votes behind what is being decided.
    agreement: Option<Agreement>,
    /// Switches that the fleet or the zone has degraded, as this host knows.
    degraded_in_fleet: BTreeSet<SwitchName>,
    /// Rules of scope `host` that the fleet does not let degrade this host, too.
    withheld: BTreeSet<String>,
}

#[derive(Debug)]
struct Arm {
    rule: LadderRule,
    ladder: Ladder,
    /// Since when no condition has had data.
    silent_since: Option<Timestamp>,
    /// What the conditions gave last: the levels' in order.
    values: Vec<Option<f64>>,
}

impl Switches {
    /// Takes the settings into use, at the start (with what the journal and the store remember) and at every reload.
    /// A rule that is gone asks for nothing any more; a level that is gone counts as healthy.
    pub fn configure(&mut self, now: Timestamp, settings: Settings, memory: &BTreeMap<String, Value>) -> Vec<Write> {
        self.guards = settings.guards;
        self.declarations = settings.declarations.into_iter().map(|d| (d.name.clone(), d)).collect();
        let declared = &self.declarations;
        self.records.retain(|name, _| declared.contains_key(name));
        for (name, declaration) in &self.declarations {
            self.records.entry(name.clone()).or_insert_with(|| Record::healthy(declaration, now));
        }
        let mut before = std::mem::take(&mut self.ladders);
        for rule in settings.ladders {
            let kept = before.remove(&rule.rule).map(|arm| arm.ladder.memory().clone());
            let remembered = || serde_json::from_value(memory.get(&ladder_key(&rule.rule))?.clone()).ok();
            let memory = kept.or_else(remembered).or_else(|| self.memory_of_ask(&rule));
            let ladder = match memory {
                Some(memory) => Ladder::restored(rule.ladder.clone(), memory, now),
                None => Ladder::new(rule.ladder.clone(), now),
            };
            self.ladders.insert(rule.rule.clone(), Arm { rule, ladder, silent_since: None, values: Vec::new() });
        }
        let mut before = std::mem::take(&mut self.scales);
        for settings in settings.scales {
            let key = scale_key(&settings.rule);
            let kept = before.remove(&settings.rule).map(|scale| scale.memory().clone());
            let fresh = kept.is_none();
            let remembered = || serde_json::from_value(memory.get(&key)?.clone()).ok();
            let mut scale = ScaleRule::new(settings, kept.or_else(remembered).unwrap_or_default());
            if fresh {
                scale.resume(now);
            }
            self.scales.insert(scale.settings().rule.clone(), scale);
        }
        self.configure_dials(settings.dials, settings.rollouts, memory);
        if let Some(freeze) = memory.get(commands::FREEZE_KEY) {
            self.freezes.ordered = serde_json::from_value::<Option<Freeze>>(freeze.clone()).ok().flatten();
        }
        let names: Vec<SwitchName> = self.declarations.keys().cloned().collect();
        names.iter().filter_map(|name| self.reconcile(now, name)).collect()
    }

    /// A journal that was lost does not undo a degradation: the store's record still says what the rule asked.
    fn memory_of_ask(&self, rule: &LadderRule) -> Option<LadderMemory> {
        let ask = self.records.get(&rule.switch)?.asks.get(&rule.rule)?;
        let depth = self.declarations.get(&rule.switch)?.depth(&ask.level)?;
        let true_since = vec![None; rule.ladder.levels.len()];
        Some(LadderMemory { depth, moved: ask.since, true_since, quiet_since: None, relapses: 0, climbed: None })
    }

    /// Brings the asks of one switch in line with its rules' ladders.
    fn reconcile(&mut self, now: Timestamp, name: &SwitchName) -> Option<Write> {
        if self.role.is_desk() {
            return None;
        }
        let declaration = self.declarations.get(name)?;
        if declaration.kind != SwitchKind::Feature {
            return self.reconcile_value(now, name);
        }
        let mut asks = BTreeMap::new();
        let record = self.records.get(name)?;
        let enforced = |arm: &&Arm| arm.rule.switch == *name && arm.rule.mode == Mode::Enforce;
        for arm in self.ladders.values().filter(enforced).filter(|arm| self.asks_here(&arm.rule.rule, &arm.rule.scope))
        {
            let depth = arm.ladder.memory().depth.min(declaration.ladder.len() - 1);
            if depth > 0 {
                let since = arm.ladder.memory().moved;
                let fresh = || Ask {
                    level: declaration.ladder[depth].clone(),
                    value: None,
                    since,
                    reason: "remembered over a restart".into(),
                };
                let kept = record.asks.get(&arm.rule.rule).filter(|ask| ask.level == declaration.ladder[depth]);
                asks.insert(arm.rule.rule.clone(), kept.cloned().unwrap_or_else(fresh));
            }
        }
        // A law that walks this ladder asks again at its next sample; until then it asks for what it did.
        for (rule, ask) in &record.asks {
            let dial = self.dials.rules.get(rule).map(|dial| dial.rule());
            if dial.is_some_and(|dial| {
                dial.switch == *name && dial.mode == Mode::Enforce && self.asks_here(rule, &dial.scope)
            }) && declaration.depth(&ask.level).is_some()
            {
                asks.insert(rule.clone(), ask.clone());
            }
        }
        let unknown_level = declaration.depth(&record.level).is_none();
        if asks == record.asks && !unknown_level {
            // A wish that a guard or a freeze held back before a restart is looked at again at the next tick.
            let wanted = asks.values().filter_map(|ask| declaration.depth(&ask.level)).max().unwrap_or(0);
            if record.pin.is_none() && declaration.depth(&record.level) != Some(wanted) {
                self.held_back.entry(name.clone()).or_insert(HeldBack::Remembered);
            }
            return None;
        }
        self.records.get_mut(name)?.asks = asks;
        self.settle(now, name, Actor::System, "the rules of this switch changed".into())
    }

    /// Takes the store's records, at the start and whenever they change.
    pub fn store_has(&mut self, now: Timestamp, records: &BTreeMap<SwitchName, Record>) {
        for (name, theirs) in records {
            self.stored.insert(name.clone(), theirs.revision);
            let Some(ours) = self.records.get_mut(name) else {
                self.records.insert(name.clone(), theirs.clone());
                continue;
            };
            if theirs.revision > ours.revision {
                *ours = theirs.clone();
            } else if theirs.revision < ours.revision {
                self.unwritten.entry(name.clone()).or_insert(now + WRITE_RETRY);
                continue;
            }
            self.unwritten.remove(name);
        }
    }

    /// The store did not take a write: it is given again a little later.
    pub fn write_failed(&mut self, now: Timestamp, name: &SwitchName) {
        self.unwritten.insert(name.clone(), now + WRITE_RETRY);
    }

    /// Takes the judgement of a `degrade` rule.
    pub fn judge(&mut self, now: Timestamp, rule: &str, judged: &LadderJudged) -> Option<Write> {
        let (levels, recover) = (&judged.levels, judged.recover);
        let arm = self.ladders.get_mut(rule)?;
        let declaration = self.declarations.get(&arm.rule.switch)?;
        let truths: Vec<Truth> = levels.iter().map(|judged| judged.truth).collect();
        let said = |judged: &Option<Judged>| judged.map_or(Truth::Unknown, |judged| judged.truth);
        let clears: Vec<Truth> = judged.clears.iter().map(said).collect();
        let (before, quiet_needed) = (arm.ladder.memory().clone(), arm.ladder.quiet_needed());
        let step = arm.ladder.judge(now, Said { levels: &truths, clears: &clears, recover: said(&recover) });
        let others = judged.clears.iter().flatten().chain(&recover).map(|judged| judged.truth);
        let blind = truths.iter().copied().chain(others).all(|truth| !truth.is_known());
        arm.silent_since = if blind { arm.silent_since.or(Some(now)) } else { None };
        arm.values = levels.iter().map(|judged| judged.value).collect();
        let restored = step.is_none() && arm.after_silence(now, declaration.on_silence);
        if *arm.ladder.memory() != before {
            self.touched.insert(ladder_key(rule));
        }
        let (depth, expression, value, why) = match step {
            Some(Move::Down { to, level }) => {
                let expression = arm.rule.expressions[level].clone();
                let hold = arm.rule.ladder.levels[level].hold;
                let held = if hold.is_zero() { String::new() } else { format!(" for {}", format_duration(hold)) };
                let why = format!("{expression}{held}{}", value_words(levels[level].value));
                (to, expression, levels[level].value, why)
            }
            Some(Move::Up { to }) => {
                let left = arm.rule.ladder.levels.iter().position(|level| level.depth == before.depth);
                let own = left.and_then(|at| Some((at, arm.rule.clear_expressions.get(at)?.as_ref()?)));
                let (expression, by) = match (own, &arm.rule.recover_expression) {
                    (Some((at, expression)), _) => (expression.clone(), judged.clears.get(at).copied().flatten()),
                    (None, Some(expression)) => (expression.clone(), recover),
                    (None, None) => ("no level's condition is true".to_owned(), None),
                };
                let quiet = format_duration(quiet_needed);
                let value = by.and_then(|judged| judged.value);
                let why = format!("quiet for {quiet}: {expression}{}", value_words(value));
                (to, expression, value, why)
            }
            None if restored => {
                (arm.ladder.memory().depth, String::new(), None, "nobody has decided for too long".into())
            }
            None => return None,
        };
        let actor = Actor::Rule { rule: arm.rule.title.clone(), expression, value };
        self.asked(now, rule, (before.depth, depth), actor, why)
    }

    /// Whether so many samples are enough for a rule's conditions to say something; none are not.
    pub fn has_samples(&self, rule: &str, samples: Option<f64>) -> bool {
        let least = self.ladders.get(rule).map_or(0, |arm| arm.rule.min_samples);
        samples.is_some_and(|samples| samples >= f64::from(least))
    }

    fn asked(
        &mut self,
        now: Timestamp,
        rule: &str,
        (before, depth): (usize, usize),
        actor: Actor,
        why: String,
    ) -> Option<Write> {
        let arm = self.ladders.get(rule)?;
        let name = arm.rule.switch.clone();
        let declaration = self.declarations.get(&name)?;
        let level = declaration.ladder.get(depth)?.clone();
        let scope = arm.rule.scope.clone();
        if arm.rule.mode == Mode::Observe {
            let from = declaration.ladder.get(before).cloned().unwrap_or_default();
            let (switch, mode) = (name.to_string(), Mode::Observe);
            self.remember(Decision {
                switch,
                at: now,
                from,
                to: level,
                by: actor,
                reason: why,
                mode,
                revision: 0,
                scope,
                votes: None,
            });
            return None;
        }
        if !self.asks_here(rule, &scope) {
            return None;
        }
        self.ask_for(now, rule, &name, depth, actor, why, &scope)
    }

    /// An enforcing rule asks a feature for a level.
    #[expect(clippy::too_many_arguments, reason = "a decision has this many parts")]
    fn ask_for(
        &mut self,
        now: Timestamp,
        rule: &str,
        name: &SwitchName,
        depth: usize,
        by: Actor,
        why: String,
        scope: &str,
    ) -> Option<Write> {
        let level = self.declarations.get(name)?.ladder.get(depth)?.clone();
        let asks = &mut self.records.get_mut(name)?.asks;
        if asks.get(rule).map(|ask| &ask.level) == (depth > 0).then_some(&level) {
            return None;
        }
        if depth == 0 {
            asks.remove(rule);
        } else {
            asks.insert(rule.to_owned(), Ask { level, value: None, since: now, reason: why.clone() });
        }
        self.settle_scoped(now, name, by, why, scope.to_owned())
    }

    /// Works out the level that is in force and gives the record to write.
    fn settle(&mut self, now: Timestamp, name: &SwitchName, by: Actor, reason: String) -> Option<Write> {
        self.settle_scoped(now, name, by, reason, "fleet".to_owned())
    }

    fn settle_scoped(
        &mut self,
        now: Timestamp,
        name: &SwitchName,
        by: Actor,
        reason: String,
        scope: String,
    ) -> Option<Write> {
        if self.declarations.get(name)?.kind != SwitchKind::Feature {
            return self.settle_value(now, name, by, reason, scope);
        }
        let (recent, overall) = (self.decisions_in_hour(now, name), self.decisions_in_hour_overall(now));
        let others = self.degraded_by_rules(name);
        let frozen = self.frozen().is_some();
        let declaration = self.declarations.get(name)?;
        let record = self.records.get(name)?;
        let asked = record.asks.values().filter_map(|ask| declaration.depth(&ask.level)).max().unwrap_or(0);
        let pinned = record.pin.as_ref().and_then(|pin| declaration.depth(&pin.level));
        let now_at = declaration.depth(&record.level).unwrap_or(0);
        let (granted, held) = if pinned.is_none() && frozen && !matches!(by, Actor::Person { .. }) {
            (now_at, (asked != now_at).then_some(HeldBack::Frozen))
        } else if pinned.is_none() && matches!(by, Actor::Rule { .. }) {
            self.guards.admit(now_at, asked, others, recent, overall)
        } else {
            (asked, None)
        };
        let to = declaration.ladder[pinned.unwrap_or(granted)].clone();
        let news = match held {
            Some(held) => self.held_back.insert(name.clone(), held) != Some(held),
            None => self.held_back.remove(name).is_some(),
        };
        if let Some(held) = held.filter(|_| news) {
            let (from, wanted) = (record.level.clone(), declaration.ladder[asked].clone());
            let (switch, mode) = (name.to_string(), Mode::Observe);
            let reason = format!("{}; {reason}", held.words());
            let (by, scope, votes) = (by.clone(), scope.clone(), self.agreement.clone());
            self.remember(Decision { switch, at: now, from, to: wanted, by, reason, mode, revision: 0, scope, votes });
        }
        let record = self.records.get_mut(name)?;
        let expected = record.revision;
        record.revision += 1;
        if record.level != to {
            let from = std::mem::replace(&mut record.level, to.clone());
            record.since = now;
            let (switch, mode, revision) = (name.to_string(), Mode::Enforce, record.revision);
            let votes = self.agreement.clone();
            let decision = Decision { switch, at: now, from, to, by, reason, mode, revision, scope, votes };
            record.decision = Some(decision.clone());
            self.remember(decision);
        }
        let record = self.records.get(name)?.clone();
        Some(Write::at(self.role.place(), name.clone(), record, expected))
    }

    fn degraded_by_rules(&self, but: &SwitchName) -> usize {
        let degraded = |(name, record): &(&SwitchName, &Record)| {
            let depth = self.declarations.get(*name).map_or(0, |d| d.depth_of(&d.value(Some(record))));
            *name != but && depth > 0 && record.pin.is_none()
        };
        self.records().filter(degraded).count()
    }

    fn decisions_in_hour(&self, now: Timestamp, name: &SwitchName) -> usize {
        let of_rule = |d: &&Decision| d.mode == Mode::Enforce && matches!(d.by, Actor::Rule { .. });
        let recent = self.decisions.iter().rev().take_while(|d| d.at > now - HOUR);
        recent.filter(|d| d.switch == name.as_str()).filter(of_rule).count()
    }

    fn decisions_in_hour_overall(&self, now: Timestamp) -> usize {
        let of_rule = |d: &&Decision| d.mode == Mode::Enforce && matches!(d.by, Actor::Rule { .. });
        self.decisions.iter().rev().take_while(|d| d.at > now - HOUR).filter(of_rule).count()
    }

    /// A wish that a guard held back is looked at again: another switch may have recovered, or the hour is over.
    fn retry_held_back(&mut self, now: Timestamp, writes: &mut Vec<Write>) {
        if self.frozen().is_some() {
            return;
        }
        let names: Vec<SwitchName> = self.held_back.keys().cloned().collect();
        for name in names {
            let Some(record) = self.records.get(&name) else { continue };
            let feature = |declaration: &&Declaration| declaration.kind == SwitchKind::Feature;
            let Some(declaration) = self.declarations.get(&name).filter(feature) else { continue };
            let asks = record.asks.iter().filter_map(|(rule, ask)| Some((declaration.depth(&ask.level)?, rule, ask)));
            let deepest = asks.max_by_key(|(depth, _, _)| *depth);
            let asked = deepest.as_ref().map_or(0, |(depth, _, _)| *depth);
            let now_at = declaration.depth(&record.level).unwrap_or(0);
            let (others, recent) = (self.degraded_by_rules(&name), self.decisions_in_hour(now, &name));
            let overall = self.decisions_in_hour_overall(now);
            let (granted, held) = self.guards.admit(now_at, asked, others, recent, overall);
            if let Some(held) = held {
                self.held_back.insert(name, held);
                continue;
            }
            if granted == now_at {
                self.held_back.remove(&name);
                continue;
            }
            let (rule, reason) = match deepest {
                Some((_, rule, ask)) => (rule.clone(), ask.reason.clone()),
                None => (String::new(), "no rule asks for it any more".to_owned()),
            };
            let title = self.ladders.get(&rule).map_or(rule, |arm| arm.rule.title.clone());
            let by = Actor::Rule { rule: title, expression: String::new(), value: None };
            writes.extend(self.settle(now, &name, by, reason));
        }
    }

    /// Why a switch is not where its rules want it, by switch.
    pub fn held_back(&self) -> impl Iterator<Item = (&SwitchName, HeldBack)> {
        self.held_back.iter().map(|(name, held)| (name, *held))
    }

    fn remember(&mut self, decision: Decision) {
        if self.role.is_desk() && decision.mode == Mode::Enforce {
            // It is one when the store has it: see `adopt`.
            return;
        }
        self.audit.push(audited(&decision));
        self.note(decision);
    }

    fn note(&mut self, decision: Decision) {
        self.decided += 1;
        if self.decisions.len() >= limits::DECISIONS_KEPT {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision);
    }

    /// Takes the wanted number of a `scale` rule.
    /// `found` is what is there, where the rule asks for it.
    pub fn judge_scale(
        &mut self,
        now: Timestamp,
        rule: &str,
        wanted: Option<f64>,
        found: Option<f64>,
    ) -> Option<ScaleCall> {
        if self.frozen().is_some() {
            return None;
        }
        let degraded = |name: &SwitchName| {
            let declaration = self.declarations.get(name)?;
            Some(declaration.depth_of(&declaration.value(self.records.get(name))) > 0)
        };
        let beside = &self.scales.get(rule)?.settings().beside;
        let degraded =
            beside.iter().any(|name| self.degraded_in_fleet.contains(name) || degraded(name).unwrap_or(false));
        let scale = self.scales.get_mut(rule)?;
        let before = scale.memory().clone();
        scale.verify(now, found);
        let verified = *scale.memory() != before;
        let call = scale.judge(now, wanted, degraded);
        if verified {
            self.touched.insert(scale_key(rule));
        }
        let call = call?;
        self.touched.insert(scale_key(rule));
        let reason = call.reason.clone();
        self.remember(Decision {
            switch: format!("scale:{}", call.target),
            at: now,
            from: call.previous.to_string(),
            to: call.desired.to_string(),
            by: Actor::Rule { rule: call.rule.clone(), expression: call.expression.clone(), value: Some(call.value) },
            reason,
            mode: call.mode,
            revision: call.generation,
            scope: "fleet".into(),
            votes: None,
        });
        Some(call).filter(|call| call.mode == Mode::Enforce)
    }

    /// Takes the outcome of a scale call; false when no rule waits for this id.
    pub fn scale_delivered(&mut self, now: Timestamp, id: &str, verdict: &ScaleVerdict) -> bool {
        let ours = self.scales.iter_mut().find_map(|(rule, scale)| scale.delivered(now, id, verdict).then_some(rule));
        self.touched.extend(ours.map(|rule| scale_key(rule)));
        ours.is_some()
    }

    /// Overrides a switch until a given time.
    ///
    /// # Errors
    /// [`Refused`], with what to say instead.
    pub fn pin(&mut self, now: Timestamp, request: PinRequest) -> Result<Write, Refused> {
        let (by, reason) = (request.by.clone(), request.reason.clone());
        let command = format!("pin {} {} until {}", request.switch, request.level, request.until.to_rfc3339());
        let result = self.take_pin(now, request);
        self.audit_command(now, &by, command, &reason, result.as_ref().err());
        result
    }

    fn take_pin(&mut self, now: Timestamp, request: PinRequest) -> Result<Write, Refused> {
        let (name, declaration) = self.declared(&request.switch)?;
        let in_force = declaration.value(self.records.get(&name));
        let level = match declaration.kind.read(&request.level, &declaration.ladder, &in_force) {
            Ok(value) => value.text(),
            Err(help) => return Err(Refused::BadLevel { switch: request.switch, level: request.level, help }),
        };
        if request.reason.trim().is_empty() {
            return Err(Refused::NoReason);
        }
        if request.until <= now || request.until.since(now) > limits::PIN_TIME {
            return Err(Refused::BadEnd);
        }
        let PinRequest { until, reason, by, .. } = request;
        let why = format!("pinned until {}: {reason}", until.to_rfc3339());
        let actor = Actor::Person { name: by.clone() };
        if let Some(record) = self.records.get_mut(&name) {
            record.pin = Some(Pin { level, reason, by, since: now, until });
        }
        self.settle(now, &name, actor, why).ok_or_else(|| self.unknown(name.as_str()))
    }

    /// Ends a pin early: the rules' level is in force again.
    ///
    /// # Errors
    /// When the switch is not declared or not pinned.
    pub fn unpin(&mut self, now: Timestamp, switch: &str, by: &str) -> Result<Write, Refused> {
        let result = self.end_pin(now, switch, by);
        self.audit_command(now, by, format!("unpin {switch}"), "", result.as_ref().err());
        result
    }

    fn end_pin(&mut self, now: Timestamp, switch: &str, by: &str) -> Result<Write, Refused> {
        let (name, _) = self.declared(switch)?;
        let taken = self.records.get_mut(&name).and_then(|record| record.pin.take());
        if taken.is_none() {
            return Err(Refused::NotPinned(switch.to_owned()));
        }
        let actor = Actor::Person { name: by.to_owned() };
        self.settle(now, &name, actor, "pin removed".into()).ok_or_else(|| self.unknown(switch))
    }

    fn declared(&self, switch: &str) -> Result<(SwitchName, &Declaration), Refused> {
        let found = self.declarations.iter().find(|(name, _)| name.as_str() == switch);
        found.map(|(name, declaration)| (name.clone(), declaration)).ok_or_else(|| self.unknown(switch))
    }

    fn unknown(&self, switch: &str) -> Refused {
        let names: Vec<&str> = self.declarations.keys().map(SwitchName::as_str).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Refused::UnknownSwitch(switch.to_owned(), names)
    }

    /// The system's clock was set: what rules measure moves along; pins end at the time that people said.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        for (rule, arm) in &mut self.ladders {
            arm.ladder.clock_stepped(by_millis);
            arm.silent_since = arm.silent_since.map(|at| at.shifted(by_millis));
            self.touched.insert(ladder_key(rule));
        }
        for (rule, scale) in &mut self.scales {
            scale.clock_stepped(by_millis);
            self.touched.insert(scale_key(rule));
        }
        self.step_dials(by_millis);
        for freeze in self.freezes.ordered.iter_mut().chain(&mut self.freezes.file) {
            freeze.since = freeze.since.shifted(by_millis);
        }
        self.unwritten.values_mut().for_each(|at| *at = at.shifted(by_millis));
    }

    /// The next time at which something must be done without any event.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let pins = self.records.values().filter_map(|record| Some(record.pin.as_ref()?.until));
        let pins = pins.chain(self.freezes.ordered.as_ref().and_then(|freeze| freeze.until));
        let scales = self.scales.values().filter_map(ScaleRule::next_deadline);
        pins.chain(scales).chain(self.unwritten.values().copied()).min()
    }

    /// Does what is due: pins end, failed writes and scale calls are given again.
    pub fn tick(&mut self, now: Timestamp, writes: &mut Vec<Write>, calls: &mut Vec<ScaleCall>) {
        self.end_freeze(now);
        let over = |record: &Record| record.pin.as_ref().is_some_and(|pin| pin.until <= now);
        let ended: Vec<SwitchName> =
            self.records.iter().filter(|(_, record)| over(record)).map(|(name, _)| name.clone()).collect();
        for name in ended {
            let pin = self.records.get_mut(&name).and_then(|record| record.pin.take());
            let by = pin.map_or(String::new(), |pin| format!(" of {} ({})", pin.by, pin.reason));
            writes.extend(self.settle(now, &name, Actor::System, format!("the pin{by} ended")));
        }
        let due: Vec<SwitchName> =
            self.unwritten.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.unwritten.insert(name.clone(), now + WRITE_RETRY);
            let expected = self.stored.get(&name).copied().unwrap_or(0);
            let place = self.role.place();
            writes.extend(self.records.get(&name).map(|r| Write::at(place, name.clone(), r.clone(), expected)));
        }
        self.retry_held_back(now, writes);
        let frozen = self.freezes.now().is_some();
        for (rule, scale) in self.scales.iter_mut().filter(|_| !frozen) {
            let before = scale.memory().clone();
            calls.extend(scale.retry_due(now));
            if *scale.memory() != before {
                self.touched.insert(scale_key(rule));
            }
        }
    }

    /// What must be kept for a restart and has changed since the last call: keys and values for the journal.
    pub fn take_changes(&mut self) -> Vec<(String, Option<Value>)> {
        let value = |key: &str| {
            if key == commands::FREEZE_KEY {
                return serde_json::to_value(self.freezes.ordered.as_ref()?).ok();
            }
            if let Some(rule) = key.strip_prefix("dial/") {
                serde_json::to_value(self.dials.rules.get(rule)?.memory()?).ok()
            } else if let Some(rule) = key.strip_prefix("rollout/") {
                serde_json::to_value(self.dials.rollouts.get(rule)?.memory()).ok()
            } else if let Some(rule) = key.strip_prefix("ladder/") {
                serde_json::to_value(self.ladders.get(rule)?.ladder.memory()).ok()
            } else {
                let rule = key.strip_prefix("scale/")?;
                serde_json::to_value(self.scales.get(rule)?.memory()).ok()
            }
        };
        let changes = self.touched.iter().map(|key| (key.clone(), value(key))).collect();
        self.touched.clear();
        changes
    }

    /// The declared switches.
    pub fn declarations(&self) -> impl Iterator<Item = &Declaration> {
        self.declarations.values()
    }

    /// The record of every declared switch, as it is in force.
    pub fn records(&self) -> impl Iterator<Item = (&SwitchName, &Record)> {
        self.records.iter().filter(|(name, _)| self.declarations.contains_key(*name))
    }

    /// The ladders with their rules.
    pub fn ladders(&self) -> impl Iterator<Item = (&LadderRule, &Ladder)> {
        self.ladders.values().map(|arm| (&arm.rule, &arm.ladder))
    }

    /// The scale rules.
    pub fn scales(&self) -> impl Iterator<Item = &ScaleRule> {
        self.scales.values()
    }

    /// The rules that give dimmers and limits their values.
    pub fn dials(&self) -> impl Iterator<Item = &Dial> {
        self.dials.rules.values()
    }

    /// The rollouts.
    pub fn rollouts(&self) -> impl Iterator<Item = &Rollout> {
        self.dials.rollouts.values()
    }

    /// The latest decisions, oldest first.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.iter()
    }

    /// How many decisions were made since the start.
    pub fn decided(&self) -> u64 {
        self.decided
    }

    /// How many rules of a switch have had no data at their last judgement, so that it holds.
    pub fn blind_rules(&self, switch: &str) -> usize {
        let blind = |arm: &&Arm| arm.rule.switch.as_str() == switch && arm.silent_since.is_some();
        self.ladders.values().filter(blind).count()
    }

    /// Brings back decisions that the store kept, oldest first, at the start.
    pub fn remember_all(&mut self, decisions: impl IntoIterator<Item = Decision>) {
        decisions.into_iter().for_each(|decision| self.remember(decision));
        self.decided = 0;
        self.audit.clear();
    }
}

impl Arm {
    /// With `on_silence: restore`, a rung up for every such time without any data; with `degrade`, all the way down.
    fn after_silence(&mut self, now: Timestamp, on_silence: OnSilence) -> bool {
        let (OnSilence::Restore(after) | OnSilence::Degrade(after)) = on_silence else { return false };
        let deepest = self.rule.ladder.levels.iter().map(|level| level.depth).max().unwrap_or(0);
        let depth = self.ladder.memory().depth;
        let to = if matches!(on_silence, OnSilence::Degrade(_)) { deepest } else { depth.saturating_sub(1) };
        if to == depth || self.silent_since.is_none_or(|since| now.since(since) < after) {
            return false;
        }
        let mut memory = self.ladder.memory().clone();
        memory.depth = to;
        (memory.moved, memory.quiet_since) = (now, None);
        self.ladder = Ladder::restored(self.rule.ladder.clone(), memory, now);
        self.silent_since = Some(now);
        true
    }
}

fn ladder_key(rule: &str) -> String {
    format!("ladder/{rule}")
}

fn scale_key(rule: &str) -> String {
    format!("scale/{rule}")
}

fn value_words(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!(" (value {})", rounded(value)))
}

/// Four significant digits: enough to see, short enough to read.
fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 12);
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

mod commands;
#[cfg(test)]
mod dial_tests;
mod dials;
#[cfg(test)]
mod random_tests;
mod shared;
#[cfg(test)]
mod tests;
