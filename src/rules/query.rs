//! A PromQL expression that stands in a rule file: its text, its tree, its place.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::inputs::{Input, Inputs};
use crate::limits;
use crate::model::Words;
use crate::promql::{self, BinaryOp, Expr, Kind, ValueType};
use crate::time::format_duration;
use crate::yaml::{At, Decode, Place, Problem};

/// A parsed expression. Parsed once when the file is read, never again. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Query(Arc<Parsed>);

/// What is known of an expression.
#[derive(Debug)]
pub struct Parsed {
    pub text: Arc<str>,
    pub expr: Arc<Expr>,
    pub place: Place,
}

impl Deref for Query {
    type Target = Parsed;

    fn deref(&self) -> &Parsed {
        &self.0
    }
}

impl PartialEq for Query {
    fn eq(&self, other: &Query) -> bool {
        self.text == other.text
    }
}

impl Decode for Query {
    fn decode(at: &mut At<'_>) -> Option<Query> {
        let place = at.place();
        let text = at.scalar("a PromQL expression", |text| Ok(text.to_owned()))?;
        match promql::parse(&text) {
            Ok(expr) => Some(Query::of(&text, expr, place)),
            Err(error) => {
                let span = error.span.start as usize..error.span.end as usize;
                at.push(place.within(&text, span).error(error.message, error.help));
                None
            }
        }
    }
}

impl Query {
    /// An expression that was parsed from this text.
    pub(crate) fn of(text: &str, expr: Expr, place: Place) -> Query {
        Query(Arc::new(Parsed { text: text.into(), expr: Arc::new(expr), place }))
    }

    /// Has its names and values in common with other expressions, before anybody else holds it.
    pub(crate) fn share(&mut self, words: &mut Words) {
        if let Some(expr) = Arc::get_mut(&mut self.0).and_then(|parsed| Arc::get_mut(&mut parsed.expr)) {
            expr.share(words);
        }
    }

    /// Why this expression can never give a result that a rule can use.
    pub(crate) fn useless(&self) -> Option<String> {
        let found = self.expr.value_type();
        let unusable = matches!(found, ValueType::Matrix | ValueType::String);
        unusable.then(|| {
            format!("the expression gives a {}, a rule needs an instant vector or a scalar", found.documented())
        })
    }

    /// Why this expression cannot be answered here: it reads further back than any series is kept.
    pub(crate) fn unkept(&self) -> Option<Problem> {
        let inputs = Inputs::of(&self.expr, Duration::ZERO);
        let far = |input: &&Input| input.reach() > limits::RULE_WINDOW;
        let input = inputs.0.iter().find(far)?;
        let place = self.place.within(&self.text, input.span.start as usize..input.span.end as usize);
        let (reach, most) = (format_duration(input.reach()), format_duration(limits::RULE_WINDOW));
        let message = format!("this reads {reach} back, and no series is kept for longer than {most}");
        let help = "shorten the window or the offset, or ask a central Prometheus that keeps so much";
        Some(place.error(message, Some(help.into())))
    }

    /// Why this expression, as a condition, is true whatever its inputs say: a condition holds when its result is not
    /// empty, so a result of 0 holds as well.
    pub(crate) fn always_true(&self) -> Option<&'static str> {
        let mut expr = &*self.expr;
        while let Kind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        match &expr.kind {
            Kind::Binary(binary) if binary.return_bool && binary.op != BinaryOp::Or => {
                Some("a comparison with `bool` always gives a result, and any result counts as true, also 0")
            }
            _ if expr.value_type() == ValueType::Scalar => {
                Some("a scalar always gives a result, and any result counts as true, also 0")
            }
            _ => None,
        }
    }
}
