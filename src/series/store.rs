//! The store of series: who may append what, and what is forgotten when.
//!
//! Each series has a place in a table of pages (`view.rs`), found by its labels; a source's batches find theirs
//! mostly by their position in the batch before. An append to a known series allocates nothing but now and then.
//! Time comes from the samples and from the `now` of [`Store::collect_garbage`]; nothing here reads a clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::history::History;
use super::index::Slot;
use super::needs::Needs;
use super::view::{PAGE, Page, Series, Shared, View};
use crate::limits;
use crate::model::{Batch, Completeness, FloatHistogram, Labels, Matcher, Source, is_stale_nan, stale_nan};
use crate::time::Timestamp;

/// What the store needs to know at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a series is kept when nobody asks for more.
    pub retention: Duration,
    /// Series in all; more are refused.
    pub max_series: usize,
    /// Series of one source, ended ones included until they are dropped; more are refused.
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
    pub matchers: Arc<[Matcher]>,
    /// How far back it reads, its offset included.
    pub window: Duration,
}

/// One value at one instant, as evaluators see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    Float(Timestamp, f64),
    Histogram(Timestamp, Arc<FloatHistogram>),
}

impl Point {
    /// When it was.
    pub fn time(&self) -> Timestamp {
        match self {
            Point::Float(at, _) | Point::Histogram(at, _) => *at,
        }
    }

    /// True for a float that marks the end of a series.
    pub fn is_stale(&self) -> bool {
        matches!(self, Point::Float(_, value) if is_stale_nan(*value))
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored in a series that was there, or the newest sample once more.
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

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub series: usize,
    /// Floats and histograms.
    pub samples: usize,
    /// An estimate of the memory they take, the index included.
    pub bytes: usize,
}

/// The store. Owned by the engine alone.
#[derive(Debug, Default)]
pub struct Store {
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    /// The places of the series, found by the labels that stand there.
    slots: HashTable<Slot>,
    /// What is known of each place beside its series, and views need not see.
    pub(super) places: Vec<Place>,
    /// Free places, highest first.
    free: Vec<Slot>,
    births: u32,
    pub(super) sources: HashMap<Source, SourceState>,
    sources_seen: u32,
    needs: Option<Needs>,
    /// The newest time in the pages when the clock was last set.
    stepped_at: Option<i64>,
    /// Floats that were taken since they were last asked for; `None` while nobody wants to know.
    recorded: Option<Vec<(Labels, Timestamp, f64)>>,
}

/// The number of no source.
const NOBODY: u32 = 0;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// How long the series is kept, in seconds.
    keep: u32,
    /// The source under which the series began: it counts against that source's limit.
    pub(super) creator: u32,
    /// The source whose next whole batch must have the series.
    pub(super) source: u32,
    /// The batch of that source in which the series was last.
    batch: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SourceState {
    pub(super) number: u32,
    /// The series of the batch before, in its order.
    pub(super) listed: Vec<Slot>,
    batches: u32,
    /// Series that began under this source and are still there.
    pub(super) created: usize,
}

impl SourceState {
    pub(super) fn numbered(number: u32) -> SourceState {
        SourceState { number, ..SourceState::default() }
    }
}

enum Value {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Store {
    /// An empty store.
    pub fn new(settings: Settings) -> Store {
        Store { settings, ..Store::default() }
    }

    /// Appends one float. The newest sample of a series once more, equal in time and value, changes nothing.
    pub fn append(&mut self, labels: &Labels, at: Timestamp, value: f64) -> Appended {
        self.put(labels, at, Value::Float(value))
    }

    /// Appends one native histogram. The newest of a series once more, equal in time and value, changes nothing.
    pub fn append_histogram(&mut self, labels: &Labels, at: Timestamp, value: FloatHistogram) -> Appended {
        self.put(labels, at, Value::Histogram(Arc::new(value)))
    }

    fn put(&mut self, labels: &Labels, at: Timestamp, value: Value) -> Appended {
        match self.slot_of(labels) {
            Some(slot) => done(self.write(slot, at, value), Appended::Known),
            None => match self.begin(labels, None) {
                Ok(slot) => done(self.write(slot, at, value), Appended::New),
                Err(why) => Appended::Refused(why),
            },
        }
    }

    fn write(&mut self, slot: Slot, at: Timestamp, value: Value) -> Result<(), Refusal> {
        let shared = Arc::make_mut(&mut self.shared);
        let stored = at.as_millis().saturating_sub(shared.shift);
        shared.writes = shared.writes.wrapping_add(1);
        let Some(page) = shared.pages.get_mut(slot as usize / PAGE) else { return Ok(()) };
        let Some(series) = &mut Arc::make_mut(page).slots[slot as usize % PAGE] else { return Ok(()) };
        let history = &mut series.history;
        // Samples that carry a time of their own do not follow our clock: such a series begins anew.
        if self.stepped_at.is_some_and(|stepped| stored < history.newest() && history.newest() <= stepped) {
            history.restart();
        }
        match value {
            Value::Float(value) => {
                history.push(stored, value)?;
                if let Some(recorded) = &mut self.recorded {
                    recorded.push((series.labels.clone(), at, value));
                }
                Ok(())
            }
            Value::Histogram(value) => history.push_histogram(stored, value),
        }
    }

    /// The clock was set by so many milliseconds: every sample that is kept moves along, as the time that has really
    /// passed since it was taken is what it was. A series whose samples carry their own times begins anew when its next
    /// one would be out of order for that reason.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let shared = Arc::make_mut(&mut self.shared);
        shared.shift = shared.shift.saturating_add(by_millis);
        shared.writes = shared.writes.wrapping_add(1);
        shared.generation += 1;
        self.stepped_at = self.newest_stored();
    }

    /// The time of the newest sample of all; `None` without any.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest_stored().map(|at| Timestamp::from_millis(at).shifted(self.shared.shift))
    }

    fn newest_stored(&self) -> Option<i64> {
        let series = self.shared.pages.iter().flat_map(|page| page.slots.iter().flatten());
        series.map(|series| series.history.newest()).filter(|newest| *newest > i64::MIN).max()
    }

    /// Begins an empty series, if the limits allow it.
    pub(super) fn begin(&mut self, labels: &Labels, source: Option<&mut SourceState>) -> Result<Slot, Refusal> {
        if self.slots.len() >= self.settings.max_series {
            return Err(Refusal::TooManySeries);
        }
        if source.as_ref().is_some_and(|source| source.created >= self.settings.max_series_per_source) {
            return Err(Refusal::TooManySeriesOfSource);
        }
        if labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > limits::LABELS_BYTES {
            return Err(Refusal::LabelsTooLong);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            // Not the double, which would mostly stand empty.
            if self.places.len() == self.places.capacity() {
                self.places.reserve_exact(PAGE + self.places.len() / 16);
            }
            self.places.push(Place::default());
            (self.places.len() - 1) as Slot
        });
        let (page, cell) = (slot as usize / PAGE, slot as usize % PAGE);
        self.births = self.births.wrapping_add(1);
        let shared = Arc::make_mut(&mut self.shared);
        if page >= shared.pages.len() {
            shared.pages.push(Arc::default());
        }
        shared.generation += 1;
        let series = Series { labels: labels.clone(), history: History::born(self.births) };
        Arc::make_mut(&mut shared.pages[page]).slots[cell] = Some(series);
        Arc::make_mut(&mut shared.index).insert(labels, slot, shared.generation);
        let pages = &self.shared.pages;
        self.slots.insert_unique(labels.hash64(), slot, |slot| hash_at(pages, *slot));
        let creator = source.map_or(NOBODY, |source| {
            source.created += 1;
            source.number
        });
        self.places[slot as usize] = Place { keep: whole_seconds(self.keep(labels)), creator, ..Place::default() };
        Ok(slot)
    }

    fn keep(&self, labels: &Labels) -> i64 {
        match &self.needs {
            Some(needs) => needs.keep(labels),
            None => crate::time::millis(self.settings.retention),
        }
    }

    /// Appends a batch: its samples, and a staleness marker for each series of its source that a whole batch lacks.
    /// `refused` is called for every sample that was not taken.
    pub fn append_batch(&mut self, batch: &Batch, refused: &mut dyn FnMut(&Labels, Refusal)) {
        let mut source = self.take_source(&batch.source);
        source.batches = source.batches.wrapping_add(1);
        let before = std::mem::take(&mut source.listed);
        let mut listed = Vec::with_capacity(before.len().max(batch.samples.len()));
        for (at, (labels, value)) in batch.samples.iter().enumerate() {
            let slot = match self.slot_in(&before, at, labels) {
                Some(slot) => slot,
                None => match self.begin(labels, Some(&mut source)) {
                    Ok(slot) => slot,
                    Err(why) => {
                        refused(labels, why);
                        continue;
                    }
                },
            };
            let place = &mut self.places[slot as usize];
            (place.source, place.batch) = (source.number, source.batches);
            listed.push(slot);
            if let Err(why) = self.write(slot, batch.at, Value::Float(*value)) {
                refused(labels, why);
            }
        }
        for (labels, at, value) in &batch.timed {
            let slot = self.slot_of(labels);
            let slot = slot.map_or_else(|| self.begin(labels, Some(&mut source)), Ok);
            if let Err(why) = slot.and_then(|slot| self.write(slot, *at, Value::Float(*value))) {
                refused(labels, why);
            }
        }
        for slot in before {
            let Some(place) = self.places.get_mut(slot as usize) else { continue };
            if place.source != source.number || place.batch == source.batches {
                continue;
            }
            if batch.completeness == Completeness::Partial {
                listed.push(slot);
                continue;
            }
            place.source = NOBODY;
            // A sample of the same time from elsewhere may be there already: then the series goes on.
            let _ended = self.write(slot, batch.at, Value::Float(stale_nan()));
        }
        source.listed = listed;
        if source.created > 0 || !source.listed.is_empty() {
            self.sources.insert(batch.source.clone(), source);
        }
    }

    /// Takes over the sources of a snapshot.
    pub(super) fn restore_sources(&mut self, sources: Vec<(Source, SourceState)>) {
        self.sources_seen = sources.len() as u32;
        self.sources = sources.into_iter().filter(|(_, state)| state.created > 0 || !state.listed.is_empty()).collect();
    }

    fn take_source(&mut self, source: &Source) -> SourceState {
        if let Some(state) = self.sources.remove(source) {
            return state;
        }
        self.sources_seen += 1;
        SourceState::numbered(self.sources_seen)
    }

    /// The place of a series: the one at the same position in the batch before, or the one with these labels.
    fn slot_in(&self, before: &[Slot], at: usize, labels: &Labels) -> Option<Slot> {
        let guess = before.get(at).copied();
        let fits = |slot: &Slot| {
            let page = self.shared.pages.get(*slot as usize / PAGE);
            let series = page.and_then(|page| page.slots[*slot as usize % PAGE].as_ref());
            series.is_some_and(|series| series.labels == *labels)
        };
        guess.filter(fits).or_else(|| self.slot_of(labels))
    }

    pub(super) fn slot_of(&self, labels: &Labels) -> Option<Slot> {
        let pages = &self.shared.pages;
        self.slots.find(labels.hash64(), |slot| labels_at(pages, *slot) == Some(labels)).copied()
    }

    /// Says what the rules and the page need; replaces what was said before. A series is kept for the longest window
    /// that matches it and five minutes more, and never for less than [`Settings::retention`]. Of windows of more
    /// than an hour the part beyond the last hour is thinned out: see `coarse.rs` for what stays exact.
    pub fn retain(&mut self, needs: &[Need]) {
        let needs = Needs::new(needs, self.settings.retention);
        for slot in &self.slots {
            if let Some(labels) = labels_at(&self.shared.pages, *slot) {
                self.places[*slot as usize].keep = whole_seconds(needs.keep(labels));
            }
        }
        self.needs = Some(needs);
    }

    /// Drops what nobody needs any more: series whose newest sample is too old, and of the others the chunks (of 120
    /// samples) that are too old as a whole, so that a little more than needed may stay.
    pub fn collect_garbage(&mut self, now: Timestamp) {
        let now = now.as_millis().saturating_sub(self.shared.shift);
        let mut gone = Vec::new();
        for slot in 0..self.places.len() {
            let (page, cell, keep) = (slot / PAGE, slot % PAGE, i64::from(self.places[slot].keep) * 1000);
            let Some(series) = &self.shared.pages[page].slots[cell] else { continue };
            if series.history.newest() < now.saturating_sub(keep) {
                gone.push((slot as Slot, series.labels.clone()));
            } else if series.history.is_overdue(now, keep)
                && let Some(series) = &mut Arc::make_mut(&mut Arc::make_mut(&mut self.shared).pages[page]).slots[cell]
            {
                series.history.forget(now, keep);
            }
        }
        if !gone.is_empty() {
            self.drop_series(&gone);
        }
    }

    /// Drops series; `gone` is sorted by place.
    fn drop_series(&mut self, gone: &[(Slot, Labels)]) {
        let shared = Arc::make_mut(&mut self.shared);
        shared.generation += 1;
        Arc::make_mut(&mut shared.index).remove(gone, shared.generation);
        let mut created: HashMap<u32, usize> = HashMap::new();
        for (slot, labels) in gone {
            let at = *slot as usize;
            if let Ok(entry) = self.slots.find_entry(labels.hash64(), |known| known == slot) {
                entry.remove();
            }
            Arc::make_mut(&mut shared.pages[at / PAGE]).slots[at % PAGE] = None;
            *created.entry(self.places[at].creator).or_default() += 1;
            self.places[at] = Place::default();
        }
        self.free.extend(gone.iter().map(|(slot, _)| *slot));
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        while shared.pages.last().is_some_and(|page| page.slots.iter().all(Option::is_none)) {
            shared.pages.pop();
        }
        self.places.truncate(shared.pages.len() * PAGE);
        self.free.retain(|slot| (*slot as usize) < self.places.len());
        if self.slots.capacity() > 4 * self.slots.len() + 64 {
            let pages = &shared.pages;
            self.slots.shrink_to(0, |slot| hash_at(pages, *slot));
        }
        let places = &self.places;
        self.sources.retain(|_, source| {
            source.created = source.created.saturating_sub(created.get(&source.number).copied().unwrap_or(0));
            source.listed.retain(|slot| places.get(*slot as usize).is_some_and(|p| p.source == source.number));
            source.created > 0 || !source.listed.is_empty()
        });
    }

    /// From now on, keeps what it takes for [`Store::take_recorded`], or keeps it no longer.
    pub fn record(&mut self, wanted: bool) {
        match (wanted, &self.recorded) {
            (true, None) => self.recorded = Some(Vec::new()),
            (false, _) => self.recorded = None,
            (true, Some(_)) => {}
        }
    }

    /// The floats taken since the last call, staleness markers included, each series in order of time. Empty unless
    /// [`Store::record`] asked for them.
    pub fn take_recorded(&mut self) -> Vec<(Labels, Timestamp, f64)> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.slots.len()
    }

    /// Changes whenever a series begins or is dropped.
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// How much there is. Looks at every series.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { series: self.slots.len(), samples: 0, bytes: self.shared.index.bytes() };
        for series in self.shared.pages.iter().flat_map(|page| page.slots.iter().flatten()) {
            let (samples, bytes) = series.history.size();
            let labels: usize = series.labels.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
            stats.samples += samples;
            stats.bytes += bytes + labels;
        }
        let table = size_of::<Place>() + size_of::<Option<Series>>();
        stats.bytes += self.places.len() * table + self.slots.capacity() * (size_of::<Slot>() + 1);
        stats
    }

    /// An immutable picture of all series as they are now.
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.shared))
    }
}

fn labels_at(pages: &[Arc<Page>], slot: Slot) -> Option<&Labels> {
    pages.get(slot as usize / PAGE)?.slots[slot as usize % PAGE].as_ref().map(|series| &series.labels)
}

fn hash_at(pages: &[Arc<Page>], slot: Slot) -> u64 {
    labels_at(pages, slot).map_or(0, Labels::hash64)
}

/// Milliseconds as seconds, rather more than fewer.
fn whole_seconds(millis: i64) -> u32 {
    u32::try_from(millis.saturating_add(999) / 1000).unwrap_or(u32::MAX)
}

fn done(written: Result<(), Refusal>, as_what: Appended) -> Appended {
    match written {
        Ok(()) => as_what,
        Err(why) => Appended::Refused(why),
    }
}
