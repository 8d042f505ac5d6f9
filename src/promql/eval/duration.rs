//! Durations of the expression in milliseconds: ranges, offsets and subquery steps, computed ones included.

use super::error::EvalError;
use super::evaluator::Frame;
use crate::promql::ast::{BinaryOp, DurationExpr, DurationKind};

/// A range or a step: must be positive.
pub(super) fn positive_millis(expr: &DurationExpr, query: &Frame) -> Result<i64, EvalError> {
    let secs = seconds(expr, query)?;
    if secs <= 0.0 {
        return Err(EvalError::execution("duration must be greater than 0").at(expr.span));
    }
    in_millis(expr, secs)
}

/// An offset: may be negative; none is 0.
pub(super) fn offset_millis(expr: Option<&DurationExpr>, query: &Frame) -> Result<i64, EvalError> {
    expr.map_or(Ok(0), |expr| in_millis(expr, seconds(expr, query)?))
}

fn in_millis(expr: &DurationExpr, secs: f64) -> Result<i64, EvalError> {
    if secs.is_nan() || secs.abs() > i64::MAX as f64 / 1e9 {
        return Err(EvalError::execution("duration is out of range").at(expr.span));
    }
    Ok(match expr.kind {
        // Literals are read to the nanosecond; what is computed is cut to the millisecond.
        DurationKind::Literal(_) => (secs * 1e9).round() as i64 / 1_000_000,
        _ => (secs * 1000.0) as i64,
    })
}

fn seconds(expr: &DurationExpr, query: &Frame) -> Result<f64, EvalError> {
    let value = match &expr.kind {
        DurationKind::Literal(secs) => *secs,
        DurationKind::Step => query.step as f64 / 1000.0,
        DurationKind::Range => (query.end - query.start) as f64 / 1000.0,
        DurationKind::Paren(inner) => seconds(inner, query)?,
        DurationKind::Negate(inner) => -seconds(inner, query)?,
        DurationKind::Min(left, right) => seconds(left, query)?.min(seconds(right, query)?),
        DurationKind::Max(left, right) => seconds(left, query)?.max(seconds(right, query)?),
        DurationKind::Binary(op, left, right) => {
            let (left, right) = (seconds(left, query)?, seconds(right, query)?);
            match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Pow => left.powf(right),
                BinaryOp::Div if right == 0.0 => return Err(EvalError::execution("division by zero").at(expr.span)),
                BinaryOp::Mod if right == 0.0 => return Err(EvalError::execution("modulo by zero").at(expr.span)),
                BinaryOp::Div => left / right,
                BinaryOp::Mod => left % right,
                _ => return Err(EvalError::execution("unexpected duration expression operator").at(expr.span)),
            }
        }
    };
    Ok(value)
}
