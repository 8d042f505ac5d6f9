//! Silences that come back: a silence with the annotation `recurring` mutes only within its times.
//!
//! Its value is the name of one of `time_intervals`, or the times themselves: words, in any order, of days
//! (`saturday`, `monday:friday`), times of the day (`22:00-06:00`; one that passes midnight belongs to both days), days of the
//! month (`day=1:7`, `day=-1`), months (`month=january:march`) and one time zone (`Europe/Berlin`; without it UTC).
//! Entries separated by `;` are alternatives.

use super::interval::{
    Location, TimeEntry, TimeInterval, TimeRange, parse_days_of_month, parse_months, parse_times, parse_weekdays,
};
use crate::time::Timestamp;

/// The annotation that makes a silence recurring.
pub const RECURRING: &str = "recurring";

/// When a recurring silence mutes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recurring {
    /// One of the configuration's intervals.
    Named(String),
    Written(TimeInterval),
}

impl Recurring {
    /// Reads the annotation's value.
    ///
    /// # Errors
    /// When it is no name of an interval and has a word that is no time.
    pub fn parse(text: &str, intervals: &[TimeInterval]) -> Result<Recurring, String> {
        let text = text.trim();
        if intervals.iter().any(|interval| interval.name == text) {
            return Ok(Recurring::Named(text.to_owned()));
        }
        let entries = text.split(';').map(entry).collect::<Result<Vec<_>, _>>()?;
        Ok(Recurring::Written(TimeInterval { name: text.to_owned(), entries }))
    }

    /// As [`Recurring::parse`], for what was accepted before: a name that is no longer configured stays a name.
    pub fn kept(text: &str) -> Recurring {
        Recurring::parse(text, &[]).unwrap_or_else(|_| Recurring::Named(text.trim().to_owned()))
    }

    /// Whether the silence mutes now. A name that is not configured never holds.
    pub fn holds(&self, now: Timestamp, intervals: &[TimeInterval]) -> bool {
        match self {
            Recurring::Named(name) => intervals.iter().any(|known| known.name == *name && known.contains(now)),
            Recurring::Written(interval) => interval.contains(now),
        }
    }
}

fn entry(text: &str) -> Result<TimeEntry, String> {
    let mut entry = TimeEntry::default();
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let mut any = false;
    for word in words {
        any = true;
        if let Some(days) = word.strip_prefix("day=") {
            entry.days_of_month.push(parse_days_of_month(days)?);
        } else if let Some(months) = word.strip_prefix("month=") {
            entry.months.push(parse_months(months)?);
        } else if word.starts_with(|first: char| first.is_ascii_digit()) {
            entry.times.extend(times(word)?);
        } else if let Ok(days) = parse_weekdays(&word.to_ascii_lowercase()) {
            entry.weekdays.push(days);
        } else {
            let help = "write days (monday:friday), times (22:00-06:00), day=1:7, month=january or a time zone, or the name of \
                        one of time_intervals";
            entry.location = Some(Location::parse(word).map_err(|_| format!("{word:?} is neither: {help}"))?);
        }
    }
    if any { Ok(entry) } else { Err("it is empty: write when it recurs, for example saturday:sunday".to_owned()) }
}

/// `22:00-06:00` as one range, or two when it passes midnight.
fn times(word: &str) -> Result<Vec<TimeRange>, String> {
    let (from, to) = word.split_once('-').ok_or_else(|| format!("{word:?} is no range: write it as 22:00-06:00"))?;
    if from < to {
        return parse_times(from, to).map(|range| vec![range]);
    }
    let mut ranges = vec![parse_times(from, "24:00")?];
    if to != "00:00" {
        ranges.push(parse_times("00:00", to)?);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_recurs_at_its_times() {
        let check = |text: &str, at: &str, holds: bool| {
            let now = Timestamp::from_rfc3339(at).expect("a time");
            let recurring = Recurring::parse(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(recurring.holds(now, &[]), holds, "{text} {at}");
            assert_eq!(Recurring::kept(text), recurring);
        };
        // 2023-11-14 is a Tuesday.
        check("tuesday", "2023-11-14T12:00:00Z", true);
        check("saturday:saturday, sunday", "2023-11-14T12:00:00Z", false);
        check("sunday:saturday 22:00-06:00", "2023-11-14T23:30:00Z", true);
        check("22:00-06:00", "2023-11-14T05:59:00Z", true);
        check("22:00-06:00", "2023-11-14T06:00:00Z", false);
        check("22:00-00:00", "2023-11-14T00:00:00Z", false);
        check("02:00-04:00 Europe/Berlin", "2023-11-14T01:30:00Z", true);
        check("02:00-04:00", "2023-11-14T01:30:00Z", false);
        check("day=14:15 month=november", "2023-11-14T12:00:00Z", true);
        check("day=-1", "2023-11-30T12:00:00Z", true);
        check("monday; tuesday 10:00-13:00", "2023-11-14T12:00:00Z", true);
    }

    #[test]
    fn names_are_those_of_the_configuration_and_nonsense_is_refused() {
        let interval = TimeInterval { name: "nights".to_owned(), entries: vec![entry("22:00-06:00").expect("times")] };
        let known = [interval];
        let named = Recurring::parse("nights", &known).expect("a name");
        assert_eq!(named, Recurring::Named("nights".to_owned()));
        let late = Timestamp::from_rfc3339("2023-11-14T23:30:00Z").expect("a time");
        assert!(named.holds(late, &known) && !named.holds(late, &[]));
        for text in ["", " ; ", "nights", "25:00-26:00", "1:00", "day=40", "month=x", "someday"] {
            assert!(Recurring::parse(text, &[]).is_err(), "{text:?}");
        }
        assert_eq!(Recurring::kept("nights"), named);
    }
}
