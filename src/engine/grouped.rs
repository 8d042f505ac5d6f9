//! Alerts that a fleet tells together: this host's report to the fleet, and, while this host counts, the machine that tells
//! the alerts of all.
//!
//! What that machine must not forget is kept in the store's outbox under `alerts/`. What the store did not take is given
//! again, and messages go only with everything that was not taken yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::event::Effects;
use crate::alerts::{self, Alerts, DeliveryId, FleetAlerts, Marks, Notification, Outcome, Part, Report, Settled};
use crate::switches::{Census, Fleet, FleetSettings, HandOver, Shelf, Term};
use crate::time::Timestamp;

/// What the keys of the outbox begin with.
const OUTBOX: &str = "alerts/";
/// How often everything is looked at without being told to.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a refusal what was refused is given again.
const AGAIN: Duration = Duration::from_millis(500);

/// What this host has to do with the alerts of its fleet.
pub(super) struct Grouped {
    seed: u64,
    /// The report that the store was given last.
    report: Option<Report>,
    look_at: Timestamp,
    /// There is a route of scope `fleet`.
    concerned: bool,
    /// Of all hosts, as the store has them.
    reports: BTreeMap<String, (Arc<Value>, Arc<Report>)>,
    live: BTreeSet<String>,
    marks: Option<Arc<Value>>,
    /// The reports, or who is there, changed since the machine was told.
    fed: bool,
    /// What the hosts should know of their alerts may have changed.
    dirty: bool,
    counting: bool,
    /// What the one who counted before left.
    left: Option<BTreeMap<String, Value>>,
    counter: Option<FleetAlerts>,
    /// As the outbox should be, and what of that the store may not have.
    kept: BTreeMap<String, Value>,
    untaken: BTreeSet<String>,
    again_at: Timestamp,
}

impl Grouped {
    pub(super) fn new(seed: u64) -> Grouped {
        Grouped {
            seed,
            report: None,
            look_at: Timestamp::MIN,
            concerned: false,
            reports: BTreeMap::new(),
            live: BTreeSet::new(),
            marks: None,
            fed: false,
            dirty: false,
            counting: false,
            left: None,
            counter: None,
            kept: BTreeMap::new(),
            untaken: BTreeSet::new(),
            again_at: Timestamp::MIN,
        }
    }

    /// The settings of this host's own machine.
    pub(super) fn settings(mut settings: alerts::Settings, fleet: Option<&FleetSettings>) -> alerts::Settings {
        settings.part = fleet.map_or(Part::Alone, |fleet| Part::Member { host: fleet.host.clone() });
        settings
    }

    pub(super) fn reload(&mut self, now: Timestamp, host: &alerts::Settings) {
        self.counter.iter_mut().for_each(|counter| counter.reload(now, host));
        self.look_at = now;
    }

    pub(super) fn clock_stepped(&mut self, by_millis: i64) {
        self.counter.iter_mut().for_each(|counter| counter.clock_stepped(by_millis));
        self.look_at = self.look_at.shifted(by_millis);
        self.again_at = self.again_at.shifted(by_millis);
    }

    /// What all hosts report, who is there, and what became of this host's alerts.
    pub(super) fn census(&mut self, now: Timestamp, census: &Census, host: &str, own: &mut Alerts) {
        if let Some(told) = census.told.get(host)
            && self.marks.as_ref() != Some(told)
        {
            self.marks = Some(Arc::clone(told));
            if let Ok(marks) = serde_json::from_value::<Marks>(Value::clone(told)) {
                own.fleet_says(now, &marks);
            }
        }
        if !self.live.iter().eq(census.members.keys()) {
            (self.live, self.fed) = (census.members.keys().cloned().collect(), true);
        }
        self.fed |= self.reports.len() != census.alerts.len();
        let mut reports = BTreeMap::new();
        for (host, value) in &census.alerts {
            let known = self.reports.remove(host).filter(|(known, _)| Arc::ptr_eq(known, value) || known == value);
            self.fed |= known.is_none();
            let read = || Some((Arc::clone(value), Arc::new(serde_json::from_value(Value::clone(value)).ok()?)));
            if let Some(known) = known.or_else(read) {
                reports.insert(host.clone(), known);
            }
        }
        self.reports = reports;
    }

    /// Another office than before begins with what the store has.
    pub(super) fn elected(&mut self, fleet: &Fleet, term: Option<&Term>) {
        if fleet.term() == term {
            return;
        }
        (self.counter, self.left) = (None, None);
        self.kept.clear();
        self.untaken.clear();
    }

    pub(super) fn outbox(&mut self, outbox: &BTreeMap<String, Value>) {
        if self.counter.is_none() {
            let of_alerts =
                |(key, value): (&String, &Value)| Some((key.strip_prefix(OUTBOX)?.to_owned(), value.clone()));
            self.left = Some(outbox.iter().filter_map(of_alerts).collect());
        }
    }

    pub(super) fn not_handed_over(&mut self, now: Timestamp, ids: Vec<(Shelf, String)>) {
        for (shelf, id) in ids {
            match (shelf, &mut self.counter) {
                (Shelf::Outbox, _) => self.untaken.extend(id.strip_prefix(OUTBOX).map(str::to_owned)),
                (Shelf::Told, Some(counter)) => counter.say_again(&id),
                _ => {}
            }
        }
        (self.again_at, self.dirty) = (now + AGAIN, true);
    }

    /// Whether it was a message for the fleet.
    pub(super) fn delivered(&mut self, now: Timestamp, id: &DeliveryId, outcome: &Outcome) -> bool {
        let Some(counter) = &mut self.counter else { return false };
        self.dirty = true;
        counter.delivered(now, id, outcome.clone()) != Settled::Unknown
    }

    /// The machine that tells the alerts of all, while this host counts.
    pub(super) fn counter(&mut self) -> Option<&mut FleetAlerts> {
        self.counter.as_mut().filter(|_| self.counting)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let look = self.concerned.then_some(self.look_at);
        let again = Some(self.again_at).filter(|_| !self.untaken.is_empty());
        let counter = self.counter.as_ref().filter(|_| self.counting).and_then(FleetAlerts::next_deadline);
        [look, again.filter(|_| self.counting), counter].into_iter().flatten().min()
    }

    /// Gives this host's report, and does what the host that counts does.
    pub(super) fn finish(&mut self, now: Timestamp, fleet: &Fleet, own: &mut Alerts, out: &mut Effects) {
        let looks = now >= self.look_at;
        if looks {
            self.look_at = now + LOOK_EVERY;
            let report = own.report(now);
            self.concerned = report.is_some();
            // The first one is put, be it empty: a process before this one may have left another.
            if report.is_some() && report != self.report {
                out.report = report.as_ref().and_then(|report| serde_json::to_value(report).ok());
                self.report = report;
            }
        }
        self.counting = fleet.counts(now);
        if !self.counting {
            return;
        }
        let reports = || self.reports.iter().map(|(host, (_, report))| (host.clone(), Arc::clone(report))).collect();
        match (&mut self.counter, self.left.take()) {
            (None, Some(left)) if self.concerned => {
                self.kept = left.clone();
                let (settings, seed) = (own.settings(), self.seed);
                self.counter = Some(FleetAlerts::restore(now, settings, seed, &reports(), &self.live, left));
                (self.dirty, self.fed) = (true, true);
            }
            (None, left) => {
                self.left = left;
                return;
            }
            (Some(counter), _) if looks && (std::mem::take(&mut self.fed) || counter.misses_hosts()) => {
                counter.reports(now, own, &reports(), &self.live);
                self.dirty = true;
            }
            (Some(_), _) => {}
        }
        let Some(term) = fleet.term().cloned() else { return };
        self.tell(now, &term, out);
    }

    fn tell(&mut self, now: Timestamp, term: &Term, out: &mut Effects) {
        let Some(counter) = &mut self.counter else { return };
        let mut messages: Vec<Notification> = Vec::new();
        counter.tick(now, &mut messages);
        for (key, value) in counter.take_changes() {
            match value {
                Some(value) => drop(self.kept.insert(key.clone(), value)),
                None => drop(self.kept.remove(&key)),
            }
            self.untaken.insert(key);
        }
        if now >= self.again_at || !messages.is_empty() {
            // Messages before what says that they were told.
            for key in std::mem::take(&mut self.untaken).into_iter().rev() {
                let (id, state) = (format!("{OUTBOX}{key}"), self.kept.get(&key).cloned());
                out.hand_over.push(HandOver { shelf: Shelf::Outbox, id, state, term: term.clone() });
            }
        }
        let changed = self.dirty || !messages.is_empty() || !out.hand_over.is_empty();
        if changed && now >= self.again_at {
            self.dirty = false;
            for (id, marks) in counter.take_marks(now) {
                let state = serde_json::to_value(&marks).ok();
                out.hand_over.push(HandOver { shelf: Shelf::Told, id, state, term: term.clone() });
            }
        }
        for host in counter.take_forgotten() {
            for shelf in [Shelf::Told, Shelf::Alerts] {
                out.hand_over.push(HandOver { shelf, id: host.clone(), state: None, term: term.clone() });
            }
        }
        out.grouped.extend(messages);
    }
}
