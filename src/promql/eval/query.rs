//! The two kinds of queries, from the expression to its outcome.

use std::time::Duration;

use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, has_duplicates, stamp};
use super::memo::{Cache, without_metadata};
use super::options::Options;
use super::selector::SeriesSamples;
use super::value::{MatrixSeries, Outcome, Value, VectorSample};
use crate::model::{Labels, LabelsMap};
use crate::promql::ast::{Expr, Kind, ValueType};
use crate::series::{Point, View};
use crate::time::{Timestamp, millis};

/// Evaluates an expression at one instant.
///
/// # Errors
/// When data and expression do not go together (such as a many-to-many match), or a limit of `options` is reached.
pub fn instant(view: &View, expr: &Expr, at: Timestamp, options: &Options<'_>) -> Result<Outcome, EvalError> {
    instant_with(&mut Cache::new(expr, false), view, expr, at, options)
}

/// [`instant`] with what earlier evaluations of the same expression remember.
pub(super) fn instant_with(
    cache: &mut Cache,
    view: &View,
    expr: &Expr,
    at: Timestamp,
    options: &Options<'_>,
) -> Result<Outcome, EvalError> {
    cache.begin();
    let now = at.as_millis();
    let mut evaluator = Evaluator::new(view, options, cache, Frame { start: now, end: now, step: 0 });
    evaluator.check_interrupt()?;
    let frame = Frame::instant(now);
    let value = match expr.value_type() {
        ValueType::Scalar => Value::Scalar(evaluator.scalar(expr, &frame, now)?),
        ValueType::String => Value::String(text(expr).to_owned()),
        ValueType::Vector => {
            let vector = evaluator.vector(expr, &frame, now)?;
            Value::Vector(finished_vector(vector, at)?)
        }
        ValueType::Matrix => Value::Matrix(finished_matrix(evaluator.range_vector(expr, &frame, now)?)?),
    };
    Ok(outcome(value, evaluator))
}

/// Evaluates an expression at every `step` from `start` to `end`, both included.
///
/// # Errors
/// As [`instant`]; and for expressions that are neither scalars nor instant vectors.
pub fn range(
    view: &View,
    expr: &Expr,
    start: Timestamp,
    end: Timestamp,
    step: Duration,
    options: &Options<'_>,
) -> Result<Outcome, EvalError> {
    let kind = expr.value_type();
    if matches!(kind, ValueType::String | ValueType::Matrix) {
        let kind = kind.documented();
        let message = format!("invalid expression type {kind:?} for range query, must be Scalar or instant Vector");
        return Err(EvalError::execution(message).at(expr.span));
    }
    let frame = Frame { start: start.as_millis(), end: end.as_millis(), step: millis(step).max(1) };
    let mut cache = Cache::new(expr, true);
    cache.begin();
    let mut evaluator = Evaluator::new(view, options, &mut cache, frame);
    evaluator.check_interrupt()?;
    evaluator.find_pinned(expr);
    let series = evaluator.matrix(expr, &frame)?;
    Ok(outcome(Value::Matrix(finished_matrix(series)?), evaluator))
}

fn outcome(value: Value, mut evaluator: Evaluator<'_>) -> Outcome {
    evaluator.note_params();
    Outcome { value, samples_touched: evaluator.touched, annotations: evaluator.notes.into_vec() }
}

fn text(expr: &Expr) -> &str {
    match &expr.kind {
        Kind::Text(text) => text,
        Kind::Paren(inner) => text(inner),
        _ => "",
    }
}

fn finished_vector(vector: Vec<Element>, at: Timestamp) -> Result<Vec<VectorSample>, EvalError> {
    let finished: Vec<VectorSample> = vector
        .into_iter()
        .map(|element| VectorSample {
            labels: final_labels(element.labels, element.drop_name),
            at,
            value: element.value,
        })
        .collect();
    if finished.len() > 1 && has_duplicates(finished.iter().map(|sample| &sample.labels)) {
        return Err(EvalError::same_labels());
    }
    Ok(finished)
}

fn final_labels(labels: Labels, drop_name: bool) -> Labels {
    if drop_name { without_metadata(&labels) } else { labels }
}

/// Series that become equal when their names go are merged, unless they have samples at the same instants.
fn finished_matrix(series: Vec<SeriesSamples>) -> Result<Vec<MatrixSeries>, EvalError> {
    let mut finished: Vec<MatrixSeries> = Vec::with_capacity(series.len());
    let mut places: LabelsMap<usize> = LabelsMap::default();
    let mut merged = Vec::new();
    for samples in series {
        let points = points_of(&samples);
        let labels = final_labels(samples.labels, samples.drop_name);
        if let Some(place) = places.get(&labels) {
            finished[*place].points.extend(points);
            merged.push(*place);
        } else {
            places.insert(labels.clone(), finished.len());
            finished.push(MatrixSeries { labels, points });
        }
    }
    for place in merged {
        let points = &mut finished[place].points;
        points.sort_by_key(time_of);
        if points.windows(2).any(|pair| time_of(&pair[0]) == time_of(&pair[1])) {
            return Err(EvalError::same_labels());
        }
    }
    finished.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(finished)
}

fn time_of(point: &Point) -> Timestamp {
    match point {
        Point::Float(at, _) | Point::Histogram(at, _) => *at,
    }
}

fn points_of(samples: &SeriesSamples) -> Vec<Point> {
    let floats = samples.floats.iter().map(|point| Point::Float(stamp(point.at), point.value));
    if samples.histograms.is_empty() {
        return floats.collect();
    }
    let histograms = samples.histograms.iter().map(|point| Point::Histogram(stamp(point.at), point.value.clone()));
    let mut points: Vec<Point> = floats.chain(histograms).collect();
    points.sort_by_key(time_of);
    points
}

impl Evaluator<'_> {
    /// The value of an expression of type "range vector", with the samples' own timestamps.
    fn range_vector(&mut self, expr: &Expr, frame: &Frame, at: i64) -> Result<Vec<SeriesSamples>, EvalError> {
        let (loaded, bounds) = match &expr.kind {
            Kind::Paren(inner) => return self.range_vector(inner, frame, at),
            Kind::Range(range) => self.range_series(expr, range, frame, at)?,
            Kind::Subquery(subquery) => self.subquery_series(expr, subquery, frame, at)?,
            _ => return Err(EvalError::execution("expected a range vector here").at(expr.span)),
        };
        let mut series = Vec::new();
        for samples in &loaded.series {
            let window = samples.window(bounds.after, bounds.until);
            let mut copy = SeriesSamples::new(samples.labels.clone());
            copy.drop_name = samples.drop_name;
            copy.floats = super::smooth::bounded(window, &bounds).map_err(|error| error.at(expr.span))?;
            copy.histograms = window.histograms.to_vec();
            if !copy.floats.is_empty() || !copy.histograms.is_empty() {
                series.push(copy);
            }
        }
        Ok(series)
    }
}
