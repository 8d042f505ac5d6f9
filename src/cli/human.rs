//! Spans, numbers and times as people read them.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// A span in at most two units, whole seconds: `5s`, `1m 30s`, `2h 5m`, `3d 4h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = (span.as_millis() + 500) / 1000;
    let two = |large: u128, unit: &str, small: u128, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// How long ago something was.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    span(now.since(then))
}

/// A number in about four digits, for reading, not for calculating.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return if value.is_nan() { "NaN".into() } else { if value > 0.0 { "+Inf" } else { "-Inf" }.into() };
    }
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e15).contains(&size) {
        return format!("{value:.2e}");
    }
    for (limit, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= limit {
            let factor = if unit == "k" { 1e3 } else { limit };
            return format!("{}{unit}", digits(value / factor));
        }
    }
    digits(value)
}

/// Four digits at most, no zeros at the end of a fraction.
fn digits(value: f64) -> String {
    let whole = value.abs().log10().floor().max(-4.0) as i32;
    let places = usize::try_from(3 - whole).unwrap_or(0);
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Writes instants in a time zone.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

impl Zone {
    /// This host's.
    pub(super) fn system() -> Zone {
        Zone(TimeZone::system())
    }

    #[cfg(test)]
    pub(super) fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    fn zoned(&self, at: Timestamp) -> jiff::Zoned {
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        at.to_zoned(self.0.clone())
    }

    /// `14:05:09`.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%H:%M:%S").to_string()
    }

    /// `2026-01-31 14:05:09`.
    pub(super) fn full(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The clock alone within a day of `now`, the date too beyond.
    pub(super) fn near(&self, now: Timestamp, at: Timestamp) -> String {
        let far = now.since(at).max(at.since(now));
        if far < Duration::from_secs(12 * 3600) { self.clock(at) } else { self.full(at) }
    }
}

/// `one thing`, `3 things`.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0s"),
            (1_499, "1s"),
            (59_000, "59s"),
            (60_000, "1m"),
            (90_000, "1m 30s"),
            (7_500_000, "2h 5m"),
            (3 * 86_400_000 + 4 * 3_600_000, "3d 4h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (0.123456, "0.1235"),
            (-12.3456, "-12.35"),
            (999.95, "1000"),
            (1234.0, "1234"),
            (12_345.0, "12.35k"),
            (16_500_000_000.0, "16.5G"),
            (1e-7, "1.00e-7"),
            (1e20, "1.00e20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn instants_are_short_when_they_are_near() {
        let (zone, now) = (Zone::utc(), Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(zone.near(now, now), "22:13:20");
        assert_eq!(zone.near(now, now - Duration::from_secs(86_400)), "2023-11-13 22:13:20");
    }
}
