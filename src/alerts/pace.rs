//! How often one integration is called: so many messages at most in any span of time (`rate_limit` of a receiver).
//!
//! Spec:
//! * A try counts, whatever becomes of it. In any span of `every` there are at most `notifications` of them.
//! * A lane over the limit is held back. When there is room, changes of state go before repeats, and what was decided
//!   first goes first.
//! * The times of the tries are kept in the journal: a restart gives no room.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outbox::LaneKey;
use crate::time::Timestamp;

/// At most so many notifications in any span of this length; an addition to Alertmanager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// At least 1.
    pub notifications: usize,
    pub every: Duration,
}

/// A lane's place among those that are held back: whether it repeats, and the order of its message.
pub(super) type Place = (bool, u64);

/// The tries of one integration, and what waits for room.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    pub limit: RateLimit,
    /// The times of the last tries, oldest first.
    sent: VecDeque<Timestamp>,
    held: BTreeMap<Place, LaneKey>,
}

/// The tries as the journal keeps them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PaceRecord {
    pub receiver: String,
    pub integration: String,
    pub sent: VecDeque<Timestamp>,
}

impl Pace {
    pub fn new(limit: RateLimit) -> Pace {
        Pace { limit, sent: VecDeque::new(), held: BTreeMap::new() }
    }

    pub fn hold(&mut self, place: Place, key: LaneKey) {
        self.held.insert(place, key);
    }

    pub fn release(&mut self, place: Place) {
        self.held.remove(&place);
    }

    /// The first of those that wait, when there is room; its try is counted.
    pub fn take(&mut self, now: Timestamp) -> Option<LaneKey> {
        while self.sent.front().is_some_and(|at| *at + self.limit.every <= now) {
            self.sent.pop_front();
        }
        if self.sent.len() >= self.limit.notifications {
            return None;
        }
        let (_, key) = self.held.pop_first()?;
        self.sent.push_back(now);
        Some(key)
    }

    /// When there is room for one that waits; `None` when none does.
    pub fn next(&self) -> Option<Timestamp> {
        self.held.first_key_value()?;
        let over = self.sent.len().checked_sub(self.limit.notifications);
        Some(over.and_then(|at| self.sent.get(at)).map_or(Timestamp::MIN, |at| *at + self.limit.every))
    }

    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.sent.iter_mut().for_each(|at| *at = at.shifted(by_millis));
    }

    pub fn sent(&self) -> &VecDeque<Timestamp> {
        &self.sent
    }

    pub fn go_on_from(&mut self, sent: VecDeque<Timestamp>) {
        self.sent = sent;
    }
}
