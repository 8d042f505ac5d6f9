//! The formats: from a line to its fields. Each reader fills only the fields that some metric wants.

mod access;
mod json;
mod logfmt;
mod syslog;

use regex::bytes::{CaptureLocations, Regex};

use super::fields::Fields;
use super::settings::{Format, LogError};
use crate::limits;

/// A format with the fields that are wanted of it.
#[derive(Debug)]
pub struct LineReader {
    how: How,
    wanted: Vec<String>,
}

#[derive(Debug)]
enum How {
    Raw,
    Access { combined: bool, slots: access::Slots },
    Json,
    Logfmt,
    Syslog(syslog::Slots),
    Regex { regex: Regex, places: CaptureLocations, groups: Vec<(usize, usize)> },
}

impl LineReader {
    /// A reader that wants no field yet.
    ///
    /// # Errors
    /// When the format's own expression is not valid.
    pub fn new(format: &Format) -> Result<LineReader, LogError> {
        let how = match format {
            Format::Raw => How::Raw,
            Format::Combined => How::Access { combined: true, slots: access::Slots::default() },
            Format::Common => How::Access { combined: false, slots: access::Slots::default() },
            Format::Json | Format::Journald => How::Json,
            Format::Logfmt => How::Logfmt,
            Format::Syslog => How::Syslog(syslog::Slots::default()),
            Format::Regex(pattern) => {
                let regex = compile("format", pattern)?;
                let places = regex.capture_locations();
                How::Regex { regex, places, groups: Vec::new() }
            }
        };
        Ok(LineReader { how, wanted: Vec::new() })
    }

    /// The number of a field; `None` when the format cannot have it.
    pub fn want(&mut self, name: &str) -> Option<usize> {
        if let Some(known) = self.wanted.iter().position(|wanted| wanted == name) {
            return Some(known);
        }
        let slot = self.wanted.len();
        match &mut self.how {
            How::Raw => return None,
            How::Access { combined, slots } => slots.want(name, slot, *combined)?,
            How::Json | How::Logfmt => {}
            How::Syslog(slots) => slots.want(name, slot)?,
            How::Regex { regex, groups, .. } => {
                let group = regex.capture_names().position(|group| group == Some(name))?;
                groups.push((group, slot));
            }
        }
        self.wanted.push(name.to_owned());
        Some(slot)
    }

    /// The fields that the format can have, in words.
    pub fn known(&self) -> String {
        match &self.how {
            How::Raw => "none: write a format, or named groups in match".to_owned(),
            How::Access { combined, .. } => access::known(*combined),
            How::Json | How::Logfmt => "all names".to_owned(),
            How::Syslog(_) => syslog::NAMES.join(", "),
            How::Regex { regex, .. } => regex.capture_names().flatten().collect::<Vec<_>>().join(", "),
        }
    }

    /// How many fields are wanted.
    pub fn count(&self) -> usize {
        self.wanted.len()
    }

    /// Reads a line; false when it does not have the format.
    pub fn read(&mut self, line: &[u8], fields: &mut Fields) -> bool {
        fields.clear();
        match &mut self.how {
            How::Raw => true,
            How::Access { combined, slots } => access::read(line, *combined, slots, fields).is_some(),
            How::Json => json::read(line, &self.wanted, fields),
            How::Logfmt => logfmt::read(line, &self.wanted, fields),
            How::Syslog(slots) => syslog::read(line, slots, fields).is_some(),
            How::Regex { regex, places, groups } => {
                let found = regex.captures_read(places, line).is_some();
                for (group, slot) in groups.iter().filter(|_| found) {
                    if let Some((start, end)) = places.get(*group) {
                        fields.set(*slot, start, end);
                    }
                }
                found
            }
        }
    }
}

/// Compiles an expression for bytes: without Unicode, which is fast and minds no invalid UTF-8, unless it needs Unicode.
///
/// # Errors
/// When it is not valid or too large; `place` is for the message.
pub fn compile(place: &str, pattern: &str) -> Result<Regex, LogError> {
    let build = |unicode: bool| {
        regex::bytes::RegexBuilder::new(pattern)
            .unicode(unicode)
            .size_limit(limits::REGEX_BYTES)
            .dfa_size_limit(limits::REGEX_BYTES)
            .build()
    };
    build(false).or_else(|_| build(true)).map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_owned();
        LogError::Regex { place: place.to_owned(), pattern: pattern.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests;
