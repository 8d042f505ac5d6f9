//! What readers see: an immutable picture of the store.
//!
//! The table of series is cut into pages; the table, its pages and the index are shared by reference count. Making a view
//! costs one count; an append while a view is held copies the table (not its pages) and the page that it touches, with
//! its series but not their chunks, and the view goes on seeing what it saw.

use std::sync::Arc;

use super::history::History;
use super::index::{Index, Slot, Start};
use super::store::{Point, SeriesData};
use crate::model::{Labels, Matcher};
use crate::time::{Timestamp, millis};

/// Series in a page.
pub(super) const PAGE: usize = 64;

/// A part of the table of series; always [`PAGE`] places.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) slots: Vec<Option<Series>>,
}

impl Default for Page {
    fn default() -> Page {
        Page { slots: std::iter::repeat_with(|| None).take(PAGE).collect() }
    }
}

/// One series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) history: History,
}

/// Names one series of a [`View`], and the same series in later views as long as it lives. In a view that does not
/// have the series it names nothing, even when its place was taken by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesRef {
    slot: Slot,
    birth: u32,
}

/// An immutable picture of the store; cheap to make, to clone and to send to another thread.
#[derive(Clone, Debug, Default)]
pub struct View {
    shared: Arc<Shared>,
}

/// What the store and its views share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) pages: Vec<Arc<Page>>,
    pub(super) index: Arc<Index>,
    /// Counts the series that began or were dropped.
    pub(super) generation: u64,
    /// Counts the samples that were written.
    pub(super) writes: u64,
    /// By how many milliseconds the clock of the callers was set forward in all (back: below zero). The pages keep the
    /// time of the first clock, so that a step moves all that is kept along without touching it.
    pub(super) shift: i64,
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> View {
        View { shared }
    }

    /// By how many milliseconds the times of readers are ahead of those in the pages.
    pub(super) fn shift(&self) -> i64 {
        self.shared.shift
    }

    /// A reader's time as the pages have it.
    fn stored(&self, at: Timestamp) -> i64 {
        at.as_millis().saturating_sub(self.shared.shift)
    }

    fn read(&self, point: Point) -> Point {
        match point {
            Point::Float(at, value) => Point::Float(at.shifted(self.shared.shift), value),
            Point::Histogram(at, value) => Point::Histogram(at.shifted(self.shared.shift), value),
        }
    }

    /// Changes whenever a series begins or is dropped. Two views of one store with the same number resolve every
    /// selector to the same series.
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// Changes whenever a sample is written. Two views of one store with the same numbers, this and the generation, show
    /// the same.
    pub fn writes(&self) -> u64 {
        self.shared.writes
    }

    /// The [`View::generation`] at which a series of this metric name last began or was dropped; 0 when there is none.
    /// Two views of one store with the same number resolve a selector of this name to the same series.
    pub fn name_generation(&self, name: &str) -> u64 {
        self.shared.index.changed_at(name)
    }

    fn all(&self) -> impl Iterator<Item = (Slot, &Series)> {
        let pages = self.shared.pages.iter().enumerate();
        pages.flat_map(|(at, page)| {
            let series = page.slots.iter().enumerate();
            series.filter_map(move |(cell, series)| Some(((at * PAGE + cell) as Slot, series.as_ref()?)))
        })
    }

    fn at(&self, slot: Slot) -> Option<&Series> {
        let page = self.shared.pages.get(slot as usize / PAGE)?;
        page.slots[slot as usize % PAGE].as_ref()
    }

    fn series(&self, series: SeriesRef) -> Option<&Series> {
        self.at(series.slot).filter(|found| found.history.birth() == series.birth)
    }

    /// Whether `fits` holds for any of the series that satisfy all matchers; it is asked no further then.
    pub fn any(&self, matchers: &[Matcher], mut fits: impl FnMut(SeriesRef) -> bool) -> bool {
        let mut found = |(slot, series): (Slot, &Series)| {
            matchers.iter().all(|m| m.matches_labels(&series.labels))
                && fits(SeriesRef { slot, birth: series.history.birth() })
        };
        match self.shared.index.start(matchers) {
            Start::Among(slots) => slots.into_iter().filter_map(|slot| Some((slot, self.at(slot)?))).any(&mut found),
            Start::Anywhere => self.all().any(found),
        }
    }

    pub(super) fn history(&self, series: SeriesRef) -> Option<&History> {
        self.series(series).map(|series| &series.history)
    }

    fn matching(&self, matchers: &[Matcher]) -> Vec<(Slot, &Series)> {
        let fits = |series: &Series| matchers.iter().all(|m| m.matches_labels(&series.labels));
        let mut found: Vec<(Slot, &Series)> = match self.shared.index.start(matchers) {
            Start::Among(slots) => {
                let known = slots.into_iter().filter_map(|slot| Some((slot, self.at(slot)?)));
                known.filter(|(_, series)| fits(series)).collect()
            }
            Start::Anywhere => self.all().filter(|(_, series)| fits(series)).collect(),
        };
        found.sort_by(|(_, a), (_, b)| a.labels.cmp(&b.labels));
        found
    }

    /// The series that satisfy all matchers, sorted by labels, with or without points in any window. The answer holds
    /// for every view with the same [`View::generation`].
    pub fn resolve(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        let found = self.matching(matchers);
        found.into_iter().map(|(slot, series)| SeriesRef { slot, birth: series.history.birth() }).collect()
    }

    /// The labels of a series.
    pub fn labels(&self, series: SeriesRef) -> Option<&Labels> {
        self.series(series).map(|series| &series.labels)
    }

    /// Puts the points of a series with `from <= time <= to` behind those in `out`, in order of time, staleness
    /// markers included.
    pub fn points_into(&self, series: SeriesRef, from: Timestamp, to: Timestamp, out: &mut Vec<Point>) {
        if let Some(series) = self.series(series) {
            self.points(series, from, to, out);
        }
    }

    fn points(&self, series: &Series, from: Timestamp, to: Timestamp, out: &mut Vec<Point>) {
        let first = out.len();
        series.history.points(self.stored(from), self.stored(to), out);
        if self.shared.shift != 0 {
            out[first..].iter_mut().for_each(|point| *point = self.read(point.clone()));
        }
    }

    /// Puts the floats of a series with `from <= time <= to` behind those in `out`, in order of time, staleness
    /// markers included. False when the series has histograms in the window; use [`View::points_into`] then.
    pub fn floats_into(
        &self,
        series: SeriesRef,
        from: Timestamp,
        to: Timestamp,
        out: &mut Vec<(Timestamp, f64)>,
    ) -> bool {
        let Some(series) = self.series(series) else { return true };
        let (from, to, shift) = (self.stored(from), self.stored(to), self.shared.shift);
        series.history.floats(from, to, |at, value| out.push((Timestamp::from_millis(at).shifted(shift), value)));
        series.history.histograms_between(from, to).is_empty()
    }

    /// The newest point of a series at or before `at`, when it is younger than `lookback` before `at`
    /// (`at - lookback < time <= at`). It may be a staleness marker, which means that the series has no value.
    pub fn last_before(&self, series: SeriesRef, at: Timestamp, lookback: std::time::Duration) -> Option<Point> {
        let oldest = at.as_millis().saturating_sub(millis(lookback));
        let found = self.series(series)?.history.last_before(self.stored(at));
        found.map(|point| self.read(point)).filter(|point| point.time().as_millis() > oldest)
    }

    /// The series that satisfy all matchers and have points with `from <= time <= to`, sorted by labels.
    pub fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<SeriesData> {
        let found = self.matching(matchers).into_iter().filter_map(|(_, series)| {
            let mut points = Vec::new();
            self.points(series, from, to, &mut points);
            (!points.is_empty()).then(|| SeriesData { labels: series.labels.clone(), points })
        });
        found.collect()
    }

    /// The label sets of the series that satisfy all matchers and have a point in the window, sorted.
    pub fn label_sets(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Labels> {
        let (from, to) = (self.stored(from), self.stored(to));
        let alive = |series: &Series| {
            let last = series.history.last_before(to);
            last.is_some_and(|point| point.time().as_millis() >= from)
        };
        let found = self.matching(matchers).into_iter().filter(|(_, series)| alive(series));
        found.map(|(_, series)| series.labels.clone()).collect()
    }

    /// The label names of all series, sorted.
    pub fn label_names(&self) -> Vec<&str> {
        self.shared.index.names()
    }

    /// The values that a label has in any series, sorted.
    pub fn label_values(&self, name: &str) -> Vec<&str> {
        self.shared.index.values(name)
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.all().count()
    }
}
