//! What the API and the page show: alerts with their status, groups, and the way of an alert through the routes.

use std::collections::{BTreeMap, HashSet};

use super::alert::Alert;
use super::inhibit::Inhibitor;
use super::machine::Alerts;
use super::outbox::DeliveryView;
use super::settings::{ReceiverSpec, Settings};
use crate::model::Labels;
use crate::time::Timestamp;

/// Whether an alert is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// No group of it was flushed yet.
    Unprocessed,
    Active,
    /// Silenced, inhibited or muted.
    Suppressed,
}

impl AlertState {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Unprocessed => "unprocessed",
            AlertState::Active => "active",
            AlertState::Suppressed => "suppressed",
        }
    }
}

/// An alert as API v2 gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertView {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    /// Names of the receivers whose routes take it.
    pub receivers: Vec<String>,
    pub state: AlertState,
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts.
    pub inhibited_by: Vec<String>,
    /// Names of time intervals.
    pub muted_by: Vec<String>,
}

/// A group as API v2 gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupView {
    pub labels: Labels,
    pub route_labels: BTreeMap<String, String>,
    pub receiver: String,
    /// Alertmanager's group key.
    pub key: String,
    /// When it is looked at next.
    pub next_flush: Timestamp,
    /// Sorted by labels; firing ones only.
    pub alerts: Vec<AlertView>,
}

impl Alerts {
    /// The configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All alerts that fire, sorted by labels.
    pub fn alerts(&self, now: Timestamp) -> Vec<AlertView> {
        let (inhibitor, seen) = (self.inhibitor(now), self.flushed());
        let mut out: Vec<AlertView> = self.firing(now).map(|alert| self.view(alert, &inhibitor, &seen, now)).collect();
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        out
    }

    /// All groups with an alert that fires, sorted by labels and receiver.
    pub fn groups(&self, now: Timestamp) -> Vec<GroupView> {
        let (inhibitor, seen) = (self.inhibitor(now), self.flushed());
        let mut out = Vec::new();
        for group in self.groups.values() {
            let node = &self.tree.nodes[group.node];
            let members = group.members.iter().filter_map(|labels| self.alerts.get(labels));
            let firing = members.filter(|alert| !alert.resolved(now));
            let alerts: Vec<AlertView> = firing.map(|alert| self.view(alert, &inhibitor, &seen, now)).collect();
            if !alerts.is_empty() {
                out.push(GroupView {
                    labels: group.labels.clone(),
                    route_labels: node.labels.clone(),
                    receiver: node.receiver.clone(),
                    key: group.key.clone(),
                    next_flush: group.next_flush,
                    alerts,
                });
            }
        }
        out.sort_by(|a, b| (&a.labels, &a.receiver).cmp(&(&b.labels, &b.receiver)));
        out
    }

    /// The configured receivers.
    pub fn receivers(&self) -> &[ReceiverSpec] {
        &self.settings.receivers
    }

    /// Every message on its way.
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        self.outbox.deliveries()
    }

    fn firing(&self, now: Timestamp) -> impl Iterator<Item = &Alert> + Clone {
        self.alerts.values().map(|alert| &**alert).filter(move |alert| !alert.resolved(now))
    }

    /// The alerts that a flush has seen.
    fn flushed(&self) -> HashSet<&Labels> {
        self.groups.values().filter(|group| group.flushed).flat_map(|group| &group.members).collect()
    }

    pub(super) fn inhibitor(&self, now: Timestamp) -> Inhibitor {
        Inhibitor::new(&self.settings.inhibit_rules, &self.tree.ladders, self.firing(now).map(|alert| &alert.labels))
    }

    fn view(&self, alert: &Alert, inhibitor: &Inhibitor, seen: &HashSet<&Labels>, now: Timestamp) -> AlertView {
        let nodes: Vec<_> = self.tree.matching(&alert.labels).into_iter().map(|at| &self.tree.nodes[at]).collect();
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names.dedup();
            names
        };
        let silenced_by = self.silences.covering(&alert.labels, now, &self.settings.time_intervals);
        let outranked = nodes.iter().flat_map(|n| inhibitor.outranking(&self.tree.ladders, n.ladder, &alert.labels));
        let inhibited = inhibitor.inhibiting(&self.settings.inhibit_rules, &alert.labels).into_iter().chain(outranked);
        let inhibited_by = sorted(inhibited.map(|source| source.to_string()).collect());
        let muted_by = sorted(nodes.iter().filter_map(|node| self.muted_by(node, now)).collect());
        let quiet = !(silenced_by.is_empty() && inhibited_by.is_empty() && muted_by.is_empty());
        AlertView {
            labels: alert.labels.clone(),
            annotations: alert.annotations.to_map(),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            updated_at: alert.updated_at,
            generator_url: alert.generator_url.clone(),
            fingerprint: alert.labels.fingerprint().to_string(),
            receivers: sorted(nodes.iter().map(|node| node.receiver.clone()).collect()),
            state: match (quiet, seen.contains(&alert.labels)) {
                (true, _) => AlertState::Suppressed,
                (false, true) => AlertState::Active,
                (false, false) => AlertState::Unprocessed,
            },
            silenced_by,
            inhibited_by,
            muted_by,
        }
    }
}
