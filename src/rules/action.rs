//! Rules that act: what their conditions say now. How long they must say so, and what follows, is the switches' business.

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
}

impl ActionRule {
    /// The conditions of a rule, in the order of [`RuleSpec::queries`].
    pub fn of(spec: &RuleSpec) -> ActionRule {
        ActionRule { parts: spec.asked().into_iter().map(|(part, _)| ActionPart { part, last: None }).collect() }
    }

    /// Judges every condition. One that fails does not keep the others from being judged; the first failure is given too.
    pub fn judge(
        &mut self,
        asked: &[Asked],
        evaluator: &dyn Evaluate,
        view: &View,
        at: Timestamp,
    ) -> (Vec<Condition>, Option<String>) {
        let mut failure = None;
        let mut conditions = Vec::with_capacity(self.parts.len());
        for (part, asked) in self.parts.iter_mut().zip(asked) {
            let condition = judge(part.part.clone(), asked, evaluator, view, at);
            if let Truth::Failed(message) = &condition.truth {
                failure.get_or_insert_with(|| message.clone());
            }
            let since = match &part.last {
                Some((before, since)) if same_kind(&before.truth, &condition.truth) => *since,
                _ => at,
            };
            part.last = Some((condition.clone(), since));
            conditions.push(condition);
        }
        (conditions, failure)
    }
}

fn judge(part: Part, asked: &Asked, evaluator: &dyn Evaluate, view: &View, at: Timestamp) -> Condition {
    let (truth, first) = match evaluator.instant(view, &asked.query.expr, at) {
        Err(message) => (Truth::Failed(message), None),
        Ok(result) => match first(result) {
            Some(reading) => (Truth::True, Some(reading)),
            None if asked.inputs.missing(view, at) => (Truth::NoData, None),
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
