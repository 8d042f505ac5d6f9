//! What evaluations tell the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dim::Input;
use super::id::{ActionRuleId, RuleId};
use crate::model::Labels;
use crate::time::Timestamp;

/// One thing to act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// An alert began to fire, still fires (told again after the resend delay), or resolved.
    Alert(AlertEvent),
    /// An action rule was judged.
    Judged(Judgement),
}

/// The state of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertState {
    /// Resolved, and kept for a while so that the end is told again.
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    /// The word of `/api/v1/rules` and of the label `alertstate`.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }

    pub(super) fn read(word: &str) -> Option<AlertState> {
        [AlertState::Inactive, AlertState::Pending, AlertState::Firing].into_iter().find(|s| s.as_str() == word)
    }
}

/// An alert as an Alertmanager is to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertEvent {
    pub rule: RuleId,
    /// With the external labels that the alert does not set itself.
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    /// Firing, or Inactive when it resolved. Never Pending.
    pub state: AlertState,
    /// The last value of the expression.
    pub value: f64,
    /// When the expression began to hold.
    pub active_at: Timestamp,
    /// When it began to fire (Alertmanager's `startsAt`).
    pub starts_at: Timestamp,
    /// When it resolved.
    pub resolved_at: Option<Timestamp>,
    /// Without another word until then, whoever is told counts it as resolved.
    pub valid_until: Timestamp,
    /// A link to the expression.
    pub generator_url: Arc<str>,
}

/// What one evaluation of an action rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub rule: ActionRuleId,
    pub at: Timestamp,
    /// In the order of [`super::RuleSpec::asked`].
    pub conditions: Vec<Condition>,
}

/// What one condition says now. Durations (`for`) are not considered here.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub part: Part,
    pub truth: Truth,
    /// The value of the first element of the result, in the order of labels.
    pub value: Option<f64>,
    /// The labels of that element.
    pub labels: Labels,
}

/// Which expression of an action rule a condition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `when` of the level of this name.
    Level(Arc<str>),
    /// `clear.when` of a level.
    Clear(ClearOf),
    Recover,
    Desired,
    /// How many requests other parts rest on.
    Samples,
    /// What a scale rule finds there.
    Verify,
    /// An input of a control law.
    Input(Input),
    /// The limit that a rule gives by itself.
    Value,
    /// Of a rollout: what lets it go on, what brings it back, and the two sides of its comparison.
    Advance,
    Abort,
    New,
    Control,
}

/// Which level a `clear.when` is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearOf {
    /// The level's place in the rule, from 0.
    pub index: usize,
    /// `clear` and the level's name.
    pub name: Arc<str>,
}

impl Part {
    /// The name in the API: the level, or the field of the rule.
    pub fn name(&self) -> &str {
        match self {
            Part::Level(level) => level,
            Part::Clear(of) => &of.name,
            Part::Recover => "recover",
            Part::Desired => "desired",
            Part::Samples => "samples",
            Part::Verify => "verify",
            Part::Input(input) => input.as_str(),
            Part::Value => "value",
            Part::Advance => "advance_when",
            Part::Abort => "abort_when",
            Part::New => "new",
            Part::Control => "control",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// The result is not empty.
    True,
    /// The result is empty, and its inputs were there.
    False,
    /// The result is empty because an input is missing: see [`super::Rules`].
    NoData,
    /// The result is empty, but a restart may be why: not all inputs have been heard of since.
    NotYet,
    /// The evaluation failed, with this message.
    Failed(String),
}

impl Truth {
    /// One word for a page or an API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Truth::True => "true",
            Truth::False => "false",
            Truth::NoData | Truth::NotYet => "no data",
            Truth::Failed(_) => "failed",
        }
    }
}
