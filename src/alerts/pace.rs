//! How fast one integration is called: so many messages at one time, and with a receiver's `rate_limit` so many at most in
//! any span of time.
//!
//! Spec:
//! * One message is in flight at a time, and the next departs with the record that it was accepted: a crash can double one
//!   message of an integration and no more. To a slow receiver another one departs each second that none comes back,
//!   and where [`limits::BACKLOG`] of them are to be sent as many depart as may: then a crash can double those.
//! * At most [`limits::ON_THEIR_WAY`] messages are in flight: fewer than the shell can bring to an end, one way or the
//!   other, within [`limits::DELIVERY_SILENCE`].
//! * With a limit a try counts, whatever becomes of it. In any span of `every` there are at most `notifications` of them.
//! * A lane for which there is no room is held back. When there is room, changes of state go before repeats, and what was decided
//!   first goes first.
//! * The times of the tries are kept in the journal: a restart gives no room.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outbox::LaneKey;
use crate::limits;
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
    pub limit: Option<RateLimit>,
    /// How many are in flight.
    on_their_way: usize,
    /// When the last of those departed.
    departed: Timestamp,
    /// With a limit: the times of the last tries, oldest first.
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
    pub fn new(limit: Option<RateLimit>) -> Pace {
        Pace { limit, on_their_way: 0, departed: Timestamp::MIN, sent: VecDeque::new(), held: BTreeMap::new() }
    }

    pub fn hold(&mut self, place: Place, key: LaneKey) {
        self.held.insert(place, key);
    }

    pub fn release(&mut self, place: Place) {
        self.held.remove(&place);
    }

    /// The first of those that wait, when there is room; it counts as in flight from now.
    pub fn take(&mut self, now: Timestamp) -> Option<LaneKey> {
        if self.room().is_none_or(|at| now < at) {
            return None;
        }
        if let Some(limit) = self.limit {
            while self.sent.front().is_some_and(|at| *at + limit.every <= now) {
                self.sent.pop_front();
            }
            if self.sent.len() >= limit.notifications {
                return None;
            }
        }
        let (_, key) = self.held.pop_first()?;
        if self.limit.is_some() {
            self.sent.push_back(now);
        }
        self.on_their_way += 1;
        self.departed = now;
        Some(key)
    }

    /// One is in flight that was there before.
    pub fn depart(&mut self, at: Timestamp) {
        self.on_their_way += 1;
        self.departed = self.departed.max(at);
    }

    /// One of those in flight has come to an end, or goes on without a place.
    pub fn arrived(&mut self) {
        self.on_their_way = self.on_their_way.saturating_sub(1);
    }

    /// When there is room for one that waits; `None` when none does, or one in flight must arrive first.
    pub fn next(&self) -> Option<Timestamp> {
        self.held.first_key_value()?;
        let room = self.room()?;
        Some(self.limited_until().map_or(room, |at| at.max(room)))
    }

    /// From when on another may be in flight beside those that are; `None` when one of them must arrive first.
    fn room(&self) -> Option<Timestamp> {
        match self.on_their_way {
            limits::ON_THEIR_WAY.. => None,
            0 => Some(Timestamp::MIN),
            n if n + self.held.len() >= limits::BACKLOG => Some(Timestamp::MIN),
            _ => Some(self.departed + limits::SLOW_DELIVERY),
        }
    }

    /// When the rate limit allows the next try, if it does not yet.
    pub fn limited_until(&self) -> Option<Timestamp> {
        let limit = self.limit?;
        let over = self.sent.len().checked_sub(limit.notifications)?;
        self.sent.get(over).map(|at| *at + limit.every)
    }

    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.departed = self.departed.shifted(by_millis);
        self.sent.iter_mut().for_each(|at| *at = at.shifted(by_millis));
    }

    pub fn sent(&self) -> &VecDeque<Timestamp> {
        &self.sent
    }

    pub fn go_on_from(&mut self, sent: VecDeque<Timestamp>, on_their_way: usize) {
        (self.sent, self.on_their_way) = (sent, on_their_way);
    }
}
