//! One alert and its steps: Prometheus' `rules/alerting.go` for a single label set. See `alerting.rs` for the table.

use std::sync::Arc;
use std::time::Duration;

use super::alerting::RESOLVED_RETENTION;
use super::outcome::AlertState;
use crate::model::{Labels, NAME, TextMap};
use crate::time::Timestamp;

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Active {
    pub labels: Labels,
    pub annotations: Arc<TextMap>,
    pub value: f64,
    pub state: AlertState,
    pub active_at: Timestamp,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub last_sent_at: Option<Timestamp>,
    pub keep_firing_since: Option<Timestamp>,
    /// Since when its inputs say nothing and it is kept because its rule says so.
    pub unknown_since: Option<Timestamp>,
    /// After a restart: the result need not have it yet.
    pub held: Option<Held>,
    /// Something changed that must survive a restart.
    pub changed: bool,
    series: Series,
}

/// How long after a restart an alert is kept that its rule does not return, or a condition is not taken for false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    /// The restart.
    pub since: Timestamp,
    /// At the latest until then.
    pub until: Timestamp,
    /// When its inputs were first seen to be newer than the restart.
    pub fresh_at: Option<Timestamp>,
}

impl Held {
    /// Whether it still holds at an evaluation. `fresh` says whether the inputs have been heard of since a time; other
    /// rules then have `settle` for what they make of them.
    pub fn holds(&mut self, at: Timestamp, settle: Duration, fresh: impl FnOnce(Timestamp) -> bool) -> bool {
        if at >= self.until {
            return false;
        }
        if !fresh(self.since) {
            self.fresh_at = None;
            return true;
        }
        at.since(*self.fresh_at.get_or_insert(at)) < settle
    }

    /// The system's clock was set.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        (self.since, self.until) = (self.since.shifted(by_millis), self.until.shifted(by_millis));
        self.fresh_at = self.fresh_at.map(|at| at.shifted(by_millis));
    }
}

/// The names of the series that show an alert, made once.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    pending: Labels,
    firing: Labels,
    for_state: Labels,
}

impl Series {
    fn of(labels: &Labels) -> Series {
        let mut builder = labels.to_builder();
        builder.set(NAME, "ALERTS_FOR_STATE");
        let for_state = builder.build();
        builder.set(NAME, "ALERTS").set("alertstate", AlertState::Pending.as_str());
        let pending = builder.build();
        builder.set("alertstate", AlertState::Firing.as_str());
        Series { pending, firing: builder.build(), for_state }
    }
}

impl Active {
    /// A pending alert that begins now.
    pub fn new(labels: Labels, at: Timestamp) -> Active {
        Active {
            series: Series::of(&labels),
            labels,
            annotations: Arc::default(),
            value: 0.0,
            state: AlertState::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            keep_firing_since: None,
            unknown_since: None,
            held: None,
            changed: true,
        }
    }

    /// The series that show it, with their values: none when it is over.
    pub fn samples(&self) -> impl Iterator<Item = (Labels, f64)> {
        let series = match self.state {
            AlertState::Inactive => None,
            AlertState::Pending => Some(&self.series.pending),
            AlertState::Firing => Some(&self.series.firing),
        };
        let since = self.active_at.as_millis().div_euclid(1_000) as f64;
        series.into_iter().flat_map(move |shown| [(shown.clone(), 1.0), (self.series.for_state.clone(), since)])
    }

    /// Whether somebody is to be told of it now.
    pub fn needs_sending(&self, at: Timestamp, resend_delay: Duration) -> bool {
        let Some(sent) = self.last_sent_at else { return self.state != AlertState::Pending };
        self.state != AlertState::Pending
            && (self.resolved_at.is_some_and(|resolved| resolved > sent) || sent + resend_delay < at)
    }

    fn is_told(&self) -> bool {
        match (self.resolved_at, self.last_sent_at) {
            (Some(resolved), sent) => sent.is_some_and(|sent| sent >= resolved),
            (None, _) => true,
        }
    }

    /// The result has it.
    pub fn seen(&mut self, at: Timestamp, hold: Duration) {
        self.changed |= self.keep_firing_since.take().is_some() | self.unknown_since.take().is_some();
        self.held = None;
        self.count_hold(at, hold);
    }

    /// Pending becomes firing after `hold`, and back when a reload made it longer.
    fn count_hold(&mut self, at: Timestamp, hold: Duration) {
        let held = at.since(self.active_at) >= hold;
        match self.state {
            AlertState::Pending if held => {
                self.state = AlertState::Firing;
                self.fired_at = Some(at);
                self.changed = true;
            }
            AlertState::Firing if !held => {
                self.state = AlertState::Pending;
                (self.fired_at, self.last_sent_at, self.keep_firing_since) = (None, None, None);
                self.changed = true;
            }
            _ => {}
        }
    }

    /// The result does not have it, and nothing else keeps it. False when there is nothing left to keep.
    pub fn missed(&mut self, at: Timestamp, keep_firing_for: Duration, hold: Duration) -> bool {
        self.held = None;
        self.changed |= self.unknown_since.take().is_some();
        match self.state {
            AlertState::Pending => false,
            AlertState::Firing => {
                if !keep_firing_for.is_zero() {
                    self.changed |= self.keep_firing_since.is_none();
                    let since = *self.keep_firing_since.get_or_insert(at);
                    if at.since(since) < keep_firing_for {
                        self.count_hold(at, hold);
                        return true;
                    }
                }
                self.state = AlertState::Inactive;
                self.resolved_at = Some(at);
                self.changed = true;
                true
            }
            // A resolve that nobody was told of outlives the retention: a restart may have lasted longer.
            AlertState::Inactive => {
                !self.is_told() || self.resolved_at.is_some_and(|resolved| at.since(resolved) <= RESOLVED_RETENTION)
            }
        }
    }

    /// The system's clock was set: every time moves along, so that no timer gets shorter or longer.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let times = [
            &mut self.fired_at,
            &mut self.resolved_at,
            &mut self.last_sent_at,
            &mut self.keep_firing_since,
            &mut self.unknown_since,
        ];
        for time in times {
            *time = time.map(|at| at.shifted(by_millis));
        }
        self.active_at = self.active_at.shifted(by_millis);
        if let Some(held) = &mut self.held {
            held.clock_stepped(by_millis);
            held.fresh_at = held.fresh_at.map(|at| at.shifted(by_millis));
        }
        self.changed = true;
    }
}
