//! PromQL behind the seam.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::evaluate::{Evaluate, Reading};
use crate::model::Labels;
use crate::promql::{self, Expr, Options, Prepared, SampleValue, Value};
use crate::series::View;
use crate::time::Timestamp;

/// The evaluator of the house. It prepares each expression once and remembers which series it reads.
#[derive(Default)]
pub(crate) struct PromQl {
    lookback: Duration,
    subquery_step: Duration,
    /// By the address of the expression; each is held here, so that nothing else can come to live at its address.
    prepared: Mutex<HashMap<usize, Prepared>>,
}

impl PromQl {
    fn options(&self) -> Options<'static> {
        Options { lookback: self.lookback, default_subquery_step: self.subquery_step, ..Options::default() }
    }
}

impl Evaluate for PromQl {
    fn instant(&self, view: &View, expr: &Arc<Expr>, at: Timestamp) -> Result<Vec<Reading>, String> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let place = prepared.entry(Arc::as_ptr(expr).addr()).or_insert_with(|| Prepared::new(Arc::clone(expr)));
        readings(place.instant(view, at, &self.options()))
    }

    fn once(&self, view: &View, expr: Expr, at: Timestamp) -> Result<Vec<Reading>, String> {
        readings(promql::instant(view, &expr, at, &self.options()))
    }

    fn configure(&mut self, lookback: Duration, subquery_step: Duration) {
        self.lookback = lookback;
        self.subquery_step = subquery_step;
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn readings(outcome: Result<promql::Outcome, promql::EvalError>) -> Result<Vec<Reading>, String> {
    match outcome.map_err(|error| error.to_string())?.value {
        Value::Vector(vector) => Ok(vector.into_iter().map(|s| Reading { labels: s.labels, value: s.value }).collect()),
        Value::Scalar(value) => Ok(vec![Reading { labels: Labels::empty(), value: SampleValue::Float(value) }]),
        Value::String(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".into()),
    }
}
