//! The engine: series, rules, alerts and switches, joined.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::actions::{self, ActionSettings};
use super::dials;
use super::durable::Restored;
use super::event::{Command, DeliveryOutcome, Effects, Event, Reply};
use super::fleet;
use super::grouped::Grouped;
use super::people;
use super::picture::{DialPicture, LadderPicture, OutboxPicture, Picture, RolloutPicture, ScalePicture};
use crate::alerts::{self, AlertIn, Alerts, DeliveryId};
use crate::model::{Batch, MetricMeta};
use crate::rules::{self, AlertEvent, AlertState, Judgement, Listed, Outcome, Part, RuleType, Rules, Truth};
use crate::series::{self, Progress, Store};
use crate::switches::{self, Fleet, FleetSettings, Judged, LadderJudged, ScaleVerdict, Switches, Write};
use crate::time::Timestamp;

/// How often series that nobody needs any more are dropped.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(10);

/// What the journal's keys of alerts begin with.
const ALERTS: &str = "alerts/";

/// Everything the engine needs to know.
#[derive(Debug)]
pub struct Settings {
    pub series: series::Settings,
    pub rules: rules::Settings,
    pub alerts: alerts::Settings,
    pub actions: ActionSettings,
    /// This host's place in a fleet, with a shared store; `None`: the store is this host's own.
    pub fleet: Option<FleetSettings>,
    /// Whether what the store takes is wanted in [`Effects::recorded`].
    pub record: bool,
}

/// The one state of the daemon.
pub struct Engine {
    store: Store,
    rules: Rules,
    alerts: Alerts,
    switches: Switches,
    /// With a shared store: what the fleet knows and does; `switches` is then this host's part.
    fleet: Option<Fleet>,
    /// And what it tells of its alerts together.
    grouped: Grouped,
    meta: Arc<BTreeMap<String, MetricMeta>>,
    garbage_due: Timestamp,
    /// The last step of the system's clock.
    step: Option<Step>,
    /// Room for outcomes, kept from one event to the next.
    outcomes: Vec<Outcome>,
}

/// A step of the system's clock.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The time when it was noticed, by the clock before it and by the one after.
    from: Timestamp,
    to: Timestamp,
    by_millis: i64,
}

/// How long after a step batches may still come that were stamped before it.
const STAMPED_BEFORE: Duration = Duration::from_secs(60);

/// Series whose newest sample lies further ahead than this at a start were written under another clock.
const AHEAD: Duration = Duration::from_secs(15 * 60);

impl Engine {
    /// Starts from what was kept. `seed` gives the jitter of retries. The effects are those of the start itself:
    /// deliveries and writes that were on their way when the process ended.
    pub fn restore(now: Timestamp, settings: Settings, mut restored: Restored, seed: u64, out: &mut Effects) -> Engine {
        // Without a snapshot that can be read the windows fill up again: nothing else depends on it.
        let snapshot = restored.series.take().and_then(|bytes| Store::restore(&bytes, settings.series.clone()).ok());
        let mut store = snapshot.map_or_else(|| Store::new(settings.series), |(store, _)| store);
        store.record(settings.record);
        // When the clock was set back while nobody looked, the last moment that is known is where time goes on from.
        let newest = store.newest().filter(|newest| newest.since(now) > AHEAD);
        let resumed = now.max(restored.last_alive.unwrap_or(now)).max(newest.unwrap_or(now));
        let last_alive = restored.last_alive.unwrap_or(resumed);
        let mut rules = Rules::new(settings.rules, resumed);
        let entries = || restored.entries.iter().map(|(key, value)| (key.clone(), value.clone()));
        rules.restore(entries(), last_alive, resumed);
        rules.adopt(&store.view());
        let grouped = Grouped::new(seed);
        let mut alerts = Alerts::new(Grouped::settings(settings.alerts, settings.fleet.as_ref()), seed);
        let of_alerts = |(key, value): (String, _)| Some((key.strip_prefix(ALERTS)?.to_owned(), value));
        out.damaged = alerts.restore(entries().filter_map(of_alerts), resumed);
        let action_settings = actions::settings(&settings.actions, &rules);
        let (switches, fleet) = fleet::restore(resumed, settings.fleet, action_settings, &restored, seed, out);
        store.retain(&rules.needs());
        let (meta, outcomes) = (Arc::default(), Vec::new());
        let mut engine =
            Engine { store, rules, alerts, switches, fleet, grouped, meta, garbage_due: resumed, step: None, outcomes };
        if resumed > now {
            engine.clock_stepped(now, now.as_millis() - resumed.as_millis());
        }
        engine.finish(now, out);
        engine
    }

    /// Measures from now on how long evaluations take: for the status alone.
    pub fn measure_with(&mut self, meter: rules::Meter) {
        self.rules.measure_with(meter);
    }

    /// Takes one event and says what follows.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Effects) {
        match event {
            Event::Samples(batch) => self.samples(now, batch, out),
            Event::Tick => {}
            Event::Command(number, command) => {
                let reply = self.command(now, command, out);
                out.replies.push((number, reply));
            }
            Event::Delivered(id, outcome) => self.delivered(now, &id, outcome),
            Event::StoreChanged(tables) => match &mut self.fleet {
                Some(fleet) => fleet.tables(now, tables),
                None => self.switches.store_has(now, &tables.fleet),
            },
            Event::Census(_)
            | Event::Elected(_)
            | Event::StoreReach(_)
            | Event::Outbox(_)
            | Event::NotHandedOver(_)
            | Event::Decisions(_)
            | Event::Staged(_)
            | Event::RunsConfig { .. }
            | Event::Shares(_)
            | Event::AskedFor(_) => self.of_fleet(now, event),
            Event::FreezeFile(text) => self.switches.freeze_file(now, text),
            Event::StoreRefused { place, name, moved } => match &mut self.fleet {
                Some(fleet) => fleet.refused(now, &place, &name, moved),
                None => self.switches.write_failed(now, &name),
            },
            Event::ClockStepped(by_millis) => self.clock_stepped(now, by_millis),
            Event::Reloaded(settings) => self.reload(now, *settings, out),
        }
        self.due(now, out);
        self.finish(now, out);
    }

    /// When [`Event::Tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let fleet = self.fleet.as_ref().and_then(Fleet::next_deadline);
        let grouped = self.grouped.next_deadline();
        [self.rules.next_deadline(), self.alerts.next_deadline(), self.switches.next_deadline(), fleet, grouped]
            .into_iter()
            .flatten()
            .min()
    }

    /// What lies in the past moves along with the clock, so that everything goes on as if it had always been right.
    fn clock_stepped(&mut self, now: Timestamp, by_millis: i64) {
        self.step = Some(Step { from: now.shifted(-by_millis), to: now, by_millis });
        self.store.clock_stepped(by_millis);
        self.rules.clock_stepped(now, by_millis);
        self.alerts.clock_stepped(by_millis);
        self.switches.clock_stepped(by_millis);
        self.fleet.iter_mut().for_each(|fleet| fleet.clock_stepped(by_millis));
        self.grouped.clock_stepped(by_millis);
        self.garbage_due = now;
    }

    /// The time of a batch that may have been stamped before the last step of the clock.
    fn stamp(&self, now: Timestamp, at: Timestamp) -> Timestamp {
        match self.step {
            Some(step) if step.by_millis > 0 && at <= step.from && now.since(step.to) < STAMPED_BEFORE => {
                at.shifted(step.by_millis)
            }
            Some(step) if step.by_millis < 0 && now.since(step.to) < STAMPED_BEFORE => at.min(now),
            _ => at,
        }
    }

    fn samples(&mut self, now: Timestamp, mut batch: Batch, out: &mut Effects) {
        let mut refused = 0;
        batch.at = self.stamp(now, batch.at);
        self.store.append_batch(&batch, &mut |_, why| {
            *out.refused.entry((batch.source.clone(), why)).or_default() += 1;
            refused += 1;
        });
        out.appended += (batch.samples.len() + batch.timed.len()) as u64 - refused;
        if !batch.meta.is_empty() {
            let known = Arc::make_mut(&mut self.meta);
            known.extend(batch.meta.into_iter().map(|meta| (meta.family.to_string(), meta)));
        }
        if batch.urgent {
            let mut outcomes = std::mem::take(&mut self.outcomes);
            self.rules.triggered(now, &batch.samples, &mut self.store, &mut outcomes);
            self.follow(now, outcomes, out);
        }
    }

    fn due(&mut self, now: Timestamp, out: &mut Effects) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.rules.evaluate_due(now, &mut self.store, &mut outcomes);
        self.follow(now, outcomes, out);
        match &mut self.fleet {
            Some(fleet) => {
                if fleet.wants_alerts() {
                    fleet.alerts_fire(&self.rules.firing_names());
                }
                fleet::tick(now, fleet, &mut self.switches, out);
            }
            None => self.switches.tick(now, &mut out.writes, &mut out.calls),
        }
        if now >= self.garbage_due {
            self.store.collect_garbage(now);
            self.garbage_due = now + GARBAGE_INTERVAL;
        }
    }

    fn follow(&mut self, now: Timestamp, mut outcomes: Vec<Outcome>, out: &mut Effects) {
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Alert(event) => {
                    let alert = alert_in(event, now);
                    if self.alerts.settings().forward {
                        out.forward.push(alert.clone());
                    }
                    if self.alerts.put(now, alert).is_err() {
                        out.alerts_refused += 1;
                    }
                }
                Outcome::Judged(judgement) => self.judged(now, &judgement, out),
            }
        }
        self.outcomes = outcomes;
    }

    fn judged(&mut self, now: Timestamp, judgement: &Judgement, out: &mut Effects) {
        let rule = judgement.rule.to_string();
        if let Some(wish) = judgement.conditions.iter().find(|condition| condition.part == Part::Desired) {
            let wanted = wish.value.filter(|_| wish.truth == Truth::True);
            let found = judgement.conditions.iter().find(|condition| condition.part == Part::Verify);
            let found = found.and_then(|condition| condition.value.filter(|_| condition.truth == Truth::True));
            // Of a fleet one host calls.
            if self.fleet.as_ref().is_none_or(|fleet| fleet.leads_calls(now)) {
                out.calls.extend(self.switches.judge_scale(now, &rule, wanted, found));
            }
            return;
        }
        match judgement.rule.kind {
            RuleType::Dim | RuleType::Limit => {
                let value = judgement.conditions.iter().find(|condition| condition.part == Part::Value);
                let writes = match value {
                    Some(condition) => {
                        let value = condition.value.filter(|_| condition.truth == Truth::True);
                        self.switches.judge_limit(now, &rule, value)
                    }
                    None => self.switches.judge_dial(now, &rule, dials::measured(&judgement.conditions)),
                };
                self.write(writes, out);
                return;
            }
            RuleType::Rollout => {
                let evidence = dials::evidence(&judgement.conditions);
                match &mut self.fleet {
                    Some(fleet) => fleet::asked(out, |asked| fleet.judge_rollout(now, &rule, evidence, asked)),
                    None => out.writes.extend(self.switches.judge_rollout(now, &rule, evidence)),
                }
                return;
            }
            _ => {}
        }
        // Too few samples say nothing.
        let samples = judgement.conditions.iter().find(|condition| condition.part == Part::Samples);
        let too_few = samples.filter(|condition| !self.switches.has_samples(&rule, condition.value));
        let too_few = too_few.map(|condition| match condition.truth {
            Truth::NotYet => switches::Truth::NotYet,
            _ => switches::Truth::Unknown,
        });
        let judged = |condition: &rules::Condition| Judged {
            truth: too_few.unwrap_or_else(|| dials::truth(&condition.truth)),
            value: condition.value,
        };
        let mut said = LadderJudged::default();
        for condition in &judgement.conditions {
            match &condition.part {
                Part::Level(_) => said.levels.push(judged(condition)),
                Part::Clear(level) => {
                    said.clears.resize(said.levels.len(), None);
                    if let Some(place) = said.clears.get_mut(level.index) {
                        *place = Some(judged(condition));
                    }
                }
                Part::Recover => said.recover = Some(judged(condition)),
                _ => {}
            }
        }
        let write = self.switches.judge(now, &rule, &said);
        self.write(write, out);
    }

    /// What a host of a fleet decides for itself is in no store: the journal remembers it.
    fn write(&self, writes: impl IntoIterator<Item = Write>, out: &mut Effects) {
        if self.fleet.is_none() {
            out.writes.extend(writes);
        }
    }

    fn of_fleet(&mut self, now: Timestamp, event: Event) {
        let Some(fleet) = &mut self.fleet else { return };
        match event {
            Event::Census(census) => {
                self.grouped.census(now, &census, fleet.host(), &mut self.alerts);
                fleet.census(now, &census);
            }
            Event::Elected(term) => {
                self.grouped.elected(fleet, term.as_ref());
                fleet.elected(now, &mut self.switches, term);
            }
            Event::StoreReach(reach) => fleet.reach(now, reach),
            Event::Decisions(decisions) => fleet.remember(decisions),
            Event::NotHandedOver(ids) => self.grouped.not_handed_over(now, ids),
            Event::Outbox(outbox) => {
                self.grouped.outbox(&outbox);
                fleet.outbox(now, &mut self.switches, outbox);
            }
            Event::Staged(staged) => fleet.staged(&staged),
            Event::RunsConfig { revision, refused } => {
                fleet.runs_config(revision, refused, self.rules.firing_names());
            }
            Event::Shares(shares) => fleet.shares_given(&shares),
            Event::AskedFor(counts) => fleet.asked_for(now, &counts),
            _ => {}
        }
    }

    fn command(&mut self, now: Timestamp, command: Command, out: &mut Effects) -> Reply {
        if let Some(fleet) = &mut self.fleet
            && let Some(result) = fleet::command(now, fleet, &command, out)
        {
            return reply(result);
        }
        let result = match command {
            Command::Pin(request) => self.switches.pin(now, request),
            Command::Unpin { switch, by } => self.switches.unpin(now, &switch, &by),
            Command::Freeze(request) => return reply(self.switches.freeze(now, request)),
            Command::Unfreeze { by } => return reply(self.switches.unfreeze(now, &by)),
            Command::Rollout { switch, word, by } => {
                let said = self.switches.say_to_rollout(now, &switch, word, &by);
                return reply(said.map(|write| out.writes.extend(write)));
            }
            other => return people::command(&mut self.alerts, self.grouped.counter(), now, other),
        };
        match result {
            Ok(write) => {
                out.writes.push(write);
                Reply::Done
            }
            Err(refused) => Reply::Refused(refused.to_string()),
        }
    }

    fn delivered(&mut self, now: Timestamp, id: &DeliveryId, outcome: DeliveryOutcome) {
        let verdict = match &outcome {
            DeliveryOutcome::Accepted => ScaleVerdict::Accepted,
            DeliveryOutcome::Retry { after, .. } => ScaleVerdict::Retry(*after),
            DeliveryOutcome::Refused { .. } => ScaleVerdict::Refused,
        };
        if self.switches.scale_delivered(now, &id.0, &verdict) {
            return;
        }
        let outcome = match outcome {
            DeliveryOutcome::Accepted => alerts::Outcome::Accepted,
            DeliveryOutcome::Retry { reason, after } => alerts::Outcome::Retry { reason, after },
            DeliveryOutcome::Refused { reason } => alerts::Outcome::Refused { reason },
        };
        if !self.grouped.delivered(now, id, &outcome) {
            self.alerts.delivered(now, id, outcome);
        }
    }

    fn reload(&mut self, now: Timestamp, settings: Settings, out: &mut Effects) {
        self.store.record(settings.record);
        self.rules.reload(settings.rules, now);
        self.alerts.reload(now, Grouped::settings(settings.alerts, settings.fleet.as_ref()));
        self.grouped.reload(now, self.alerts.settings());
        let action_settings = actions::settings(&settings.actions, &self.rules);
        match (&mut self.fleet, settings.fleet) {
            (Some(fleet), Some(host)) => fleet::configure(now, fleet, &mut self.switches, host, action_settings),
            // Another store needs another start: the configuration refuses it before.
            _ => out.writes.extend(self.switches.configure(now, action_settings, &BTreeMap::new())),
        }
        self.store.retain(&self.rules.needs());
    }

    /// Everything durable that this event changed goes into one record.
    fn finish(&mut self, now: Timestamp, out: &mut Effects) {
        self.alerts.tick(now, &mut out.notifications);
        out.journal.extend(self.rules.take_changes());
        let of_alerts = |(key, value): (String, _)| (format!("{ALERTS}{key}"), value);
        out.journal.extend(self.alerts.take_changes().into_iter().map(of_alerts));
        if let Some(fleet) = &mut self.fleet {
            fleet::hand_over(fleet, &mut self.switches, out);
            self.grouped.finish(now, fleet, &mut self.alerts, out);
        }
        out.journal.extend(self.switches.take_changes());
        out.audit.extend(self.switches.take_audit());
        out.recorded.extend(self.store.take_recorded());
    }

    /// Type and help of every family that was heard of.
    pub fn meta(&self) -> Arc<BTreeMap<String, MetricMeta>> {
        Arc::clone(&self.meta)
    }

    /// The state as others see it, with those rules described that are asked for.
    pub fn picture(&self, now: Timestamp, listed: Listed) -> Picture {
        let level = |rule: &switches::LadderRule, depth: usize| {
            let declaration = self.switches.declarations().find(|d| d.name == rule.switch);
            declaration.and_then(|d| d.ladder.get(depth).cloned()).unwrap_or_default()
        };
        let ladders = self.switches.ladders().map(|(rule, ladder)| LadderPicture {
            rule: rule.clone(),
            level: level(rule, ladder.memory().depth),
            next_climb: ladder.next_climb(),
            ladder: ladder.clone(),
        });
        let scales =
            self.switches.scales().map(|s| ScalePicture { settings: s.settings().clone(), memory: s.memory().clone() });
        Picture {
            now,
            view: self.store.view(),
            meta: Arc::clone(&self.meta),
            series_count: self.store.series_count(),
            groups: self.rules.groups_status(listed),
            ladders: ladders.collect(),
            scales: scales.collect(),
            dials: self.switches.dials().map(DialPicture::of).collect(),
            rollouts: self.switches.rollouts().map(RolloutPicture::of).collect(),
            held_back: fleet::held_back(&self.switches, self.fleet.as_ref()),
            freeze: self.switches.frozen().cloned(),
            decisions: fleet::decisions(&self.switches, self.fleet.as_ref()),
            fleet: self.fleet.as_ref().map(|fleet| fleet.picture(now, &self.switches)),
            outbox: outbox(&self.alerts),
        }
    }

    /// A view of the series alone: cheaper than a picture.
    pub fn view(&self) -> series::View {
        self.store.view()
    }

    /// The fleet that this host is one of.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// The switches with their records and rules; of a host of a fleet, its own part.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// The alerts and their routes.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The rules and how often what happened to them.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.store.series_count()
    }

    /// Begins to give the series as bytes, for the next start; gives the first piece.
    pub fn begin_series_snapshot(&self) -> (series::SnapshotRun, Vec<u8>) {
        self.store.begin_snapshot()
    }

    /// The next piece, of so many series at the most; put behind `out`.
    pub fn series_snapshot_piece(&self, run: &mut series::SnapshotRun, most: usize, out: &mut Vec<u8>) -> Progress {
        self.store.snapshot_piece(run, most, out)
    }
}

fn reply(result: Result<(), switches::Refused>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(refused) => Reply::Refused(refused.to_string()),
    }
}

fn outbox(alerts: &Alerts) -> OutboxPicture {
    OutboxPicture { waiting: alerts.outbox_len(), dropped: alerts.outbox_counts().repeats_dropped }
}

fn alert_in(event: AlertEvent, now: Timestamp) -> AlertIn {
    let ends_at = match event.state {
        AlertState::Inactive => event.resolved_at.unwrap_or(now),
        AlertState::Firing | AlertState::Pending => event.valid_until,
    };
    AlertIn {
        labels: event.labels,
        annotations: event.annotations,
        starts_at: Some(event.starts_at),
        ends_at: Some(ends_at),
        generator_url: event.generator_url.to_string(),
    }
}
