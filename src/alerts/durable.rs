//! What of the machine survives a restart, as records for the journal.
//!
//! Keys: `alert/<fingerprint>`, `group/<id>`, `log/<receiver>/<integration>/<group key>`, `silence/<id>`, `out/<id>`,
//! `rate/<receiver>/<integration>`, `flap/<fingerprint>`, `noise/<alert name>`, `digest/next`, `link/<what>/<message id>`.
//! A mere sign of life of a firing alert is not recorded, so an alert that fired when its record was written and whose
//! end has passed meanwhile gets `resolve_timeout` to be heard of again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::alert::{AlertRecord, text_map};
use super::flap::Flap;
use super::log::{LogEntry, LogKey};
use super::machine::{Alerts, Changed, Timers};
use super::silence::SilenceRecord;
use crate::model::Labels;
use crate::time::Timestamp;

#[derive(Serialize, Deserialize)]
struct LogRecord {
    key: LogKey,
    entry: LogEntry,
}

#[derive(Serialize, Deserialize)]
struct FlapRecord {
    labels: BTreeMap<String, String>,
    flap: Flap,
}

fn log_name(key: &LogKey) -> String {
    format!("log/{}/{}/{}", key.receiver, key.integration, key.group_key)
}

fn record<T: Serialize>(value: Option<T>) -> Option<Value> {
    value.and_then(|value| serde_json::to_value(value).ok())
}

impl Alerts {
    /// The records that changed since the last call: a key, and its new value or `None` when it is gone.
    pub fn take_changes(&mut self) -> Vec<(String, Option<Value>)> {
        let mut out = Vec::new();
        for changed in std::mem::take(&mut self.changed) {
            out.push(match changed {
                Changed::Alert(labels) => (
                    format!("alert/{}", labels.fingerprint()),
                    record(self.alerts.get(&labels).map(|alert| AlertRecord::from(&**alert))),
                ),
                Changed::Group(id) => {
                    let timers = |g: &super::machine::Group| Timers { next_flush: g.next_flush, flushed: g.flushed };
                    let value = record(self.groups.get(&id).map(timers));
                    (format!("group/{id}"), value)
                }
                Changed::Log(key) => {
                    let entry = self.log.get(&key).cloned();
                    (log_name(&key), record(entry.map(|entry| LogRecord { key, entry })))
                }
                Changed::Flap(labels) => {
                    let flap = self.flaps.all.get(&labels).cloned();
                    let key = format!("flap/{}", labels.fingerprint());
                    (key, record(flap.map(|flap| FlapRecord { labels: text_map(&labels), flap })))
                }
                Changed::Noise(name) => {
                    let value = record(self.noise.get(&name));
                    (format!("noise/{name}"), value)
                }
                Changed::Digest => ("digest/next".to_owned(), record(self.next_digest)),
                Changed::Link(nonce) => {
                    let value = record(self.links_used.get(&nonce));
                    (format!("link/{nonce}"), value)
                }
                Changed::Marks => ("fleet/marks".to_owned(), record(Some(self.member.kept()))),
                Changed::Silence(id) => {
                    let value = record(self.silences.all.get(&id).map(SilenceRecord::from));
                    (format!("silence/{id}"), value)
                }
            });
        }
        out.extend(self.outbox.take_changes().into_iter().map(|(id, value)| (format!("out/{id}"), value)));
        let paces = self.outbox.take_pace_changes();
        out.extend(paces.into_iter().map(|(name, value)| (format!("rate/{name}"), value)));
        out
    }

    /// Brings everything back from the records, into a machine that is new. What was on its way is due at once, with
    /// its old ids. Records that cannot be read are left out and named in what is given back.
    pub fn restore(&mut self, items: impl IntoIterator<Item = (String, Value)>, now: Timestamp) -> Vec<String> {
        let (mut bad, mut out, mut timers) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (key, value) in items {
            let Some((kind, name)) = key.split_once('/') else {
                bad.push(format!("record {key:?} is of no known kind"));
                continue;
            };
            let result = match kind {
                "alert" => serde_json::from_value::<AlertRecord>(value).map(|record| {
                    let alert = record.alert(now, self.settings.resolve_timeout);
                    self.alerts.insert(alert.labels.clone(), Arc::new(alert));
                }),
                "group" => serde_json::from_value::<Timers>(value).map(|record| {
                    timers.insert(name.to_owned(), record);
                }),
                "log" => serde_json::from_value::<LogRecord>(value).map(|record| {
                    self.log.insert(record.key, record.entry);
                }),
                "silence" => serde_json::from_value::<SilenceRecord>(value).map(|record| match record.silence(name) {
                    Some(silence) => drop(self.silences.all.insert(name.to_owned(), silence)),
                    None => bad.push(format!("{key}: a matcher cannot be read")),
                }),
                "flap" => serde_json::from_value::<FlapRecord>(value).map(|record| {
                    self.flaps.all.insert(Labels::from_pairs(&record.labels), record.flap);
                }),
                "noise" => serde_json::from_value(value).map(|days| {
                    self.noise.insert(name.to_owned(), days);
                }),
                "digest" => serde_json::from_value(value).map(|at| self.next_digest = Some(at)),
                "link" => serde_json::from_value(value).map(|until| {
                    self.links_used.insert(name.to_owned(), until);
                }),
                "fleet" => serde_json::from_value(value).map(|marks| self.member.remember(marks, now)),
                "rate" => serde_json::from_value(value).map(|record| self.outbox.restore_pace(record)),
                "out" => {
                    out.push((name.to_owned(), value));
                    Ok(())
                }
                _ => {
                    bad.push(format!("record {key:?} is of no known kind"));
                    Ok(())
                }
            };
            if let Err(error) = result {
                bad.push(format!("{key}: {error}"));
            }
        }
        bad.extend(self.outbox.restore(out, now));
        self.member.begin(now);
        self.regroup(now, timers);
        // Receivers and routes may have changed while we were down.
        let settings = self.settings.clone();
        self.reload(now, settings);
        bad
    }
}
