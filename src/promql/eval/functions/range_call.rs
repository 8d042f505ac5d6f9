//! Functions over range vectors: one window of one series at a time.

use super::absent::labels_of_absent;
use super::{over_time, rates, regression};
use crate::promql::ast::{Call, Expr, Kind, Span, WindowMode};
use crate::promql::eval::annotations::Note;
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare};
use crate::promql::eval::selector::{Bounds, Window};
use crate::promql::eval::value::SampleValue;

/// What a range function sees.
pub(super) struct Input<'s> {
    pub window: Window<'s>,
    pub bounds: &'s Bounds,
    /// The instant of the evaluation, in milliseconds.
    pub at: i64,
    /// The scalar arguments in order.
    pub params: &'s [f64],
    /// Where annotations point.
    pub span: Span,
}

impl Input<'_> {
    pub(super) fn name(&self) -> &str {
        self.window.labels.name()
    }
}

/// A range function: the value of one window, `None` for no element.
type RangeFunction = fn(&mut Evaluator<'_>, &Input<'_>) -> Result<Option<SampleValue>, EvalError>;

fn range_function(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "rate" => rates::rate,
        "increase" => rates::increase,
        "delta" => rates::delta,
        "irate" => rates::irate,
        "idelta" => rates::idelta,
        "resets" => rates::resets,
        "changes" => rates::changes,
        "deriv" => regression::deriv,
        "predict_linear" => regression::predict_linear,
        "double_exponential_smoothing" => regression::double_exponential_smoothing,
        "avg_over_time" => over_time::avg,
        "sum_over_time" => over_time::sum,
        "count_over_time" => over_time::count,
        "min_over_time" => over_time::min,
        "max_over_time" => over_time::max,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        "quantile_over_time" => over_time::quantile,
        "mad_over_time" => over_time::mad,
        "first_over_time" => over_time::first,
        "last_over_time" => over_time::last,
        "present_over_time" | "absent_over_time" => over_time::present,
        "ts_of_first_over_time" => over_time::time_of_first,
        "ts_of_last_over_time" => over_time::time_of_last,
        "ts_of_min_over_time" => over_time::time_of_min,
        "ts_of_max_over_time" => over_time::time_of_max,
        _ => return None,
    })
}

const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

fn check_mode(mode: WindowMode, function: &str) -> Result<(), EvalError> {
    let (word, safe): (&str, &[&str]) = match mode {
        WindowMode::Plain => return Ok(()),
        WindowMode::Anchored => ("anchored", &ANCHORED),
        WindowMode::Smoothed => ("smoothed", &SMOOTHED),
    };
    if safe.contains(&function) {
        return Ok(());
    }
    let safe = safe.join(", ");
    Err(EvalError::execution(format!("{word} modifier can only be used with: {safe} - not with {function}")))
}

impl Evaluator<'_> {
    pub(super) fn range_call(
        &mut self,
        expr: &Expr,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let name = call.function.name;
        let unknown = || EvalError::execution(format!("unknown function {name:?}")).at(expr.span);
        let function = range_function(name).ok_or_else(unknown)?;
        let (mut source, mut params, mut span) = (None, Vec::new(), Span::default());
        for (index, arg) in call.args.iter().map(bare).enumerate() {
            match &arg.kind {
                Kind::Range(range) => {
                    check_mode(range.mode, name).map_err(|error| error.at(expr.span))?;
                    source = Some(self.range_series(arg, range, frame, at)?);
                }
                Kind::Subquery(subquery) => source = Some(self.subquery_series(arg, subquery, frame, at)?),
                _ => params.push(self.scalar(arg, frame, at)?),
            }
            if index == 0 && !matches!(arg.kind, Kind::Subquery(_)) {
                // Annotations about a subquery point at the beginning of the query, as Prometheus' do.
                span = arg.span;
            }
        }
        let (loaded, bounds) = source.ok_or_else(unknown)?;
        let keep_name = matches!(name, "last_over_time" | "first_over_time");
        let mut vector = Vec::with_capacity(loaded.series.len());
        for series in &loaded.series {
            let window = series.window(bounds.after, bounds.until);
            if window.is_empty() {
                continue;
            }
            if !frame.is_single() {
                self.touch(window.len())?;
            }
            let input = Input { window, bounds: &bounds, at, params: &params, span };
            let Some(value) = function(self, &input).map_err(|error| error.at(expr.span))? else { continue };
            if matches!(name, "rate" | "increase") && value.float().is_some() {
                self.note_non_counter(&input);
            }
            let mut element = Element { labels: series.labels.clone(), value, drop_name: series.drop_name };
            if !keep_name {
                self.drop_name(&mut element);
            }
            vector.push(element);
        }
        if name == "absent_over_time" {
            if !vector.is_empty() {
                return Ok(Vec::new());
            }
            let mut element = Element::float(labels_of_absent(&call.args[0]), 1.0);
            element.drop_name = true;
            return Ok(vec![element]);
        }
        self.check_unique(&vector, frame).map_err(|error| error.at(expr.span))?;
        Ok(vector)
    }

    fn note_non_counter(&mut self, input: &Input<'_>) {
        let name = input.name();
        if name.is_empty() {
            return;
        }
        if self.options.type_and_unit_labels {
            let kind = input.window.labels.value("__type__");
            if kind != "counter" && kind != "histogram" {
                self.note(&Note::PossibleNonCounterType { name, kind }, input.span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) {
            self.note(&Note::PossibleNonCounter(name), input.span);
        }
    }
}
