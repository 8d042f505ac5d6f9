//! Go's `time.Time` and `time.Duration` as far as templates use them: printing, layouts, and the common methods.

use std::fmt::Write;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// An instant, shown in a zone. Precise to the nanosecond, as Go's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GoTime {
    pub at: jiff::Timestamp,
    pub zone: TimeZone,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl GoTime {
    pub fn utc(at: Timestamp) -> GoTime {
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        GoTime { at, zone: TimeZone::UTC }
    }

    /// Go's zero time: the first instant of year 1.
    pub fn zero() -> GoTime {
        let at = jiff::Timestamp::from_second(-62_135_596_800).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        GoTime { at, zone: TimeZone::UTC }
    }

    pub fn is_zero(&self) -> bool {
        self.at.as_second() == -62_135_596_800 && self.at.subsec_nanosecond() == 0
    }

    /// From float seconds since the epoch, cut to milliseconds as Prometheus does.
    pub fn from_seconds(seconds: f64) -> Result<GoTime, String> {
        let nanos = seconds * 1e9;
        if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            let seconds = super::gofmt::float(seconds);
            return Err(format!("{seconds} cannot be represented as a nanoseconds timestamp since it overflows int64"));
        }
        Ok(GoTime::utc(Timestamp::from_millis(nanos as i64 / 1_000_000)))
    }

    pub fn in_zone(&self, zone: TimeZone) -> GoTime {
        GoTime { at: self.at, zone }
    }

    fn civil(&self) -> jiff::civil::DateTime {
        self.zone.to_datetime(self.at)
    }

    /// `Time.String()`.
    pub fn print(&self) -> String {
        self.format("2006-01-02 15:04:05.999999999 -0700 MST")
    }

    /// `Time.Format(layout)`.
    pub fn format(&self, layout: &str) -> String {
        let mut out = String::with_capacity(layout.len());
        let mut rest = layout;
        while !rest.is_empty() {
            let (piece, length) = piece(rest);
            match piece {
                Piece::Text => out.push_str(&rest[..length]),
                piece => self.write_piece(piece, &mut out),
            }
            rest = &rest[length..];
        }
        out
    }

    fn write_piece(&self, piece: Piece, out: &mut String) {
        let civil = self.civil();
        let hour12 = match civil.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let month = MONTHS[civil.month() as usize - 1];
        let day = weekday_name(civil.weekday());
        let zone = self.zone.to_offset_info(self.at);
        let result = match piece {
            Piece::Text => Ok(()),
            Piece::Year => write!(out, "{:04}", civil.year()),
            Piece::Year2 => write!(out, "{:02}", civil.year().rem_euclid(100)),
            Piece::Month => write!(out, "{month}"),
            Piece::Month3 => write!(out, "{}", &month[..3]),
            Piece::Month2 => write!(out, "{:02}", civil.month()),
            Piece::Month1 => write!(out, "{}", civil.month()),
            Piece::Weekday => write!(out, "{day}"),
            Piece::Weekday3 => write!(out, "{}", &day[..3]),
            Piece::Day => write!(out, "{}", civil.day()),
            Piece::DaySpace => write!(out, "{:2}", civil.day()),
            Piece::Day2 => write!(out, "{:02}", civil.day()),
            Piece::YearDay => write!(out, "{:03}", civil.day_of_year()),
            Piece::Hour => write!(out, "{:02}", civil.hour()),
            Piece::Hour12 => write!(out, "{hour12}"),
            Piece::Hour12Two => write!(out, "{hour12:02}"),
            Piece::Minute => write!(out, "{}", civil.minute()),
            Piece::Minute2 => write!(out, "{:02}", civil.minute()),
            Piece::Second => write!(out, "{}", civil.second()),
            Piece::Second2 => write!(out, "{:02}", civil.second()),
            Piece::Pm => write!(out, "{}", if civil.hour() >= 12 { "PM" } else { "AM" }),
            Piece::PmLower => write!(out, "{}", if civil.hour() >= 12 { "pm" } else { "am" }),
            Piece::Zone => write!(out, "{}", zone_name(zone.abbreviation(), zone.offset().seconds())),
            Piece::Offset { colon, z, seconds, short } => {
                write_offset(out, zone.offset().seconds(), OffsetStyle { colon, z, seconds, short })
            }
            Piece::Fraction { mark, digits, trims } => {
                let nanos = format!("{:09}", civil.subsec_nanosecond());
                let mut part = &nanos[..usize::from(digits)];
                if trims {
                    part = part.trim_end_matches('0');
                }
                if part.is_empty() { Ok(()) } else { write!(out, "{mark}{part}") }
            }
        };
        debug_assert!(result.is_ok(), "writing to a string cannot fail");
    }

    /// RFC 3339 with the fraction that is needed: Go's JSON form.
    pub fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }

    /// A method without arguments, by Go's name.
    pub fn property(&self, name: &str) -> Option<Property> {
        let civil = self.civil();
        let number = |value: i64| Some(Property::Int(value));
        match name {
            "Unix" => number(self.at.as_second()),
            "UnixMilli" => number(self.at.as_millisecond()),
            "UnixMicro" => number(self.at.as_microsecond()),
            "UnixNano" => number(i64::try_from(self.at.as_nanosecond()).unwrap_or(i64::MAX)),
            "Year" => number(i64::from(civil.year())),
            "YearDay" => number(i64::from(civil.day_of_year())),
            "Day" => number(i64::from(civil.day())),
            "Hour" => number(i64::from(civil.hour())),
            "Minute" => number(i64::from(civil.minute())),
            "Second" => number(i64::from(civil.second())),
            "Nanosecond" => number(i64::from(civil.subsec_nanosecond())),
            "Month" => Some(Property::Name(MONTHS[civil.month() as usize - 1])),
            "Weekday" => Some(Property::Name(weekday_name(civil.weekday()))),
            "IsZero" => Some(Property::Bool(self.is_zero())),
            "UTC" | "Local" => Some(Property::Time(self.in_zone(TimeZone::UTC))),
            _ => None,
        }
    }
}

/// What a method of a time gives.
pub(super) enum Property {
    Int(i64),
    Name(&'static str),
    Bool(bool),
    Time(GoTime),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Text,
    Year,
    Year2,
    Month,
    Month3,
    Month2,
    Month1,
    Weekday,
    Weekday3,
    Day,
    DaySpace,
    Day2,
    YearDay,
    Hour,
    Hour12,
    Hour12Two,
    Minute,
    Minute2,
    Second,
    Second2,
    Pm,
    PmLower,
    Zone,
    Offset { colon: bool, z: bool, seconds: bool, short: bool },
    Fraction { mark: char, digits: u8, trims: bool },
}

/// Longer names first, so that each is taken whole.
const PIECES: [(&str, Piece); 33] = [
    ("January", Piece::Month),
    ("Jan", Piece::Month3),
    ("Monday", Piece::Weekday),
    ("Mon", Piece::Weekday3),
    ("MST", Piece::Zone),
    ("2006", Piece::Year),
    ("002", Piece::YearDay),
    ("01", Piece::Month2),
    ("02", Piece::Day2),
    ("03", Piece::Hour12Two),
    ("04", Piece::Minute2),
    ("05", Piece::Second2),
    ("06", Piece::Year2),
    ("15", Piece::Hour),
    ("1", Piece::Month1),
    ("_2", Piece::DaySpace),
    ("2", Piece::Day),
    ("3", Piece::Hour12),
    ("4", Piece::Minute),
    ("5", Piece::Second),
    ("PM", Piece::Pm),
    ("pm", Piece::PmLower),
    ("-07:00:00", Piece::Offset { colon: true, z: false, seconds: true, short: false }),
    ("-070000", Piece::Offset { colon: false, z: false, seconds: true, short: false }),
    ("-07:00", Piece::Offset { colon: true, z: false, seconds: false, short: false }),
    ("-0700", Piece::Offset { colon: false, z: false, seconds: false, short: false }),
    ("-07", Piece::Offset { colon: false, z: false, seconds: false, short: true }),
    ("Z07:00:00", Piece::Offset { colon: true, z: true, seconds: true, short: false }),
    ("Z070000", Piece::Offset { colon: false, z: true, seconds: true, short: false }),
    ("Z07:00", Piece::Offset { colon: true, z: true, seconds: false, short: false }),
    ("Z0700", Piece::Offset { colon: false, z: true, seconds: false, short: false }),
    ("Z07", Piece::Offset { colon: false, z: true, seconds: false, short: true }),
    ("\u{0}", Piece::Text),
];

/// The next piece of a layout and its length in bytes.
fn piece(layout: &str) -> (Piece, usize) {
    for (name, piece) in PIECES {
        let Some(rest) = layout.strip_prefix(name) else { continue };
        // "Jan" and "Mon" inside a longer lower-case word are plain text, and "_2" before "006" is a year.
        let cut =
            matches!(piece, Piece::Month3 | Piece::Weekday3) && rest.starts_with(|c: char| c.is_ascii_lowercase());
        if cut || (piece == Piece::DaySpace && rest.starts_with("006")) {
            continue;
        }
        return (piece, name.len());
    }
    let bytes = layout.as_bytes();
    let digit = bytes.get(1).copied().unwrap_or(b' ');
    if matches!(bytes[0], b'.' | b',') && matches!(digit, b'0' | b'9') {
        let run = bytes[1..].iter().take_while(|b| **b == digit).count();
        if run <= 9 && !bytes.get(1 + run).is_some_and(u8::is_ascii_digit) {
            let fraction = Piece::Fraction { mark: char::from(bytes[0]), digits: run as u8, trims: digit == b'9' };
            return (fraction, run + 1);
        }
    }
    (Piece::Text, layout.chars().next().map_or(1, char::len_utf8))
}

struct OffsetStyle {
    colon: bool,
    z: bool,
    seconds: bool,
    short: bool,
}

fn write_offset(out: &mut String, offset: i32, style: OffsetStyle) -> std::fmt::Result {
    if style.z && offset == 0 {
        return out.write_char('Z');
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let offset = offset.abs();
    let colon = if style.colon { ":" } else { "" };
    write!(out, "{sign}{:02}", offset / 3600)?;
    if !style.short {
        write!(out, "{colon}{:02}", offset / 60 % 60)?;
    }
    if style.seconds {
        write!(out, "{colon}{:02}", offset % 60)?;
    }
    Ok(())
}

fn zone_name(abbreviation: &str, offset: i32) -> String {
    if abbreviation.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return abbreviation.to_owned();
    }
    let mut out = String::new();
    let short = offset % 3600 == 0;
    let written = write_offset(&mut out, offset, OffsetStyle { colon: false, z: false, seconds: false, short });
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn weekday_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// Reads a time by a layout (`time.Parse`): what is missing in the layout is zero, and the zone is UTC without an offset.
pub(super) fn parse(layout: &str, text: &str) -> Result<GoTime, String> {
    let fail = || format!("parsing time {text:?} as {layout:?}: it does not fit the layout");
    let mut parts = Parts::default();
    let (mut layout_rest, mut rest) = (layout, text);
    while !layout_rest.is_empty() {
        let (piece, length) = piece(layout_rest);
        let after_seconds = matches!(piece, Piece::Second | Piece::Second2);
        rest = match piece {
            Piece::Text => rest.strip_prefix(&layout_rest[..length]).ok_or_else(fail)?,
            piece => parts.take(piece, rest).ok_or_else(fail)?,
        };
        layout_rest = &layout_rest[length..];
        // A fraction of a second is read even where the layout has none.
        if after_seconds && rest.starts_with('.') && !layout_rest.starts_with(['.', ',']) {
            rest = parts.take(Piece::Fraction { mark: '.', digits: 9, trims: true }, rest).ok_or_else(fail)?;
        }
    }
    if !rest.is_empty() {
        return Err(fail());
    }
    parts.time().ok_or_else(fail)
}

#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    afternoon: Option<bool>,
    offset: i64,
}

impl Parts {
    fn take<'a>(&mut self, piece: Piece, text: &'a str) -> Option<&'a str> {
        let digits = |least: usize, most: usize| -> Option<(i64, &'a str)> {
            let run = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
            (run >= least).then(|| text[..run].parse().ok().map(|n| (n, &text[run..])))?
        };
        let set = |slot: &mut i64, found: Option<(i64, &'a str)>| found.map(|(n, rest)| (*slot = n, rest).1);
        match piece {
            Piece::Text => Some(text),
            Piece::Year => set(self.year.get_or_insert(0), digits(4, 4)),
            Piece::Year2 => {
                let (n, rest) = digits(2, 2)?;
                self.year = Some(if n >= 69 { 1900 + n } else { 2000 + n });
                Some(rest)
            }
            Piece::Month | Piece::Month3 => {
                let length = |name: &str| if piece == Piece::Month { name.len() } else { 3 };
                let at = MONTHS.iter().position(|m| starts_with_any_case(text, &m[..length(m)]))?;
                self.month = Some(at as i64 + 1);
                Some(&text[length(MONTHS[at])..])
            }
            Piece::Month2 => set(self.month.get_or_insert(0), digits(2, 2)),
            Piece::Month1 => set(self.month.get_or_insert(0), digits(1, 2)),
            Piece::Weekday | Piece::Weekday3 => {
                let run = text.bytes().take_while(u8::is_ascii_alphabetic).count();
                (run >= 3).then(|| if piece == Piece::Weekday { &text[run..] } else { &text[3..] })
            }
            Piece::Day2 => set(self.day.get_or_insert(0), digits(2, 2)),
            Piece::Day => set(self.day.get_or_insert(0), digits(1, 2)),
            Piece::DaySpace => self.take(Piece::Day, text.strip_prefix(' ').unwrap_or(text)),
            Piece::YearDay => digits(3, 3).map(|(_, rest)| rest),
            Piece::Hour | Piece::Hour12Two => set(&mut self.hour, digits(2, 2)),
            Piece::Hour12 => set(&mut self.hour, digits(1, 2)),
            Piece::Minute2 => set(&mut self.minute, digits(2, 2)),
            Piece::Minute => set(&mut self.minute, digits(1, 2)),
            Piece::Second2 => set(&mut self.second, digits(2, 2)),
            Piece::Second => set(&mut self.second, digits(1, 2)),
            Piece::Pm | Piece::PmLower => {
                self.afternoon = Some(starts_with_any_case(text, "pm"));
                (starts_with_any_case(text, "pm") || starts_with_any_case(text, "am")).then(|| &text[2..])
            }
            Piece::Zone => {
                let run = text.bytes().take_while(u8::is_ascii_uppercase).count();
                (run >= 3).then(|| &text[run..])
            }
            Piece::Offset { .. } => self.take_offset(text),
            Piece::Fraction { .. } => {
                let Some(rest) = text.strip_prefix(['.', ',']) else { return Some(text) };
                let run = rest.bytes().take_while(u8::is_ascii_digit).count();
                let nanos: String = rest[..run].chars().chain("000000000".chars()).take(9).collect();
                self.nanos = nanos.parse().ok()?;
                Some(&rest[run..])
            }
        }
    }

    fn take_offset<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix('Z') {
            return Some(rest);
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let run = text[1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b':').count();
        let digits: String = text[1..=run].chars().filter(char::is_ascii_digit).collect();
        let hours: i64 = digits.get(..2)?.parse().ok()?;
        let minutes: i64 = digits.get(2..4).map_or(Some(0), |m| m.parse().ok())?;
        self.offset = sign * (hours * 3600 + minutes * 60);
        Some(&text[1 + run..])
    }

    fn time(self) -> Option<GoTime> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let date = jiff::civil::DateTime::new(
            i16::try_from(self.year.unwrap_or(0)).ok()?,
            i8::try_from(self.month.unwrap_or(1)).ok()?,
            i8::try_from(self.day.unwrap_or(1)).ok()?,
            i8::try_from(hour).ok()?,
            i8::try_from(self.minute).ok()?,
            i8::try_from(self.second).ok()?,
            i32::try_from(self.nanos).ok()?,
        )
        .ok()?;
        let offset = jiff::tz::Offset::from_seconds(i32::try_from(self.offset).ok()?).ok()?;
        let zone = if self.offset == 0 { TimeZone::UTC } else { TimeZone::fixed(offset) };
        Some(GoTime { at: offset.to_timestamp(date).ok()?, zone })
    }
}

fn starts_with_any_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|t| t.eq_ignore_ascii_case(start))
}

/// `Duration.String()`: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn span_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let part = format!("{:0digits$}", value % unit);
        let part = part.trim_end_matches('0');
        if part.is_empty() { (value / unit).to_string() } else { format!("{}.{part}", value / unit) }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(size, 1_000_000)),
        _ => {
            let minutes = size / 60_000_000_000;
            let seconds = fraction(size % 60_000_000_000, 1_000_000_000);
            match minutes {
                0 => format!("{sign}{seconds}s"),
                1..60 => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{}h{}m{seconds}s", minutes / 60, minutes % 60),
            }
        }
    }
}
