//! Rules that act: what their conditions say now. How long they must say so, and what follows, is the switches' business.

use std::time::Duration;

use super::active::Held;
use super::evaluate::{Evaluate, Reading};
use super::inputs::Inputs;
use super::outcome::{Condition, Part, Truth};
use super::query::Query;
use super::spec::RuleSpec;
use crate::model::Labels;
use crate::series::View;
use crate::time::Timestamp;

/// An expression of a rule with what it reads.
#[derive(Debug)]
pub(crate) struct Asked {
    pub query: Query,
    pub inputs: Inputs,
}

/// What the conditions of an action rule said last; one for each of the rule's expressions, in their order.
#[derive(Debug)]
pub(crate) struct ActionRule {
    pub parts: Vec<ActionPart>,
}

/// One condition.
#[derive(Debug)]
pub(crate) struct ActionPart {
    pub part: Part,
    /// What it said last, and since when it has been saying so.
    pub last: Option<(Condition, Timestamp)>,
    /// After a restart, until it was true once or its inputs were heard of.
    pub held: Option<Held>,
}

/// Where the conditions of a rule are judged.
pub(crate) struct Bench<'a> {
    pub evaluator: &'a dyn Evaluate,
    pub view: &'a View,
    pub at: Timestamp,
    /// Whether all that an expression reads has been heard of since then.
    pub fresh: &'a dyn Fn(&Asked, Timestamp) -> bool,
    /// How long other rules take until they have made something of it.
    pub settle: Duration,
}

impl ActionRule {
    /// The conditions of a rule, in the order of [`RuleSpec::queries`].
    pub fn of(spec: &RuleSpec) -> ActionRule {
        let part = |(part, _)| ActionPart { part, last: None, held: None };
        ActionRule { parts: spec.asked().into_iter().map(part).collect() }
    }

    /// After a restart: what a condition does not find may be what was lost.
    pub fn hold(&mut self, held: Held) {
        self.parts.iter_mut().for_each(|part| part.held = Some(held));
    }

    /// Whether a condition still waits for its inputs.
    pub fn is_held(&self) -> bool {
        self.parts.iter().any(|part| part.held.is_some())
    }

    /// Judges every condition. One that fails does not keep the others from being judged; the first failure is given too.
    pub fn judge(&mut self, asked: &[Asked], bench: &Bench<'_>) -> (Vec<Condition>, Option<String>) {
        let mut failure = None;
        let mut conditions = Vec::with_capacity(self.parts.len());
        for (part, asked) in self.parts.iter_mut().zip(asked) {
            let mut condition = judge(part.part.clone(), asked, bench);
            let unsure = matches!(condition.truth, Truth::False | Truth::NoData);
            let fresh = |since| (bench.fresh)(asked, since);
            if unsure && part.held.as_mut().is_some_and(|held| held.holds(bench.at, bench.settle, fresh)) {
                condition.truth = Truth::NotYet;
            } else if !matches!(condition.truth, Truth::Failed(_)) {
                part.held = None;
            }
            if let Truth::Failed(message) = &condition.truth {
                failure.get_or_insert_with(|| message.clone());
            }
            let since = match &part.last {
                Some((before, since)) if same_kind(&before.truth, &condition.truth) => *since,
                _ => bench.at,
            };
            part.last = Some((condition.clone(), since));
            conditions.push(condition);
        }
        (conditions, failure)
    }
}

fn judge(part: Part, asked: &Asked, bench: &Bench<'_>) -> Condition {
    let (truth, first) = match bench.evaluator.instant(bench.view, &asked.query.expr, bench.at) {
        Err(message) => (Truth::Failed(message), None),
        Ok(result) => match first(result) {
            Some(reading) => (Truth::True, Some(reading)),
            None if asked.inputs.missing(bench.view, bench.at) => (Truth::NoData, None),
            None => (Truth::False, None),
        },
    };
    Condition {
        part,
        truth,
        value: first.as_ref().map(|reading| reading.float()),
        labels: first.map_or_else(Labels::empty, |reading| reading.labels),
    }
}

fn same_kind(a: &Truth, b: &Truth) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn first(result: Vec<Reading>) -> Option<Reading> {
    result.into_iter().min_by(|a, b| a.labels.cmp(&b.labels))
}
