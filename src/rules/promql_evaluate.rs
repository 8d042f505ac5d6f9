//! PromQL behind the seam.

use std::time::Duration;

use super::evaluate::{Evaluate, Reading};
use crate::model::Labels;
use crate::promql::{self, Expr, Options, SampleValue, Value};
use crate::series::View;
use crate::time::Timestamp;

/// The evaluator of the house.
#[derive(Default)]
pub(crate) struct PromQl {
    lookback: Duration,
    subquery_step: Duration,
}

impl Evaluate for PromQl {
    fn instant(&self, view: &View, expr: &Expr, at: Timestamp) -> Result<Vec<Reading>, String> {
        let options =
            Options { lookback: self.lookback, default_subquery_step: self.subquery_step, ..Options::default() };
        let outcome = promql::instant(view, expr, at, &options).map_err(|error| error.to_string())?;
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
    }
}
