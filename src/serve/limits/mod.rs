//! Limits that the agent enforces itself, for applications over HTTP and for Envoy over gRPC.
//!
//! | call | answer |
//! | --- | --- |
//! | `POST /v1/limits/{name}/acquire` | `{"tokens", "key"}`, all optional -> 200 `allowed`, or 429 with `Retry-After` and `wait_seconds` |
//! | `POST /v1/limits/{name}/release` | `{"lease"}` -> gives requests in flight back |
//! | `GET /v1/limits/{name}` | the limit as it is now |
//!
//! A limit in requests a second is a generic cell rate algorithm ([`gcra`]): exact, without windows, two words a key. One in
//! requests in flight hands out leases ([`leases`]), which end by themselves when their holder dies. With `key` each key has
//! the limit for itself; keys are bounded, and those past the bound share one place.
//!
//! A limit is a switch of the kind `limit`, a dimmer's limit, or an entry of `serve.limits` that gives a feature's levels
//! numbers. It lives in this process: a restart begins with nothing used.

mod api;
mod gcra;
mod leases;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) use api::{acquire, path_name, routes};

use self::gcra::Gcra;
use self::leases::Leases;
use super::value::{Unit, Value};
use super::{Shared, Switchboard};
use crate::model::SwitchName;
use crate::telemetry::Metric;

/// How a limit is enforced. Switches of the kind `limit` have the defaults without being listed.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSettings {
    pub name: String,
    pub switch: SwitchName,
    /// The limit at each level of a feature; empty for a switch that is a number itself.
    pub levels: BTreeMap<String, f64>,
    /// Of `levels`.
    pub unit: Unit,
    /// How long a rate may have been saved up: a limit of 10 requests/s with a burst of 2 s lets 20 through at once.
    pub burst: Duration,
    /// When a request in flight counts as ended that nobody released.
    pub lease: Duration,
    /// Keys that are told apart.
    pub keys: usize,
}

impl LimitSettings {
    /// The usual settings of a switch.
    pub fn new(switch: SwitchName) -> LimitSettings {
        LimitSettings {
            name: switch.as_str().to_owned(),
            switch,
            levels: BTreeMap::new(),
            unit: Unit::RequestsPerSecond,
            burst: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            keys: crate::limits::LIMIT_KEYS,
        }
    }

    /// The limit as the switches are now.
    fn now(&self, board: &Switchboard) -> Option<(f64, Unit)> {
        match &board.flags.get(&self.switch)?.value {
            Value::Feature { level, .. } => Some((*self.levels.get(level)?, self.unit)),
            Value::Limit { value, unit } => Some((value.unwrap_or(f64::INFINITY), *unit)),
            Value::Dimmer { limit, .. } => Some(((*limit)?, Unit::InFlight)),
            Value::Rollout { .. } => None,
        }
    }
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub allowed: bool,
    pub limit: f64,
    pub unit: Unit,
    /// What could be had now besides.
    pub remaining: u64,
    /// When to come back; `None` when nobody knows.
    pub wait: Option<Duration>,
    pub lease: Option<(u64, Duration)>,
}

/// The state of all limits.
#[derive(Default)]
pub struct Limiters(Mutex<HashMap<String, Limiter>>);

impl Limiters {
    /// How many tokens were asked for since the last call, by the switch behind the limit.
    pub fn take_asked(&self) -> BTreeMap<SwitchName, f64> {
        let mut limiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = BTreeMap::new();
        for limiter in limiters.values_mut() {
            *asked.entry(limiter.switch.clone()).or_default() += std::mem::take(&mut limiter.wanted) as f64;
        }
        asked
    }
}

struct Limiter {
    rate: Gcra,
    leases: Leases,
    switch: SwitchName,
    /// Tokens that were asked for, granted or not, since somebody looked.
    wanted: u64,
    /// How often it was asked: allowed, refused.
    asked: [Arc<AtomicU64>; 2],
}

/// What a request for tokens needs of the settings.
struct Bound {
    limit: f64,
    unit: Unit,
    burst: Duration,
    lease: Duration,
    keys: usize,
}

impl Shared {
    /// The settings of a limit and its value now; `None` when there is no such limit.
    pub(super) fn limit(&self, name: &str) -> Option<(LimitSettings, f64, Unit)> {
        let board = self.switchboard.borrow();
        let listed = self.delivery.borrow().limits.iter().find(|limit| limit.name == name).cloned();
        let settings = match listed {
            Some(settings) => settings,
            None => LimitSettings::new(board.flags.keys().find(|known| known.as_str() == name)?.clone()),
        };
        let (value, unit) = settings.now(&board)?;
        Some((settings, value, unit))
    }

    /// What [`Shared::limit`] gives, without copies of what a request does not need.
    fn bound(&self, name: &str) -> Option<Bound> {
        let board = self.switchboard.borrow();
        let bound = |settings: &LimitSettings| {
            let (limit, unit) = settings.now(&board)?;
            Some(Bound { limit, unit, burst: settings.burst, lease: settings.lease, keys: settings.keys })
        };
        match self.delivery.borrow().limits.iter().find(|limit| limit.name == name) {
            Some(settings) => bound(settings),
            None => bound(&LimitSettings::new(board.flags.keys().find(|known| known.as_str() == name)?.clone())),
        }
    }

    fn limiter(&self, name: &str) -> Option<Limiter> {
        let switch = self.limit(name)?.0.switch;
        let counter = |outcome| self.telemetry.counter(Metric::LimitRequests, &[("limit", name), ("outcome", outcome)]);
        let asked = [counter("allowed"), counter("refused")];
        Some(Limiter { rate: Gcra::default(), leases: Leases::default(), switch, wanted: 0, asked })
    }

    /// Asks for `tokens` of a limit; `None` when there is no such limit.
    pub(super) fn take(&self, name: &str, key: Option<&str>, tokens: u64) -> Option<Verdict> {
        let Bound { limit, unit, burst, lease, keys } = self.bound(name)?;
        let now = self.clock.elapsed();
        let mut limiters = self.limiters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !limiters.contains_key(name) {
            limiters.insert(name.to_owned(), self.limiter(name)?);
        }
        let limiter = limiters.get_mut(name)?;
        limiter.wanted = limiter.wanted.saturating_add(tokens);
        let verdict = match unit {
            Unit::RequestsPerSecond => {
                let taken = limiter.rate.take(now, limit, burst, key, tokens, keys);
                if taken.shared_place {
                    self.telemetry.count(Metric::LimitKeysRefused, &[("limit", name)]);
                }
                let (remaining, wait) = (taken.remaining, taken.wait);
                Verdict { allowed: taken.allowed, limit, unit, remaining, wait, lease: None }
            }
            Unit::InFlight => {
                let most = limit.max(0.0).floor() as u64;
                let taken = limiter.leases.take(now, most, lease, key, tokens);
                let lease = taken.map(|(id, _)| (id, lease));
                let remaining = taken.map_or(0, |(_, remaining)| remaining);
                Verdict { allowed: taken.is_some(), limit, unit, remaining, wait: None, lease }
            }
        };
        limiter.asked[usize::from(!verdict.allowed)].fetch_add(1, Ordering::Relaxed);
        Some(verdict)
    }

    /// Gives a lease back; false when it is not held any more.
    fn release(&self, name: &str, lease: u64) -> bool {
        let now = self.clock.elapsed();
        let mut limiters = self.limiters.0.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.get_mut(name).is_some_and(|limiter| limiter.leases.release(now, lease))
    }
}
