//! What an evaluation remembers: label sets derived from others, the series of selectors, compiled patterns.
//!
//! Everything here could be computed again; it is kept over the steps of a range query, and by a
//! [`super::Prepared`] expression over its evaluations.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use regex::Regex;

use super::error::EvalError;
use super::nodes::Nodes;
use super::slide::Slide;
use crate::limits;
use crate::model::{Labels, LabelsMap, MatchOp, Matcher, NAME, PassThrough};
use crate::promql::ast::Expr;
use crate::series::{Course, SeriesRef, Step, Trail, View};

/// By a node's address.
pub(super) type ByNode<V> = HashMap<usize, V, BuildHasherDefault<PassThrough>>;

/// What a selector found, and for which generation that holds.
#[derive(Debug)]
struct Resolved {
    found: Arc<[SeriesRef]>,
    generation: u64,
    /// The generation of the metric name, when the selector gives one.
    named: Option<u64>,
}

/// The windows of a range selector, one for each series.
#[derive(Debug)]
pub(super) struct Windows {
    pub found: Arc<[SeriesRef]>,
    pub slides: Vec<Slide>,
    pub course: Course,
    /// No two of the series have the same labels without their names.
    pub unique: bool,
    /// All have the same metric name.
    pub same_name: bool,
}

impl Windows {
    fn new(found: Arc<[SeriesRef]>, view: &View, before: Option<Windows>) -> Windows {
        let mut old: HashMap<SeriesRef, Slide> = HashMap::new();
        let mut course = Course::default();
        if let Some(before) = before {
            course = before.course;
            old.extend(before.found.iter().copied().zip(before.slides));
        }
        let slides = found.iter().map(|one| old.remove(one).unwrap_or_default()).collect();
        let labels: Vec<&Labels> = found.iter().filter_map(|one| view.labels(*one)).collect();
        let unique = are_unique(&labels);
        let same_name = labels.iter().all(|one| one.name() == labels[0].name());
        Windows { found, slides, course, unique, same_name }
    }

    /// Moves all of them to `after < time <= until`, in milliseconds; false when they are too long to be followed.
    pub(super) fn advance(&mut self, view: &View, after: i64, until: i64) -> bool {
        let step = self.course.advance(view, after, until);
        if step == Step::Anew {
            self.slides.iter_mut().for_each(|slide| slide.trail = Trail::default());
        }
        step != Step::TooWide
    }
}

/// True when no two series have the same labels without their metadata.
fn are_unique(found: &[&Labels]) -> bool {
    fn metadata(one: &Labels) -> impl Iterator<Item = (&str, &str)> {
        one.iter().filter(|(name, _)| is_metadata(name))
    }
    let Some(first) = found.first() else { return true };
    if found.iter().all(|one| metadata(one).eq(metadata(first))) {
        return true;
    }
    let mut seen = LabelsMap::default();
    found.iter().all(|one| seen.insert(without_metadata(one), ()).is_none())
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Off for instant queries that are asked once, where every set is asked for once.
    pub enabled: bool,
    /// Selectors of which only counts and sums of histograms are of use.
    pub stats_only: Nodes<()>,
    resolved: Nodes<Resolved>,
    /// On for expressions that are evaluated at one instant after the other: windows are followed.
    pub slides: bool,
    windows: Nodes<Windows>,
    /// The numbers of the nodes that other expressions may have as well.
    pub parts: Nodes<u32>,
    /// Made when there is something to remember: of most rules nothing comes out.
    made: Option<Box<Made>>,
    /// The most series that a selector found: as many sets are to be expected.
    most_found: usize,
}

/// Label sets and patterns that were made.
#[derive(Debug, Default)]
struct Made {
    patterns: Nodes<Arc<Regex>>,
    unnamed: LabelsMap<Labels>,
    derived: Nodes<LabelsMap<Labels>>,
    pairs: Nodes<HashMap<(Labels, Labels), Labels>>,
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

    /// To be called before an evaluation: forgets too much of anything.
    pub(super) fn begin(&mut self) {
        let most = limits::PROMQL_REMEMBERED.max(4 * self.most_found);
        if let Some(made) = self.made.as_mut().filter(|made| made.sets > most) {
            made.unnamed.clear();
            made.derived.clear();
            made.pairs.clear();
            made.sets = 0;
        }
    }

    /// The series that satisfy the matchers of a selector, sorted by labels.
    pub(super) fn resolve(&mut self, node: usize, view: &View, matchers: &[Matcher]) -> Arc<[SeriesRef]> {
        let generation = view.generation();
        let name = matchers.iter().find(|m| m.name == NAME && m.op == MatchOp::Equal && !m.value.is_empty());
        let named = |name: &Matcher| view.name_generation(&name.value);
        if let Some(known) = self.resolved.get_mut(node) {
            let holds = known.generation == generation || known.named.is_some() && known.named == name.map(named);
            if holds {
                known.generation = generation;
                return Arc::clone(&known.found);
            }
        }
        let found: Arc<[SeriesRef]> = view.resolve(matchers).into();
        self.most_found = self.most_found.max(found.len());
        if self.enabled {
            let resolved = Resolved { found: Arc::clone(&found), generation, named: name.map(named) };
            self.resolved.insert(node, resolved);
        }
        found
    }

    /// Takes out the windows of a range selector, to be put back after use; `None` when there are too many series.
    pub(super) fn take_windows(&mut self, node: usize, view: &View, matchers: &[Matcher]) -> Option<Windows> {
        let found = self.resolve(node, view, matchers);
        let before = self.windows.remove(node);
        if found.len() > limits::PROMQL_WINDOWS {
            return None;
        }
        match before {
            Some(same) if Arc::ptr_eq(&same.found, &found) => Some(same),
            before => Some(Windows::new(found, view, before)),
        }
    }

    /// Puts them back.
    pub(super) fn put_windows(&mut self, node: usize, windows: Windows) {
        self.windows.insert(node, windows);
    }

    /// The pattern of a node, compiled once.
    pub(super) fn pattern(
        &mut self,
        node: usize,
        compile: impl FnOnce() -> Result<Regex, EvalError>,
    ) -> Result<Arc<Regex>, EvalError> {
        if let Some(known) = self.made.as_ref().and_then(|made| made.patterns.get(node)) {
            return Ok(Arc::clone(known));
        }
        let compiled = Arc::new(compile()?);
        if self.enabled {
            self.made.get_or_insert_default().patterns.insert(node, Arc::clone(&compiled));
        }
        Ok(compiled)
    }

    /// The labels without `__name__`, `__type__` and `__unit__`.
    pub(super) fn without_metadata(&mut self, labels: &Labels) -> Labels {
        if !self.enabled {
            return without_metadata(labels);
        }
        let made = self.made.get_or_insert_default();
        if let Some(known) = made.unnamed.get(labels) {
            return known.clone();
        }
        let derived = without_metadata(labels);
        made.unnamed.insert(labels.clone(), derived.clone());
        made.sets += 1;
        derived
    }

    /// What `derive` makes of the labels at a node.
    pub(super) fn derived(&mut self, node: usize, labels: &Labels, derive: impl FnOnce(&Labels) -> Labels) -> Labels {
        if !self.enabled {
            return derive(labels);
        }
        let Made { derived: known, sets, .. } = &mut **self.made.get_or_insert_default();
        let known = known.or_default(node);
        if let Some(found) = known.get(labels) {
            return found.clone();
        }
        let derived = derive(labels);
        known.insert(labels.clone(), derived.clone());
        *sets += 1;
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
        let Made { pairs: known, sets, .. } = &mut **self.made.get_or_insert_default();
        let known = known.or_default(node);
        let pair = (left.clone(), right.clone());
        if let Some(found) = known.get(&pair) {
            return found.clone();
        }
        let derived = derive(left, right);
        known.insert(pair, derived.clone());
        *sets += 1;
        derived
    }
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
