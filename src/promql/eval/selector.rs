//! Selectors: which samples an expression sees at an instant.
//!
//! All reading of the store is here. A range query copies the samples of each series once; an instant query asks for
//! the newest sample of a series, or goes through one series after the other. An instant
//! selector sees the newest sample within the lookback; a range selector those in `(end - range, end]`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::binary::Filter;
use super::duration::{offset_millis, positive_millis};
use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, key, stamp};
use super::value::SampleValue;
use crate::model::{FloatHistogram, Labels, Matcher, is_stale_nan};
use crate::promql::ast::{AtModifier, Expr, Modifiers, RangeSelector, Selector, WindowMode};
use crate::series::{Point, SeriesRef};

/// One float at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FloatPoint {
    pub at: i64,
    pub value: f64,
}

/// One histogram at one instant.
#[derive(Clone, Debug)]
pub(super) struct HistogramPoint {
    pub at: i64,
    pub value: Arc<FloatHistogram>,
}

/// Both kinds of points have a time.
pub(super) trait Timed {
    fn at(&self) -> i64;
}

impl Timed for FloatPoint {
    fn at(&self) -> i64 {
        self.at
    }
}

impl Timed for HistogramPoint {
    fn at(&self) -> i64 {
        self.at
    }
}

/// The samples of one series, floats and histograms apart, each in order of time.
#[derive(Clone, Debug)]
pub(super) struct SeriesSamples {
    pub labels: Labels,
    pub floats: Vec<FloatPoint>,
    pub histograms: Vec<HistogramPoint>,
    /// Start timestamps of the floats and of the histograms, 0 for none; empty when nobody asks for them.
    pub float_starts: Vec<i64>,
    pub histogram_starts: Vec<i64>,
    /// Set by subqueries over something that drops names.
    pub drop_name: bool,
}

impl SeriesSamples {
    pub(super) fn new(labels: Labels) -> SeriesSamples {
        SeriesSamples {
            labels,
            floats: Vec::new(),
            histograms: Vec::new(),
            float_starts: Vec::new(),
            histogram_starts: Vec::new(),
            drop_name: false,
        }
    }

    pub(super) fn push(&mut self, at: i64, value: &SampleValue) {
        match value {
            SampleValue::Float(value) => self.floats.push(FloatPoint { at, value: *value }),
            SampleValue::Histogram(value) => self.histograms.push(HistogramPoint { at, value: Arc::clone(value) }),
        }
    }

    /// The samples with `after < time <= until`.
    pub(super) fn window(&self, after: i64, until: i64) -> Window<'_> {
        let floats = between(&self.floats, after, until);
        let histograms = between(&self.histograms, after, until);
        Window {
            labels: &self.labels,
            float_starts: self.float_starts.get(floats.clone()).unwrap_or_default(),
            histogram_starts: self.histogram_starts.get(histograms.clone()).unwrap_or_default(),
            floats: &self.floats[floats],
            histograms: &self.histograms[histograms],
        }
    }

    /// The newest sample with `after < time <= until`, unless it marks the end of the series.
    pub(super) fn newest(&self, after: i64, until: i64) -> Option<Newest> {
        let float = last_between(&self.floats, after, until);
        let histogram = last_between(&self.histograms, after, until);
        let histogram_time = histogram.map(|index| self.histograms[index].at);
        let float_time = float.map(|index| self.floats[index].at);
        if float_time > histogram_time {
            let index = float?;
            let FloatPoint { at, value } = self.floats[index];
            let start = self.float_starts.get(index).copied();
            return (!is_stale_nan(value)).then_some(Newest { at, start, value: SampleValue::Float(value) });
        }
        let index = histogram?;
        let point = &self.histograms[index];
        let start = self.histogram_starts.get(index).copied();
        let value = SampleValue::Histogram(Arc::clone(&point.value));
        (!is_stale_nan(point.value.sum)).then_some(Newest { at: point.at, start, value })
    }
}

fn between<P: Timed>(points: &[P], after: i64, until: i64) -> std::ops::Range<usize> {
    let from = points.partition_point(|point| point.at() <= after);
    let to = points.partition_point(|point| point.at() <= until);
    from..to.max(from)
}

fn last_between<P: Timed>(points: &[P], after: i64, until: i64) -> Option<usize> {
    let index = match points.last() {
        Some(last) if last.at() <= until => points.len() - 1,
        _ => points.partition_point(|point| point.at() <= until).checked_sub(1)?,
    };
    (points[index].at() > after).then_some(index)
}

/// What an instant selector found in one series.
pub(super) struct Newest {
    pub at: i64,
    pub start: Option<i64>,
    pub value: SampleValue,
}

/// The samples of one series that a range function sees at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'s> {
    pub labels: &'s Labels,
    pub floats: &'s [FloatPoint],
    pub histograms: &'s [HistogramPoint],
    pub float_starts: &'s [i64],
    pub histogram_starts: &'s [i64],
}

impl Window<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }
}

/// The series of one selector or subquery, for all steps of its frame.
#[derive(Debug)]
pub(super) struct Loaded {
    pub series: Vec<SeriesSamples>,
}

/// Where a selector looks at each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    offset: i64,
    pinned: Option<i64>,
}

impl Reference {
    pub(super) fn new(modifiers: &Modifiers, query: &Frame) -> Result<Reference, EvalError> {
        let pinned = modifiers.at.as_ref().map(|at| match at {
            AtModifier::Time(at) => at.as_millis(),
            AtModifier::Start => query.start,
            AtModifier::End => query.end,
        });
        Ok(Reference { offset: offset_millis(modifiers.offset.as_deref(), query)?, pinned })
    }

    /// The instant that is looked at when `at` is evaluated.
    pub(super) fn time(&self, at: i64) -> i64 {
        self.pinned.unwrap_or(at).saturating_sub(self.offset)
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset
    }
}

impl SeriesSamples {
    /// Makes it an empty one of another series, keeping its memory.
    fn become_series(&mut self, labels: &Labels) {
        self.labels = labels.clone();
        self.floats.clear();
        self.histograms.clear();
        self.float_starts.clear();
        self.histogram_starts.clear();
    }
}

/// What part of the series is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub from: i64,
    pub until: i64,
    /// Staleness markers are of use to instant selectors only.
    pub keep_stale: bool,
    /// Only counts and sums of histograms.
    pub stats_only: bool,
}

impl Evaluator<'_> {
    /// Reads one series of the store.
    pub(super) fn read(
        &mut self,
        series: SeriesRef,
        extent: Extent,
        into: &mut SeriesSamples,
    ) -> Result<(), EvalError> {
        let view = self.view;
        let Some(labels) = view.labels(series) else {
            into.become_series(&Labels::empty());
            return Ok(());
        };
        into.become_series(labels);
        let (from, until) = (stamp(extent.from), stamp(extent.until));
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let only_floats = self.view.floats_into(series, from, until, &mut scratch);
        if only_floats {
            let wanted = scratch.iter().filter(|(_, value)| extent.keep_stale || !is_stale_nan(*value));
            into.floats.extend(wanted.map(|(at, value)| FloatPoint { at: at.as_millis(), value: *value }));
        }
        self.scratch = scratch;
        if !only_floats {
            self.read_mixed(series, extent, into);
        }
        if let Some(starts) = self.options.start_times {
            let start = |at: i64| starts.start_time(labels, stamp(at)).map_or(0, |start| start.as_millis());
            into.float_starts.extend(into.floats.iter().map(|point| start(point.at)));
            into.histogram_starts.extend(into.histograms.iter().map(|point| start(point.at)));
        }
        self.touch(into.floats.len() + into.histograms.len())
    }

    fn read_mixed(&mut self, series: SeriesRef, extent: Extent, into: &mut SeriesSamples) {
        let mut points = Vec::new();
        self.view.points_into(series, stamp(extent.from), stamp(extent.until), &mut points);
        for point in points {
            let at = point.time().as_millis();
            match point {
                Point::Float(_, value) if extent.keep_stale || !is_stale_nan(value) => {
                    into.floats.push(FloatPoint { at, value });
                }
                Point::Histogram(_, value) if extent.keep_stale || !is_stale_nan(value.sum) => {
                    into.histograms.push(HistogramPoint { at, value });
                }
                Point::Float(..) | Point::Histogram(..) => {}
            }
        }
        if extent.stats_only {
            super::stats_only::strip(into);
        }
    }

    /// Reads the series that satisfy the matchers and have samples in the extent.
    pub(super) fn load(&mut self, expr: &Expr, matchers: &[Matcher], extent: Extent) -> Result<Loaded, EvalError> {
        let found = self.cache.resolve(key(expr), self.view, matchers);
        let mut series = Vec::with_capacity(found.len());
        for one in found.iter() {
            let mut samples = SeriesSamples::new(Labels::empty());
            self.read(*one, extent, &mut samples)?;
            if !samples.floats.is_empty() || !samples.histograms.is_empty() {
                series.push(samples);
            }
        }
        Ok(Loaded { series })
    }

    /// The series of an instant selector, and where it looks.
    pub(super) fn instant_series(
        &mut self,
        expr: &Expr,
        selector: &Selector,
        frame: &Frame,
    ) -> Result<(Rc<Loaded>, Reference), EvalError> {
        let reference = Reference::new(&selector.modifiers, &self.query).map_err(|error| error.at(expr.span))?;
        let lookback = self.lookback();
        let smoothed = selector.mode == WindowMode::Smoothed;
        let extent = Extent {
            from: reference.time(frame.start) - lookback + 1,
            until: reference.time(frame.end) + if smoothed { lookback } else { 0 },
            keep_stale: !smoothed,
            stats_only: self.is_stats_only(expr),
        };
        let loaded = self.loaded(expr, frame, |evaluator| evaluator.load(expr, &selector.matchers, extent))?;
        Ok((loaded, reference))
    }

    pub(super) fn instant_vector(
        &mut self,
        expr: &Expr,
        selector: &Selector,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        if frame.is_single() && selector.mode == WindowMode::Plain {
            return self.newest_vector(expr, selector, at, None);
        }
        let (loaded, reference) = self.instant_series(expr, selector, frame)?;
        if selector.mode == WindowMode::Smoothed {
            return self.smoothed_vector(expr, &loaded, reference.time(at));
        }
        let until = reference.time(at);
        let after = until - self.lookback();
        let mut vector = Vec::with_capacity(loaded.series.len());
        for series in &loaded.series {
            if let Some(newest) = series.newest(after, until) {
                vector.push(Element { labels: series.labels.clone(), value: newest.value, drop_name: false });
            }
        }
        self.touch(vector.len())?;
        Ok(vector)
    }

    /// An instant selector at one instant: asks for the newest sample of each series only. Floats that do not pass
    /// `filter` are left out.
    pub(super) fn newest_vector(
        &mut self,
        expr: &Expr,
        selector: &Selector,
        at: i64,
        filter: Option<Filter>,
    ) -> Result<Vec<Element>, EvalError> {
        let reference = Reference::new(&selector.modifiers, &self.query).map_err(|error| error.at(expr.span))?;
        let until = reference.time(at);
        let lookback = self.options.lookback;
        let found = self.cache.resolve(key(expr), self.view, &selector.matchers);
        let mut vector = Vec::with_capacity(if filter.is_some() { 0 } else { found.len() });
        let mut refused = 0;
        for one in found.iter() {
            let value = match self.view.last_before(*one, stamp(until), lookback) {
                Some(Point::Float(_, value)) if !is_stale_nan(value) => {
                    if filter.is_some_and(|filter| !filter.passes(value)) {
                        refused += 1;
                        continue;
                    }
                    SampleValue::Float(value)
                }
                Some(Point::Histogram(time, value)) if !is_stale_nan(value.sum) => {
                    if self.is_stats_only(expr) {
                        let oldest = stamp(until) - lookback;
                        let before = time - Duration::from_millis(1);
                        let previous = self.view.last_before(*one, before, before.since(oldest));
                        let previous = match previous {
                            Some(Point::Histogram(_, previous)) => Some(previous),
                            _ => None,
                        };
                        SampleValue::Histogram(super::stats_only::stripped(&value, previous.as_deref()))
                    } else {
                        SampleValue::Histogram(value)
                    }
                }
                _ => continue,
            };
            let Some(labels) = self.view.labels(*one) else { continue };
            vector.push(Element { labels: labels.clone(), value, drop_name: false });
        }
        self.touch(vector.len() + refused)?;
        Ok(vector)
    }

    /// What a range selector reads over a frame, and its window at a step.
    pub(super) fn range_extent(
        &mut self,
        expr: &Expr,
        range: &RangeSelector,
        frame: &Frame,
        at: i64,
    ) -> Result<(Extent, Bounds), EvalError> {
        let in_place = |error: EvalError| error.at(expr.span);
        let reference = Reference::new(&range.selector.modifiers, &self.query).map_err(in_place)?;
        let millis = positive_millis(&range.range, &self.query).map_err(in_place)?;
        let (before, behind) = match range.mode {
            WindowMode::Plain => (0, 0),
            WindowMode::Anchored => (self.lookback(), 0),
            WindowMode::Smoothed => (self.lookback(), self.lookback()),
        };
        let extent = Extent {
            from: reference.time(frame.start) - millis - before + 1,
            until: reference.time(frame.end) + behind,
            keep_stale: false,
            stats_only: self.is_stats_only(expr),
        };
        let end = reference.time(at);
        let bounds =
            Bounds { start: end - millis, end, after: end - millis - before, until: end + behind, mode: range.mode };
        Ok((extent, bounds))
    }

    /// The series of a range selector, and the window at a step.
    pub(super) fn range_series(
        &mut self,
        expr: &Expr,
        range: &RangeSelector,
        frame: &Frame,
        at: i64,
    ) -> Result<(Rc<Loaded>, Bounds), EvalError> {
        let (extent, bounds) = self.range_extent(expr, range, frame, at)?;
        let matchers = &range.selector.matchers;
        let loaded = self.loaded(expr, frame, |evaluator| evaluator.load(expr, matchers, extent))?;
        Ok((loaded, bounds))
    }

    /// Calls `each` with the samples of every series of a range selector at one instant, one after the other.
    pub(super) fn each_series(
        &mut self,
        expr: &Expr,
        range: &RangeSelector,
        extent: Extent,
        mut each: impl FnMut(&mut Self, &SeriesSamples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let found = self.cache.resolve(key(expr), self.view, &range.selector.matchers);
        let mut samples = SeriesSamples::new(Labels::empty());
        for one in found.iter() {
            self.read(*one, extent, &mut samples)?;
            each(self, &samples)?;
        }
        Ok(())
    }
}

/// The window of a range selector at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The range itself is `(start, end]`.
    pub start: i64,
    pub end: i64,
    /// The samples to look at: wider than the range for `anchored` and `smoothed`.
    pub after: i64,
    pub until: i64,
    pub mode: WindowMode,
}

impl Bounds {
    /// The length of the range in seconds.
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}
