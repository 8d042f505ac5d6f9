//! Subqueries: an expression evaluated over a frame of its own.

use std::rc::Rc;
use std::sync::Arc;

use super::duration::positive_millis;
use super::error::EvalError;
use super::evaluator::{Evaluator, Frame};
use super::selector::{Bounds, Loaded, Reference, SeriesSamples};
use crate::model::{CounterResetHint, LabelsMap};
use crate::promql::ast::{Expr, Subquery, WindowMode};

impl Evaluator<'_> {
    /// The series of a subquery over all steps of the frame, and the window at one of them.
    pub(super) fn subquery_series(
        &mut self,
        expr: &Expr,
        subquery: &Subquery,
        frame: &Frame,
        at: i64,
    ) -> Result<(Rc<Loaded>, Bounds), EvalError> {
        let in_place = |error: EvalError| error.at(expr.span);
        let reference = Reference::new(&subquery.modifiers, &self.query).map_err(in_place)?;
        let range = positive_millis(&subquery.range, &self.query).map_err(in_place)?;
        let step = match &subquery.step {
            Some(step) => positive_millis(step, &self.query).map_err(in_place)?,
            None => crate::time::millis(self.options.default_subquery_step),
        }
        .max(1);
        let from = reference.time(frame.start) - range;
        // Steps are multiples of the step's length, so that they are the same whenever they are asked for.
        let inner = Frame { start: (from.div_euclid(step) + 1) * step, end: reference.time(frame.end), step };
        let loaded = self.loaded(expr, frame, |evaluator| evaluator.steps_of(&subquery.expr, &inner))?;
        let end = reference.time(at);
        let bounds = Bounds { start: end - range, end, after: end - range, until: end, mode: WindowMode::Plain };
        Ok((loaded, bounds))
    }

    fn steps_of(&mut self, expr: &Expr, inner: &Frame) -> Result<Loaded, EvalError> {
        let mut series = self.matrix(expr, inner)?;
        for samples in &mut series {
            // Samples of the counter may lie between the steps, so what was known of resets is not known any more.
            for point in &mut samples.histograms {
                if matches!(point.value.hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
                    Arc::make_mut(&mut point.value).hint = CounterResetHint::Unknown;
                }
            }
        }
        Ok(Loaded { series })
    }

    /// The values of an expression at every step of a frame, one series for each label set.
    pub(super) fn matrix(&mut self, expr: &Expr, frame: &Frame) -> Result<Vec<SeriesSamples>, EvalError> {
        let remembers = self.cache.enabled;
        self.cache.enabled |= !frame.is_single();
        let mut series: Vec<SeriesSamples> = Vec::new();
        let mut places: LabelsMap<usize> = LabelsMap::default();
        for at in frame.steps() {
            let vector = self.vector(expr, frame, at)?;
            self.touch(vector.len())?;
            for element in vector {
                let place = *places.entry(element.labels.clone()).or_insert_with(|| {
                    let mut fresh = SeriesSamples::new(element.labels.clone());
                    fresh.drop_name = element.drop_name;
                    series.push(fresh);
                    series.len() - 1
                });
                let target = &mut series[place];
                let newest = target.floats.last().map(|p| p.at).max(target.histograms.last().map(|p| p.at));
                if newest == Some(at) {
                    return Err(EvalError::same_labels());
                }
                target.push(at, &element.value);
            }
        }
        self.cache.enabled = remembers;
        Ok(series)
    }
}
