//! Which rules make the most noise: starts and messages of each alert name, a day at a time, and the digest that tells.
//!
//! A week is kept, of at most [`limits::NOISY_RULES`] names; further names are counted together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::log::{LogKey, delivery_id};
use super::machine::{Alerts, Changed};
use super::message::common;
use super::notification::{AlertStatus, DeliveryId, Notification, NotifiedAlert, NotifyReason};
use crate::limits;
use crate::model::Labels;
use crate::time::Timestamp;

const DAY_MILLIS: i64 = 86_400_000;
/// Days that are kept, today among them.
const DAYS: i64 = 7;
/// Names past the limit.
const OTHERS: &str = "(others)";
/// Rules that a digest lists.
const LISTED: usize = 10;

/// What one day brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    starts: u64,
    messages: u64,
}

/// By alert name and day since the epoch.
pub(super) type Noise = BTreeMap<String, BTreeMap<i64, Count>>;

/// One rule's noise over the days that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisyRule {
    pub name: String,
    /// How often an alert of it began to fire.
    pub starts: u64,
    /// Messages that named it, each integration's counted.
    pub messages: u64,
}

fn day(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MILLIS)
}

impl Alerts {
    fn noise_of(&mut self, now: Timestamp, name: &str) -> &mut Count {
        let full = self.noise.len() >= limits::NOISY_RULES && !self.noise.contains_key(name);
        let name = if full { OTHERS } else { name };
        self.changed.insert(Changed::Noise(name.to_owned()));
        self.noise.entry(name.to_owned()).or_default().entry(day(now)).or_default()
    }

    pub(super) fn count_start(&mut self, now: Timestamp, labels: &Labels) {
        self.noise_of(now, labels.value("alertname")).starts += 1;
    }

    pub(super) fn count_message(&mut self, now: Timestamp, message: &Notification) {
        let names: BTreeSet<String> =
            message.alerts.iter().map(|alert| alert.labels.get("alertname").cloned().unwrap_or_default()).collect();
        for name in names {
            self.noise_of(now, &name).messages += 1;
        }
    }

    /// The rules by their messages of the last seven days, the noisiest first.
    pub fn noisy(&self, now: Timestamp) -> Vec<NoisyRule> {
        let first = day(now) - DAYS + 1;
        let sum = |(name, days): (&String, &BTreeMap<i64, Count>)| {
            let lately = days.range(first..);
            let (starts, messages) = lately.fold((0, 0), |sum, (_, day)| (sum.0 + day.starts, sum.1 + day.messages));
            NoisyRule { name: name.clone(), starts, messages }
        };
        let mut rules: Vec<NoisyRule> = self.noise.iter().map(sum).filter(|r| r.starts + r.messages > 0).collect();
        rules.sort_by(|a, b| (b.messages, b.starts, &a.name).cmp(&(a.messages, a.starts, &b.name)));
        rules
    }

    /// Forgets days that are over.
    pub(super) fn sweep_noise(&mut self, now: Timestamp) {
        let first = day(now) - DAYS + 1;
        let mut gone = Vec::new();
        for (name, days) in &mut self.noise {
            let before = days.len();
            days.retain(|day, _| *day >= first);
            if days.len() != before {
                gone.push(name.clone());
            }
        }
        self.noise.retain(|_, days| !days.is_empty());
        self.changed.extend(gone.into_iter().map(Changed::Noise));
    }

    /// When the next digest is due.
    pub(super) fn digest_due(&self) -> Option<Timestamp> {
        self.settings.digest.as_ref().and(self.next_digest)
    }

    /// Sends the digest when its time has come; the first comes one interval after it was configured.
    pub(super) fn tick_digest(&mut self, now: Timestamp) {
        let Some(settings) = self.settings.digest.clone() else { return };
        let Some(due) = self.next_digest else {
            self.next_digest = Some(now + settings.every);
            self.changed.insert(Changed::Digest);
            return;
        };
        if due > now {
            return;
        }
        // What was missed while the host was down is not made up for.
        self.next_digest = Some((due + settings.every).max(now + std::time::Duration::from_secs(1)));
        self.changed.insert(Changed::Digest);
        let rules = self.noisy(now);
        let found = self.settings.receivers.iter().find(|receiver| receiver.name == settings.receiver);
        let integrations = found.map(|receiver| receiver.integrations.clone()).unwrap_or_default();
        if rules.is_empty() {
            return;
        }
        for integration in integrations {
            let key = LogKey {
                receiver: settings.receiver.clone(),
                integration: integration.name,
                group_key: "{}:{alertname=\"NoisiestRules\"}".to_owned(),
            };
            let sequence = u64::try_from(due.as_millis()).unwrap_or_default();
            let message = self.digest(now, DeliveryId(delivery_id(&key, sequence, due)), key, &rules);
            self.outbox.submit(now, message);
        }
    }

    fn digest(&self, now: Timestamp, id: DeliveryId, key: LogKey, rules: &[NoisyRule]) -> Notification {
        let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let labels = pairs(&[("alertname", "NoisiestRules"), ("severity", "info")]);
        let line = |rule: &NoisyRule| format!("{}: {} messages, began {} times", rule.name, rule.messages, rule.starts);
        let lines: Vec<String> = rules.iter().take(LISTED).map(line).collect();
        let messages: u64 = rules.iter().map(|rule| rule.messages).sum();
        let summary =
            format!("{messages} messages about {} rules in the last seven days; the noisiest first", rules.len());
        let annotations = pairs(&[("summary", &summary), ("description", &lines.join("\n"))]);
        let alerts = vec![NotifiedAlert {
            status: AlertStatus::Firing,
            fingerprint: Labels::from_pairs(&labels).fingerprint().to_string(),
            labels: labels.clone(),
            annotations,
            starts_at: now,
            ends_at: None,
            generator_url: self.settings.external_url.clone(),
            is_news: true,
        }];
        let (common_labels, common_annotations) = common(&alerts);
        Notification {
            id,
            receiver: key.receiver,
            integration: key.integration,
            group_key: key.group_key,
            status: AlertStatus::Firing,
            reason: NotifyReason::FirstNotification,
            group_labels: labels,
            common_labels,
            common_annotations,
            alerts,
            truncated_alerts: 0,
            external_url: self.settings.external_url.clone(),
            created_at: now,
            links: BTreeMap::new(),
        }
    }
}
