//! The store of series and its views.
//!
//! A view shares everything with the store by reference count; an append while a view is held copies only what it touches.

use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::model::{Batch, Completeness, FloatHistogram, Labels, LabelsMap, Matcher, Source, is_stale_nan, stale_nan};
use crate::time::Timestamp;

/// What the store needs to know at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a series is kept when nobody asks for more.
    pub retention: Duration,
    /// Series in all; more are refused.
    pub max_series: usize,
    /// Series of one source; more are refused.
    pub max_series_per_source: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retention: Duration::from_secs(15 * 60),
            max_series: limits::SERIES,
            max_series_per_source: limits::SERIES_PER_SOURCE,
        }
    }
}

/// A rule or a page that needs some series for some time: retention on demand.
#[derive(Clone, Debug)]
pub struct Need {
    pub matchers: Vec<Matcher>,
    /// How far back it reads, its offset included.
    pub window: Duration,
}

/// One value at one instant, as evaluators see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    Float(Timestamp, f64),
    Histogram(Timestamp, Arc<FloatHistogram>),
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored in a series that was there.
    Known,
    /// A new series began.
    New,
    Refused(Refusal),
}

/// Why a sample was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Older than the newest of its series, or equal in time and different in value.
    OutOfOrder,
    TooManySeries,
    TooManySeriesOfSource,
    LabelsTooLong,
}

/// The points of one series in a window.
#[derive(Clone, Debug)]
pub struct SeriesData {
    pub labels: Labels,
    /// In order of time; staleness markers included.
    pub points: Vec<Point>,
}

/// The store. Owned by the engine alone.
#[derive(Debug, Default)]
pub struct Store {
    settings: Settings,
    series: Arc<LabelsMap<Arc<Vec<Point>>>>,
    by_source: std::collections::HashMap<Source, LabelsMap<()>>,
}

impl Store {
    /// An empty store.
    pub fn new(settings: Settings) -> Store {
        Store { settings, ..Store::default() }
    }

    /// Appends one float.
    pub fn append(&mut self, labels: &Labels, at: Timestamp, value: f64) -> Appended {
        self.push(labels, Point::Float(at, value))
    }

    /// Appends one native histogram.
    pub fn append_histogram(&mut self, labels: &Labels, at: Timestamp, value: FloatHistogram) -> Appended {
        self.push(labels, Point::Histogram(at, Arc::new(value)))
    }

    fn push(&mut self, labels: &Labels, point: Point) -> Appended {
        let series = Arc::make_mut(&mut self.series);
        let known = series.contains_key(labels);
        if !known && series.len() >= self.settings.max_series {
            return Appended::Refused(Refusal::TooManySeries);
        }
        let points = Arc::make_mut(series.entry(labels.clone()).or_default());
        if points.last().is_some_and(|last| point_time(last) >= point_time(&point)) {
            return Appended::Refused(Refusal::OutOfOrder);
        }
        points.push(point);
        if known { Appended::Known } else { Appended::New }
    }

    /// Appends a batch: its samples, and a staleness marker for each series of its source that a whole batch lacks.
    /// `refused` is called for every sample that was not taken.
    pub fn append_batch(&mut self, batch: &Batch, refused: &mut dyn FnMut(&Labels, Refusal)) {
        let mut seen = LabelsMap::default();
        for (labels, value) in &batch.samples {
            match self.append(labels, batch.at, *value) {
                Appended::Refused(why) => refused(labels, why),
                _ => drop(seen.insert(labels.clone(), ())),
            }
        }
        for (labels, at, value) in &batch.timed {
            if let Appended::Refused(why) = self.append(labels, *at, *value) {
                refused(labels, why);
            }
        }
        let before = self.by_source.entry(batch.source.clone()).or_default();
        if batch.completeness == Completeness::Whole {
            let gone: Vec<Labels> = before.keys().filter(|l| !seen.contains_key(*l)).cloned().collect();
            *before = seen;
            for labels in gone {
                self.append(&labels, batch.at, stale_nan());
            }
        } else {
            before.extend(seen);
        }
    }

    /// Says what the rules and the page need; replaces what was said before.
    pub fn retain(&mut self, needs: &[Need]) {
        let most = needs.iter().map(|need| need.window).max().unwrap_or_default();
        self.settings.retention = self.settings.retention.max(most);
    }

    /// Drops what nobody needs any more.
    pub fn collect_garbage(&mut self, now: Timestamp) {
        let oldest = now - self.settings.retention;
        let series = Arc::make_mut(&mut self.series);
        series.retain(|_, points| {
            Arc::make_mut(points).retain(|point| point_time(point) >= oldest);
            !points.is_empty()
        });
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// An immutable picture of all series as they are now.
    pub fn view(&self) -> View {
        View { series: Arc::clone(&self.series) }
    }
}

/// An immutable picture of the store; cheap to make, to clone and to send to another thread.
#[derive(Clone, Debug, Default)]
pub struct View {
    series: Arc<LabelsMap<Arc<Vec<Point>>>>,
}

impl View {
    /// The series that satisfy all matchers and have points with `from <= time <= to`, sorted by labels.
    pub fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<SeriesData> {
        let mut found: Vec<SeriesData> = self
            .series
            .iter()
            .filter(|(labels, _)| matchers.iter().all(|m| m.matches_labels(labels)))
            .filter_map(|(labels, points)| {
                let points: Vec<Point> =
                    points.iter().filter(|p| (from..=to).contains(&point_time(p))).cloned().collect();
                (!points.is_empty()).then(|| SeriesData { labels: labels.clone(), points })
            })
            .collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    /// The label sets of the series that satisfy all matchers and have a point in the window, sorted.
    pub fn label_sets(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Labels> {
        self.select(matchers, from, to).into_iter().map(|series| series.labels).collect()
    }
}

fn point_time(point: &Point) -> Timestamp {
    match point {
        Point::Float(at, _) | Point::Histogram(at, _) => *at,
    }
}

/// True for a float that marks the end of a series.
pub fn is_stale(point: &Point) -> bool {
    matches!(point, Point::Float(_, value) if is_stale_nan(*value))
}
