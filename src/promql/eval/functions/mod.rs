//! PromQL's functions, by what they work on. The signatures are the parser's; here is what they compute.

mod absent;
mod classic;
mod extended;
mod histogram;
mod info;
mod labels;
mod math;
mod over_time;
mod range_call;
mod rates;
mod regression;
mod sliding;
mod sort;
mod time;

use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame};
use crate::model::Labels;
use crate::promql::ast::{Call, Expr, Kind};
use crate::promql::numbers::{go_max, go_min};

impl Evaluator<'_> {
    /// A call that gives an instant vector.
    pub(super) fn call(&mut self, expr: &Expr, call: &Call, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let name = call.function.name;
        let vector = match name {
            "absent" => self.absent(call, frame, at)?,
            "vector" => vec![Element::float(Labels::empty(), self.scalar(&call.args[0], frame, at)?)],
            "label_replace" => return self.label_replace(expr, call, frame, at),
            "label_join" => return self.label_join(expr, call, frame, at),
            "info" => return self.info(expr, call, frame, at),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sorted(expr, call, frame, at)?,
            "timestamp" => self.timestamps(call, frame, at)?,
            "start_timestamp" => self.start_timestamps(call, frame, at)?,
            "histogram_quantile" => self.histogram_quantile(call, frame, at)?,
            "histogram_quantiles" => self.histogram_quantiles(call, frame, at)?,
            "histogram_fraction" => self.histogram_fraction(call, frame, at)?,
            "clamp" | "clamp_min" | "clamp_max" | "round" => self.rounded_or_clamped(call, frame, at)?,
            _ => {
                if let Some(date) = time::date_function(name) {
                    self.dates(call, frame, at, date)?
                } else if let Some(number) = histogram::number_of(name) {
                    self.histogram_numbers(call, frame, at, number)?
                } else if let Some(function) = math::unary(name) {
                    let vector = self.vector(&call.args[0], frame, at)?;
                    self.each_float(vector, function)
                } else {
                    return self.range_call(expr, call, frame, at);
                }
            }
        };
        self.check_unique(&vector, frame).map_err(|error| error.at(expr.span))?;
        Ok(vector)
    }

    /// A call that gives a scalar.
    pub(super) fn scalar_call(&mut self, expr: &Expr, call: &Call, frame: &Frame, at: i64) -> Result<f64, EvalError> {
        let secs = |millis: i64| millis as f64 / 1000.0;
        Ok(match call.function.name {
            "time" => secs(at),
            "pi" => std::f64::consts::PI,
            "start" => secs(self.query.start),
            "end" => secs(self.query.end),
            "range" => secs(self.query.end - self.query.start),
            "step" => secs(self.query.step),
            "min_of" => go_min(self.scalar(&call.args[0], frame, at)?, self.scalar(&call.args[1], frame, at)?),
            "max_of" => go_max(self.scalar(&call.args[0], frame, at)?, self.scalar(&call.args[1], frame, at)?),
            "scalar" => {
                let vector = self.vector(&call.args[0], frame, at)?;
                let mut floats = vector.iter().filter_map(|element| element.value.float());
                match (floats.next(), floats.next()) {
                    (Some(only), None) => only,
                    _ => f64::NAN,
                }
            }
            name => return Err(EvalError::execution(format!("unknown function {name:?}")).at(expr.span)),
        })
    }

    /// Applies a function to every float; histograms are left out, names dropped.
    fn each_float(&mut self, vector: Vec<Element>, function: impl Fn(f64) -> f64) -> Vec<Element> {
        let mut out = Vec::with_capacity(vector.len());
        for mut element in vector {
            if let Some(value) = element.value.float() {
                element.value = super::value::SampleValue::Float(function(value));
                self.drop_name(&mut element);
                out.push(element);
            }
        }
        out
    }

    fn rounded_or_clamped(&mut self, call: &Call, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let vector = self.vector(&call.args[0], frame, at)?;
        let mut params = [0.0; 2];
        for (param, arg) in params.iter_mut().zip(call.args.iter().skip(1)) {
            *param = self.scalar(arg, frame, at)?;
        }
        let (low, high) = match call.function.name {
            "clamp_min" => (params[0], f64::INFINITY),
            "clamp_max" => (f64::NEG_INFINITY, params[0]),
            "clamp" => (params[0], params[1]),
            _ => {
                // Inverted first: fewer rounding errors than a division.
                let inverse = 1.0 / if call.args.len() > 1 { params[0] } else { 1.0 };
                return Ok(self.each_float(vector, |value| (value * inverse + 0.5).floor() / inverse));
            }
        };
        if high < low {
            return Ok(Vec::new());
        }
        Ok(self.each_float(vector, |value| go_max(low, go_min(high, value))))
    }
}

/// The text of a string argument.
fn text_arg(expr: &Expr) -> &str {
    match &expr.kind {
        Kind::Text(text) => text,
        Kind::Paren(inner) => text_arg(inner),
        _ => "",
    }
}
