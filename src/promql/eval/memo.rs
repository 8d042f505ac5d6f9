//! What an evaluation remembers: label sets derived from others, the series of selectors, compiled patterns.
//!
//! Everything here could be computed again; it is kept over the steps of a range query, and by a
//! [`super::Prepared`] expression over its evaluations.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use regex::Regex;

use super::error::EvalError;
use crate::limits;
use crate::model::{Labels, LabelsMap, Matcher, NAME, PassThrough};
use crate::promql::ast::Expr;
use crate::series::{SeriesRef, View};

/// By a node's address.
pub(super) type ByNode<V> = HashMap<usize, V, BuildHasherDefault<PassThrough>>;

/// A series that a selector found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub series: SeriesRef,
    pub labels: Labels,
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Off for instant queries that are asked once, where every set is asked for once.
    pub enabled: bool,
    /// Selectors of which only counts and sums of histograms are of use.
    pub stats_only: HashSet<usize>,
    generation: u64,
    resolved: ByNode<Arc<[Found]>>,
    patterns: ByNode<Arc<Regex>>,
    unnamed: LabelsMap<Labels>,
    derived: ByNode<LabelsMap<Labels>>,
    pairs: ByNode<HashMap<(Labels, Labels), Labels>>,
    /// Label sets remembered, roughly.
    sets: usize,
}

impl Cache {
    /// An empty one for an expression; `enabled` when it is evaluated more than once.
    pub(super) fn new(expr: &Expr, enabled: bool) -> Cache {
        let mut cache = Cache { enabled, ..Cache::default() };
        super::stats_only::collect(expr, &mut cache.stats_only);
        cache
    }

    /// To be called before an evaluation: forgets what does not hold for this view, and too much of anything.
    pub(super) fn begin(&mut self, view: &View) {
        if self.generation != view.generation() {
            self.generation = view.generation();
            self.resolved.clear();
        }
        if self.sets > limits::PROMQL_REMEMBERED {
            self.unnamed.clear();
            self.derived.clear();
            self.pairs.clear();
            self.sets = 0;
        }
    }

    /// The series that satisfy the matchers of a selector, sorted by labels.
    pub(super) fn resolve(&mut self, node: usize, view: &View, matchers: &[Matcher]) -> Arc<[Found]> {
        if let Some(known) = self.resolved.get(&node) {
            return Arc::clone(known);
        }
        let found: Arc<[Found]> = resolve(view, matchers).into();
        if self.enabled {
            self.resolved.insert(node, Arc::clone(&found));
        }
        found
    }

    /// The pattern of a node, compiled once.
    pub(super) fn pattern(
        &mut self,
        node: usize,
        compile: impl FnOnce() -> Result<Regex, EvalError>,
    ) -> Result<Arc<Regex>, EvalError> {
        if let Some(known) = self.patterns.get(&node) {
            return Ok(Arc::clone(known));
        }
        let compiled = Arc::new(compile()?);
        if self.enabled {
            self.patterns.insert(node, Arc::clone(&compiled));
        }
        Ok(compiled)
    }

    /// The labels without `__name__`, `__type__` and `__unit__`.
    pub(super) fn without_metadata(&mut self, labels: &Labels) -> Labels {
        if !self.enabled {
            return without_metadata(labels);
        }
        if let Some(known) = self.unnamed.get(labels) {
            return known.clone();
        }
        let derived = without_metadata(labels);
        self.unnamed.insert(labels.clone(), derived.clone());
        self.sets += 1;
        derived
    }

    /// What `derive` makes of the labels at a node.
    pub(super) fn derived(&mut self, node: usize, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> Labels {
        if !self.enabled {
            return derive(labels);
        }
        let known = self.derived.entry(node).or_default();
        if let Some(found) = known.get(labels) {
            return found.clone();
        }
        let derived = derive(labels);
        known.insert(labels.clone(), derived.clone());
        self.sets += 1;
        derived
    }

    /// What `derive` makes of two label sets at a node.
    pub(super) fn derived_from_two(
        &mut self,
        node: usize,
        left: &Labels,
        right: &Labels,
        derive: impl FnOnce(&Labels, &Labels) -> Labels,
    ) -> Labels {
        if !self.enabled {
            return derive(left, right);
        }
        let known = self.pairs.entry(node).or_default();
        let pair = (left.clone(), right.clone());
        if let Some(found) = known.get(&pair) {
            return found.clone();
        }
        let derived = derive(left, right);
        known.insert(pair, derived.clone());
        self.sets += 1;
        derived
    }
}

/// The series that satisfy the matchers, sorted by labels.
pub(super) fn resolve(view: &View, matchers: &[Matcher]) -> Vec<Found> {
    let found = view.resolve(matchers).into_iter();
    found.filter_map(|series| Some(Found { series, labels: view.labels(series)?.clone() })).collect()
}

/// Labels that describe the metric rather than the series.
pub(super) fn is_metadata(name: &str) -> bool {
    matches!(name, NAME | "__type__" | "__unit__")
}

pub(super) fn without_metadata(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| is_metadata(name)) {
        labels.filtered(|name| !is_metadata(name))
    } else {
        labels.clone()
    }
}
