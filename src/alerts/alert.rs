//! One alert: as it comes in, as it is kept, and how two reports of it become one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::model::{Labels, TextMap};
use crate::time::Timestamp;

/// An alert as a source reports it: our own rules, or the API.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertIn {
    /// Its identity.
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    /// `None`: now, or its end when that is given.
    pub starts_at: Option<Timestamp>,
    /// In the past: it is resolved. In the future: until when it counts as firing when nothing more is heard.
    /// `None`: `resolve_timeout` from now.
    pub ends_at: Option<Timestamp>,
    /// A link to the expression.
    pub generator_url: String,
}

/// Why an alert is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    #[error("invalid label set: at least one label pair required")]
    NoLabels,
    #[error("the labels are larger than {most} bytes", most = limits::LABELS_BYTES)]
    LabelsTooLarge,
    #[error("start time must be before end time")]
    EndsBeforeStart,
    #[error("there are {most} alerts already", most = limits::ALERTS)]
    TooMany,
}

/// An alert as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub labels: Labels,
    pub annotations: TextMap,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    /// The end was not given, but follows from `resolve_timeout`.
    pub timeout: bool,
    pub generator_url: String,
    pub updated_at: Timestamp,
    /// Groups that hold it.
    pub holders: usize,
}

impl Alert {
    /// Checks a report and completes it.
    pub fn new(input: AlertIn, now: Timestamp, resolve_timeout: Duration) -> Result<Alert, AlertError> {
        if input.labels.is_empty() {
            return Err(AlertError::NoLabels);
        }
        if input.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > limits::LABELS_BYTES {
            return Err(AlertError::LabelsTooLarge);
        }
        let starts_at = input.starts_at.or(input.ends_at).unwrap_or(now);
        let ends_at = input.ends_at.unwrap_or(now + resolve_timeout);
        if ends_at < starts_at {
            return Err(AlertError::EndsBeforeStart);
        }
        Ok(Alert {
            labels: input.labels,
            annotations: input.annotations.into(),
            starts_at,
            ends_at,
            timeout: input.ends_at.is_none(),
            generator_url: input.generator_url,
            updated_at: now,
            holders: 0,
        })
    }

    pub fn resolved(&self, now: Timestamp) -> bool {
        self.ends_at <= now
    }

    /// This newer report, joined with the one before it where their times overlap: the earliest start stays, and so
    /// does a later end that was given and not assumed.
    pub fn joined(mut self, old: &Alert, now: Timestamp) -> Alert {
        let inside = |at: Timestamp| old.starts_at < at && at < old.ends_at;
        if !inside(self.ends_at) && !inside(self.starts_at) {
            return self;
        }
        self.starts_at = self.starts_at.min(old.starts_at);
        let old_end_stays = match self.resolved(now) {
            true => old.resolved(now),
            false => !old.timeout,
        };
        if old_end_stays {
            self.ends_at = self.ends_at.max(old.ends_at);
        }
        self
    }

    /// Whether the journal must know of the step from `old` to this: not of a mere sign of life.
    pub fn differs(&self, old: &Alert, now: Timestamp) -> bool {
        self.resolved(now) != old.resolved(now)
            || (self.resolved(now) && self.ends_at != old.ends_at)
            || self.starts_at != old.starts_at
            || self.annotations != old.annotations
            || self.generator_url != old.generator_url
    }
}

/// An alert as the journal keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct AlertRecord {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    timeout: bool,
    generator_url: String,
    updated_at: Timestamp,
}

impl From<&Alert> for AlertRecord {
    fn from(alert: &Alert) -> AlertRecord {
        AlertRecord {
            labels: text_map(&alert.labels),
            annotations: alert.annotations.to_map(),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            timeout: alert.timeout,
            generator_url: alert.generator_url.clone(),
            updated_at: alert.updated_at,
        }
    }
}

impl AlertRecord {
    /// The alert again. One that fired when it was written and whose end has passed since gets time to be heard of:
    /// its source may have reported it all the while, or was down with us.
    pub fn alert(self, now: Timestamp, resolve_timeout: Duration) -> Alert {
        let fired = self.ends_at > self.updated_at;
        let overdue = fired && self.ends_at <= now;
        Alert {
            labels: Labels::from_pairs(&self.labels),
            annotations: self.annotations.into(),
            starts_at: self.starts_at,
            ends_at: if overdue { now + resolve_timeout } else { self.ends_at },
            timeout: self.timeout || overdue,
            generator_url: self.generator_url,
            updated_at: self.updated_at,
            holders: 0,
        }
    }
}

/// A label set as a map of texts.
pub(super) fn text_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
