//! Requests in flight as leases: taken, given back, or ended by their time when the holder died.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

#[derive(Debug)]
struct Lease {
    ends: Duration,
    key: Option<Box<str>>,
    tokens: u64,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    next: u64,
    /// By number: they are handed out in the order of time.
    held: BTreeMap<u64, Lease>,
    /// In use without a key, and by key.
    whole: u64,
    keys: HashMap<Box<str>, u64>,
}

impl Leases {
    /// A lease and what is left after it; `None` when there is no room.
    pub(super) fn take(
        &mut self,
        now: Duration,
        most: u64,
        lasts: Duration,
        key: Option<&str>,
        tokens: u64,
    ) -> Option<(u64, u64)> {
        self.expire(now);
        let used = key.map_or(self.whole, |key| self.keys.get(key).copied().unwrap_or(0));
        let after = used.checked_add(tokens).filter(|after| *after <= most)?;
        if self.held.len() >= crate::limits::LEASES {
            return None;
        }
        match key {
            Some(key) => drop(self.keys.insert(key.into(), after)),
            None => self.whole = after,
        }
        self.next += 1;
        self.held.insert(self.next, Lease { ends: now + lasts, key: key.map(Into::into), tokens });
        Some((self.next, most - after))
    }

    /// Gives a lease back; false when it is not held.
    pub(super) fn release(&mut self, now: Duration, id: u64) -> bool {
        self.expire(now);
        let lease = self.held.remove(&id);
        lease.map(|lease| self.give_back(&lease)).is_some()
    }

    fn expire(&mut self, now: Duration) {
        // A lease may last shorter than an older one after a reload; it then ends with that one.
        while let Some(first) = self.held.first_entry().filter(|first| first.get().ends <= now) {
            let lease = first.remove();
            self.give_back(&lease);
        }
    }

    fn give_back(&mut self, lease: &Lease) {
        let Some(key) = &lease.key else {
            self.whole -= lease.tokens;
            return;
        };
        if let Some(used) = self.keys.get_mut(key) {
            *used -= lease.tokens;
            if *used == 0 {
                self.keys.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_by_release_or_by_time() {
        let mut leases = Leases::default();
        let at = Duration::from_secs;
        let take = |leases: &mut Leases, now, key| leases.take(at(now), 2, at(30), key, 1);
        let (first, left) = take(&mut leases, 0, None).expect("room");
        assert_eq!(left, 1);
        take(&mut leases, 1, None).expect("room");
        assert_eq!(take(&mut leases, 1, None), None);
        assert!(leases.release(at(2), first) && !leases.release(at(2), first), "once");
        take(&mut leases, 2, None).expect("room again");
        assert_eq!(take(&mut leases, 30, None), None);
        take(&mut leases, 31, None).expect("the second one has ended");
        assert!(!leases.release(at(99), 2), "ended long ago");
    }

    #[test]
    fn keys_and_a_lower_limit() {
        let mut leases = Leases::default();
        let take = |leases: &mut Leases, most, key| leases.take(Duration::ZERO, most, Duration::MAX / 2, key, 1);
        let ids: Vec<u64> = (0..3).map(|_| take(&mut leases, 3, Some("a")).expect("room").0).collect();
        assert!(take(&mut leases, 3, Some("a")).is_none() && take(&mut leases, 3, Some("b")).is_some());
        assert!(leases.release(Duration::ZERO, ids[0]));
        assert_eq!(take(&mut leases, 2, Some("a")), None, "two are still in flight, and two are the limit now");
        assert!(leases.release(Duration::ZERO, ids[1]));
        assert!(take(&mut leases, 2, Some("a")).is_some());
    }
}
