//! An expression that is evaluated again and again: a rule.

use std::sync::Arc;

use super::error::EvalError;
use super::memo::Cache;
use super::options::Options;
use super::query::instant_with;
use super::value::Outcome;
use crate::promql::ast::Expr;
use crate::series::View;
use crate::time::Timestamp;

/// An expression with what its earlier evaluations found out: the series of its selectors, derived label sets, the
/// windows of its range functions.
///
/// The answers are those of [`super::instant`]. It remembers series by the generation of the view, so it must be
/// given views of one store only.
#[derive(Debug)]
pub struct Prepared {
    /// Shared, so that the nodes stay where they are.
    expr: Arc<Expr>,
    cache: Cache,
}

impl Prepared {
    /// Takes an expression that will be evaluated often.
    pub fn new(expr: impl Into<Arc<Expr>>) -> Prepared {
        let expr = expr.into();
        let mut cache = Cache::new(&expr, true);
        cache.slides = true;
        Prepared { expr, cache }
    }

    /// The expression.
    pub fn expr(&self) -> &Arc<Expr> {
        &self.expr
    }

    /// Evaluates it at one instant.
    ///
    /// # Errors
    /// As [`super::instant`].
    pub fn instant(&mut self, view: &View, at: Timestamp, options: &Options<'_>) -> Result<Outcome, EvalError> {
        instant_with(&mut self.cache, view, &self.expr, at, options)
    }
}

impl Clone for Prepared {
    /// The copy remembers nothing.
    fn clone(&self) -> Prepared {
        Prepared::new(Arc::clone(&self.expr))
    }
}
