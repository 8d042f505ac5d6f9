//! `absent` and the labels it makes up.

use crate::model::{Labels, LabelsBuilder, MatchOp, Matcher, NAME};
use crate::promql::ast::{Call, Expr, Kind};
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare};

impl Evaluator<'_> {
    pub(super) fn absent(&mut self, call: &Call, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let arg = &call.args[0];
        let present = !self.vector(arg, frame, at)?.is_empty();
        Ok(if present { Vec::new() } else { vec![Element::float(labels_of_absent(arg), 1.0)] })
    }
}

/// The labels that a selector fixes by `=`, each once; the name is not among them.
pub(super) fn labels_of_absent(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match &bare(expr).kind {
        Kind::Selector(selector) => &selector.matchers,
        Kind::Range(range) => &range.selector.matchers,
        _ => return Labels::empty(),
    };
    let mut builder = LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}
