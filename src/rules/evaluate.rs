//! The seam between the rules and PromQL, so that the state machines can be tested with scripted results.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Labels;
use crate::promql::{Expr, SampleValue};
use crate::series::View;
use crate::time::Timestamp;

/// Asks an expression at one instant.
pub(crate) trait Evaluate: Send + Sync {
    /// The result as a vector; a scalar is one element without labels. The expression will be asked again and again.
    ///
    /// # Errors
    /// The message of the evaluator, or that the result is neither vector nor scalar.
    fn instant(&self, view: &View, expr: &Arc<Expr>, at: Timestamp) -> Result<Vec<Reading>, String>;

    /// [`Evaluate::instant`] for an expression that is asked once.
    ///
    /// # Errors
    /// As there.
    fn once(&self, view: &View, expr: Expr, at: Timestamp) -> Result<Vec<Reading>, String> {
        self.instant(view, &Arc::new(expr), at)
    }

    /// Takes over how old the newest point of an instant selector may be, and the step of subqueries that name none.
    fn configure(&mut self, lookback: Duration, subquery_step: Duration);
}

/// One element of a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub labels: Labels,
    pub value: SampleValue,
}

impl Reading {
    /// The float; 0 for a native histogram, as Prometheus' alerts have it.
    pub fn float(&self) -> f64 {
        self.value.float().unwrap_or_default()
    }
}
