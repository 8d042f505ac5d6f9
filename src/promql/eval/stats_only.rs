//! Selectors of which only the counts and sums of native histograms matter: those under `histogram_count`,
//! `histogram_sum` and `histogram_avg`.
//!
//! Their histograms lose their buckets when they are loaded. Because resets could not be seen without buckets any
//! more, they are looked for while loading and put down as hints, as Prometheus does.

use std::sync::Arc;

use super::evaluator::key;
use super::nodes::Nodes;
use super::selector::SeriesSamples;
use crate::model::{CounterResetHint, FloatHistogram};
use crate::promql::ast::{BinaryOp, Expr, Kind, WindowMode};

/// Puts the selectors of which only counts and sums matter into `found`.
pub(super) fn collect(expr: &Expr, found: &mut Nodes<()>) {
    visit(expr, None, found);
}

/// `decided`: what the nodes above say. Whole buckets, once needed, are needed all the way down.
fn visit(expr: &Expr, decided: Option<Need>, found: &mut Nodes<()>) {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Selector(selector) => {
            // Between two samples only whole histograms tell of a reset.
            if decided == Some(Need::Stats) && selector.mode == WindowMode::Plain {
                found.insert(key(expr), ());
            }
        }
        Kind::Range(range) => {
            if decided == Some(Need::Stats) && range.mode == WindowMode::Plain {
                found.insert(key(expr), ());
            }
        }
        Kind::Subquery(subquery) => visit(&subquery.expr, Some(Need::Buckets), found),
        Kind::Call(call) => {
            let need = match call.function.name {
                "histogram_count" | "histogram_sum" | "histogram_avg" => decided.or(Some(Need::Stats)),
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => Some(Need::Buckets),
                _ => decided,
            };
            call.args.iter().for_each(|arg| visit(arg, need, found));
        }
        Kind::Aggregate(aggregate) => {
            visit(&aggregate.expr, decided, found);
            aggregate.param.iter().for_each(|param| visit(param, decided, found));
        }
        Kind::Negate(inner) | Kind::Paren(inner) => visit(inner, decided, found),
        Kind::Binary(binary) => {
            let trims = matches!(binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
            let need = if trims { Some(Need::Buckets) } else { decided };
            visit(&binary.left, need, found);
            visit(&binary.right, need, found);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Stats,
    Buckets,
}

/// Takes the buckets off the histograms of a series and notes resets between them.
pub(super) fn strip(series: &mut SeriesSamples) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for point in &mut series.histograms {
        let bare = stripped(&point.value, previous.as_deref());
        previous = Some(std::mem::replace(&mut point.value, bare));
    }
}

/// A histogram without its buckets, with the hint that follows from the one before.
pub(super) fn stripped(whole: &FloatHistogram, previous: Option<&FloatHistogram>) -> Arc<FloatHistogram> {
    let hint = match (previous, whole.hint) {
        (Some(previous), CounterResetHint::Unknown) if whole.is_reset_after(previous) => CounterResetHint::Reset,
        (Some(_), CounterResetHint::Unknown) => CounterResetHint::NotReset,
        (_, hint) => hint,
    };
    let (schema, count, sum) = (whole.schema, whole.count, whole.sum);
    Arc::new(FloatHistogram { hint, schema, count, sum, ..FloatHistogram::empty() })
}
