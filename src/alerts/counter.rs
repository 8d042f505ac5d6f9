//! The alerts of a whole fleet, as the host that counts tells them: one machine like any other, fed with what all hosts
//! report, that does the routes of scope `fleet` and no others.
//!
//! Spec.
//! * An alert has the label `host`, with the name of its host, unless it has one already; so the same rule on many hosts is
//!   one group with many alerts, unless the route groups by `host`.
//! * What it told, when it looks again, and what is on its way is in [`FleetAlerts::take_changes`], for the shared store:
//!   whoever is elected next goes on from there, with the same ids, and repeats nothing. It must be there before a
//!   message is sent.
//! * Each host is told what became of its alerts ([`FleetAlerts::take_marks`]): told once one integration of every
//!   receiver took the message, or when there is nothing to tell.
//! * What a host told by itself is left out, unless the fleet had told it, too.
//! * An alert that is not in its host's report any more has ended. A host that vanished has ended nothing: its alerts are
//!   held for 15 minutes, with an annotation that says so, and are then told to have ended with it. A report that is gone
//!   while its host is not means that the store lost something; the last one holds.
//! * Silences for the whole fleet (`shared.rs`) hold for all; what is silenced or inhibited on its own host is not told of
//!   that host.
//! * A message's links silence for the whole fleet, and acknowledge while the same host counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::alert::{Alert, AlertIn};
use super::log::LogKey;
use super::machine::{Alerts, Snapshot};
use super::member::{FLEET, Mark, Marks, Report, Reported};
use super::notification::{DeliveryId, Notification};
use super::outbox::{Outcome, Settled};
use super::route::{group_labels, label_set};
use super::settings::{Part, Settings};
use crate::limits;
use crate::model::Labels;
use crate::time::Timestamp;

/// An alert fires until its host says otherwise.
const FIRES_ON: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A host that is gone for less than this is not worth a word.
const GONE_FOR: Duration = Duration::from_secs(60);

/// What the machine of the host that counts knows beside the alerts.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked {
    /// Silenced or inhibited on their own hosts.
    muted_there: BTreeSet<Labels>,
    /// Muted when their groups were looked at last.
    muted: BTreeSet<Labels>,
}

impl Looked {
    pub(super) fn is_muted_there(&self, labels: &Labels) -> bool {
        self.muted_there.contains(labels)
    }

    pub(super) fn flushed(&mut self, snapshots: &[Snapshot]) {
        for snapshot in snapshots {
            self.muted.remove(&snapshot.alert.labels);
            if snapshot.muted {
                self.muted.insert(snapshot.alert.labels.clone());
            }
        }
    }
}

/// The alerts of all hosts.
#[derive(Clone, Debug)]
pub struct FleetAlerts {
    pub(super) machine: Alerts,
    hosts: BTreeMap<String, HostAlerts>,
    /// As the machine was given them.
    given: BTreeMap<Labels, Given>,
    /// Hosts whose keys in the store are for nothing any more.
    forgotten: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct HostAlerts {
    report: Arc<Report>,
    gone_since: Option<Timestamp>,
    /// As the store was given them.
    marks: Option<BTreeMap<String, Mark>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Given {
    annotations: BTreeMap<String, String>,
    generator_url: String,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    muted: bool,
}

/// The settings of the machine: what hangs on one host's disk or address is not for a fleet.
fn settings(host: &Settings) -> Settings {
    let mut settings =
        Settings { part: Part::Counter, flapping: None, silence_reminders: None, digest: None, ..host.clone() };
    for to in settings.receivers.iter_mut().flat_map(|receiver| &mut receiver.integrations) {
        let most = if to.max_alerts == 0 { usize::MAX } else { to.max_alerts };
        to.max_alerts = most.min(limits::FLEET_MESSAGE_ALERTS);
    }
    settings
}

impl FleetAlerts {
    /// Goes on from what the store kept: `host` are the settings of this host's own machine.
    pub fn restore(
        now: Timestamp,
        host: &Settings,
        seed: u64,
        reports: &BTreeMap<String, Arc<Report>>,
        live: &BTreeSet<String>,
        kept: impl IntoIterator<Item = (String, Value)>,
    ) -> FleetAlerts {
        let machine = Alerts::new(settings(host), seed);
        let mut fleet = FleetAlerts { machine, hosts: BTreeMap::new(), given: BTreeMap::new(), forgotten: Vec::new() };
        let kept: Vec<(String, Value)> = kept.into_iter().filter(|(key, _)| is_shared(key)).collect();
        // Twice: only what was told says which reports count.
        drop(fleet.machine.restore(kept.iter().cloned(), now));
        fleet.know(now, reports, live);
        fleet.given = fleet.wanted(now);
        fleet.machine = Alerts::new(settings(host), seed);
        for (labels, given) in &fleet.given {
            if let Ok(alert) = Alert::new(given.alert(now, labels), now, host.resolve_timeout) {
                fleet.machine.alerts.insert(labels.clone(), Arc::new(alert));
            }
        }
        fleet.mute();
        drop(fleet.machine.restore(kept, now));
        fleet.machine.hurry(now);
        fleet
    }

    /// Takes over a new configuration of this host.
    pub fn reload(&mut self, now: Timestamp, host: &Settings) {
        self.machine.reload(now, settings(host));
    }

    /// The system's clock was set.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.machine.clock_stepped(by_millis);
        self.hosts.values_mut().filter_map(|host| host.gone_since.as_mut()).for_each(|at| *at = at.shifted(by_millis));
    }

    /// Takes what all hosts report, and who is there; `own` is this host's machine, which gets the fleet's silences.
    pub fn reports(
        &mut self,
        now: Timestamp,
        own: &mut Alerts,
        reports: &BTreeMap<String, Arc<Report>>,
        live: &BTreeSet<String>,
    ) {
        self.share_silences(now, own, reports);
        self.know(now, reports, live);
        let wanted = self.wanted(now);
        let changed: Vec<&Labels> =
            wanted.iter().filter(|(labels, given)| self.given.get(*labels) != Some(given)).map(|(l, _)| l).collect();
        for labels in changed {
            // One that has no room is not marked, and its host tells it.
            drop(self.machine.put(now, wanted[labels].alert(now, labels)));
        }
        for (labels, given) in self.given.iter().filter(|(labels, given)| given.fires() && !wanted.contains_key(labels))
        {
            let ended = Given { ends_at: Some(now), ..given.clone() };
            drop(self.machine.put(now, ended.alert(now, labels)));
        }
        self.given = wanted;
        self.mute();
    }

    fn mute(&mut self) {
        let muted = self.given.iter().filter(|(_, given)| given.muted).map(|(labels, _)| labels.clone());
        self.machine.looked.muted_there = muted.collect();
        self.machine.looked.muted.retain(|labels| self.given.contains_key(labels));
    }

    fn know(&mut self, now: Timestamp, reports: &BTreeMap<String, Arc<Report>>, live: &BTreeSet<String>) {
        for (host, report) in reports {
            let known = self.hosts.entry(host.clone()).or_default();
            if !Arc::ptr_eq(&known.report, report) {
                known.report = Arc::clone(report);
            }
        }
        for (name, host) in &mut self.hosts {
            match live.contains(name) {
                true => host.gone_since = None,
                false => drop(host.gone_since.get_or_insert(now)),
            }
        }
        let over =
            |host: &HostAlerts| host.gone_since.is_some_and(|gone| now.since(gone) >= limits::FLEET_ALERTS_HELD * 2);
        let over: Vec<String> =
            self.hosts.iter().filter(|(_, host)| over(host)).map(|(name, _)| name.clone()).collect();
        for name in over {
            self.hosts.remove(&name);
            if reports.contains_key(&name) {
                self.forgotten.push(name);
            }
        }
    }

    /// What the machine should know.
    fn wanted(&self, now: Timestamp) -> BTreeMap<Labels, Given> {
        let mut wanted: BTreeMap<Labels, Given> = BTreeMap::new();
        for (name, host) in &self.hosts {
            for reported in &host.report.alerts {
                let labels = fleet_labels(name, reported);
                if reported.alone && !self.was_told(&labels) {
                    continue;
                }
                let given = host.given(now, name, reported);
                // Of one alert that several hosts name, the one that fires goes first.
                let known = wanted.get(&labels);
                if known.is_none_or(|known| !known.fires() && given.fires()) {
                    wanted.insert(labels, given);
                }
            }
        }
        wanted
    }

    /// Whether some integration was told by the fleet that it fires.
    fn was_told(&self, labels: &Labels) -> bool {
        let fingerprint = labels.fingerprint().to_string();
        self.machine.log.values().any(|entry| entry.firing.contains(&fingerprint))
    }

    /// When [`FleetAlerts::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.machine.next_deadline()
    }

    /// Flushes what is due, and gives the messages to be sent when the changes are in the store.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Notification>) {
        self.machine.tick(now, out);
    }

    /// Stops the repeats about a group; false when nobody was told that it fires.
    pub(super) fn acknowledge(&mut self, now: Timestamp, group_key: &str, lasts: Duration, by: &str) -> bool {
        self.machine.acknowledge(now, group_key, lasts, by)
    }

    /// Takes the outcome of a delivery; `Unknown` for one that is not the fleet's.
    pub fn delivered(&mut self, now: Timestamp, id: &DeliveryId, outcome: Outcome) -> Settled {
        self.machine.delivered(now, id, outcome)
    }

    /// What changed of what the next host that counts must know.
    pub fn take_changes(&mut self) -> Vec<(String, Option<Value>)> {
        let mut changes = self.machine.take_changes();
        changes.retain(|(key, _)| is_shared(key));
        changes
    }

    /// What is new to hosts of what became of their alerts.
    pub fn take_marks(&mut self, now: Timestamp) -> Vec<(String, Marks)> {
        let mut out = Vec::new();
        let mut hosts = std::mem::take(&mut self.hosts);
        for (name, host) in &mut hosts {
            let marks: BTreeMap<String, Mark> = host
                .report
                .alerts
                .iter()
                .filter_map(|reported| {
                    let fingerprint = Labels::from_pairs(&reported.labels).fingerprint().to_string();
                    Some((fingerprint, self.mark(now, &fleet_labels(name, reported), reported)?))
                })
                .collect();
            if host.marks.as_ref() != Some(&marks) {
                host.marks = Some(marks.clone());
                out.push((name.clone(), Marks { at: now, alerts: marks }));
            }
        }
        self.hosts = hosts;
        out
    }

    /// The store did not take what this host was to be told.
    pub fn say_again(&mut self, host: &str) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.marks = None;
        }
    }

    /// Whether some host is gone whose alerts are held.
    pub fn misses_hosts(&self) -> bool {
        self.hosts.values().any(|host| host.gone_since.is_some())
    }

    /// Hosts that vanished long ago: what the store has of their alerts can go.
    pub fn take_forgotten(&mut self) -> Vec<String> {
        std::mem::take(&mut self.forgotten)
    }

    fn mark(&self, now: Timestamp, labels: &Labels, reported: &Reported) -> Option<Mark> {
        if reported.alone && !self.given.contains_key(labels) {
            return None;
        }
        let resolved = reported.ends_at.is_some();
        let alert = self.machine.alerts.get(labels);
        let fires_elsewhere = resolved && alert.is_some_and(|alert| !alert.resolved(now));
        let told = Some(Mark { resolved, told: true, due: None });
        let Some(_) = alert.filter(|_| !fires_elsewhere) else {
            // Over and told, or never worth a word; one that fires and has no room is not the fleet's.
            return told.filter(|_| resolved);
        };
        let waits = self.machine.nodes_of(labels).into_iter().filter_map(|at| self.waits(at, labels, resolved));
        match waits.max() {
            None => told,
            due => Some(Mark { resolved, told: false, due }),
        }
    }

    /// Until when an alert waits to be told at a node, if it does.
    fn waits(&self, at: usize, labels: &Labels, resolved: bool) -> Option<Timestamp> {
        let machine = &self.machine;
        let node = &machine.tree.nodes[at];
        let text = label_set(&group_labels(node, labels));
        let group =
            machine.groups.get(&format!("{}:{text}", node.id)).filter(|group| group.members.contains(labels))?;
        let receiver = machine.settings.receivers.iter().find(|receiver| receiver.name == node.receiver);
        let to = receiver.filter(|receiver| !receiver.integrations.is_empty())?;
        if resolved {
            return Some(group.queued);
        }
        if machine.looked.muted.contains(labels) {
            return None;
        }
        let fingerprint = labels.fingerprint().to_string();
        let mut waits = None;
        for to in &to.integrations {
            let key =
                LogKey { receiver: node.receiver.clone(), integration: to.name.clone(), group_key: group.key.clone() };
            match machine.log.get(&key).filter(|entry| entry.firing.contains(&fingerprint)) {
                Some(entry) if machine.outbox.is_pending(&key.receiver, &key.integration, &key.group_key) => {
                    waits = Some(entry.at);
                }
                Some(_) => return None,
                None => {}
            }
        }
        waits.or(Some(group.queued))
    }
}

/// The kinds of records that the next host that counts goes on from; the alerts themselves come from their hosts.
fn is_shared(key: &str) -> bool {
    ["group/", "log/", "out/", "rate/", "silence/"].iter().any(|kind| key.starts_with(kind))
}

fn fleet_labels(host: &str, reported: &Reported) -> Labels {
    let labels = Labels::from_pairs(&reported.labels);
    if labels.get("host").is_some() { labels } else { labels.with("host", host) }
}

impl HostAlerts {
    fn given(&self, now: Timestamp, host: &str, reported: &Reported) -> Given {
        let mut given = Given {
            annotations: reported.annotations.clone(),
            generator_url: reported.generator_url.clone(),
            starts_at: reported.starts_at,
            ends_at: reported.ends_at,
            muted: reported.muted,
        };
        if let Some(gone) = self.gone_since.filter(|_| given.fires()) {
            let held = gone + limits::FLEET_ALERTS_HELD;
            let word = if held <= now {
                given.ends_at = Some(held);
                Some(format!(
                    "host {host} vanished at {} and did not come back: whether this ended is not known",
                    gone.to_rfc3339()
                ))
            } else {
                let long = now.since(gone) >= GONE_FOR;
                long.then(|| {
                    format!(
                        "host {host} vanished at {}: its alert is held until {}",
                        gone.to_rfc3339(),
                        held.to_rfc3339()
                    )
                })
            };
            given.annotations.extend(word.map(|word| (FLEET.to_owned(), word)));
        }
        given
    }
}

impl Given {
    fn fires(&self) -> bool {
        self.ends_at.is_none()
    }

    /// Clocks differ: nothing begins or ends in the future.
    fn alert(&self, now: Timestamp, labels: &Labels) -> AlertIn {
        let ends_at = self.ends_at.map_or(now + FIRES_ON, |end| end.min(now));
        AlertIn {
            labels: labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: Some(self.starts_at.min(now).min(ends_at)),
            ends_at: Some(ends_at),
            generator_url: self.generator_url.clone(),
        }
    }
}
