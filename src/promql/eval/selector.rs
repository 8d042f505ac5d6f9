//! Selectors: which samples an expression sees at an instant.
//!
//! All access to the series goes through [`load`]; it copies the samples of each series once per query. An instant
//! selector sees the newest sample within the lookback; a range selector those in `(end - range, end]`.

use std::rc::Rc;
use std::sync::Arc;

use super::duration::{offset_millis, positive_millis};
use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, stamp};
use super::value::SampleValue;
use crate::model::{FloatHistogram, Labels, Matcher, is_stale_nan};
use crate::promql::ast::{AtModifier, Expr, Modifiers, RangeSelector, Selector, WindowMode};
use crate::series::Point;

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
        Ok(Reference { offset: offset_millis(modifiers.offset.as_ref(), query)?, pinned })
    }

    /// The instant that is looked at when `at` is evaluated.
    pub(super) fn time(&self, at: i64) -> i64 {
        self.pinned.unwrap_or(at).saturating_sub(self.offset)
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset
    }
}

/// Reads the series that satisfy the matchers, with the samples in `from..=until`.
///
/// Staleness markers are of use to instant selectors only (`keep_stale`).
pub(super) fn load(
    evaluator: &mut Evaluator<'_>,
    matchers: &[Matcher],
    (from, until): (i64, i64),
    keep_stale: bool,
) -> Result<Loaded, EvalError> {
    let found = evaluator.view.select(matchers, stamp(from), stamp(until));
    let mut series = Vec::with_capacity(found.len());
    for data in found {
        evaluator.touch(data.points.len())?;
        let mut samples = SeriesSamples::new(data.labels);
        samples.floats.reserve(data.points.len());
        for point in &data.points {
            let stale = match point {
                Point::Float(_, value) => is_stale_nan(*value),
                Point::Histogram(_, value) => is_stale_nan(value.sum),
            };
            if stale && !keep_stale {
                continue;
            }
            let at = match point {
                Point::Float(at, value) => {
                    samples.floats.push(FloatPoint { at: at.as_millis(), value: *value });
                    *at
                }
                Point::Histogram(at, value) => {
                    samples.histograms.push(HistogramPoint { at: at.as_millis(), value: Arc::clone(value) });
                    *at
                }
            };
            if let Some(starts) = evaluator.options.start_times {
                let start = starts.start_time(&samples.labels, at).map_or(0, |start| start.as_millis());
                let list = match point {
                    Point::Float(..) => &mut samples.float_starts,
                    Point::Histogram(..) => &mut samples.histogram_starts,
                };
                list.push(start);
            }
        }
        series.push(samples);
    }
    Ok(Loaded { series })
}

impl Evaluator<'_> {
    fn load_for(
        &mut self,
        expr: &Expr,
        matchers: &[Matcher],
        span: (i64, i64),
        keep_stale: bool,
    ) -> Result<Loaded, EvalError> {
        let mut loaded = load(self, matchers, span, keep_stale)?;
        if self.is_stats_only(expr) {
            loaded.series.iter_mut().for_each(super::stats_only::strip);
        }
        Ok(loaded)
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
        let from = reference.time(frame.start) - lookback + 1;
        let mut until = reference.time(frame.end);
        if selector.mode == WindowMode::Smoothed {
            until += lookback;
        }
        let keep_stale = selector.mode != WindowMode::Smoothed;
        let loaded = self
            .loaded(expr, frame, |evaluator| evaluator.load_for(expr, &selector.matchers, (from, until), keep_stale))?;
        Ok((loaded, reference))
    }

    pub(super) fn instant_vector(
        &mut self,
        expr: &Expr,
        selector: &Selector,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
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
        if !frame.is_single() {
            self.touch(vector.len())?;
        }
        Ok(vector)
    }

    /// The series of a range selector, and the window at a step.
    pub(super) fn range_series(
        &mut self,
        expr: &Expr,
        range: &RangeSelector,
        frame: &Frame,
        at: i64,
    ) -> Result<(Rc<Loaded>, Bounds), EvalError> {
        let in_place = |error: EvalError| error.at(expr.span);
        let reference = Reference::new(&range.selector.modifiers, &self.query).map_err(in_place)?;
        let millis = positive_millis(&range.range, &self.query).map_err(in_place)?;
        let (before, behind) = match range.mode {
            WindowMode::Plain => (0, 0),
            WindowMode::Anchored => (self.lookback(), 0),
            WindowMode::Smoothed => (self.lookback(), self.lookback()),
        };
        let from = reference.time(frame.start) - millis - before + 1;
        let until = reference.time(frame.end) + behind;
        let matchers = &range.selector.matchers;
        let loaded = self.loaded(expr, frame, |evaluator| evaluator.load_for(expr, matchers, (from, until), false))?;
        let end = reference.time(at);
        let bounds =
            Bounds { start: end - millis, end, after: end - millis - before, until: end + behind, mode: range.mode };
        Ok((loaded, bounds))
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
