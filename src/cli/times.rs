//! Times and spans as people type them.

use std::time::Duration;

use crate::time::{Timestamp, parse_duration};

/// Reads an instant: `now`, `-5m` or `now-5m`, seconds since the epoch, or RFC 3339.
///
/// # Errors
/// A sentence that says what to write instead.
pub(super) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let fail = || format!("{text:?} is no time: write now, -5m, 1767225600 or 2026-01-01T00:00:00Z");
    let rest = text.strip_prefix("now").unwrap_or(text);
    if rest.is_empty() && !text.is_empty() {
        return Ok(now);
    }
    if let Some(back) = rest.strip_prefix('-')
        && let Ok(back) = parse_duration(back)
    {
        return Ok(now - back);
    }
    match text.parse::<f64>() {
        Ok(secs) if secs.is_finite() && secs.abs() < 9e12 => Ok(Timestamp::from_secs_f64(secs)),
        Ok(_) => Err(fail()),
        Err(_) => Timestamp::from_rfc3339(text).ok_or_else(fail),
    }
}

/// Reads a span: `15s`, `1m30s`, or a plain number of seconds.
///
/// # Errors
/// A sentence that says what to write instead.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse::<f64>().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    let span = parse_duration(text).ok().or_else(seconds);
    span.filter(|span| !span.is_zero())
        .ok_or_else(|| format!("{text:?} is no span of time: write 15s, 1m30s, 2h, or a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_the_forms_that_people_type() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        for (text, millis) in [
            ("now", 1_700_000_000_000),
            ("-5m", 1_699_999_700_000),
            ("now-1m30s", 1_699_999_910_000),
            ("1700000000.5", 1_700_000_000_500),
            ("2023-11-14T22:13:21Z", 1_700_000_001_000),
            ("-1", -1_000),
        ] {
            assert_eq!(instant(text, now), Ok(Timestamp::from_millis(millis)), "{text}");
        }
        for text in ["", "yesterday", "now+5m", "-5 minutes", "inf"] {
            assert!(instant(text, now).is_err_and(|message| message.contains("write now")), "{text}");
        }
    }

    #[test]
    fn spans_are_read_with_and_without_a_unit() {
        for (text, millis) in [("15s", 15_000), ("1m30s", 90_000), ("0.5", 500), ("2", 2_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "0s", "-1", "1x", "soon"] {
            assert!(span(text).is_err_and(|message| message.contains("write 15s")), "{text}");
        }
    }
}
