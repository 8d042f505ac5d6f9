//! What one integration is told at a flush: whether a message is due, why, and what is in it.

use std::collections::{BTreeMap, BTreeSet};

use super::alert::text_map;
use super::flap::next_report;
use super::log::{LogEntry, LogKey, delivery_id, needs_update};
use super::machine::{Alerts, Changed, Group, Snapshot};
use super::member::FLEET;
use super::message::{common, sort_firing_first};
use super::notification::{AlertStatus, DeliveryId, Notification, NotifiedAlert, NotifyReason};
use super::route::Node;
use super::settings::IntegrationSpec;
use crate::time::Timestamp;

/// A flapping alert, and what an integration was told of that.
struct FlapReport {
    fingerprint: String,
    /// How often it was told.
    told: u32,
    due: bool,
}

/// Why a message is due, with flapping and acknowledgement taken into account: what only flaps is repeated in its own
/// rhythm, and what somebody acknowledged is not repeated.
fn decide(due: Option<NotifyReason>, reports: &[FlapReport], all_flap: bool, calm: bool) -> Option<NotifyReason> {
    let first = reports.iter().any(|report| report.told == 0);
    let again = reports.iter().any(|report| report.due);
    match due {
        Some(NotifyReason::RepeatInterval) | None => {
            let only_flaps = all_flap && !reports.is_empty();
            let repeat = due.is_some() && !only_flaps;
            let reason = if repeat || again { Some(NotifyReason::RepeatInterval) } else { None };
            if first { Some(NotifyReason::NewAlerts) } else { reason.filter(|_| !calm) }
        }
        state => state,
    }
}

/// Adds the annotation `fleet` to all alerts of a message.
fn say(message: &mut Notification, words: &str) {
    for alert in &mut message.alerts {
        alert.annotations.insert(FLEET.to_owned(), words.to_owned());
    }
    message.common_annotations.insert(FLEET.to_owned(), words.to_owned());
}

impl Alerts {
    /// Decides for one integration, writes the log, and puts a message into the outbox.
    pub(super) fn notify(
        &mut self,
        now: Timestamp,
        node: &Node,
        group: &Group,
        to: &IntegrationSpec,
        snapshots: &[Snapshot],
    ) {
        let key =
            LogKey { receiver: node.receiver.clone(), integration: to.name.clone(), group_key: group.key.clone() };
        let entry = self.log.get(&key);
        let alone = self.alone_words(node);
        let told = |s: &Snapshot| entry.is_some_and(|entry| entry.firing.contains(&s.fingerprint));
        let late = |s: &Snapshot| self.settings.resolve_when_muted && s.resolved && told(s);
        let shown: Vec<&Snapshot> = snapshots.iter().filter(|s| !s.muted || late(s)).collect();
        if shown.is_empty() {
            return;
        }
        let names = |resolved: bool| -> BTreeSet<String> {
            shown.iter().filter(|s| s.resolved == resolved).map(|s| s.fingerprint.clone()).collect()
        };
        let (mut firing, resolved) = (names(false), names(true));
        // What fires on under a silence stays told when only the end of another alert got through.
        let hidden = |s: &&Snapshot| self.settings.resolve_when_muted && s.muted && !s.resolved && told(s);
        firing.extend(snapshots.iter().filter(hidden).map(|s| s.fingerprint.clone()));
        let due = needs_update(entry, &firing, &resolved, to.send_resolved, node.repeat_interval, now);
        let reports = self.flap_reports(now, entry, &shown);
        let calm = entry.and_then(|entry| entry.acknowledged.as_ref()).is_some_and(|known| now < known.until);
        let all_flap = shown.iter().all(|s| s.resolved || s.flapping.is_some());
        let Some(reason) = decide(due, &reports, all_flap, calm) else { return };
        let before = entry.cloned().unwrap_or_default();
        let sequence = before.sequence + 1;
        let shows_firing = shown.iter().any(|s| !s.resolved);
        if shows_firing || to.send_resolved {
            let id = DeliveryId(delivery_id(&key, sequence, now));
            let shown = shown.into_iter().filter(|s| to.send_resolved || !s.resolved);
            let mut message = self.message(now, id, &key, reason, group, to, shown, &before);
            if let Some(words) = alone {
                say(&mut message, &words);
            }
            if shows_firing {
                self.add_links(&mut message);
            }
            self.count_message(now, &message);
            self.outbox.submit(now, message);
        }
        let goes_on = matches!(reason, NotifyReason::SomeResolved | NotifyReason::RepeatInterval);
        let acknowledged = before.acknowledged.filter(|known| goes_on && now < known.until);
        self.changed.insert(Changed::Log(key.clone()));
        let flapping = reports.into_iter().map(|report| (report.fingerprint, (report.told + 1, now))).collect();
        self.log.insert(key, LogEntry { at: now, firing, resolved, sequence, flapping, acknowledged });
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message, put together in one place")]
    fn message<'a>(
        &self,
        now: Timestamp,
        id: DeliveryId,
        key: &LogKey,
        reason: NotifyReason,
        group: &Group,
        to: &IntegrationSpec,
        shown: impl Iterator<Item = &'a Snapshot>,
        before: &LogEntry,
    ) -> Notification {
        let mut alerts: Vec<NotifiedAlert> = shown
            .map(|s| NotifiedAlert {
                status: if s.resolved { AlertStatus::Resolved } else { AlertStatus::Firing },
                labels: text_map(&s.alert.labels),
                annotations: self.annotations(s),
                starts_at: s.alert.starts_at,
                ends_at: s.resolved.then_some(s.alert.ends_at),
                generator_url: s.alert.generator_url.clone(),
                is_news: !if s.resolved { &before.resolved } else { &before.firing }.contains(&s.fingerprint),
                fingerprint: s.fingerprint.clone(),
            })
            .collect();
        sort_firing_first(&mut alerts);
        let fires = alerts.first().is_some_and(|alert| alert.status == AlertStatus::Firing);
        let left_out = if to.max_alerts == 0 { 0 } else { alerts.len().saturating_sub(to.max_alerts) };
        alerts.truncate(alerts.len() - left_out);
        let (common_labels, common_annotations) = common(&alerts);
        Notification {
            id,
            receiver: key.receiver.clone(),
            integration: key.integration.clone(),
            group_key: key.group_key.clone(),
            status: if fires { AlertStatus::Firing } else { AlertStatus::Resolved },
            reason,
            group_labels: text_map(&group.labels),
            common_labels,
            common_annotations,
            alerts,
            truncated_alerts: left_out as u64,
            external_url: self.settings.external_url.clone(),
            created_at: now,
            links: BTreeMap::new(),
        }
    }

    fn flap_reports(&self, now: Timestamp, entry: Option<&LogEntry>, shown: &[&Snapshot]) -> Vec<FlapReport> {
        let Some(settings) = &self.settings.flapping else { return Vec::new() };
        let flapping = shown.iter().filter(|s| s.flapping.is_some() && !s.resolved);
        flapping
            .map(|s| {
                let told = entry.and_then(|entry| entry.flapping.get(&s.fingerprint));
                FlapReport {
                    fingerprint: s.fingerprint.clone(),
                    told: told.map_or(0, |(told, _)| *told),
                    due: told.is_none_or(|(told, last)| next_report(*last, *told, settings) <= now),
                }
            })
            .collect()
    }

    /// An alert's annotations; one that flaps has `flapping` among them, in words.
    fn annotations(&self, snapshot: &Snapshot) -> BTreeMap<String, String> {
        let mut annotations = snapshot.alert.annotations.to_map();
        if let (Some(flapping), Some(settings)) = (&snapshot.flapping, &self.settings.flapping) {
            annotations.entry("flapping".to_owned()).or_insert_with(|| flapping.words(settings));
        }
        annotations
    }
}
