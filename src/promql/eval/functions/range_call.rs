//! Functions over range vectors: one window of one series at a time.

use super::absent::labels_of_absent;
use super::{over_time, rates, regression};
use crate::model::Labels;
use crate::promql::ast::{Call, Expr, Kind, Span, WindowMode};
use crate::promql::eval::annotations::Note;
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare};
use crate::promql::eval::selector::{Bounds, SeriesSamples, Window};
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

/// A range function with the arguments of one step.
pub(super) struct RangeCall<'c> {
    pub name: &'c str,
    function: RangeFunction,
    at: i64,
    params: Vec<f64>,
    pub span: Span,
    place: Span,
    pub out: Vec<Element>,
}

impl<'c> RangeCall<'c> {
    /// A call without scalar arguments; `None` for functions that are none over range vectors.
    pub(super) fn plain(name: &'c str, at: i64, span: Span, place: Span) -> Option<RangeCall<'c>> {
        let function = range_function(name)?;
        Some(RangeCall { name, function, at, params: Vec::new(), span, place, out: Vec::new() })
    }

    /// Puts the element of one series into the result.
    pub(super) fn apply(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        series: &SeriesSamples,
        bounds: &Bounds,
    ) -> Result<(), EvalError> {
        let window = series.window(bounds.after, bounds.until);
        if window.is_empty() {
            return Ok(());
        }
        let input = Input { window, bounds, at: self.at, params: &self.params, span: self.span };
        let value = (self.function)(evaluator, &input).map_err(|error| error.at(self.place))?;
        let Some(value) = value else { return Ok(()) };
        if matches!(self.name, "rate" | "increase") && value.float().is_some() {
            evaluator.note_non_counter(input.window.labels, input.span);
        }
        let mut element = Element { labels: series.labels.clone(), value, drop_name: series.drop_name };
        if !matches!(self.name, "last_over_time" | "first_over_time") {
            evaluator.drop_name(&mut element);
        }
        self.out.push(element);
        Ok(())
    }
}

impl Evaluator<'_> {
    pub(super) fn range_call(
        &mut self,
        expr: &Expr,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        if let Some(vector) = self.sliding_call(expr, call, frame, at, None)? {
            self.check_unique(&vector, frame).map_err(|error| error.at(expr.span))?;
            return Ok(vector);
        }
        let name = call.function.name;
        let unknown = || EvalError::execution(format!("unknown function {name:?}")).at(expr.span);
        let function = range_function(name).ok_or_else(unknown)?;
        let (mut source, mut params, mut span) = (None, Vec::new(), Span::default());
        for (index, arg) in call.args.iter().map(bare).enumerate() {
            match &arg.kind {
                Kind::Range(_) | Kind::Subquery(_) => source = Some(arg),
                _ => params.push(self.scalar(arg, frame, at)?),
            }
            if index == 0 && !matches!(arg.kind, Kind::Subquery(_)) {
                // Annotations about a subquery point at the beginning of the query, as Prometheus' do.
                span = arg.span;
            }
        }
        let source = source.ok_or_else(unknown)?;
        let mut running = RangeCall { name, function, at, params, span, place: expr.span, out: Vec::new() };
        self.windows_of(source, frame, &mut running)?;
        let vector = running.out;
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

    /// Applies the function to every series of its range vector.
    fn windows_of(&mut self, source: &Expr, frame: &Frame, running: &mut RangeCall<'_>) -> Result<(), EvalError> {
        let (loaded, bounds) = match &source.kind {
            Kind::Subquery(subquery) => self.subquery_series(source, subquery, frame, running.at)?,
            Kind::Range(range) => {
                check_mode(range.mode, running.name).map_err(|error| error.at(running.place))?;
                if frame.is_single() {
                    let (extent, bounds) = self.range_extent(source, range, frame, running.at)?;
                    return self.each_series(source, range, extent, |evaluator, series| {
                        running.apply(evaluator, series, &bounds)
                    });
                }
                self.range_series(source, range, frame, running.at)?
            }
            _ => return Ok(()),
        };
        for series in &loaded.series {
            if !frame.is_single() {
                self.touch(series.window(bounds.after, bounds.until).len())?;
            }
            running.apply(self, series, &bounds)?;
        }
        Ok(())
    }

    pub(super) fn note_non_counter(&mut self, labels: &Labels, span: Span) {
        let name = labels.name();
        if name.is_empty() {
            return;
        }
        if self.options.type_and_unit_labels {
            let kind = labels.value("__type__");
            if kind != "counter" && kind != "histogram" {
                self.note(&Note::PossibleNonCounterType { name, kind }, span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) {
            self.note(&Note::PossibleNonCounter(name), span);
        }
    }
}
