//! Which parts of an expression are the same at every step: those whose selectors all carry `@`, under functions that
//! do not look at the evaluation time. Prometheus calls them step-invariant.

use std::collections::HashSet;

use super::evaluator::key;
use crate::promql::ast::{Expr, Kind};

/// Functions whose value depends on the evaluation time even when their arguments do not.
const TIME_DEPENDENT: &[&str] = &[
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

/// True for functions under which `@` may not be pushed down (Prometheus' `AtModifierUnsafeFunctions`).
pub fn depends_on_time(function: &str) -> bool {
    TIME_DEPENDENT.contains(&function)
}

/// Puts the highest pinned nodes of the tree, those within subqueries included, into `found`.
pub(super) fn collect(expr: &Expr, found: &mut HashSet<usize>) {
    if is_pinned(expr) {
        if !matches!(expr.kind, Kind::Number(_) | Kind::Text(_) | Kind::Range(_) | Kind::Subquery(_)) {
            found.insert(key(expr));
        }
        return;
    }
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range(_) => {}
        Kind::Subquery(subquery) => collect(&subquery.expr, found),
        Kind::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
        Kind::Aggregate(aggregate) => {
            collect(&aggregate.expr, found);
            aggregate.param.iter().for_each(|param| collect(param, found));
        }
        Kind::Negate(inner) | Kind::Paren(inner) => collect(inner, found),
        Kind::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
    }
}

fn is_pinned(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Selector(selector) => selector.modifiers.at.is_some(),
        Kind::Range(range) => range.selector.modifiers.at.is_some(),
        Kind::Subquery(subquery) => subquery.modifiers.at.is_some(),
        Kind::Call(call) => !depends_on_time(call.function.name) && call.args.iter().all(is_pinned),
        Kind::Aggregate(aggregate) => is_pinned(&aggregate.expr) && aggregate.param.as_ref().is_none_or(is_pinned),
        Kind::Negate(inner) | Kind::Paren(inner) => is_pinned(inner),
        Kind::Binary(binary) => is_pinned(&binary.left) && is_pinned(&binary.right),
    }
}
