//! Parts that several rules have in common: evaluated once for an instant, as long as nothing is written in between.
//!
//! A part is a function over a range or an aggregation; two are the same when they are printed the same. What is found
//! for one rule is taken over by the others as long as the instant and the state of the store are the same, so nothing
//! is ever older than it would be without.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, key};
use super::nodes::Nodes;
use crate::promql::ast::{Expr, Kind};
use crate::series::View;

/// The parts of all expressions that are evaluated beside each other.
#[derive(Debug, Default)]
pub struct SharedParts {
    /// By the hash of the text; where it is that of another text already, by the next free number after it.
    numbers: HashMap<u64, u32>,
    parts: Vec<Part>,
    /// The instant and the state of the store that the results belong to.
    moment: (i64, u64, u64),
    /// The parts with results.
    found: Vec<u32>,
}

#[derive(Debug)]
struct Part {
    /// Where it stands first, for its text: the expression, and its place among the expression's nodes.
    first: (Arc<Expr>, u32),
    /// In how many places it stands.
    places: u32,
    /// Samples read, and the elements.
    result: Option<Box<(usize, Vec<Element>)>>,
}

impl Part {
    /// Whether it is printed as this text.
    fn is(&self, text: &str) -> bool {
        let (expr, place) = &self.first;
        let (mut at, mut same) = (0, false);
        expr.walk(&mut |node| {
            same |= at == *place && node.to_string() == text;
            at += 1;
        });
        same
    }
}

impl SharedParts {
    /// Numbers the parts of one more expression.
    pub(super) fn register(&mut self, expr: &Arc<Expr>) -> Nodes<u32> {
        let (mut found, mut place) = (Nodes::default(), 0);
        expr.walk(&mut |node| {
            let ranged =
                |call: &crate::promql::ast::Call| call.args.iter().any(|arg| matches!(arg.kind, Kind::Range(_)));
            let worth = match &node.kind {
                Kind::Aggregate(_) => true,
                Kind::Call(call) => ranged(call),
                _ => false,
            };
            if worth {
                let number = self.number(&node.to_string(), expr, place);
                self.parts[number as usize].places += 1;
                found.insert(key(node), number);
            }
            place += 1;
        });
        found
    }

    /// The number of a part with this text; a new one stands at this place of the expression.
    fn number(&mut self, text: &str, expr: &Arc<Expr>, place: u32) -> u32 {
        let mut hash = self.numbers.hasher().hash_one(text);
        loop {
            match self.numbers.get(&hash) {
                Some(number) if self.parts[*number as usize].is(text) => return *number,
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    let fresh = self.parts.len() as u32;
                    self.numbers.insert(hash, fresh);
                    self.parts.push(Part { first: (Arc::clone(expr), place), places: 0, result: None });
                    return fresh;
                }
            }
        }
    }

    /// To be called before an evaluation: forgets what belongs to another instant or another state of the store.
    pub(super) fn begin(&mut self, view: &View, at: i64) {
        let moment = (at, view.writes(), view.generation());
        if self.moment != moment {
            self.moment = moment;
            for number in self.found.drain(..) {
                self.parts[number as usize].result = None;
            }
        }
    }

    fn result(&self, number: u32) -> Option<(usize, &[Element])> {
        let (touched, elements) = &**self.parts.get(number as usize)?.result.as_ref()?;
        Some((*touched, elements))
    }

    fn keep(&mut self, number: u32, touched: usize, elements: &[Element]) {
        if let Some(part) = self.parts.get_mut(number as usize) {
            part.result = Some(Box::new((touched, elements.to_vec())));
            self.found.push(number);
        }
    }
}

impl Evaluator<'_> {
    /// The number of a node that stands in several places, when it is evaluated at the instant of the query itself.
    pub(super) fn shared_part(&self, expr: &Expr, frame: &Frame, at: i64) -> Option<u32> {
        let shared = self.shared.as_ref()?;
        if !frame.is_single() || at != self.query.start {
            return None;
        }
        let number = *self.cache.parts.get(key(expr))?;
        (shared.parts.get(number as usize)?.places > 1).then_some(number)
    }

    /// What was found for a part already, or what is found now.
    pub(super) fn part(
        &mut self,
        number: u32,
        find: impl FnOnce(&mut Self) -> Result<Vec<Element>, EvalError>,
    ) -> Result<Vec<Element>, EvalError> {
        if let Some((touched, elements)) = self.shared.as_ref().and_then(|shared| shared.result(number)) {
            let elements = elements.to_vec();
            self.touch(touched)?;
            return Ok(elements);
        }
        let before = self.touched;
        let elements = find(self)?;
        let touched = self.touched - before;
        if let Some(shared) = &mut self.shared {
            shared.keep(number, touched, &elements);
        }
        Ok(elements)
    }
}
