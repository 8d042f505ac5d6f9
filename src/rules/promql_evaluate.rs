//! PromQL behind the seam.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::evaluate::{Evaluate, Reading};
use crate::model::{Labels, PassThrough};
use crate::promql::{self, Expr, Options, Prepared, SampleValue, SharedParts, Value};
use crate::series::View;
use crate::time::Timestamp;

/// The evaluator of the house. It prepares each expression once, remembers which series it reads and follows its windows;
/// what several rules ask at one instant is evaluated once.
#[derive(Default)]
pub(crate) struct PromQl {
    lookback: Duration,
    subquery_step: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the address of the expression; each is held here, so that nothing else can come to live at its address.
    prepared: HashMap<usize, Box<Prepared>, BuildHasherDefault<PassThrough>>,
    parts: SharedParts,
}

impl PromQl {
    fn options(&self) -> Options<'static> {
        Options { lookback: self.lookback, default_subquery_step: self.subquery_step, ..Options::default() }
    }
}

impl Evaluate for PromQl {
    fn instant(&self, view: &View, expr: &Arc<Expr>, at: Timestamp) -> Result<Vec<Reading>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { prepared, parts } = &mut *known;
        let place = prepared.entry(Arc::as_ptr(expr).addr());
        let place = place.or_insert_with(|| Box::new(Prepared::sharing(Arc::clone(expr), parts)));
        readings(place.instant_beside(parts, view, at, &self.options()))
    }

    fn once(&self, view: &View, expr: Expr, at: Timestamp) -> Result<Vec<Reading>, String> {
        readings(promql::instant(view, &expr, at, &self.options()))
    }

    fn configure(&mut self, lookback: Duration, subquery_step: Duration) {
        self.lookback = lookback;
        self.subquery_step = subquery_step;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }
}

fn readings(outcome: Result<promql::Outcome, promql::EvalError>) -> Result<Vec<Reading>, String> {
    match outcome.map_err(|error| error.to_string())?.value {
        Value::Vector(vector) => Ok(vector.into_iter().map(|s| Reading { labels: s.labels, value: s.value }).collect()),
        Value::Scalar(value) => Ok(vec![Reading { labels: Labels::empty(), value: SampleValue::Float(value) }]),
        Value::String(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".into()),
    }
}
