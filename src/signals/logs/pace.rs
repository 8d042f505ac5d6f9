//! How often something may happen: some times at once, then evenly spaced.

use std::time::Duration;

use crate::time::Timestamp;

/// A bucket of permissions that fills with one a `gap`, up to `burst`.
#[derive(Debug)]
pub struct Pace {
    slack: Duration,
    gap: Duration,
    /// When the bucket would be full again.
    full: Option<Timestamp>,
}

impl Pace {
    /// A full bucket.
    pub fn new(burst: u32, gap: Duration) -> Pace {
        Pace { slack: gap * burst.saturating_sub(1), gap, full: None }
    }

    /// When the next one is free; `None`: always was, also when the clock was set back since.
    pub fn free_at(&self, now: Timestamp) -> Option<Timestamp> {
        let full = self.full.filter(|full| *full <= now + self.slack + self.gap)?;
        Some(full - self.slack)
    }

    /// Whether one is free.
    pub fn free(&self, now: Timestamp) -> bool {
        self.free_at(now).is_none_or(|at| at <= now)
    }

    /// Takes one, free or not.
    pub fn take(&mut self, now: Timestamp) {
        let full = self.full.map_or(now, |full| full.max(now)) + self.gap;
        self.full = Some(full.min(now + self.slack + self.gap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_free_at_once_and_then_one_a_gap() {
        let mut pace = Pace::new(3, Duration::from_millis(100));
        let mut taken = Vec::new();
        for millis in 0..1_000 {
            let now = Timestamp::from_millis(millis);
            if pace.free(now) {
                pace.take(now);
                taken.push(millis);
            }
        }
        assert_eq!(taken[..6], [0, 1, 2, 100, 200, 300]);
        // Quiet fills the bucket again, but not beyond its size.
        let later = Timestamp::from_millis(60_000);
        let free = (0..10)
            .filter(|_| {
                pace.free(later) && {
                    pace.take(later);
                    true
                }
            })
            .count();
        assert_eq!(free, 3);
        // A clock that is set back does not close it.
        assert!(pace.free(Timestamp::from_millis(0)));
    }
}
