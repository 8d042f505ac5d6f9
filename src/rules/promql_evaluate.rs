//! PromQL behind the seam.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::evaluate::{Evaluate, Reading};
use crate::model::Labels;
use crate::promql::{Expr, Options, Prepared, SampleValue, Value};
use crate::series::View;
use crate::time::Timestamp;

/// The evaluator of the house. It prepares each expression once and remembers which series it reads.
#[derive(Default)]
pub(crate) struct PromQl {
    lookback: Duration,
    subquery_step: Duration,
    /// By the address of the expression, which lives in its rule's group; what stands there is compared before it is
    /// used, because after a reload another expression may live at the same address.
    prepared: Mutex<HashMap<usize, Prepared>>,
}

impl Evaluate for PromQl {
    fn instant(&self, view: &View, expr: &Expr, at: Timestamp) -> Result<Vec<Reading>, String> {
        let options =
            Options { lookback: self.lookback, default_subquery_step: self.subquery_step, ..Options::default() };
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Prepared::new(expr.clone());
        let place = prepared.entry(std::ptr::from_ref(expr).addr()).or_insert_with(fresh);
        if place.expr() != expr {
            *place = fresh();
        }
        let outcome = place.instant(view, at, &options).map_err(|error| error.to_string())?;
        match outcome.value {
            Value::Vector(vector) => {
                Ok(vector.into_iter().map(|s| Reading { labels: s.labels, value: s.value }).collect())
            }
            Value::Scalar(value) => Ok(vec![Reading { labels: Labels::empty(), value: SampleValue::Float(value) }]),
            Value::String(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".into()),
        }
    }

    fn configure(&mut self, lookback: Duration, subquery_step: Duration) {
        self.lookback = lookback;
        self.subquery_step = subquery_step;
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
