//! When a group is evaluated: at fixed slots, the same ones in every process, so that a restart does not move them.
//!
//! A slot is `floor((now - offset) / interval) * interval + offset`, where the offset is a hash of the file and the group
//! modulo the interval. Ticks that were missed are skipped and counted, never caught up (Prometheus' `rules/group.go`).

use std::time::Duration;

use crate::model::Labels;
use crate::time::{Timestamp, millis};

/// The slots of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    interval: i64,
    offset: i64,
}

impl Slots {
    /// The slots of a group. An interval below a millisecond counts as one.
    pub fn new(file: &str, group: &str, interval: Duration) -> Slots {
        let interval = millis(interval).max(1);
        let hash = Labels::from_pairs([("file", file), ("name", group)]).hash64();
        Slots { interval, offset: (hash % interval as u64) as i64 }
    }

    /// The multiples of an interval.
    pub fn aligned(interval: Duration) -> Slots {
        Slots { interval: millis(interval).max(1), offset: 0 }
    }

    /// The latest slot that is not after `now`.
    pub fn at_or_before(&self, now: Timestamp) -> Timestamp {
        let base = now.as_millis().saturating_sub(self.offset).div_euclid(self.interval) * self.interval;
        Timestamp::from_millis(base.saturating_add(self.offset))
    }

    /// The first slot after `now`.
    pub fn after(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.at_or_before(now).as_millis().saturating_add(self.interval))
    }

    /// How many slots lie between two of them, the later one left out.
    pub fn missed(&self, expected: Timestamp, actual: Timestamp) -> u64 {
        ((actual.as_millis() - expected.as_millis()) / self.interval).max(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn slots_stand_still_whatever_the_time_of_the_start() {
        let slots = Slots { interval: 1_000, offset: 300 };
        for (now, slot) in [(0, -700), (299, -700), (300, 300), (1_299, 300), (1_300, 1_300), (-701, -1_700)] {
            assert_eq!(slots.at_or_before(at(now)), at(slot), "{now}");
            assert_eq!(slots.after(at(now)), at(slot + 1_000), "{now}");
        }
        assert_eq!(slots.missed(at(1_300), at(1_300)), 0);
        assert_eq!(slots.missed(at(1_300), at(4_300)), 3);
    }

    #[test]
    fn groups_are_spread_over_the_interval() {
        let offsets: std::collections::BTreeSet<i64> =
            (0..50).map(|n| Slots::new("f", &format!("g{n}"), Duration::from_secs(1)).offset).collect();
        assert!(offsets.len() > 40, "{offsets:?}");
        assert!(offsets.iter().all(|offset| (0..1_000).contains(offset)));
        assert_eq!(Slots::new("f", "g", Duration::from_secs(60)), Slots::new("f", "g", Duration::from_secs(60)));
    }
}
