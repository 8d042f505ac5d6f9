//! A host of a fleet and its alerts at routes of scope `fleet`: the fleet tells them, and where it does not, the host.
//!
//! Spec. The host gives what fires to the fleet ([`Report`]); the host that counts tells the alerts of all together
//! (`counter.rs`) and answers each host with [`Marks`]. At such a route the host itself tells nothing, but that
//!
//! * an alert that the fleet has not said to be told within `tell_alone_after` is told by this host: counted from the route's
//!   `group_wait` after its start (and after the daemon's own start), or from the moment for which the fleet has
//!   announced its message, whichever is later;
//! * who told the beginning tells the end and what lies between: an alert that was told alone stays this host's, and
//!   the fleet leaves it out; the end of what the fleet told waits for the fleet, for as long as it takes;
//! * what is told alone is a group of its own (its key ends with `@HOST`), and says why in the annotation `fleet`.
//!
//! What the fleet has told is kept for a restart, so that one while the store is away does not tell it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::alert::text_map;
use super::machine::{Alerts, Changed, Group, Snapshot};
use super::route::{Node, group_labels, label_set};
use super::settings::Part;
use super::silence::SilenceRecord;
use crate::limits;
use crate::model::Labels;
use crate::time::{Timestamp, format_duration};

/// The annotation that says how an alert was told.
pub(super) const FLEET: &str = "fleet";

/// What one host gives to the fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub alerts: Vec<Reported>,
    /// How many had no room; the host tells them by itself.
    #[serde(default)]
    pub left_out: usize,
    /// For the whole fleet, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) silences: BTreeMap<String, SilenceRecord>,
}

/// One alert of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    /// `None`: it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
    /// Silenced or inhibited on its host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// Its host has told it and tells its end, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// What the fleet says of one host's alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// When this was written, by the clock of the host that counts.
    pub at: Timestamp,
    /// By fingerprint.
    pub alerts: BTreeMap<String, Mark>,
}

/// What the fleet says of one alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Of its end, not of its firing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolved: bool,
    /// Some receiver took the message, or there is nothing to tell.
    pub told: bool,
    /// Else: when it will be, by the same clock as [`Marks::at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// What a host remembers of the fleet's words.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    since: Timestamp,
    /// With the time for which a message is announced, by this host's clock.
    marks: BTreeMap<String, (Mark, Timestamp)>,
}

impl Member {
    /// The daemon starts: nobody has waited yet.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.since = now;
    }

    /// What the journal keeps.
    pub(super) fn kept(&self) -> BTreeMap<String, Mark> {
        self.marks.iter().map(|(fingerprint, (mark, _))| (fingerprint.clone(), mark.clone())).collect()
    }

    pub(super) fn remember(&mut self, kept: BTreeMap<String, Mark>, now: Timestamp) {
        self.marks = kept.into_iter().map(|(fingerprint, mark)| (fingerprint, (mark, now))).collect();
    }

    pub(super) fn clock_stepped(&mut self, by_millis: i64) {
        self.since = self.since.shifted(by_millis);
        self.marks.values_mut().for_each(|(_, due)| *due = due.shifted(by_millis));
    }
}

/// Who tells an alert in the state it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The fleet has, or there is nothing to tell.
    Fleet,
    /// Until then the fleet has time to.
    Waits(Timestamp),
    /// This host.
    Alone,
}

impl Alerts {
    /// Takes what the fleet says of this host's alerts.
    pub fn fleet_says(&mut self, now: Timestamp, marks: &Marks) {
        let before = std::mem::take(&mut self.member.marks);
        let mut news = before.len() != marks.alerts.len();
        for (fingerprint, mark) in &marks.alerts {
            let known = before.get(fingerprint).filter(|(known, _)| known == mark);
            news |= known.is_none();
            // Clocks differ; the span does not.
            let wait = mark.due.map(|due| due.since(marks.at)).unwrap_or_default().min(limits::FLEET_ALERTS_HELD);
            let due = known.map_or(now + wait, |(_, due)| *due);
            self.member.marks.insert(fingerprint.clone(), (mark.clone(), due));
        }
        if !news {
            return;
        }
        self.changed.insert(Changed::Marks);
        let fleet = |group: &Group| self.tree.nodes[group.node].fleet;
        let ids: Vec<String> = self.groups.iter().filter(|(_, group)| fleet(group)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                group.wake = Some(now);
            }
            self.schedule(now, &id);
        }
    }

    fn is_fleets(&self, node: &Node) -> bool {
        node.fleet && matches!(self.settings.part, Part::Member { .. })
    }

    fn told_alone(&self, receiver: &str, group_key: &str, fingerprint: &str) -> bool {
        self.log_of(receiver, group_key).any(|(_, entry)| entry.firing.contains(fingerprint))
    }

    fn standing(&self, now: Timestamp, node: &Node, group_key: &str, alert: &super::alert::Alert) -> Standing {
        let resolved =
            alert.resolved(now) && self.flaps.flapping(&alert.labels, now, self.settings.flapping.as_ref()).is_none();
        let fingerprint = alert.labels.fingerprint().to_string();
        if self.told_alone(&node.receiver, group_key, &fingerprint) {
            return Standing::Alone;
        }
        let said = self.member.marks.get(&fingerprint);
        let mark = said.filter(|(mark, _)| mark.resolved == resolved);
        if mark.is_some_and(|(mark, _)| mark.told) {
            return Standing::Fleet;
        }
        let begun = if resolved { alert.ends_at } else { alert.starts_at };
        let own = begun.max(self.member.since) + node.group_wait;
        let until = mark.map_or(own, |(_, due)| own.max(*due)) + self.settings.tell_alone_after;
        // The end of what the fleet told is the fleet's to tell, however long that takes; of what nobody told there is no end.
        let fleet_told = resolved && said.is_some_and(|(mark, _)| mark.told && !mark.resolved);
        let until = if fleet_told { until.max(begun + limits::ALERT_RETENTION) } else { until };
        match resolved {
            _ if now < until => Standing::Waits(until),
            true => Standing::Fleet,
            false => Standing::Alone,
        }
    }

    /// An alert came to a group, or was heard of again: the fleet has only so long to tell it.
    pub(super) fn wait_for_fleet(&mut self, now: Timestamp, id: &str, labels: &Labels) {
        let Some(group) = self.groups.get(id) else { return };
        let node = &self.tree.nodes[group.node];
        if !self.is_fleets(node) {
            return;
        }
        let Some(alert) = self.alerts.get(labels) else { return };
        if let Standing::Waits(until) = self.standing(now, node, &group.key, alert)
            && let Some(group) = self.groups.get_mut(id)
        {
            group.wake = Some(group.wake.map_or(until, |wake| wake.min(until)));
        }
    }

    /// At a flush: what this host tells by itself, and which alerts are over and done with. Elsewhere than at a route of
    /// the fleet it tells everything.
    pub(super) fn sort_out(
        &mut self,
        now: Timestamp,
        node: &Node,
        group: &mut Group,
        mut snapshots: Vec<Snapshot>,
    ) -> (Vec<Snapshot>, Vec<Labels>) {
        if !self.is_fleets(node) {
            if self.settings.part == Part::Counter {
                self.looked.flushed(&snapshots);
            }
            return (snapshots, Vec::new());
        }
        group.wake = None;
        let mut ended = Vec::new();
        snapshots.retain(|snapshot| match self.standing(now, node, &group.key, &snapshot.alert) {
            Standing::Alone => true,
            Standing::Waits(until) => {
                group.wake = Some(group.wake.map_or(until, |wake| wake.min(until)));
                false
            }
            Standing::Fleet => {
                ended.extend(snapshot.resolved.then(|| snapshot.alert.labels.clone()));
                false
            }
        });
        (snapshots, ended)
    }

    /// Why this host tells an alert of a route of the fleet by itself.
    pub(super) fn alone_words(&self, node: &Node) -> Option<String> {
        let Part::Member { host } = &self.settings.part else { return None };
        node.fleet.then(|| {
            let wait = format_duration(self.settings.tell_alone_after);
            format!("told by {host} alone: the fleet did not tell it within {wait}, its store may be out of reach")
        })
    }

    /// What this host gives to the fleet; `None` when it has no route of scope `fleet`.
    pub fn report(&self, now: Timestamp) -> Option<Report> {
        if !matches!(self.settings.part, Part::Member { .. }) || self.tree.nodes.iter().all(|node| !node.fleet) {
            return None;
        }
        let groups: Vec<&Group> = self.groups.values().filter(|group| self.tree.nodes[group.node].fleet).collect();
        if groups.is_empty() {
            return Some(Report { silences: self.silences_for_fleet(now), ..Report::default() });
        }
        let (inhibitor, mut seen) = (self.inhibitor(now), BTreeSet::new());
        let mut all = Vec::new();
        for group in groups {
            let node = &self.tree.nodes[group.node];
            for alert in group.members.iter().filter_map(|labels| self.alerts.get(labels)) {
                if !seen.insert(&alert.labels) {
                    continue;
                }
                let fingerprint = alert.labels.fingerprint().to_string();
                let flaps = self.flaps.flapping(&alert.labels, now, self.settings.flapping.as_ref()).is_some();
                all.push(Reported {
                    labels: text_map(&alert.labels),
                    annotations: alert.annotations.to_map(),
                    starts_at: alert.starts_at,
                    ends_at: Some(alert.ends_at).filter(|_| alert.resolved(now) && !flaps),
                    generator_url: alert.generator_url.clone(),
                    muted: self.hidden(node, &alert.labels, &inhibitor, now),
                    alone: self.told_alone(&node.receiver, &group.key, &fingerprint),
                });
            }
        }
        Some(Report { silences: self.silences_for_fleet(now), ..bounded(all) })
    }

    /// How a route of the fleet comes to tell an alert, for people to read.
    pub(super) fn explain_fleet(&self, node: &Node, labels: &Labels, now: Timestamp, out: &mut String) {
        if !self.is_fleets(node) {
            return;
        }
        let text = label_set(&group_labels(node, labels));
        let standing =
            self.alerts.get(labels).map(|alert| self.standing(now, node, &self.group_key(node, &text), alert));
        let words = match standing {
            Some(Standing::Fleet) => "and has",
            Some(Standing::Alone) => "but did not in time: this host tells it by itself",
            Some(Standing::Waits(until)) => &format!("and has time for that until {}", until.to_rfc3339()),
            None => "together with those of all hosts",
        };
        let _ = writeln!(out, "  the fleet tells the alerts of this route, {words}");
    }
}

/// The oldest that have room: what was given stays given.
fn bounded(mut all: Vec<Reported>) -> Report {
    all.sort_by(|a, b| (a.starts_at, &a.labels).cmp(&(b.starts_at, &b.labels)));
    let mut bytes = 0;
    let fits = all.iter().take(limits::FLEET_HOST_ALERTS).take_while(|alert| {
        bytes += serde_json::to_vec(alert).map_or(0, |json| json.len());
        bytes <= limits::FLEET_HOST_ALERT_BYTES
    });
    let room = fits.count();
    let left_out = all.len() - room;
    all.truncate(room);
    Report { alerts: all, left_out, silences: BTreeMap::new() }
}
