//! Time intervals as Alertmanager has them: times of day, weekdays, days of the month, months, years, in a zone.
//!
//! All fields of one entry must hold, and any entry of an interval may. A field without ranges holds always. Times
//! begin with their start and end before their end; all other ranges include both ends.

use std::ops::RangeInclusive;

use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// A named interval.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeInterval {
    pub name: String,
    pub entries: Vec<TimeEntry>,
}

/// One entry of a named interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeEntry {
    pub times: Vec<TimeRange>,
    /// 0 is Sunday.
    pub weekdays: Vec<RangeInclusive<i32>>,
    /// Negative days count from the end of the month: -1 is its last.
    pub days_of_month: Vec<RangeInclusive<i32>>,
    pub months: Vec<RangeInclusive<i32>>,
    pub years: Vec<RangeInclusive<i32>>,
    /// UTC when `None`.
    pub location: Option<Location>,
}

/// Minutes of the day, the end excluded; 1440 is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub start_minute: u16,
    pub end_minute: u16,
}

/// A time zone and the name it was written with.
#[derive(Clone, Debug)]
pub struct Location {
    pub name: String,
    zone: TimeZone,
}

impl PartialEq for Location {
    fn eq(&self, other: &Location) -> bool {
        self.name == other.name
    }
}

impl Location {
    /// A zone of the tz database, for example `Europe/Paris`; `UTC`, or `Local` for the host's own.
    ///
    /// # Errors
    /// When the host's tz database has no such zone.
    pub fn parse(name: &str) -> Result<Location, String> {
        let zone = match name {
            "" | "UTC" => TimeZone::UTC,
            "Local" => TimeZone::try_system().unwrap_or(TimeZone::UTC),
            name => TimeZone::get(name).map_err(|_| {
                format!("unknown time zone {name:?}: write a name of the tz database, for example Europe/Paris, or UTC")
            })?,
        };
        Ok(Location { name: name.to_owned(), zone })
    }
}

impl TimeInterval {
    /// Whether the interval holds at a time.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.entries.iter().any(|entry| entry.contains(at))
    }
}

impl TimeEntry {
    /// Whether every field holds at a time.
    pub fn contains(&self, at: Timestamp) -> bool {
        let zone = self.location.as_ref().map_or(TimeZone::UTC, |location| location.zone.clone());
        let Ok(stamp) = jiff::Timestamp::from_millisecond(at.as_millis()) else { return false };
        let civil = zone.to_datetime(stamp);
        let minute = civil.hour() as u16 * 60 + civil.minute() as u16;
        let in_any = |ranges: &[RangeInclusive<i32>], value: i32| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(&value))
        };
        let day = i32::from(civil.day());
        let days = i32::from(civil.date().days_in_month());
        (self.times.is_empty() || self.times.iter().any(|t| (t.start_minute..t.end_minute).contains(&minute)))
            && (self.days_of_month.is_empty() || self.days_of_month.iter().any(|range| day_holds(range, day, days)))
            && in_any(&self.months, i32::from(civil.month()))
            && in_any(&self.weekdays, i32::from(civil.weekday().to_sunday_zero_offset()))
            && in_any(&self.years, i32::from(civil.year()))
    }
}

/// Days past the end of a month are clamped to it, but a range that begins past the end holds on no day.
fn day_holds(range: &RangeInclusive<i32>, day: i32, days: i32) -> bool {
    let place = |end: i32| if end < 0 { days + end + 1 } else { end };
    let (begin, end) = (place(*range.start()), place(*range.end()));
    begin <= days && (begin..=end.min(days)).contains(&day)
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// `monday:friday` or `sunday`.
///
/// # Errors
/// When a day is no weekday, or the end comes before the start (a week begins with Sunday).
pub fn parse_weekdays(text: &str) -> Result<RangeInclusive<i32>, String> {
    let day = |word: &str| {
        let found = WEEKDAYS.iter().position(|name| *name == word);
        found.map(|at| at as i32).ok_or_else(|| format!("{word:?} is no weekday: write sunday to saturday in full"))
    };
    let range = parse_range(text, day)?;
    if range.is_empty() {
        return Err(format!("{text:?} ends before it starts: a week begins with sunday, so write it as two ranges"));
    }
    Ok(range)
}

/// `1:5`, `-1`, `-3:-1`.
///
/// # Errors
/// When a day is 0 or beyond 31 either way, when the end can only come before the start, or when a start from the
/// month's end is paired with an end from its start.
pub fn parse_days_of_month(text: &str) -> Result<RangeInclusive<i32>, String> {
    let range = parse_range(text, number("a day of the month"))?;
    let (begin, end) = (*range.start(), *range.end());
    for day in [begin, end] {
        if day == 0 || !(-31..=31).contains(&day) {
            return Err(format!("{day} is no day of the month: write 1 to 31, or -1 to -31 from the end"));
        }
    }
    if begin < 0 && end > 0 {
        return Err(format!("{text:?} starts from the end of the month: its end must be negative too"));
    }
    let least = |day: i32| if day < 0 { 28 + day } else { day };
    if least(begin) > least(end) {
        return Err(format!("end day {end} is always before start day {begin}"));
    }
    Ok(range)
}

/// `january:march`, `1:3`, `december`.
///
/// # Errors
/// When a month is neither a name nor 1 to 12, or the end comes before the start.
pub fn parse_months(text: &str) -> Result<RangeInclusive<i32>, String> {
    let month = |word: &str| {
        let found = MONTHS.iter().position(|name| *name == word).map(|at| at as i32 + 1);
        let found = found.or_else(|| word.parse().ok().filter(|month| (1..=12).contains(month)));
        found.ok_or_else(|| format!("{word:?} is no month: write january to december, or 1 to 12"))
    };
    ordered(parse_range(text, month)?, text)
}

/// `2024:2026`, `2025`.
///
/// # Errors
/// When a year is no number, or the end comes before the start.
pub fn parse_years(text: &str) -> Result<RangeInclusive<i32>, String> {
    ordered(parse_range(text, number("a year"))?, text)
}

/// The two texts of a time range, each `HH:MM` up to `24:00`.
///
/// # Errors
/// When one is no such time, or the start is not before the end.
pub fn parse_times(start: &str, end: &str) -> Result<TimeRange, String> {
    let range = TimeRange { start_minute: minute(start)?, end_minute: minute(end)? };
    if range.start_minute >= range.end_minute {
        return Err(format!("start time {start} must come before end time {end}: write a night as two ranges"));
    }
    Ok(range)
}

fn minute(text: &str) -> Result<u16, String> {
    let bad = || format!("{text:?} is no time of day: write HH:MM, from 00:00 to 24:00");
    let (hours, minutes) = text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2).ok_or_else(bad)?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u16>().ok())?;
    let (hours, minutes) = (digits(hours).ok_or_else(bad)?, digits(minutes).ok_or_else(bad)?);
    if (hours > 23 || minutes > 59) && (hours, minutes) != (24, 0) {
        return Err(bad());
    }
    Ok(hours * 60 + minutes)
}

fn number(what: &'static str) -> impl Fn(&str) -> Result<i32, String> {
    move |word| word.parse().map_err(|_| format!("{word:?} is not {what}"))
}

fn parse_range(text: &str, member: impl Fn(&str) -> Result<i32, String>) -> Result<RangeInclusive<i32>, String> {
    let text = text.trim().to_lowercase();
    match text.split(':').collect::<Vec<_>>()[..] {
        [one] => member(one).map(|one| one..=one),
        [begin, end] => Ok(member(begin)?..=member(end)?),
        _ => Err(format!("{text:?} is no range: write begin:end")),
    }
}

fn ordered(range: RangeInclusive<i32>, text: &str) -> Result<RangeInclusive<i32>, String> {
    if range.is_empty() { Err(format!("{text:?} ends before it starts")) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_alertmanager_reads_them() {
        assert_eq!(parse_weekdays("monday:friday"), Ok(1..=5));
        assert_eq!(parse_weekdays("Sunday"), Ok(0..=0));
        assert_eq!(parse_days_of_month("1:5"), Ok(1..=5));
        assert_eq!(parse_days_of_month("-1"), Ok(-1..=-1));
        assert_eq!(parse_days_of_month("15:-1"), Ok(RangeInclusive::new(15, -1)));
        assert_eq!(parse_months("january:march"), Ok(1..=3));
        assert_eq!(parse_months("5"), Ok(5..=5));
        assert_eq!(parse_years("2024:2026"), Ok(2024..=2026));
        assert_eq!(parse_times("09:00", "24:00"), Ok(TimeRange { start_minute: 540, end_minute: 1440 }));
    }

    #[test]
    fn bad_ranges_are_refused() {
        for text in ["friday:monday", "someday", "monday:tuesday:friday", ""] {
            assert!(parse_weekdays(text).is_err(), "{text}");
        }
        for text in ["0", "32", "-32", "-5:5", "-1:-3", "20:10", "-1:20", "x"] {
            assert!(parse_days_of_month(text).is_err(), "{text}");
        }
        for text in ["13", "0", "march:january", "janu"] {
            assert!(parse_months(text).is_err(), "{text}");
        }
        assert!(parse_years("2026:2024").is_err());
        for (start, end) in
            [("9:00", "10:00"), ("10:00", "09:00"), ("24:01", "24:00"), ("10:60", "11:00"), ("", "10:00")]
        {
            assert!(parse_times(start, end).is_err(), "{start} {end}");
        }
        assert!(Location::parse("Mars/Base").is_err());
    }

    #[test]
    fn a_time_is_in_an_interval_when_every_field_holds() {
        let check = |entry: &TimeEntry, at: &str, expected: bool| {
            let at = Timestamp::from_rfc3339(at).expect("a time");
            assert_eq!(entry.contains(at), expected, "{entry:?} at {}", at.to_rfc3339());
        };
        let office = TimeEntry {
            times: vec![parse_times("09:00", "17:00").expect("times")],
            weekdays: vec![parse_weekdays("monday:friday").expect("days")],
            ..TimeEntry::default()
        };
        check(&office, "2024-07-01T09:00:00Z", true);
        check(&office, "2024-07-01T16:59:59Z", true);
        check(&office, "2024-07-01T17:00:00Z", false);
        check(&office, "2024-06-30T12:00:00Z", false);
        let paris = TimeEntry { location: Some(Location::parse("Europe/Paris").expect("a zone")), ..office };
        check(&paris, "2024-07-01T07:00:00Z", true);
        check(&paris, "2024-07-01T15:00:00Z", false);
        check(&paris, "2024-12-02T07:00:00Z", false);
        let last_days = TimeEntry { days_of_month: vec![-3..=-1], ..TimeEntry::default() };
        check(&last_days, "2024-02-27T00:00:00Z", true);
        check(&last_days, "2024-02-26T23:59:59Z", false);
        let clamped = TimeEntry { days_of_month: vec![29..=31], ..TimeEntry::default() };
        check(&clamped, "2023-02-28T12:00:00Z", false);
        check(&clamped, "2024-02-29T12:00:00Z", true);
        let winter = TimeEntry { months: vec![12..=12, 1..=2], years: vec![2024..=2025], ..TimeEntry::default() };
        check(&winter, "2024-12-31T23:59:59Z", true);
        check(&winter, "2026-01-01T00:00:00Z", false);
        check(&TimeEntry::default(), "2026-01-01T00:00:00Z", true);
    }

    #[test]
    fn an_interval_holds_when_any_entry_does() {
        let entry = |months| TimeEntry { months: vec![months], ..TimeEntry::default() };
        let interval = TimeInterval { name: "x".to_owned(), entries: vec![entry(1..=1), entry(3..=3)] };
        let at = |text| Timestamp::from_rfc3339(text).expect("a time");
        assert!(interval.contains(at("2024-03-05T00:00:00Z")));
        assert!(!interval.contains(at("2024-02-05T00:00:00Z")));
        assert!(!TimeInterval { name: "none".to_owned(), entries: Vec::new() }.contains(at("2024-02-05T00:00:00Z")));
    }
}
