//! What hosts say of switches that speak for more than one of them, as the shared store holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::Record;
use super::value::SwitchValue;
use crate::model::SwitchName;
use crate::time::Timestamp;

/// Whom a record speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// This host alone: such a record is never in a shared store.
    Host,
    Zone(String),
    #[default]
    Fleet,
}

/// The records of a shared store, at one of its revisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tables {
    pub revision: u64,
    pub fleet: BTreeMap<SwitchName, Record>,
    /// By zone.
    pub zones: BTreeMap<String, BTreeMap<SwitchName, Record>>,
}

impl Tables {
    /// Those of a store that knows no zones.
    pub fn of_one(revision: u64, fleet: BTreeMap<SwitchName, Record>) -> Tables {
        Tables { revision, fleet, zones: BTreeMap::new() }
    }
}

/// What a host must know of itself to be one of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// Unique in the fleet.
    pub host: String,
    pub zone: String,
    /// Of the daemon.
    pub version: String,
}

/// A host's presence; it is gone with the host's lease.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub zone: String,
    /// When the daemon started.
    pub since: Timestamp,
    /// The titles, `group/rule`, of the rules that it runs for its zone or the fleet.
    pub rules: BTreeSet<String>,
    pub version: String,
    /// The host's clock when it wrote this, so that a wrong clock can be seen.
    pub at: Timestamp,
    /// What it runs of the fleet's configuration; `None` of a daemon that knows nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RunsConfig>,
    /// Requests a second that it is asked for, of limits that are shared out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub demand: BTreeMap<SwitchName, f64>,
    /// Which daemon says this, the same over its restarts: two of one name are told apart. The store's session fills it in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Where it is, for people; the store's session fills it in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
}

impl Member {
    /// Whether another daemon than `instance` says this. One that does not know itself is nobody's rival.
    pub fn is_another(&self, instance: &str) -> bool {
        !self.instance.is_empty() && !instance.is_empty() && self.instance != instance
    }
}

/// What a host runs of the fleet's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunsConfig {
    /// 0: nothing but its own files.
    pub revision: u64,
    /// The revision that it should run and does not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<ConfigRefused>,
    /// The alerts that fire here since it took a candidate, as far as the stage asks for them; the first few.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub alerts: BTreeSet<String>,
}

/// A revision that a host does not take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigRefused {
    pub revision: u64,
    pub why: String,
}

/// What one host thinks that a switch should be; it is gone with the host's lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// `group/rule`.
    pub rule: String,
    pub switch: SwitchName,
    /// The value as a text; of a feature, the level.
    pub level: String,
    /// Of other kinds than features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SwitchValue>,
    /// Since when the host thinks so.
    pub since: Timestamp,
    /// The expression that decided, and its value when it has one.
    pub expression: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// A vote counts no longer than this, whatever became of its lease.
    pub expires_at: Timestamp,
}

/// All hosts and what they think, at one revision of the shared store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    pub revision: u64,
    /// By host.
    pub members: BTreeMap<String, Arc<Member>>,
    /// By host, then by rule.
    pub votes: BTreeMap<String, Arc<BTreeMap<String, Vote>>>,
    /// The host that counts.
    pub counter: Option<String>,
    /// What each host reports of its alerts, as JSON; it outlives the host.
    pub alerts: BTreeMap<String, Arc<serde_json::Value>>,
    /// What the host that counts said of it, by host; every host has at least what is said of its own.
    pub told: BTreeMap<String, Arc<serde_json::Value>>,
    /// What central query APIs answered, by their names; every host has all.
    pub queries: BTreeMap<String, Arc<serde_json::Value>>,
}

/// The time of office of the host that counts. A write under an office that has ended is refused by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The key that says who is elected.
    pub key: String,
    /// The revision at which the key was made; a later office has a greater one.
    pub number: u64,
}

/// What a key that the host that counts writes is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shelf {
    /// What a side effect needs so that another host can go on with it.
    #[default]
    Outbox,
    /// What became of a host's alerts; the id is the host.
    Told,
    /// What a host reports of its alerts: taken away when the host is long gone.
    Alerts,
    /// What a central query API answered; the id is its name.
    Queries,
}

/// One key that the host that counts writes. The store takes it only under the office it names; what depends on it (a
/// scale call, a message for the fleet) is sent after it was taken, and not at all when it was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct HandOver {
    pub shelf: Shelf,
    pub id: String,
    /// `None`: nothing is left to do.
    pub state: Option<serde_json::Value>,
    pub term: Term,
}
