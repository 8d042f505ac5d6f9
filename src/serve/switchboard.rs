//! The switches as applications read them: from memory, never from the engine or the store.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Value as Json, json};

use super::value::{Value, fnv};
use super::{flagd, ofrep};
use crate::model::SwitchName;
use crate::store::Table;
use crate::switches::{Declaration, Pin, SwitchValue};
use crate::time::Timestamp;

/// One switch, ready to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    pub value: Value,
    /// The same as the store and the engine have it.
    pub told: SwitchValue,
    /// 0 is healthy; of a dimmer 1 while it is dimmed.
    pub depth: usize,
    pub description: String,
    pub since: Timestamp,
    pub revision: u64,
    /// Why it has this value; empty while nobody has touched it.
    pub why: String,
    pub pin: Option<Pin>,
}

impl Flag {
    /// The switch as JSON: `name`, `kind`, what its kind has, the same as one `value`, and why.
    pub fn to_json(&self, name: &str) -> Json {
        let mut parts = self.value.parts();
        parts.insert("name".into(), json!(name));
        parts.insert("kind".into(), json!(self.value.kind()));
        parts.insert("value".into(), json!(self.told));
        // Every kind can be shown as a feature is; one without a ladder has an empty one.
        parts.insert("level".into(), json!(self.value.text()));
        parts.insert("depth".into(), json!(self.depth));
        parts.insert("ladder".into(), json!(self.value.ladder()));
        parts.insert("description".into(), json!(self.description));
        parts.insert("since".into(), json!(self.since.to_rfc3339()));
        parts.insert("revision".into(), json!(self.revision));
        parts.insert("why".into(), json!(self.why));
        parts.insert("pin".into(), self.pin.as_ref().map_or(Json::Null, pin_json));
        Json::Object(parts)
    }

    /// Changes whenever what is told of this switch does.
    pub(super) fn tag(&self, name: &str) -> String {
        format!("{}-{:08x}", self.revision, fnv(self.to_json(name).to_string().bytes()) >> 32)
    }
}

/// A pin as JSON.
pub(super) fn pin_json(pin: &Pin) -> Json {
    json!({
        "level": pin.level,
        "reason": pin.reason,
        "by": pin.by,
        "since": pin.since.to_rfc3339(),
        "until": pin.until.to_rfc3339(),
    })
}

/// All declared switches at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Switchboard {
    /// Changes whenever an answer could change, and never goes back: the store's revision and the configuration's
    /// generation.
    pub version: String,
    /// When it came to be.
    pub at: Timestamp,
    pub flags: BTreeMap<SwitchName, Flag>,
    /// Answers that are written once a board, when the first one asks.
    pub(super) ofrep: Kept<ofrep::Answers>,
    pub(super) flagd: Kept<String>,
}

impl Switchboard {
    /// Puts the declarations and the store's table together. A declared switch that nobody wrote yet is healthy; a level
    /// that the ladder does not have any more counts as healthy, too.
    pub fn new<'a>(
        declarations: impl IntoIterator<Item = &'a Declaration>,
        table: &Table,
        generation: u64,
        now: Timestamp,
    ) -> Switchboard {
        let flag = |declaration: &Declaration| {
            let record = table.switches.get(&declaration.name);
            let told = declaration.value(record);
            Flag {
                value: Value::of(&told, &declaration.ladder),
                depth: declaration.depth_of(&told),
                told,
                description: declaration.description.clone(),
                since: record.map_or(now, |record| record.since),
                revision: record.map_or(0, |record| record.revision),
                why: record.and_then(|record| Some(record.decision.as_ref()?.reason.clone())).unwrap_or_default(),
                pin: record.and_then(|record| record.pin.clone()),
            }
        };
        let flags = declarations.into_iter().map(|d| (d.name.clone(), flag(d)));
        Switchboard::of(format!("{}-{generation}", table.revision), now, flags)
    }

    /// A board of these switches.
    pub fn of(
        version: impl Into<String>,
        at: Timestamp,
        flags: impl IntoIterator<Item = (SwitchName, Flag)>,
    ) -> Switchboard {
        let flags = flags.into_iter().collect();
        Switchboard { version: version.into(), at, flags, ofrep: Kept::default(), flagd: Kept::default() }
    }

    /// The switch of this name.
    pub fn get(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|(known, _)| known.as_str() == name).map(|(_, flag)| flag)
    }

    /// The version as an entity tag.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }

    /// The document that flagd's providers read ([`flagd::document`]).
    pub fn flagd_json(&self) -> &str {
        self.flagd.get(|| flagd::document(self).to_string())
    }
}

/// Something that is made of the board when it is first asked for. It is no part of what the board says: two boards are
/// equal without it, and a copy makes its own.
pub(super) struct Kept<T>(OnceLock<T>);

impl<T> Kept<T> {
    pub(super) fn get(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(OnceLock::new())
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Kept<T> {
        Kept::default()
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, _: &Kept<T>) -> bool {
        true
    }
}

impl<T> std::fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("kept")
    }
}

/// A board with one switch of each kind, for the tests of the protocols.
#[cfg(test)]
pub(crate) fn sample() -> Switchboard {
    let flag = |value: Value| Flag {
        told: value.told(),
        depth: value.depth(),
        value,
        description: "what it is".into(),
        since: Timestamp::ZERO,
        revision: 3,
        why: "p99 is high".into(),
        pin: None,
    };
    let ladder: Vec<String> = ["full", "cached", "off"].map(str::to_owned).to_vec();
    let mut pinned = flag(Value::Feature { level: "full".into(), depth: 0, ladder: ladder.clone() });
    pinned.pin = Some(Pin {
        level: "full".into(),
        reason: "deploy".into(),
        by: "ann".into(),
        since: Timestamp::ZERO,
        until: Timestamp::from_millis(60_000),
    });
    let flags = [
        ("banner", pinned),
        ("checkout", flag(Value::Limit { value: Some(40.0), unit: Unit::InFlight })),
        ("new_search", flag(Value::Rollout { share: 0.1 })),
        ("recs", flag(Value::Feature { level: "cached".into(), depth: 1, ladder })),
        ("related", flag(Value::Dimmer { share: 0.25, threshold: Some(12.5), limit: Some(40.0) })),
        ("quiet", flag(Value::Limit { value: None, unit: Unit::RequestsPerSecond })),
        ("search", flag(Value::Limit { value: Some(2.5), unit: Unit::RequestsPerSecond })),
    ];
    let flags = flags.map(|(name, flag)| (SwitchName::new(name).expect("a name"), flag));
    Switchboard::of("12-1", Timestamp::from_millis(1_700_000_000_000), flags)
}

#[cfg(test)]
use super::value::Unit;
