//! Reminders of silences that people may have forgotten, as alerts of our own that go the way of all alerts:
//! `SilenceEndsSoon` while a silence that mutes something is about to end, and `SilenceForgotten` while it has muted the
//! same alert for long. They carry the silence's id as the label `silence`, and that silence does not mute them.

use std::collections::{BTreeMap, BTreeSet};

use super::alert::AlertIn;
use super::machine::Alerts;
use super::silence::SilenceState;
use crate::model::Labels;
use crate::time::{Timestamp, format_duration};

pub(super) const ENDS_SOON: &str = "SilenceEndsSoon";
pub(super) const FORGOTTEN: &str = "SilenceForgotten";

/// Whether an alert is a reminder of this silence.
pub(super) fn reminds_of(labels: &Labels, silence: &str) -> bool {
    is_reminder(labels) && labels.value("silence") == silence
}

fn is_reminder(labels: &Labels) -> bool {
    [ENDS_SOON, FORGOTTEN].contains(&labels.value("alertname")) && !labels.value("silence").is_empty()
}

impl Alerts {
    /// Raises reminders that are due and ends those that are not.
    pub(super) fn remind(&mut self, now: Timestamp) {
        let mut due: Vec<AlertIn> = Vec::new();
        if self.settings.silence_reminders.is_some() {
            due = self.reminders(now);
        }
        let wanted: BTreeSet<Labels> = due.iter().map(|alert| alert.labels.clone()).collect();
        let over: Vec<AlertIn> = self
            .alerts
            .values()
            .filter(|alert| is_reminder(&alert.labels) && !alert.resolved(now) && !wanted.contains(&alert.labels))
            .map(|alert| AlertIn {
                labels: alert.labels.clone(),
                annotations: alert.annotations.to_map(),
                starts_at: Some(alert.starts_at),
                ends_at: Some(now),
                generator_url: alert.generator_url.clone(),
            })
            .collect();
        for alert in due.into_iter().chain(over) {
            // Past the limit of alerts there is nothing better to do than to go without a reminder.
            drop(self.put(now, alert));
        }
    }

    fn reminders(&self, now: Timestamp) -> Vec<AlertIn> {
        let Some(settings) = &self.settings.silence_reminders else { return Vec::new() };
        let mut out = Vec::new();
        for silence in self.silences.all.values() {
            if self.silence_state(silence, now) != SilenceState::Active {
                continue;
            }
            let muted = self.alerts.values().filter(|alert| {
                !alert.resolved(now)
                    && !is_reminder(&alert.labels)
                    && super::route::matches_all(&silence.matchers, &alert.labels)
            });
            let (mut count, mut oldest) = (0_usize, now);
            for alert in muted {
                count += 1;
                oldest = oldest.min(alert.starts_at.max(silence.starts_at));
            }
            if count == 0 {
                continue;
            }
            let plural = if count == 1 { "1 alert that fires".to_owned() } else { format!("{count} alerts that fire") };
            let of = format!("the silence of {} ({})", silence.created_by, silence.comment);
            let mut raise = |name: &str, summary: String| {
                let labels = Labels::from_pairs([("alertname", name), ("silence", &silence.id), ("severity", "info")]);
                let known = self.alerts.get(&labels).filter(|alert| !alert.resolved(now));
                let annotations = BTreeMap::from([("summary".to_owned(), summary)]);
                out.push(AlertIn {
                    starts_at: Some(known.map_or(now, |alert| alert.starts_at)),
                    labels,
                    annotations,
                    ends_at: None,
                    generator_url: self.settings.external_url.clone(),
                });
            };
            if silence.ends_at.since(now) <= settings.before_end {
                raise(ENDS_SOON, format!("{of} ends at {}; it mutes {plural}", silence.ends_at.to_rfc3339()));
            }
            if now.since(oldest) >= settings.muted_for {
                let long = format_duration(settings.muted_for);
                raise(FORGOTTEN, format!("{of} has muted something for more than {long}; it mutes {plural}"));
            }
        }
        out
    }
}
