//! Links in messages that silence or acknowledge: signed, expiring, good for one use.
//!
//! A link's token says what it does, for which message, until when, and carries an HMAC-SHA256 of that under this host's key.
//! It depends on nothing but the message, so that a message that is sent again carries the same link. That a link was used
//! is a record of the journal until the link would have expired anyway. Looking at a link changes nothing.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::counter::FleetAlerts;
use super::machine::{Alerts, Changed};
use super::notification::Notification;
use super::settings::Part;
use super::silence::{SilenceError, SilenceIn};
use crate::limits;
use crate::model::Matcher;
use crate::time::{Timestamp, format_duration};

/// The key that signs links. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey(pub [u8; 32]);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkDeed {
    /// Makes a silence for the labels of the message's group.
    Silence,
    /// Stops repeated messages about the group, until something changes or the time is over.
    Acknowledge,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "do")]
    deed: LinkDeed,
    /// The message's id.
    id: String,
    group: String,
    /// Names and values of the labels to silence.
    labels: Vec<(String, String)>,
    until: Timestamp,
    /// Milliseconds.
    lasts: u64,
    /// Of a message of the whole fleet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fleet: bool,
}

/// A link as its page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    pub deed: LinkDeed,
    pub group_key: String,
    pub labels: Vec<(String, String)>,
    pub expires: Timestamp,
    pub lasts: Duration,
    /// For the whole fleet.
    pub fleet: bool,
    /// It was used, or is too old.
    pub spent: Option<&'static str>,
}

/// Why a link does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("links in messages are not switched on: add `links: {{}}` under `alertmanager`")]
    Off,
    #[error("this link was not made by this host, or was changed")]
    Forged,
    #[error("this link is too old: use the one of a newer message, or `brownout silence add`")]
    Expired,
    #[error("this link was used before")]
    Used,
    #[error(
        "another host counts for the fleet now (`brownout fleet` says which one): use the link of its next message"
    )]
    Elsewhere,
    #[error("there is nothing to acknowledge any more")]
    Nothing,
    #[error("too many links were used lately")]
    TooMany,
    #[error(transparent)]
    Silence(#[from] SilenceError),
}

fn sign(key: &LinkKey, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()))
}

fn token(key: &LinkKey, token: &Token) -> Option<String> {
    let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).ok()?);
    (text.len() <= limits::LINK_BYTES).then(|| format!("{text}.{}", sign(key, &text)))
}

fn open(key: &LinkKey, text: &str) -> Result<Token, LinkError> {
    let (body, signature) = text.split_once('.').ok_or(LinkError::Forged)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| LinkError::Forged)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
    hmac::verify(&key, body.as_bytes(), &signature).map_err(|_| LinkError::Forged)?;
    let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| LinkError::Forged)?;
    serde_json::from_slice(&body).map_err(|_| LinkError::Forged)
}

impl Token {
    fn nonce(&self) -> String {
        let word = if self.deed == LinkDeed::Silence { "silence" } else { "acknowledge" };
        format!("{word}/{}", self.id)
    }
}

impl Alerts {
    /// Adds the links to a message about something that fires.
    pub(super) fn add_links(&self, message: &mut Notification) {
        let Some(settings) = &self.settings.links else { return };
        let labels = if message.group_labels.is_empty() { &message.common_labels } else { &message.group_labels };
        for (deed, name) in [(LinkDeed::Silence, "silence"), (LinkDeed::Acknowledge, "acknowledge")] {
            if deed == LinkDeed::Silence && labels.is_empty() {
                continue;
            }
            let lasts = if deed == LinkDeed::Silence { settings.silence_for } else { settings.acknowledge_for };
            let made = token(
                &settings.key,
                &Token {
                    deed,
                    id: message.id.0.clone(),
                    group: message.group_key.clone(),
                    labels: labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
                    until: message.created_at + settings.valid_for,
                    lasts: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
                    fleet: self.settings.part == Part::Counter,
                },
            );
            if let Some(made) = made {
                let base = self.settings.external_url.trim_end_matches('/');
                message.links.insert(name.to_owned(), format!("{base}/act/{made}"));
            }
        }
    }

    /// What a link would do.
    ///
    /// # Errors
    /// When it was not made by this host.
    pub fn link(&self, now: Timestamp, text: &str) -> Result<LinkView, LinkError> {
        let settings = self.settings.links.as_ref().ok_or(LinkError::Off)?;
        let token = open(&settings.key, text)?;
        let spent = match self.links_used.contains_key(&token.nonce()) {
            true => Some("used"),
            false => (token.until <= now).then_some("expired"),
        };
        Ok(LinkView {
            deed: token.deed,
            lasts: Duration::from_millis(token.lasts),
            fleet: token.fleet,
            group_key: token.group,
            labels: token.labels,
            expires: token.until,
            spent,
        })
    }

    /// Does what a link says, once; gives a sentence about what was done. `counter` tells the alerts of the fleet, while this
    /// host counts.
    ///
    /// # Errors
    /// When it was not made by this host, was used, is too old, or there is nothing to do any more.
    pub fn use_link(
        &mut self,
        now: Timestamp,
        text: &str,
        by: &str,
        counter: Option<&mut FleetAlerts>,
    ) -> Result<String, LinkError> {
        let settings = self.settings.links.as_ref().ok_or(LinkError::Off)?;
        let token = open(&settings.key, text)?;
        let nonce = token.nonce();
        if self.links_used.contains_key(&nonce) {
            return Err(LinkError::Used);
        }
        if token.until <= now {
            return Err(LinkError::Expired);
        }
        if self.links_used.len() >= limits::LINKS_USED {
            return Err(LinkError::TooMany);
        }
        let lasts = Duration::from_millis(token.lasts);
        let said = match token.deed {
            LinkDeed::Silence => {
                let silence = SilenceIn {
                    id: None,
                    matchers: token.labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect(),
                    starts_at: now,
                    ends_at: now + lasts,
                    created_by: by.to_owned(),
                    comment: "by the link in a message".to_owned(),
                    annotations: std::collections::BTreeMap::new(),
                };
                let id = self.set_silence(now, if token.fleet { silence.for_fleet() } else { silence })?;
                let whose = if token.fleet { " for the whole fleet" } else { "" };
                format!("silenced{whose} for {}: silence {id}", format_duration(lasts))
            }
            LinkDeed::Acknowledge => {
                let known = match (token.fleet, counter) {
                    (false, _) => self.acknowledge(now, &token.group, lasts, by),
                    (true, Some(counter)) => counter.acknowledge(now, &token.group, lasts, by),
                    (true, None) => return Err(LinkError::Elsewhere),
                };
                if !known {
                    return Err(LinkError::Nothing);
                }
                format!("acknowledged: no repeats for {} unless something changes", format_duration(lasts))
            }
        };
        self.links_used.insert(nonce.clone(), token.until);
        self.changed.insert(Changed::Link(nonce));
        Ok(said)
    }

    /// Stops the repeats about a group; false when nobody was told that it fires.
    pub fn acknowledge(&mut self, now: Timestamp, group_key: &str, lasts: Duration, by: &str) -> bool {
        let mut any = false;
        for (key, entry) in
            self.log.iter_mut().filter(|(key, entry)| key.group_key == group_key && !entry.firing.is_empty())
        {
            entry.acknowledged = Some(super::log::Acknowledged { until: now + lasts, by: by.to_owned() });
            self.changed.insert(Changed::Log(key.clone()));
            any = true;
        }
        any
    }

    /// Forgets links that have expired.
    pub(super) fn sweep_links(&mut self, now: Timestamp) {
        let old: Vec<String> =
            self.links_used.iter().filter(|(_, until)| **until <= now).map(|(nonce, _)| nonce.clone()).collect();
        for nonce in old {
            self.links_used.remove(&nonce);
            self.changed.insert(Changed::Link(nonce));
        }
    }
}
