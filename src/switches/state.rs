//! What is known of a switch: its declaration, its record in the store, and the decisions that changed it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{SwitchKind, SwitchValue};
use super::votes::{Place, Term};
use crate::model::SwitchName;
use crate::time::Timestamp;

/// A switch as the configuration declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub name: SwitchName,
    pub description: String,
    pub kind: SwitchKind,
    /// Of a feature: the levels, healthy first, mildest first after it, at least two. Of other kinds: empty.
    pub ladder: Vec<String>,
    pub on_silence: OnSilence,
}

impl Declaration {
    /// The place of a level on the ladder; 0 is healthy.
    pub fn depth(&self, level: &str) -> Option<usize> {
        self.ladder.iter().position(|name| name == level)
    }

    /// The value while nobody has decided anything.
    pub fn healthy(&self) -> SwitchValue {
        self.kind.healthy(&self.ladder)
    }

    /// What applications are told: the record's value, where it has one that fits the declaration; else the healthy one.
    pub fn value(&self, record: Option<&Record>) -> SwitchValue {
        let Some(record) = record else { return self.healthy() };
        match (&self.kind, &record.value) {
            (SwitchKind::Feature, _) => match self.depth(&record.level) {
                Some(depth) => SwitchValue::Feature { level: record.level.clone(), depth },
                None => self.healthy(),
            },
            (SwitchKind::Dimmer { .. }, Some(value @ SwitchValue::Dimmer { .. }))
            | (SwitchKind::Rollout { .. }, Some(value @ SwitchValue::Rollout { .. })) => value.clone(),
            (SwitchKind::Limit { unit, .. }, Some(value @ SwitchValue::Limit { unit: theirs, .. }))
                if unit == theirs =>
            {
                value.clone()
            }
            _ => self.healthy(),
        }
    }

    /// How far a value is from the healthy one: the depth of a feature; of other kinds 1 while less is given than when
    /// all is well, else 0. A rollout and a limit that merely stands are not degraded.
    pub fn depth_of(&self, value: &SwitchValue) -> usize {
        match (&self.kind, value) {
            (_, SwitchValue::Feature { depth, .. }) => *depth,
            (SwitchKind::Dimmer { max, .. }, SwitchValue::Dimmer { share, .. }) => usize::from(*share < max - 1e-9),
            _ => 0,
        }
    }
}

/// What happens to a switch when nobody decides about it any more: its rules are gone or have no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnSilence {
    #[default]
    Hold,
    /// Back to healthy, one rung at a time, after this long without a judgement.
    Restore(Duration),
    /// To the deepest level after this long without a judgement: what nobody watches gives least.
    Degrade(Duration),
}

/// Whether a rule acts or only says what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Observe,
    Enforce,
}

impl Mode {
    /// `observe` or `enforce`.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        }
    }
}

/// What one rule asks of a switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The value as a text; of a feature, the level.
    pub level: String,
    /// Of other kinds than features, in the records of a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SwitchValue>,
    pub since: Timestamp,
    pub reason: String,
}

/// A person's override.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// The value as a text; of a feature, the level.
    pub level: String,
    pub reason: String,
    pub by: String,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// Who made a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A rule, `group/rule`, the expression that decided, and its value when it has one.
    Rule {
        rule: String,
        expression: String,
        value: Option<f64>,
    },
    Person {
        name: String,
    },
    /// The daemon itself: a pin ended, a ladder changed, nobody decides any more.
    System,
}

/// The votes that a decision of a fleet or a zone rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// How many hosts voted for it or for a worse value.
    pub agreed: u32,
    /// Of how many that run the rule; hosts that vanished lately are among them.
    pub of: u32,
    /// The names of a few of those that voted for it.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// One change of a switch, or one that would have been made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub switch: String,
    pub at: Timestamp,
    pub from: String,
    pub to: String,
    pub by: Actor,
    /// Why, in words.
    pub reason: String,
    pub mode: Mode,
    /// The switch's revision that this decision led to; 0 for one that was only observed.
    pub revision: u64,
    pub scope: String,
    /// Where hosts voted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<Agreement>,
}

/// A switch in the store. Applications read `level`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The value as a text; of a feature, the level.
    pub level: String,
    /// Of other kinds than features: what applications are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SwitchValue>,
    /// When `level` last changed.
    pub since: Timestamp,
    /// Grows by one with every write of this switch.
    pub revision: u64,
    /// What each enforcing rule asks for, by `group/rule`; a rule that asks for the healthy level is not listed.
    #[serde(default)]
    pub asks: BTreeMap<String, Ask>,
    #[serde(default)]
    pub pin: Option<Pin>,
    /// The decision that led to `level`; `None` while it is at its beginning.
    #[serde(default)]
    pub decision: Option<Decision>,
    /// Of what rules of a fleet decided: nobody stands for it after this time, unless it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Record {
    /// A switch that nobody has touched.
    pub fn healthy(declaration: &Declaration, now: Timestamp) -> Record {
        let value = declaration.healthy();
        Record {
            level: value.text(),
            value: (declaration.kind != SwitchKind::Feature).then_some(value),
            since: now,
            revision: 0,
            asks: BTreeMap::new(),
            pin: None,
            decision: None,
            expires_at: None,
        }
    }
}

/// A record that the store is asked to take.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub name: SwitchName,
    pub place: Place,
    pub record: Record,
    /// The office under which the write is made; the store refuses it when that has ended. `None`: by nobody's office, as
    /// a person's pin.
    pub term: Option<Term>,
    /// The revision that the writer saw: the store refuses the write when it has another.
    pub expected: u64,
}

impl Write {
    /// A write that speaks for the whole of the store, under nobody's office.
    pub fn here(name: SwitchName, record: Record, expected: u64) -> Write {
        Write::at(Place::Fleet, name, record, expected)
    }

    /// A write under nobody's office.
    pub fn at(place: Place, name: SwitchName, record: Record, expected: u64) -> Write {
        Write { name, place, record, term: None, expected }
    }
}
