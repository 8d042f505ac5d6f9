//! One message to one integration of one receiver, as the outbox keeps it and `notify` renders it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The stable name of one message: the same over every retry and restart, and sent along (`webhook-id`, `Message-ID`),
/// so that a receiver can drop a repetition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub String);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Firing or resolved: of one alert, or of a whole message (firing when any alert in it is).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

impl AlertStatus {
    /// `firing` or `resolved`.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertStatus::Firing => "firing",
            AlertStatus::Resolved => "resolved",
        }
    }
}

/// Why a message is sent now (Alertmanager's `notification_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyReason {
    /// The group had not been notified before.
    FirstNotification,
    /// Alerts that were not in the last message are firing.
    NewAlerts,
    /// Some alerts resolved, others still fire.
    SomeResolved,
    AllResolved,
    RepeatInterval,
}

/// One alert within a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotifiedAlert {
    pub status: AlertStatus,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    /// `None` while it fires.
    pub ends_at: Option<Timestamp>,
    /// A link to the expression.
    pub generator_url: String,
    /// 16 hexadecimal digits: Alertmanager's fingerprint of the labels.
    pub fingerprint: String,
    /// True when this alert was not in the group's last message (or changed its state since).
    pub is_news: bool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub id: DeliveryId,
    /// The receiver's name in the configuration.
    pub receiver: String,
    /// Which integration of the receiver, for example `email[0]`, `webhook[1]`.
    pub integration: String,
    /// Alertmanager's group key, for example `{}/{severity="page"}:{alertname="Down"}`.
    pub group_key: String,
    pub status: AlertStatus,
    pub reason: NotifyReason,
    pub group_labels: BTreeMap<String, String>,
    pub common_labels: BTreeMap<String, String>,
    pub common_annotations: BTreeMap<String, String>,
    /// Firing alerts first; each with its own status.
    pub alerts: Vec<NotifiedAlert>,
    /// How many alerts were left out because of `max_alerts`.
    pub truncated_alerts: u64,
    /// Our own page.
    pub external_url: String,
    /// When the message was decided.
    pub created_at: Timestamp,
    /// Links that act on what the message is about, by what they do: `silence`, `acknowledge`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}
