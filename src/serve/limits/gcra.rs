//! The generic cell rate algorithm: one time a key, at which everything that was let through would be paid for.
//!
//! With an interval `T = 1 / rate` and a tolerance `tau = burst`, `n` tokens are let through at `t` when
//! `max(paid, t) + n T <= t + tau`; then `paid` becomes the left side. A refusal changes nothing and knows exactly when it
//! would be none. A changed rate holds for what comes from then on.

use std::collections::HashMap;
use std::time::Duration;

/// What a request got.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taken {
    pub allowed: bool,
    pub remaining: u64,
    /// `None` when it never can be had: the rate is zero, or more is asked for than the burst holds.
    pub wait: Option<Duration>,
    /// The key has no place of its own, because too many are in use.
    pub shared_place: bool,
}

#[derive(Debug, Default)]
pub(super) struct Gcra {
    /// For requests without a key, in seconds of the daemon's own clock.
    whole: f64,
    keys: HashMap<Box<str>, f64>,
    /// For keys past the bound.
    others: f64,
    swept: f64,
}

impl Gcra {
    pub(super) fn take(
        &mut self,
        now: Duration,
        rate: f64,
        burst: Duration,
        key: Option<&str>,
        tokens: u64,
        most_keys: usize,
    ) -> Taken {
        let now = now.as_secs_f64();
        if rate == f64::INFINITY {
            // Nothing is limited, and nothing is owed later.
            return Taken { allowed: true, remaining: u64::MAX, wait: Some(Duration::ZERO), shared_place: false };
        }
        if rate.is_nan() || rate <= 0.0 {
            return Taken { allowed: false, remaining: 0, wait: None, shared_place: false };
        }
        let interval = 1.0 / rate;
        // A single request must fit whatever the rate is.
        let tolerance = burst.as_secs_f64().max(interval);
        let (paid, shared_place) = self.place(now, key, most_keys);
        let start = paid.max(now);
        let after = start + tokens as f64 * interval;
        // Room for the rounding of a double, a millionth of an interval.
        let slack = interval * 1e-6;
        let left = |paid: f64| ((now + tolerance - paid + slack) / interval).max(0.0).floor() as u64;
        if after <= now + tolerance + slack {
            *paid = after;
            return Taken { allowed: true, remaining: left(after), wait: Some(Duration::ZERO), shared_place };
        }
        let possible = tokens as f64 * interval <= tolerance + slack;
        let wait = possible.then(|| Duration::from_secs_f64((after - now - tolerance).max(0.0)));
        Taken { allowed: false, remaining: left(start), wait, shared_place }
    }

    fn place(&mut self, now: f64, key: Option<&str>, most: usize) -> (&mut f64, bool) {
        let Some(key) = key else { return (&mut self.whole, false) };
        if !self.keys.contains_key(key) {
            // Keys that owe nothing are as good as unknown. Looking for them is not done more often than once a second.
            if self.keys.len() >= most && now - self.swept >= 1.0 {
                self.swept = now;
                self.keys.retain(|_, paid| *paid > now);
            }
            if self.keys.len() >= most {
                return (&mut self.others, true);
            }
        }
        (self.keys.entry(key.into()).or_insert(0.0), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(gcra: &mut Gcra, millis: u64, rate: f64, key: Option<&str>, tokens: u64) -> Taken {
        gcra.take(Duration::from_millis(millis), rate, Duration::from_secs(1), key, tokens, 3)
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let mut gcra = Gcra::default();
        let allowed = |gcra: &mut Gcra, millis| take(gcra, millis, 10.0, None, 1).allowed;
        assert_eq!((0..20).filter(|_| allowed(&mut gcra, 5_000)).count(), 10, "one second's worth at once");
        let refused = take(&mut gcra, 5_000, 10.0, None, 1);
        assert_eq!((refused.allowed, refused.wait), (false, Some(Duration::from_millis(100))));
        // 100 requests a second for ten seconds.
        assert_eq!((1..=1000).filter(|n| allowed(&mut gcra, 5_000 + n * 10)).count(), 100);
    }

    #[test]
    fn several_tokens_are_all_or_nothing_and_too_many_are_never_to_be_had() {
        let mut gcra = Gcra::default();
        assert_eq!(take(&mut gcra, 0, 10.0, None, 7).remaining, 3);
        let refused = take(&mut gcra, 0, 10.0, None, 5);
        assert_eq!((refused.allowed, refused.remaining, refused.wait), (false, 3, Some(Duration::from_millis(200))));
        assert_eq!(take(&mut gcra, 0, 10.0, None, 11).wait, None);
        assert!(take(&mut gcra, 200, 10.0, None, 5).allowed, "at the time that the refusal named");
    }

    #[test]
    fn each_key_has_the_limit_for_itself_until_there_are_too_many() {
        let mut gcra = Gcra::default();
        for key in ["a", "b", "c"] {
            assert!(take(&mut gcra, 0, 1.0, Some(key), 1).allowed, "{key}");
            assert!(!take(&mut gcra, 0, 1.0, Some(key), 1).allowed, "{key}");
        }
        assert_eq!(
            take(&mut gcra, 0, 1.0, Some("d"), 1),
            Taken { allowed: true, remaining: 0, wait: Some(Duration::ZERO), shared_place: true }
        );
        assert!(!take(&mut gcra, 0, 1.0, Some("e"), 1).allowed, "it shares the place of d");
        let later = take(&mut gcra, 1_500, 1.0, Some("e"), 1);
        assert!(later.allowed && !later.shared_place, "the others owe nothing any more: {later:?}");
    }

    #[test]
    fn a_changed_rate_holds_from_then_on_and_zero_lets_nothing_through() {
        let mut gcra = Gcra::default();
        assert!(take(&mut gcra, 0, 100.0, None, 100).allowed);
        assert!(!take(&mut gcra, 500, 1.0, None, 1).allowed, "what was used is owed");
        assert!(take(&mut gcra, 1_000, 1.0, None, 1).allowed);
        for rate in [0.0, -1.0, f64::NAN] {
            let taken = take(&mut gcra, 90_000, rate, None, 1);
            assert_eq!((taken.allowed, taken.wait), (false, None), "{rate}");
        }
        assert_eq!((0..999).filter(|_| take(&mut gcra, 90_000, f64::INFINITY, None, 9).allowed).count(), 999);
        assert!(take(&mut gcra, 90_000, 0.1, None, 1).allowed, "a slow rate lets single requests through");
    }
}
