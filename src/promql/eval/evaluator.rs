//! The evaluator: one step of one expression.
//!
//! A range query, and a subquery, is one step after another over a [`Frame`]. What does not change from step to step
//! (the selected series, derived label sets, parts pinned by `@`) is kept between the steps, by the node's address;
//! an instant query keeps nothing and looks nothing up.

use std::collections::HashSet;
use std::rc::Rc;

use super::annotations::{Annotations, Note};
use super::error::{EvalError, EvalErrorKind};
use super::memo::{ByNode, Cache};
use super::options::{Interrupt, Options};
use super::params::ParamRange;
use super::selector::Loaded;
use super::shared::SharedParts;
use super::value::SampleValue;
use crate::model::Labels;
use crate::promql::ast::{Expr, Kind, Span, ValueType};
use crate::series::View;
use crate::time::Timestamp;

/// The instants of a query or of a subquery, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Frame {
    /// The frame of an instant query.
    pub(super) fn instant(at: i64) -> Frame {
        Frame { start: at, end: at, step: 1 }
    }

    /// True when there is one step only.
    pub(super) fn is_single(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = i64> + use<> {
        let Frame { start, end, step } = *self;
        std::iter::successors(Some(start), move |at| at.checked_add(step)).take_while(move |at| *at <= end)
    }
}

/// One element of an instant vector while it is worked on.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub labels: Labels,
    pub value: SampleValue,
    /// With delayed name removal: the name goes at the end.
    pub drop_name: bool,
}

impl Element {
    pub(super) fn float(labels: Labels, value: f64) -> Element {
        Element { labels, value: SampleValue::Float(value), drop_name: false }
    }
}

/// How many samples may pass between two looks at the clock.
const SAMPLES_BETWEEN_CHECKS: usize = 4096;

/// The state of one evaluation.
pub(super) struct Evaluator<'a> {
    pub view: &'a View,
    pub options: &'a Options<'a>,
    /// The instants of the whole query, for `start()`, `end()`, `range()`, `step()`. An instant query has step 0.
    pub query: Frame,
    pub notes: Annotations,
    pub cache: &'a mut Cache,
    pub touched: usize,
    /// For reading floats out of the store.
    pub scratch: Vec<(Timestamp, f64)>,
    /// Aggregation parameters of which only the extremes are worth a warning.
    pub params: ByNode<ParamRange>,
    /// Parts that other expressions have as well.
    pub shared: Option<&'a mut SharedParts>,
    next_check: usize,
    loaded: ByNode<Rc<Loaded>>,
    pinned: HashSet<usize>,
    pinned_vectors: ByNode<Rc<Vec<Element>>>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(view: &'a View, options: &'a Options<'a>, cache: &'a mut Cache, query: Frame) -> Evaluator<'a> {
        Evaluator {
            view,
            options,
            query,
            notes: Annotations::default(),
            cache,
            touched: 0,
            scratch: Vec::new(),
            params: ByNode::default(),
            shared: None,
            next_check: SAMPLES_BETWEEN_CHECKS,
            loaded: ByNode::default(),
            pinned: HashSet::new(),
            pinned_vectors: ByNode::default(),
        }
    }

    /// Finds the parts of a range query that are the same at every step.
    pub(super) fn find_pinned(&mut self, expr: &Expr) {
        super::pinned::collect(expr, &mut self.pinned);
    }

    pub(super) fn is_stats_only(&self, expr: &Expr) -> bool {
        self.cache.stats_only.contains(key(expr))
    }

    /// The value of an expression of type "instant vector" (or of a scalar, as one element without labels).
    pub(super) fn vector(&mut self, expr: &Expr, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        if let Some(number) = self.shared_part(expr, frame, at) {
            return self.part(number, |evaluator| evaluator.fresh_vector(expr, frame, at));
        }
        if frame.is_single() || !self.pinned.contains(&key(expr)) {
            return self.fresh_vector(expr, frame, at);
        }
        if let Some(known) = self.pinned_vectors.get(&key(expr)) {
            return Ok(known.as_ref().clone());
        }
        // One step stands for all.
        let vector = self.fresh_vector(expr, &Frame::instant(at), at)?;
        self.pinned_vectors.insert(key(expr), Rc::new(vector.clone()));
        Ok(vector)
    }

    fn fresh_vector(&mut self, expr: &Expr, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        if expr.value_type() == ValueType::Scalar {
            return Ok(vec![Element::float(Labels::empty(), self.scalar(expr, frame, at)?)]);
        }
        match &expr.kind {
            Kind::Paren(inner) => self.vector(inner, frame, at),
            Kind::Selector(selector) => self.instant_vector(expr, selector, frame, at),
            Kind::Negate(inner) => self.negated(inner, frame, at),
            Kind::Binary(binary) => self.binary(expr, binary, frame, at),
            Kind::Aggregate(aggregate) => self.aggregate(expr, aggregate, frame, at),
            Kind::Call(call) => self.call(expr, call, frame, at),
            Kind::Number(_) | Kind::Text(_) | Kind::Range(_) | Kind::Subquery(_) => {
                Err(EvalError::execution("expected an instant vector here").at(expr.span))
            }
        }
    }

    /// The value of an expression of type "scalar".
    pub(super) fn scalar(&mut self, expr: &Expr, frame: &Frame, at: i64) -> Result<f64, EvalError> {
        match &expr.kind {
            Kind::Number(value) => Ok(*value),
            Kind::Paren(inner) => self.scalar(inner, frame, at),
            Kind::Negate(inner) => Ok(-self.scalar(inner, frame, at)?),
            Kind::Binary(binary) => {
                let left = self.scalar(&binary.left, frame, at)?;
                let right = self.scalar(&binary.right, frame, at)?;
                super::binary::scalar_operation(binary.op, left, right).map_err(|error| error.at(expr.span))
            }
            Kind::Call(call) => self.scalar_call(expr, call, frame, at),
            _ => Err(EvalError::execution("expected a scalar here").at(expr.span)),
        }
    }

    fn negated(&mut self, inner: &Expr, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let mut vector = self.vector(inner, frame, at)?;
        for element in &mut vector {
            match &mut element.value {
                SampleValue::Float(value) => *value = -*value,
                SampleValue::Histogram(histogram) => {
                    let mut negative = histogram.as_ref().clone();
                    negative.scale(-1.0);
                    element.value = negative.into();
                }
            }
            self.drop_name(element);
        }
        self.check_unique(&vector, frame)?;
        Ok(vector)
    }

    /// Takes the metric name (and type and unit) off an element, now or at the end.
    pub(super) fn drop_name(&mut self, element: &mut Element) {
        element.drop_name = true;
        if !self.options.delayed_name_removal {
            element.labels = self.cache.without_metadata(&element.labels);
        }
    }

    /// Two elements with the same labels are an error; with delayed name removal an instant query finds out at the end.
    pub(super) fn check_unique(&self, vector: &[Element], frame: &Frame) -> Result<(), EvalError> {
        if vector.len() < 2 || (self.options.delayed_name_removal && frame.is_single()) {
            return Ok(());
        }
        if has_duplicates(vector.iter().map(|element| &element.labels)) {
            Err(EvalError::same_labels())
        } else {
            Ok(())
        }
    }

    /// Counts samples that were read, and looks at the limits now and then.
    pub(super) fn touch(&mut self, samples: usize) -> Result<(), EvalError> {
        self.touched += samples;
        if self.touched > self.options.max_samples {
            return Err(EvalError::too_many_samples());
        }
        if self.touched < self.next_check {
            return Ok(());
        }
        self.next_check = self.touched + SAMPLES_BETWEEN_CHECKS;
        self.check_interrupt()
    }

    /// Asks whether the evaluation is to stop.
    pub(super) fn check_interrupt(&self) -> Result<(), EvalError> {
        match self.options.interrupt.and_then(|ask| ask()) {
            None => Ok(()),
            Some(Interrupt::Timeout) => Err(EvalError::interrupted(EvalErrorKind::Timeout)),
            Some(Interrupt::Canceled) => Err(EvalError::interrupted(EvalErrorKind::Canceled)),
        }
    }

    /// What a node loaded at an earlier step of this frame, or what `load` gives now.
    pub(super) fn loaded(
        &mut self,
        expr: &Expr,
        frame: &Frame,
        load: impl FnOnce(&mut Self) -> Result<Loaded, EvalError>,
    ) -> Result<Rc<Loaded>, EvalError> {
        if frame.is_single() {
            return Ok(Rc::new(load(self)?));
        }
        if let Some(known) = self.loaded.get(&key(expr)) {
            return Ok(Rc::clone(known));
        }
        let fresh = Rc::new(load(self)?);
        self.loaded.insert(key(expr), Rc::clone(&fresh));
        Ok(fresh)
    }

    pub(super) fn note(&mut self, note: &Note<'_>, span: Span) {
        self.notes.add(note, span);
    }

    pub(super) fn lookback(&self) -> i64 {
        crate::time::millis(self.options.lookback)
    }
}

/// True when two of the label sets are equal.
pub(super) fn has_duplicates<'l>(labels: impl Iterator<Item = &'l Labels>) -> bool {
    let mut seen = crate::model::LabelsMap::default();
    labels.into_iter().any(|set| seen.insert(set.clone(), ()).is_some())
}

/// A node's address: nodes do not move while an evaluation borrows them.
pub(super) fn key(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

/// The expression within any parentheses.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match &expr.kind {
        Kind::Paren(inner) => bare(inner),
        _ => expr,
    }
}

/// Milliseconds as a timestamp.
pub(super) fn stamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
