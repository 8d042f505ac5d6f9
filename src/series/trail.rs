//! A window over one series that moves forward and says what came into it and what went out of it.
//!
//! The older end of the window stands in the middle of compressed chunks. A [`Trail`] remembers how far it has decoded
//! there, so that moving on costs the samples that come and go and not the whole window. Whatever makes that impossible
//! (the window moved back, samples were thinned out or dropped) makes it read the window anew; the answers are always
//! those of reading it whole.

use super::chunk::{Cursor, Sample};
use super::history::History;
use super::view::{SeriesRef, View};
use crate::model::is_stale_nan;

/// What is kept of a window by whoever follows it. Staleness markers are never shown to it.
pub trait Follower {
    /// Everything begins anew: the window is empty.
    fn clear(&mut self);
    /// A sample came in, newer than all before it. Times are in milliseconds.
    fn enter(&mut self, at: i64, value: f64);
    /// The oldest sample went out.
    fn leave(&mut self, at: i64, value: f64);
}

/// Samples that are decoded ahead: a few, as every window over every series holds them.
const AHEAD: usize = 2;

/// Where a moving window stands in its series. Belongs to one series of one store. Its times are those of the pages.
#[derive(Clone, Debug)]
pub struct Trail {
    /// What readers add to these times.
    shift: i64,
    after: i64,
    /// The newest sample that was looked at.
    seen: i64,
    /// The newest sample that was decoded ahead.
    read: i64,
    /// How often the series had been rewritten then.
    changes: u32,
    /// Samples from the oldest in the window on.
    ahead: [Sample; AHEAD],
    next: u8,
    end: u8,
    cursor: Cursor,
}

impl Default for Trail {
    fn default() -> Trail {
        Trail {
            shift: 0,
            after: i64::MAX,
            seen: i64::MIN,
            read: i64::MIN,
            changes: 0,
            ahead: [(0, 0.0); AHEAD],
            next: 0,
            end: 0,
            cursor: Cursor::default(),
        }
    }
}

impl Trail {
    /// The oldest sample in the window, if the window is not empty: its time in milliseconds and its value.
    pub fn first(&self) -> Option<(i64, f64)> {
        let (at, value) = self.oldest()?;
        Some((at.saturating_add(self.shift), value))
    }

    fn oldest(&self) -> Option<Sample> {
        self.ahead[usize::from(self.next)..usize::from(self.end)].first().copied()
    }

    /// Moves to `(after, until]`. False when the series has histograms, which nothing here follows.
    fn follow(&mut self, history: &History, after: i64, until: i64, follower: &mut impl Follower) -> bool {
        if !history.histograms().is_empty() {
            *self = Trail::default();
            return false;
        }
        let (changes, changed_until) = history.changes();
        let mut anew = after < self.after || until < self.seen || after >= self.seen;
        if self.changes != changes {
            self.changes = changes;
            if self.cursor.chunk().is_some_and(|chunk| chunk <= changed_until) {
                self.cursor = Cursor::default();
            }
            anew |= changed_until > after;
        }
        if anew {
            follower.clear();
            *self = Trail { shift: self.shift, seen: after, read: after, changes, ..Trail::default() };
        }
        self.after = after;
        self.enter(history, until, follower);
        self.leave(history, follower);
        true
    }

    fn enter(&mut self, history: &History, until: i64, follower: &mut impl Follower) {
        let mut seen = self.seen;
        history.floats(seen.saturating_add(1), until, |at, value| {
            seen = at;
            if !is_stale_nan(value) {
                follower.enter(at, value);
            }
        });
        self.seen = seen;
    }

    /// Passes over what is no longer in the window, and over staleness markers at its beginning.
    fn leave(&mut self, history: &History, follower: &mut impl Follower) {
        loop {
            while let Some((at, value)) = self.oldest() {
                match (at > self.after, is_stale_nan(value)) {
                    (true, false) => return,
                    (false, false) => follower.leave(at, value),
                    (_, true) => {}
                }
                self.next += 1;
            }
            if self.read >= self.seen {
                return;
            }
            let count = history.read_ahead(&mut self.cursor, self.read, &mut self.ahead);
            (self.next, self.end) = (0, count as u8);
            match self.ahead[..count].last() {
                Some((last, _)) => self.read = *last,
                None => return,
            }
        }
    }
}

/// Shows a follower the times of readers.
struct Shifted<'a, F> {
    shift: i64,
    follower: &'a mut F,
}

impl<F: Follower> Follower for Shifted<'_, F> {
    fn clear(&mut self) {
        self.follower.clear();
    }

    fn enter(&mut self, at: i64, value: f64) {
        self.follower.enter(at.saturating_add(self.shift), value);
    }

    fn leave(&mut self, at: i64, value: f64) {
        self.follower.leave(at.saturating_add(self.shift), value);
    }
}

impl View {
    /// Moves a window over a series to `after < time <= until`, in milliseconds, and tells `follower` what changed.
    /// False when the series has histograms: then nothing is known. A series that is not in this view has no samples.
    pub fn follow(
        &self,
        series: SeriesRef,
        trail: &mut Trail,
        after: i64,
        until: i64,
        follower: &mut impl Follower,
    ) -> bool {
        if let Some(history) = self.history(series) {
            let shift = self.shift();
            if trail.shift != shift {
                // The clock was set: what the follower has is of another time.
                *trail = Trail { shift, ..Trail::default() };
            }
            let stored = |at: i64| at.saturating_sub(shift);
            return trail.follow(history, stored(after), stored(until), &mut Shifted { shift, follower });
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
    struct Plain(std::collections::VecDeque<(i64, u64)>);

    impl Follower for Plain {
        fn clear(&mut self) {
            self.0.clear();
        }

        fn enter(&mut self, at: i64, value: f64) {
            self.0.push_back((at, value.to_bits()));
        }

        fn leave(&mut self, at: i64, value: f64) {
            assert_eq!(self.0.pop_front(), Some((at, value.to_bits())));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_window_that_moves_is_the_window_read_whole(
            steps in prop::collection::vec((1_i64..40_000, 0_u8..8, 0_i64..3_000), 1..1200),
            window in 1_i64..2_000_000,
            offset in 0_i64..60_000,
        ) {
            let name = Matcher::equal(NAME, "m");
            let mut store = Store::new(Settings { retention: Duration::from_secs(300), ..Settings::default() });
            store.retain(&[Need { matchers: [name.clone()].into(), window: Duration::from_secs(5_000) }]);
            let labels = Labels::named("m");
            let (mut at, mut trail, mut plain) = (0, Trail::default(), Plain::default());
            for (index, (step, what, back)) in steps.into_iter().enumerate() {
                at += step;
                let value = if what == 0 { stale_nan() } else { f64::from(what) };
                store.append(&labels, Timestamp::from_millis(at), value);
                if index % 97 == 96 {
                    let by = if what % 2 == 0 { 3_600_000 } else { -3_600_000 };
                    at += by;
                    store.clock_stepped(by);
                }
                if index % 50 == 0 {
                    store.collect_garbage(Timestamp::from_millis(at));
                }
                if what > 5 {
                    continue;
                }
                let until = at - offset - if what == 1 { back } else { 0 };
                let after = until - window;
                let view = store.view();
                let series = view.resolve(std::slice::from_ref(&name))[0];
                prop_assert!(view.follow(series, &mut trail, after, until, &mut plain));
                let mut whole = Vec::new();
                view.floats_into(series, Timestamp::from_millis(after + 1), Timestamp::from_millis(until), &mut whole);
                let real = whole.iter().filter(|(_, value)| !is_stale_nan(*value));
                let whole: Vec<(i64, u64)> = real.map(|(at, value)| (at.as_millis(), value.to_bits())).collect();
                prop_assert_eq!(plain.0.make_contiguous(), &whole[..]);
                if !whole.is_empty() {
                    prop_assert_eq!(trail.first().map(|(at, value)| (at, value.to_bits())), whole.first().copied());
                }
            }
        }
    }
}
