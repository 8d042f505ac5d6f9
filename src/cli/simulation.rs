//! The daemon's engine under simulated time: what would have fired, been switched and been sent, and when.
//!
//! It is the very engine of `brownout run`. What it asks of the world is done at once and always works: switches are
//! written, messages delivered, scale calls accepted. Nothing leaves the process.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::alerts::Notification;
use crate::engine::{DeliveryOutcome, Effects, Engine, Event, Restored, Settings};
use crate::model::{Batch, Labels, SwitchName};
use crate::rules::AlertState;
use crate::switches::{Decision, Record, ScaleCall, Tables};
use crate::time::Timestamp;

/// Deadlines at one instant after which time is moved on by a millisecond.
const AT_ONE_INSTANT: u32 = 1_000;

/// Something that people would want to know of.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Alert { labels: Labels, annotations: BTreeMap<String, String>, from: AlertState, to: AlertState, value: f64 },
    Decided(Box<Decision>),
    Sent(Box<Notification>),
    Scaled(Box<ScaleCall>),
}

/// It, and when.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    pub(super) at: Timestamp,
    pub(super) what: Happening,
}

/// An engine on its way through time.
pub(super) struct Simulation {
    engine: Engine,
    now: Timestamp,
    table: BTreeMap<SwitchName, Record>,
    decided: u64,
    evaluations: u64,
    /// Pending and firing alerts as they were after the last evaluation.
    alerts: BTreeMap<Labels, (AlertState, f64)>,
    happened: Vec<Happened>,
    refused: u64,
}

impl Simulation {
    /// Starts with empty windows.
    pub(super) fn start(now: Timestamp, settings: Settings) -> Simulation {
        let mut effects = Effects::default();
        let engine = Engine::restore(now, settings, Restored::default(), 1, &mut effects);
        let mut simulation = Simulation {
            engine,
            now,
            table: BTreeMap::new(),
            decided: 0,
            evaluations: 0,
            alerts: BTreeMap::new(),
            happened: Vec::new(),
            refused: 0,
        };
        simulation.follow(effects);
        simulation
    }

    /// Goes on to the time of a batch and takes it.
    pub(super) fn feed(&mut self, batch: Batch) {
        // What is due at that very time sees the samples of that time.
        self.run_until(batch.at - Duration::from_millis(1));
        self.now = self.now.max(batch.at);
        self.handle(Event::Samples(batch));
    }

    /// Goes on to a time: everything that is due until then, that time included, is done.
    pub(super) fn run_until(&mut self, until: Timestamp) {
        let mut repeated = 0;
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= until) {
            let at = due.max(self.now);
            repeated = if at == self.now { repeated + 1 } else { 0 };
            self.now = if repeated > AT_ONE_INSTANT { at + Duration::from_millis(1) } else { at };
            self.handle(Event::Tick);
        }
        self.now = self.now.max(until);
    }

    /// What happened since this was asked last.
    pub(super) fn take(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    /// The engine as it is now.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Samples that were not taken.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Effects::default();
        self.engine.handle(self.now, event, &mut effects);
        self.follow(effects);
    }

    /// Does what the engine asks until it asks nothing more.
    fn follow(&mut self, effects: Effects) {
        let mut events = VecDeque::new();
        self.perform(effects, &mut events);
        while let Some(event) = events.pop_front() {
            let mut effects = Effects::default();
            self.engine.handle(self.now, event, &mut effects);
            self.perform(effects, &mut events);
        }
    }

    fn perform(&mut self, effects: Effects, events: &mut VecDeque<Event>) {
        self.refused += effects.refused.values().sum::<u64>();
        self.note_alerts();
        self.note_decisions();
        if !effects.writes.is_empty() {
            let written = effects.writes.into_iter().map(|write| (write.name, write.record));
            self.table.extend(written);
            events.push_back(Event::StoreChanged(Tables::of_one(0, self.table.clone())));
        }
        for notification in effects.notifications {
            events.push_back(Event::Delivered(notification.id.clone(), DeliveryOutcome::Accepted));
            self.note(Happening::Sent(Box::new(notification)));
        }
        for call in effects.calls {
            let id = crate::alerts::DeliveryId(call.id.clone());
            events.push_back(Event::Delivered(id, DeliveryOutcome::Accepted));
            self.note(Happening::Scaled(Box::new(call)));
        }
    }

    fn note(&mut self, what: Happening) {
        self.happened.push(Happened { at: self.now, what });
    }

    fn note_alerts(&mut self) {
        let evaluations = self.engine.rules().counters().evaluations;
        if evaluations == self.evaluations {
            return;
        }
        self.evaluations = evaluations;
        let mut before = std::mem::take(&mut self.alerts);
        for alert in self.engine.rules().active_alerts() {
            if alert.state == AlertState::Inactive {
                continue;
            }
            let from = before.remove(&alert.labels).map_or(AlertState::Inactive, |(state, _)| state);
            self.alerts.insert(alert.labels.clone(), (alert.state, alert.value));
            if from != alert.state {
                let (labels, annotations) = (alert.labels, alert.annotations);
                self.note(Happening::Alert {
                    labels,
                    annotations: annotations.to_map(),
                    from,
                    to: alert.state,
                    value: alert.value,
                });
            }
        }
        for (labels, (from, value)) in before {
            let (annotations, to) = (BTreeMap::new(), AlertState::Inactive);
            self.note(Happening::Alert { labels, annotations, from, to, value });
        }
    }

    fn note_decisions(&mut self) {
        let decided = self.engine.switches().decided();
        let new = usize::try_from(decided.saturating_sub(self.decided)).unwrap_or(0);
        self.decided = decided;
        if new > 0 {
            let decisions: Vec<Decision> = self.engine.switches().decisions().rev().take(new).cloned().collect();
            decisions.into_iter().rev().for_each(|decision| self.note(Happening::Decided(Box::new(decision))));
        }
    }
}
