//! Binary operators: on two scalars, on two elements, on a vector and a scalar, on two vectors.

use super::annotations::{Note, Operation};
use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, bare};
use super::value::SampleValue;
use crate::model::{CounterResetHint, FloatHistogram};
use crate::promql::ast::{Binary, BinaryOp, Expr, Kind, ValueType, WindowMode};
use crate::promql::histogram::{IncompatibleSchema, trimmed};

/// An operator on two scalars; comparisons give 0 or 1.
pub(super) fn scalar_operation(op: BinaryOp, left: f64, right: f64) -> Result<f64, EvalError> {
    match float_operation(op, left, right) {
        Some((_, keep)) if op.is_comparison() => Ok(f64::from(u8::from(keep))),
        Some((value, _)) => Ok(value),
        None => Err(EvalError::execution(format!("operator {:?} not allowed for Scalar operations", op.as_str()))),
    }
}

/// The result on two floats, and whether a comparison holds; `None` where floats do not work.
fn float_operation(op: BinaryOp, left: f64, right: f64) -> Option<(f64, bool)> {
    Some(match op {
        BinaryOp::Add => (left + right, true),
        BinaryOp::Sub => (left - right, true),
        BinaryOp::Mul => (left * right, true),
        BinaryOp::Div => (left / right, true),
        BinaryOp::Mod => (left % right, true),
        BinaryOp::Pow => (left.powf(right), true),
        BinaryOp::Atan2 => (left.atan2(right), true),
        BinaryOp::Equal => (left, left == right),
        BinaryOp::NotEqual => (left, left != right),
        BinaryOp::Less => (left, left < right),
        BinaryOp::LessEqual => (left, left <= right),
        BinaryOp::Greater => (left, left > right),
        BinaryOp::GreaterEqual => (left, left >= right),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => return None,
    })
}

/// True for operators after which a metric is not what its name says any more.
pub(super) fn changes_meaning(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
}

impl Evaluator<'_> {
    pub(super) fn binary(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        if let Some(vector) = self.filtered(expr, binary, frame, at)? {
            return Ok(vector);
        }
        let scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
        let vector = if scalar(&binary.right) {
            let vector = self.vector(&binary.left, frame, at)?;
            let number = self.scalar(&binary.right, frame, at)?;
            self.with_scalar(expr, binary, vector, number, false)
        } else if scalar(&binary.left) {
            let number = self.scalar(&binary.left, frame, at)?;
            let vector = self.vector(&binary.right, frame, at)?;
            self.with_scalar(expr, binary, vector, number, true)
        } else {
            self.with_vector(expr, binary, frame, at)?
        };
        self.check_unique(&vector, frame).map_err(|error| error.at(expr.span))?;
        Ok(vector)
    }

    /// A comparison of what a prepared expression reads with a number: what does not pass is never made an element.
    fn filtered(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        frame: &Frame,
        at: i64,
    ) -> Result<Option<Vec<Element>>, EvalError> {
        if !self.cache.slides || !frame.is_single() || self.options.delayed_name_removal {
            return Ok(None);
        }
        let Some((filter, side)) = Filter::of(binary) else { return Ok(None) };
        let vector = match &side.kind {
            Kind::Selector(selector) if selector.mode == WindowMode::Plain => {
                Some(self.newest_vector(side, selector, at, Some(filter))?)
            }
            Kind::Call(call) => self.sliding_call(side, call, frame, at, Some(filter))?,
            _ => None,
        };
        let Some(vector) = vector else { return Ok(None) };
        self.check_unique(&vector, frame).map_err(|error| error.at(side.span))?;
        let vector = self.with_scalar(expr, binary, vector, filter.number, filter.number_left);
        self.check_unique(&vector, frame).map_err(|error| error.at(expr.span))?;
        Ok(Some(vector))
    }

    fn with_scalar(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        vector: Vec<Element>,
        number: f64,
        scalar_left: bool,
    ) -> Vec<Element> {
        let op = binary.op;
        let number = SampleValue::Float(number);
        let mut out = Vec::with_capacity(vector.len());
        let mut last_note = None;
        for mut element in vector {
            let (left, right) = if scalar_left { (&number, &element.value) } else { (&element.value, &number) };
            let operated = operate(op, left, right);
            last_note = operated.note.or(last_note);
            let Some((mut value, keep)) = operated.result else { continue };
            if binary.return_bool {
                value = SampleValue::Float(f64::from(u8::from(keep)));
            } else if !keep {
                continue;
            } else if scalar_left && op.is_comparison() {
                // What passes is always the vector's value.
                value = element.value.clone();
            }
            element.value = value;
            if changes_meaning(op) || binary.return_bool {
                self.drop_name(&mut element);
            }
            out.push(element);
        }
        if let Some(note) = last_note {
            self.note(&note, expr.span);
        }
        out
    }
}

/// A comparison with a number.
#[derive(Clone, Copy)]
pub(super) struct Filter {
    op: BinaryOp,
    number: f64,
    number_left: bool,
}

impl Filter {
    /// The comparison, and the side that is compared; `None` where it does more than to let elements pass.
    fn of(binary: &Binary) -> Option<(Filter, &Expr)> {
        if !binary.op.is_comparison() || binary.return_bool {
            return None;
        }
        let (left, right) = (bare(&binary.left), bare(&binary.right));
        if let Some(number) = literal(right) {
            return Some((Filter { op: binary.op, number, number_left: false }, left));
        }
        literal(left).map(|number| (Filter { op: binary.op, number, number_left: true }, right))
    }

    /// Whether a value passes.
    pub(super) fn passes(&self, value: f64) -> bool {
        let (left, right) = if self.number_left { (self.number, value) } else { (value, self.number) };
        float_operation(self.op, left, right).is_none_or(|(_, keep)| keep)
    }

    /// Whether no value between two that are no NaN can pass.
    pub(super) fn refuses_all(&self, low: f64, high: f64) -> bool {
        let ends = !self.passes(low) && !self.passes(high);
        match self.op {
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => ends,
            BinaryOp::Equal => ends && !(low < self.number && self.number < high),
            _ => false,
        }
    }
}

fn literal(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Number(number) => Some(*number),
        Kind::Negate(inner) => literal(bare(inner)).map(|number| -number),
        _ => None,
    }
}

/// What an operator made of two elements.
pub(super) struct Operated {
    /// The value, and whether a comparison holds; `None` when the operator does not work on them.
    pub result: Option<(SampleValue, bool)>,
    pub note: Option<Note<'static>>,
}

/// An operator on two elements.
pub(super) fn operate(op: BinaryOp, left: &SampleValue, right: &SampleValue) -> Operated {
    use SampleValue::{Float, Histogram};
    let of_float = |(value, keep): (f64, bool)| (Float(value), keep);
    let result = match (left, right) {
        (Float(left), Float(right)) => float_operation(op, *left, *right).map(of_float),
        (Float(factor), Histogram(histogram)) | (Histogram(histogram), Float(factor)) if op == BinaryOp::Mul => {
            Some((changed(histogram, |copy| copy.scale(*factor)), true))
        }
        (Histogram(histogram), Float(number)) => match op {
            BinaryOp::Div => Some((changed(histogram, |copy| copy.divide(*number)), true)),
            BinaryOp::TrimUpper => Some((trimmed(histogram, *number, true).into(), true)),
            BinaryOp::TrimLower => Some((trimmed(histogram, *number, false).into(), true)),
            _ => None,
        },
        (Float(_), Histogram(_)) => None,
        (Histogram(first), Histogram(second)) => match op {
            BinaryOp::Add | BinaryOp::Sub => return combine(first, second, op),
            BinaryOp::Equal => Some((left.clone(), first.same_data(second))),
            BinaryOp::NotEqual => Some((left.clone(), !first.same_data(second))),
            _ => None,
        },
    };
    let kind = |value: &SampleValue| if value.float().is_some() { "float" } else { "histogram" };
    let refused = || Note::IncompatibleTypes { left: kind(left), op: op.as_str(), right: kind(right) };
    Operated { note: result.is_none().then(refused), result }
}

fn combine(left: &FloatHistogram, right: &FloatHistogram, op: BinaryOp) -> Operated {
    let mut result = left.clone();
    let (combined, operation) = if op == BinaryOp::Add {
        (result.add(right), Operation::Addition)
    } else {
        (result.subtract(right), Operation::Subtraction)
    };
    let combined = match combined {
        Ok(combined) => combined,
        Err(IncompatibleSchema) => {
            return Operated { result: None, note: Some(Note::IncompatibleBuckets(op.as_str())) };
        }
    };
    if op == BinaryOp::Sub {
        result.hint = CounterResetHint::Gauge;
    }
    if combined.reset_collision {
        return Operated { result: None, note: Some(Note::ResetCollision(operation)) };
    }
    result.compact();
    let note = combined.bounds_reconciled.then_some(Note::BoundsReconciled(operation));
    Operated { result: Some((result.into(), true)), note }
}

fn changed(histogram: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> SampleValue {
    let mut copy = histogram.clone();
    change(&mut copy);
    copy.compact();
    copy.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_compare_to_numbers() {
        let check = |op, left: f64, right: f64, expected: f64| {
            assert_eq!(scalar_operation(op, left, right), Ok(expected), "{left} {op:?} {right}");
        };
        check(BinaryOp::Greater, 2.0, 1.0, 1.0);
        check(BinaryOp::Equal, 2.0, 1.0, 0.0);
        check(BinaryOp::Mod, -7.0, 3.0, -1.0);
        check(BinaryOp::Pow, 2.0, -1.0, 0.5);
        assert!(scalar_operation(BinaryOp::TrimLower, 1.0, 1.0).is_err());
    }
}
