//! How far back an expression reads: what the store has to keep for it.

use std::time::Duration;

use super::duration::{offset_millis, positive_millis};
use super::evaluator::Frame;
use super::options::Options;
use crate::model::{MatchOp, Matcher, NAME};
use crate::promql::ast::{AtModifier, Expr, Kind, Modifiers, WindowMode};
use crate::time::{Timestamp, millis};

/// For every selector of the expression: its matchers, and how long before `now` its oldest sample may lie when the
/// expression is evaluated at `now`.
///
/// Ranges, offsets, `@`, the subqueries around a selector and the lookback are counted in; what cannot be computed
/// (such as a negative duration expression) counts as nothing, its evaluation fails anyway.
pub fn windows(expr: &Expr, now: Timestamp, options: &Options<'_>) -> Vec<(Vec<Matcher>, Duration)> {
    let now = now.as_millis();
    let mut reach = Reach { query: Frame { start: now, end: now, step: 0 }, options, found: Vec::new() };
    reach.visit(expr, now);
    reach.found
}

struct Reach<'r> {
    query: Frame,
    options: &'r Options<'r>,
    found: Vec<(Vec<Matcher>, Duration)>,
}

impl Reach<'_> {
    /// `from`: the earliest instant at which the expression is evaluated.
    fn visit(&mut self, expr: &Expr, from: i64) {
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) => {}
            Kind::Selector(selector) => {
                let start = self.reference(&selector.modifiers, from) - millis(self.options.lookback);
                self.push(&selector.matchers, start);
            }
            Kind::Range(range) => {
                let length = positive_millis(&range.range, &self.query).unwrap_or(0);
                let before = if range.mode == WindowMode::Plain { 0 } else { millis(self.options.lookback) };
                let start = self.reference(&range.selector.modifiers, from) - length - before;
                self.push(&range.selector.matchers, start);
            }
            Kind::Subquery(subquery) => {
                let length = positive_millis(&subquery.range, &self.query).unwrap_or(0);
                let start = self.reference(&subquery.modifiers, from) - length;
                self.visit(&subquery.expr, start);
            }
            Kind::Call(call) => {
                for (index, arg) in call.args.iter().enumerate() {
                    if call.function.name != "info" || index == 0 {
                        self.visit(arg, from);
                    }
                }
                if call.function.name == "info" {
                    self.visit_info(&call.args, from);
                }
            }
            Kind::Aggregate(aggregate) => {
                self.visit(&aggregate.expr, from);
                aggregate.param.iter().for_each(|param| self.visit(param, from));
            }
            Kind::Negate(inner) | Kind::Paren(inner) => self.visit(inner, from),
            Kind::Binary(binary) => {
                self.visit(&binary.left, from);
                self.visit(&binary.right, from);
            }
        }
    }

    /// The info series are read where the base series are.
    fn visit_info(&mut self, args: &[Expr], from: i64) {
        let before = self.found.len();
        if let Some(base) = args.first() {
            self.visit(base, from);
        }
        let longest = self.found.drain(before..).map(|(_, window)| window).max().unwrap_or_default();
        let matchers = match args.get(1).map(|arg| &arg.kind) {
            Some(Kind::Selector(selector)) => selector.matchers.to_vec(),
            _ => Vec::new(),
        };
        let named = matchers.iter().any(|m| m.name == NAME && matches!(m.op, MatchOp::Equal | MatchOp::Matches));
        let default = Matcher::equal(NAME, "target_info");
        let matchers = if named || !matchers.is_empty() && matchers.iter().any(|m| m.name == NAME) {
            matchers
        } else {
            matchers.into_iter().chain([default]).collect()
        };
        self.found.push((matchers, longest + self.options.lookback));
    }

    fn reference(&self, modifiers: &Modifiers, from: i64) -> i64 {
        let at = match &modifiers.at {
            Some(AtModifier::Time(at)) => at.as_millis(),
            Some(AtModifier::Start) => self.query.start,
            Some(AtModifier::End) => self.query.end,
            None => from,
        };
        at - offset_millis(modifiers.offset.as_deref(), &self.query).unwrap_or(0)
    }

    fn push(&mut self, matchers: &[Matcher], start: i64) {
        let window = (self.query.end - start).max(0).unsigned_abs();
        self.found.push((matchers.to_vec(), Duration::from_millis(window)));
    }
}
