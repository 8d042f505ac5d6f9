//! A window over one series that moves forward and says what came into it and what went out of it.
//!
//! The older end of the window stands in the middle of compressed chunks. A [`Trail`] remembers how far it has decoded
//! there, so that moving on costs the samples that come and go and not the whole window. Whatever makes that impossible
//! (the window moved back, samples were thinned out or dropped) makes it read the window anew; the answers are always
//! those of reading it whole.

use super::chunk::{Cursor, Rest, Sample};
use super::history::History;
use super::view::{SeriesRef, View};
use crate::model::is_stale_nan;

/// What is kept of a window by whoever follows it. Staleness markers are never shown to it. Times are those of the
/// window's [`Course`].
pub trait Follower {
    /// Everything begins anew: the window is empty.
    fn clear(&mut self);
    /// A sample came in, newer than all before it.
    fn enter(&mut self, at: u32, value: f64);
    /// The oldest sample went out.
    fn leave(&mut self, at: u32, value: f64);
}

/// Samples that are decoded ahead: a few, as every window over every series holds them.
const AHEAD: usize = 2;
/// The latest time of a course.
const REACH: i64 = u32::MAX as i64 - 1;
/// The longest window that is followed: 40 days. A course of it lasts some days more before it has to begin anew.
const WIDEST: i64 = 40 * 86_400_000;

/// The way of windows that move together: where they are, and the time from which on each of them counts milliseconds
/// in 32 bits, which saves half of what their times would take. When these do not suffice any more, which takes weeks,
/// another course begins, and all windows are read anew once.
#[derive(Clone, Debug)]
pub struct Course {
    /// What readers add to the times of the pages.
    shift: i64,
    /// All others are times of the pages.
    base: i64,
    after: i64,
    until: i64,
}

impl Default for Course {
    fn default() -> Course {
        Course { shift: 0, base: i64::MAX, after: i64::MAX, until: i64::MAX }
    }
}

/// What a step of a course means for the trails on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They go on.
    On,
    /// Another course began (the windows moved back, the clock was set, the time ran out): each of them has to be made
    /// anew before it follows.
    Anew,
    /// The windows are too long to be followed.
    TooWide,
}

impl Course {
    /// A time that no sample has.
    pub const NEVER: u32 = u32::MAX;

    /// Moves all windows to `after < time <= until`, in milliseconds.
    pub fn advance(&mut self, view: &View, after: i64, until: i64) -> Step {
        let shift = view.shift();
        let stored = |at: i64| at.saturating_sub(shift);
        let (after, until) = (stored(after), stored(until).max(stored(after)));
        let width = until.saturating_sub(after);
        if width > WIDEST {
            *self = Course::default();
            return Step::TooWide;
        }
        let holds = self.shift == shift && after >= self.after && until.saturating_sub(self.base) <= REACH;
        // Chunks that began before the windows did have times as well.
        let base = if holds { self.base } else { after.saturating_sub((REACH - width) / 2) };
        *self = Course { shift, base, after, until };
        if holds { Step::On } else { Step::Anew }
    }

    /// A time of the course as readers have it, in milliseconds.
    pub fn time(&self, at: u32) -> i64 {
        self.base.saturating_add(at.into()).saturating_add(self.shift)
    }

    /// A reader's time as the course has it; [`Course::NEVER`] when it is out of reach.
    pub fn offset(&self, at: i64) -> u32 {
        let offset = at.saturating_sub(self.shift).saturating_sub(self.base);
        u32::try_from(offset).unwrap_or(Course::NEVER)
    }
}

/// Where a moving window stands in its series. Belongs to one series of one store, and to one course: its times are
/// those of the course. There is one for each window over each series.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Samples from the oldest in the window on; the last one is the newest that was decoded ahead.
    values: [f64; AHEAD],
    times: [u32; AHEAD],
    /// The newest sample that was looked at.
    seen: u32,
    /// How often the series had been rewritten then.
    changes: u32,
    /// A [`Cursor`], its chunk as a time of the course.
    rest: Rest,
    chunk: u32,
    since: u32,
    bit: u16,
    next: u8,
    /// 0: nothing is known yet.
    end: u8,
}

impl Trail {
    /// The oldest sample in the window, if the window is not empty.
    pub fn first(&self) -> Option<(u32, f64)> {
        let next = usize::from(self.next);
        (self.next < self.end).then(|| (self.times[next], self.values[next]))
    }

    /// Moves to where the course is. False when the series has histograms, which nothing here follows.
    fn follow(&mut self, history: &History, course: &Course, follower: &mut impl Follower) -> bool {
        if !history.histograms().is_empty() {
            *self = Trail::default();
            return false;
        }
        // A course keeps both within reach.
        let [after, until] = [course.after, course.until].map(|at| at.saturating_sub(course.base) as u32);
        let (changes, changed_until) = history.changes();
        let mut anew = self.end == 0 || until < self.seen || after >= self.seen;
        if self.changes != changes {
            self.changes = changes;
            if self.cursor(course).chunk().is_some_and(|chunk| chunk <= changed_until) {
                self.rest = Rest::default();
            }
            anew |= changed_until > course.after;
        }
        if anew {
            follower.clear();
            *self = Trail { times: [after; AHEAD], seen: after, changes, next: 1, end: 1, ..Trail::default() };
        }
        self.enter(history, course, follower);
        self.leave(history, course, after, follower);
        true
    }

    fn enter(&mut self, history: &History, course: &Course, follower: &mut impl Follower) {
        let mut seen = self.seen;
        let from = course.base.saturating_add(seen.into()).saturating_add(1);
        history.floats(from, course.until, |at, value| {
            seen = at.saturating_sub(course.base) as u32;
            if !is_stale_nan(value) {
                follower.enter(seen, value);
            }
        });
        self.seen = seen;
    }

    /// Passes over what is no longer in the window, and over staleness markers at its beginning.
    fn leave(&mut self, history: &History, course: &Course, after: u32, follower: &mut impl Follower) {
        loop {
            while let Some((at, value)) = self.first() {
                match (at > after, is_stale_nan(value)) {
                    (true, false) => return,
                    (false, false) => follower.leave(at, value),
                    (_, true) => {}
                }
                self.next += 1;
            }
            if self.times[usize::from(self.end) - 1] >= self.seen || !self.read_ahead(history, course) {
                return;
            }
        }
    }

    /// Decodes the next samples; false when there is none.
    fn read_ahead(&mut self, history: &History, course: &Course) -> bool {
        let read = course.base.saturating_add(self.times[usize::from(self.end) - 1].into());
        let (mut cursor, mut ahead) = (self.cursor(course), [Sample::default(); AHEAD]);
        let count = history.read_ahead(&mut cursor, read, &mut ahead);
        let mut end = 0;
        for (at, value) in &ahead[..count] {
            let offset = at.saturating_sub(course.base);
            if offset > REACH {
                // It is decoded again when it comes into reach.
                cursor = Cursor::default();
                break;
            }
            (self.times[end], self.values[end]) = (offset as u32, *value);
            end += 1;
        }
        self.keep(&cursor, course);
        if end > 0 {
            (self.next, self.end) = (0, end as u8);
        }
        end > 0
    }

    fn cursor(&self, course: &Course) -> Cursor {
        let chunk = course.base.saturating_add(self.chunk.into());
        Cursor { chunk, rest: self.rest, since: self.since, bit: self.bit }
    }

    /// Keeps a cursor, or none when its chunk began too long ago: then the chunk is read from its beginning.
    fn keep(&mut self, cursor: &Cursor, course: &Course) {
        let chunk = u32::try_from(cursor.chunk.saturating_sub(course.base));
        (self.chunk, self.since, self.bit) = (chunk.unwrap_or(0), cursor.since, cursor.bit);
        self.rest = if chunk.is_ok() { cursor.rest } else { Rest::default() };
    }
}

impl View {
    /// Moves the window over a series to where its course is, and tells `follower` what changed. False when the series
    /// has histograms: then nothing is known. A series that is not in this view has no samples.
    pub fn follow(&self, series: SeriesRef, trail: &mut Trail, course: &Course, follower: &mut impl Follower) -> bool {
        if let Some(history) = self.history(series) {
            return trail.follow(history, course, follower);
        }
        *trail = Trail::default();
        follower.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{Need, Settings, Store};
    use super::*;
    use crate::model::{Labels, Matcher, NAME, stale_nan};
    use crate::time::Timestamp;

    /// Keeps the window as it is.
    #[derive(Default)]
    struct Plain(std::collections::VecDeque<(u32, u64)>);

    impl Follower for Plain {
        fn clear(&mut self) {
            self.0.clear();
        }

        fn enter(&mut self, at: u32, value: f64) {
            self.0.push_back((at, value.to_bits()));
        }

        fn leave(&mut self, at: u32, value: f64) {
            assert_eq!(self.0.pop_front(), Some((at, value.to_bits())));
        }
    }

    #[test]
    fn a_window_that_is_too_long_is_not_followed() {
        let (view, mut course) = (Store::default().view(), Course::default());
        assert_eq!(course.advance(&view, 0, WIDEST), Step::Anew);
        assert_eq!(course.advance(&view, 1, WIDEST + 1), Step::On);
        assert_eq!(course.advance(&view, 1, WIDEST + 2), Step::TooWide);
        assert_eq!(course.advance(&view, 2, WIDEST + 2), Step::Anew);
        assert_eq!((course.time(course.offset(7)), course.offset(i64::MAX)), (7, Course::NEVER));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_window_that_moves_is_the_window_read_whole(
            steps in prop::collection::vec((1_i64..40_000, 0_u8..8, 0_i64..3_000), 1..1200),
            window in 1_i64..2_000_000,
            offset in 0_i64..60_000,
            // Of days and months: the reach of a course ends several times.
            scale in prop::sample::select(vec![1_i64, 1_500]),
        ) {
            let name = Matcher::equal(NAME, "m");
            let mut store = Store::new(Settings { retention: Duration::from_secs(300), ..Settings::default() });
            store.retain(&[Need { matchers: [name.clone()].into(), window: Duration::from_secs(5_000) }]);
            let labels = Labels::named("m");
            let (mut at, mut trail, mut plain) = (0, Trail::default(), Plain::default());
            let mut course = Course::default();
            for (index, (step, what, back)) in steps.into_iter().enumerate() {
                at += step * scale;
                let value = if what == 0 { stale_nan() } else { f64::from(what) };
                store.append(&labels, Timestamp::from_millis(at), value);
                if index % 97 == 96 {
                    let by = if what % 2 == 0 { 3_600_000 } else { -3_600_000 };
                    at += by;
                    store.clock_stepped(by);
                }
                if index % 50 == 0 && scale == 1 {
                    store.collect_garbage(Timestamp::from_millis(at));
                }
                if what > 5 {
                    continue;
                }
                let until = at - (offset + if what == 1 { back } else { 0 }) * scale;
                let after = until - window * scale;
                let view = store.view();
                let series = view.resolve(std::slice::from_ref(&name))[0];
                if course.advance(&view, after, until) == Step::Anew {
                    trail = Trail::default();
                }
                prop_assert!(view.follow(series, &mut trail, &course, &mut plain));
                let mut whole = Vec::new();
                view.floats_into(series, Timestamp::from_millis(after + 1), Timestamp::from_millis(until), &mut whole);
                let real = whole.iter().filter(|(_, value)| !is_stale_nan(*value));
                let whole: Vec<(i64, u64)> = real.map(|(at, value)| (at.as_millis(), value.to_bits())).collect();
                let followed: Vec<(i64, u64)> = plain.0.iter().map(|(at, bits)| (course.time(*at), *bits)).collect();
                prop_assert_eq!(followed, &whole[..]);
                if !whole.is_empty() {
                    let first = trail.first().map(|(at, value)| (course.time(at), value.to_bits()));
                    prop_assert_eq!(first, whole.first().copied());
                }
            }
        }
    }
}
