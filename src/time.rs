//! Time: the one clock reader of the house, instants, and Prometheus' duration syntax.
//!
//! The clock is the wall time at its start plus the monotonic time since then (tokio's, so that paused time in tests
//! moves it too). A step of the system's clock therefore does not move it; the shell notices the step
//! ([`Clock::wall_drift_millis`]) and tells the engine as an event.

mod alarm;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use alarm::Alarm;

/// Milliseconds since the Unix epoch; may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The epoch.
    pub const ZERO: Timestamp = Timestamp(0);
    /// Earlier than any other.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// Later than any other.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// From seconds since the epoch, rounded to the millisecond as Prometheus' API does; out of range saturates.
    pub fn from_secs_f64(secs: f64) -> Timestamp {
        Timestamp((secs * 1000.0).round() as i64)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Time from `earlier` to this instant, zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// This instant on a clock that was set by so many milliseconds.
    pub fn shifted(self, by_millis: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(by_millis))
    }

    /// This instant, or `now` when it lies more than `most` ahead: then the clock was set back meanwhile.
    pub fn unless_ahead(self, now: Timestamp, most: Duration) -> Timestamp {
        if self.since(now) > most { now } else { self }
    }

    /// RFC 3339 in UTC with milliseconds, as Prometheus' and Alertmanager's APIs print it.
    pub fn to_rfc3339(self) -> String {
        let stamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{stamp:.3}")
    }

    /// Reads RFC 3339.
    pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
        text.parse::<jiff::Timestamp>().ok().map(|stamp| Timestamp(stamp.as_millisecond()))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(span)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(span)))
    }
}

/// Whole milliseconds of a duration, saturating.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The clock of the shell and the edges. Cheap to copy; all copies of one clock follow its [`Clock::resync`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The wall time at `start`, in milliseconds. One clock is made in a process's life, so it is never freed.
    wall_millis: &'static AtomicI64,
    start: tokio::time::Instant,
    /// Time passes as it does in the system.
    real: bool,
}

impl Clock {
    /// Starts the clock at the system's wall time.
    pub fn start() -> Clock {
        Clock { real: true, ..Clock::start_at(wall_now()) }
    }

    /// Starts the clock at a given time: for tests and simulation.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start_at(at: Timestamp) -> Clock {
        let wall_millis = Box::leak(Box::new(AtomicI64::new(at.as_millis())));
        Clock { wall_millis, start: tokio::time::Instant::now(), real: false }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.wall_start().saturating_add(millis(self.start.elapsed())))
    }

    /// Monotonic time since the clock's start, finer than a millisecond: for measuring how long something took.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The monotonic instant of a time, for sleeping until it.
    pub fn instant(&self, at: Timestamp) -> tokio::time::Instant {
        let ahead = at.as_millis().saturating_sub(self.wall_start()).clamp(0, 1 << 50);
        self.start + Duration::from_millis(ahead as u64)
    }

    /// An alarm on the runtime that this is called in, for a task that sleeps often.
    pub fn alarm(&self) -> Alarm {
        if self.real { Alarm::of_kernel() } else { Alarm::of_tokio() }
    }

    /// How far the system's wall clock has moved away from this clock, in milliseconds; positive when it is ahead.
    pub fn wall_drift_millis(&self) -> i64 {
        wall_now().as_millis() - self.now().as_millis()
    }

    /// Takes over the system's wall time, for all copies: when a step of it is told to the engine.
    pub fn resync(&self) {
        self.wall_millis.fetch_add(self.wall_drift_millis(), Ordering::Relaxed);
    }

    fn wall_start(&self) -> i64 {
        self.wall_millis.load(Ordering::Relaxed)
    }
}

/// Measures how long something takes; under tokio's paused time it stands still with it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "time.rs is where the monotonic clock is read")]
    pub fn start() -> Stopwatch {
        Stopwatch(tokio::time::Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(millis(since))
}

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write a number and a unit (ms, s, m, h, d, w, y), largest first, for example 1m30s")]
pub struct DurationError(pub String);

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads Prometheus' duration syntax (`model.ParseDuration`): units once each, largest first; `0` alone needs no unit.
///
/// # Errors
/// When the text is empty, has another unit or order, or does not fit 64 bits of nanoseconds.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let fail = || DurationError(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, millis) = units.find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(fail)?;
        rest = &rest[letters..];
        total = number.checked_mul(*millis).and_then(|part| total.checked_add(part)).ok_or_else(fail)?;
    }
    if text.is_empty() || total > i64::MAX as u64 / 1_000_000 {
        return Err(fail());
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as Prometheus does (`model.Duration.String`): exact units only, `0s` for zero.
pub fn format_duration(span: Duration) -> String {
    DurationText(span).to_string()
}

/// A duration in Prometheus' syntax, for `{}`.
pub struct DurationText(pub Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = millis(self.0) as u64;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            // Years and weeks are only written when nothing remains, so that 400d does not become 1y5w.
            let exact_only = unit == "y" || unit == "w";
            if left >= size && (!exact_only || left.is_multiple_of(size)) {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_prometheus_does() {
        let check = |text: &str, millis: u64, printed: &str| {
            let span = parse_duration(text).expect(text);
            assert_eq!(span, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(span), printed, "{text}");
        };
        check("0", 0, "0s");
        check("0s", 0, "0s");
        check("324ms", 324, "324ms");
        check("3s", 3_000, "3s");
        check("5m", 300_000, "5m");
        check("1h30m", 5_400_000, "1h30m");
        check("4d1h", 349_200_000, "4d1h");
        check("14d", 1_209_600_000, "2w");
        check("3w2d1h", 1_990_800_000, "23d1h");
        check("10y", 315_360_000_000, "10y");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "1", "1y1y", "1s1m", "m", "-1s", "1.5h", "1 s", "300000y", "1d1", "1é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_paused_time() {
        let clock = Clock::start_at(Timestamp::from_millis(1_000));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(3_000));
    }

    #[test]
    fn rfc3339_goes_both_ways() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(at.to_rfc3339(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Timestamp::from_rfc3339("2023-11-14T23:13:20.123+01:00"), Some(at));
    }
}
