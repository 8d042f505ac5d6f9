//! The exposition formats: Prometheus text (0.0.4 and 1.0.0) and OpenMetrics 1.0, read strictly, byte by byte.
//!
//! A malformed line fails the whole body with its number and the reason: a half-read exposition would look like series
//! that ended. The parser borrows from the body and allocates nothing; labels stay raw text ([`RawSample::series`]) until
//! [`series_labels`] is asked for them, so that a scraper that knows the raw text already pays nothing for them.
//!
//! It accepts what Prometheus' own parsers accept (`model/textparse`), with these differences: a raw newline within
//! quotes, a missing comma between labels and a series longer than [`limits::LABELS_BYTES`] are refused. Exemplars are
//! checked and dropped.

use std::borrow::Cow;

use crate::limits;
use crate::model::{LabelsBuilder, MetricKind, NAME, openmetrics_float};
use crate::time::Timestamp;

/// Which format a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// By the response's `Content-Type`; whatever is not OpenMetrics is read as text.
    pub fn of_content_type(value: &str) -> Format {
        let media = value.split(';').next().unwrap_or("").trim();
        match media.eq_ignore_ascii_case("application/openmetrics-text") {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }
}

/// The first malformed line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}: {excerpt:?}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    pub reason: &'static str,
    /// The beginning of the line.
    pub excerpt: String,
}

/// One sample line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawSample<'a> {
    /// Name and labels as they are written. Only its extent is known to be good; [`series_labels`] checks the rest.
    pub series: &'a [u8],
    pub value: f64,
    /// The sample's own time, if it has one.
    pub at: Option<Timestamp>,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    Sample(RawSample<'a>),
    Type(Cow<'a, str>, MetricKind),
    Help(Cow<'a, str>, Cow<'a, str>),
    Unit(Cow<'a, str>, &'a str),
}

/// Walks over a body.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    body: &'a [u8],
    at: usize,
    line: usize,
    format: Format,
    ended: bool,
    kind: MetricKind,
    /// The body is all there is; otherwise more may follow.
    whole: bool,
}

type Reason = &'static str;

impl<'a> Parser<'a> {
    /// Starts at the beginning of a body.
    pub fn new(format: Format, body: &'a [u8]) -> Parser<'a> {
        Parser { body, at: 0, line: 0, format, ended: false, kind: MetricKind::Unknown, whole: true }
    }

    /// Goes on behind `before` with the next part of a body that is read in parts, each of whole lines. Whether
    /// `# EOF` came is for the caller to ask at the end ([`Parser::has_ended`]).
    pub fn part(format: Format, body: &'a [u8], before: Option<&Parser<'_>>) -> Parser<'a> {
        let fresh = Parser { whole: false, ..Parser::new(format, body) };
        match before {
            Some(before) => Parser { line: before.line, ended: before.ended, kind: before.kind, ..fresh },
            None => fresh,
        }
    }

    /// How many lines have been read: the number of the last one, from 1.
    pub fn lines(&self) -> usize {
        self.line
    }

    /// The line that was read last, without its end.
    pub fn line_text(&self) -> &'a [u8] {
        let read = &self.body[..self.at];
        let read = read.strip_suffix(b"\n").unwrap_or(read);
        &read[memchr::memrchr(b'\n', read).map_or(0, |end| end + 1)..]
    }

    /// True behind `# EOF`.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The kind of the last TYPE line: it decides how `le` and `quantile` are written.
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// The next entry, `None` at the good end.
    ///
    /// # Errors
    /// The body is malformed here; what came before is not to be used.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        while self.at < self.body.len() {
            let rest = &self.body[self.at..];
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            self.at += end.map_or(rest.len(), |end| end + 1);
            self.line += 1;
            let entry = match self.format {
                Format::Text => text_line(line),
                Format::OpenMetrics => self.openmetrics_line(line, end.is_some()),
            };
            match entry {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    if let Entry::Type(_, kind) = &entry {
                        self.kind = *kind;
                    }
                    return Ok(Some(entry));
                }
                Err(reason) => return Err(self.error(reason, line)),
            }
        }
        match self.whole && self.format == Format::OpenMetrics && !self.ended {
            true => Err(self.error("the body does not end with # EOF", b"")),
            false => Ok(None),
        }
    }

    /// An error at the line that was read last.
    pub fn error(&self, reason: Reason, text: &[u8]) -> ParseError {
        let excerpt = String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned();
        ParseError { line: self.line.max(1), reason, excerpt }
    }

    fn openmetrics_line(&mut self, line: &'a [u8], complete: bool) -> Result<Option<Entry<'a>>, Reason> {
        if self.ended {
            return Err("there is text after # EOF");
        }
        if line == b"# EOF" {
            self.ended = true;
            return Ok(None);
        }
        if self.whole && !complete {
            return Err("the body does not end with # EOF");
        }
        match line.strip_prefix(b"# ") {
            Some(meta) => openmetrics_meta(meta).map(Some),
            None if line.is_empty() => Err("an empty line is not allowed in OpenMetrics"),
            None => openmetrics_sample(line).map(|sample| Some(Entry::Sample(sample))),
        }
    }
}

fn blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| blank(**b)).count()..]
}

fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    &text[..text.len() - text.iter().rev().take_while(|b| blank(**b)).count()]
}

// ---- text

fn text_line(line: &[u8]) -> Result<Option<Entry<'_>>, Reason> {
    let line = trim_start(line);
    match line.first() {
        None => Ok(None),
        Some(b'#') => text_comment(&line[1..]),
        Some(_) => text_sample(line).map(|sample| Some(Entry::Sample(sample))),
    }
}

fn text_comment(rest: &[u8]) -> Result<Option<Entry<'_>>, Reason> {
    let words = trim_start(rest);
    let keyword = &words[..words.len().min(4)];
    let help = keyword == b"HELP";
    if words.len() == rest.len() || !(help || keyword == b"TYPE") || !words.get(4).is_some_and(|b| blank(*b)) {
        return Ok(None);
    }
    let (family, text) = meta_name(trim_start(&words[4..]))?;
    if help {
        let text = text.strip_prefix(b" ").or(text.strip_prefix(b"\t")).unwrap_or(text);
        let text = std::str::from_utf8(text).map_err(|_| "the help text is not UTF-8")?;
        return Ok(Some(Entry::Help(family, unescape(text, false))));
    }
    let kind = match trim(text) {
        b"counter" => MetricKind::Counter,
        b"gauge" => MetricKind::Gauge,
        b"histogram" => MetricKind::Histogram,
        b"summary" => MetricKind::Summary,
        b"untyped" => MetricKind::Unknown,
        _ => return Err("this is no metric type"),
    };
    Ok(Some(Entry::Type(family, kind)))
}

fn text_sample(line: &[u8]) -> Result<RawSample<'_>, Reason> {
    let (series, rest) = split_series(line)?;
    let mut words = rest.split(|b| blank(*b)).filter(|word| !word.is_empty());
    let value = number(words.next().ok_or("the value is missing")?)?;
    let at = match words.next() {
        None => None,
        Some(word) => Some(millis(word).ok_or("the timestamp is no whole number of milliseconds")?),
    };
    match words.next() {
        None => Ok(RawSample { series, value, at }),
        Some(_) => Err("there is text after the timestamp"),
    }
}

fn millis(word: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(word).ok()?.parse().ok().map(Timestamp::from_millis)
}

// ---- OpenMetrics

fn openmetrics_meta(meta: &[u8]) -> Result<Entry<'_>, Reason> {
    let (keyword, rest) = (meta.get(..5).unwrap_or(meta), meta.get(5..).unwrap_or_default());
    if ![b"HELP ", b"TYPE ", b"UNIT "].iter().any(|known| *known == keyword) {
        return Err("only HELP, TYPE, UNIT and EOF may follow a # in OpenMetrics");
    }
    let (family, text) = meta_name(rest)?;
    let text = text.strip_prefix(b" ").ok_or("the text is missing")?;
    let text = std::str::from_utf8(text).map_err(|_| "the text is not UTF-8")?;
    match keyword[0] {
        b'H' => Ok(Entry::Help(family, unescape(text, true))),
        b'U' if text.is_empty() || family.strip_suffix(text).is_some_and(|head| head.ends_with('_')) => {
            Ok(Entry::Unit(family, text))
        }
        b'U' => Err("the unit is not the end of the metric's name"),
        _ => Ok(Entry::Type(
            family,
            match text {
                "counter" => MetricKind::Counter,
                "gauge" => MetricKind::Gauge,
                "histogram" => MetricKind::Histogram,
                "gaugehistogram" => MetricKind::GaugeHistogram,
                "summary" => MetricKind::Summary,
                "info" => MetricKind::Info,
                "stateset" => MetricKind::StateSet,
                "unknown" => MetricKind::Unknown,
                _ => return Err("this is no metric type"),
            },
        )),
    }
}

fn openmetrics_sample(line: &[u8]) -> Result<RawSample<'_>, Reason> {
    let (series, rest) = split_series(line)?;
    let (value, at, rest) = value_and_time(rest)?;
    match rest.strip_prefix(b" # ") {
        None if rest.is_empty() => {}
        None => return Err("there is text after the timestamp"),
        Some(exemplar) if exemplar.first() == Some(&b'{') => {
            let (labels, rest) = split_series(exemplar)?;
            let mut name = None;
            each_label(labels, |_, _| Ok(()), &mut name)?;
            if name.is_some() || !value_and_time(rest)?.2.is_empty() {
                return Err("the exemplar is malformed");
            }
        }
        Some(_) => return Err("the exemplar is malformed"),
    }
    Ok(RawSample { series, value, at })
}

/// ` value` and maybe ` timestamp`, each after exactly one space; gives what follows.
fn value_and_time(rest: &[u8]) -> Result<(f64, Option<Timestamp>, &[u8]), Reason> {
    let (word, rest) = spaced_word(rest).ok_or("the value is missing")?;
    let value = number(word)?;
    match spaced_word(rest) {
        Some((word, rest)) if word != b"#" => {
            let secs = number(word).map_err(|_| "the timestamp is no number of seconds")?;
            if !secs.is_finite() {
                return Err("the timestamp is not finite");
            }
            Ok((value, Some(Timestamp::from_millis((secs * 1000.0) as i64)), rest))
        }
        _ => Ok((value, None, rest)),
    }
}

fn spaced_word(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let word = rest.strip_prefix(b" ")?;
    let end = memchr::memchr(b' ', word).unwrap_or(word.len());
    (end > 0).then(|| word.split_at(end))
}

// ---- both

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

/// Splits a sample line behind the name and labels.
fn split_series(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    if line.first().is_some_and(u8::is_ascii_digit) {
        return Err("a metric name cannot begin with a digit");
    }
    let name = line.iter().take_while(|b| name_byte(**b)).count();
    let open = name + line[name..].iter().take_while(|b| blank(**b)).count();
    let end = match line.get(open) {
        Some(b'{') => open + closing_brace(&line[open..])?,
        Some(_) if name == 0 => return Err("this is no metric name"),
        Some(_) if open == name => return Err("a character is not allowed in a metric name"),
        _ => name,
    };
    match end <= limits::LABELS_BYTES {
        true => Ok(line.split_at(end)),
        false => Err("the labels are too long"),
    }
}

/// The length of a text that begins with `{` up to and with its `}`, quotes and escapes minded.
fn closing_brace(text: &[u8]) -> Result<usize, Reason> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'}', &text[at..]).ok_or("the } is missing")? + 1;
        if text[at - 1] == b'}' {
            return Ok(at);
        }
        at += quoted(&text[at..])? + 1;
    }
}

/// The length of a quoted text up to its closing quote.
fn quoted(text: &[u8]) -> Result<usize, Reason> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &text[at..]).ok_or("a quote is not closed")?;
        if text[at] == b'"' {
            return Ok(at);
        }
        at += 2;
        if at > text.len() {
            return Err("a quote is not closed");
        }
    }
}

fn number(word: &[u8]) -> Result<f64, Reason> {
    const WRONG: Reason = "the value is no number";
    if !word.is_empty() && word.len() <= 15 && word.iter().all(u8::is_ascii_digit) {
        return Ok(word.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0')) as f64);
    }
    let value: f64 = fast_float2::parse(word).map_err(|_| WRONG)?;
    let letters = word.iter().any(|b| matches!(b, b'i' | b'I' | b'n' | b'N'));
    // As in Go: a number that does not fit is an error, and a NaN has no sign.
    if value.is_infinite() && !letters {
        return Err("the value does not fit a 64-bit float");
    }
    if value.is_nan() {
        return if word.len() == 3 { Ok(f64::NAN) } else { Err(WRONG) };
    }
    Ok(value)
}

/// The name of a HELP, TYPE or UNIT line, and the rest.
fn meta_name(text: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Reason> {
    const MISSING: Reason = "the metric's name is missing";
    if let Some(inner) = text.strip_prefix(b"\"") {
        let end = quoted(inner)?;
        let name = std::str::from_utf8(&inner[..end]).map_err(|_| "the name is not UTF-8")?;
        return Ok((unescape(name, true), &inner[end + 1..]));
    }
    let end = text.iter().take_while(|b| name_byte(**b)).count();
    if end == 0 || text[0].is_ascii_digit() || text.get(end).is_some_and(|b| !blank(*b)) {
        return Err(MISSING);
    }
    let name = std::str::from_utf8(&text[..end]).map_err(|_| MISSING)?;
    Ok((Cow::Borrowed(name), &text[end..]))
}

/// `\\`, `\n` and (within quotes) `\"`; any other backslash stays as it is.
fn unescape(text: &str, quote: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let replaced = match (c, chars.peek()) {
            ('\\', Some('\\')) => Some('\\'),
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('"')) if quote => Some('"'),
            _ => None,
        };
        if replaced.is_some() {
            chars.next();
        }
        plain.push(replaced.unwrap_or(c));
    }
    Cow::Owned(plain)
}

/// Reads the labels of [`RawSample::series`], the metric's name included, into a builder.
///
/// `kind` is [`Parser::kind`]: bounds of histograms and summaries are written as Prometheus 3 writes them.
///
/// # Errors
/// Why the text is malformed; a label that is there twice is an error too.
pub fn series_labels(series: &[u8], kind: MetricKind, labels: &mut LabelsBuilder) -> Result<(), &'static str> {
    std::str::from_utf8(series).map_err(|_| "a label is not UTF-8")?;
    let mut name = None;
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    let bound = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => "le",
        MetricKind::Summary => "quantile",
        _ => "",
    };
    each_label(
        series,
        |label, value| {
            if label == NAME || seen.contains(&label) {
                return Err("a label is there twice");
            }
            match (label == bound).then(|| number(value.as_bytes())) {
                Some(Ok(number)) => labels.set(&label, &openmetrics_float(number)),
                _ => labels.set(&label, &value),
            };
            seen.push(label);
            Ok(())
        },
        &mut name,
    )?;
    let name = name.filter(|name| !name.is_empty()).ok_or("the metric has no name")?;
    labels.set(NAME, &name);
    Ok(())
}

fn each_label<'a>(
    series: &'a [u8],
    mut each: impl FnMut(Cow<'a, str>, Cow<'a, str>) -> Result<(), Reason>,
    name: &mut Option<Cow<'a, str>>,
) -> Result<(), Reason> {
    let text = std::str::from_utf8(series).map_err(|_| "a label is not UTF-8")?;
    let head = text.bytes().take_while(|b| name_byte(*b)).count();
    if head > 0 {
        *name = Some(Cow::Borrowed(&text[..head]));
    }
    let mut rest = match text[head..].trim_start_matches([' ', '\t']).strip_prefix('{') {
        Some(rest) => rest.trim_start_matches([' ', '\t']),
        None => return Ok(()),
    };
    while !rest.starts_with('}') {
        let (label, was_quoted, after) = label_name(rest)?;
        let after = after.trim_start_matches([' ', '\t']);
        let after = match after.strip_prefix('=') {
            Some(after) => {
                let value = after
                    .trim_start_matches([' ', '\t'])
                    .strip_prefix('"')
                    .ok_or("a label's value is not in quotes")?;
                let end = quoted(value.as_bytes())?;
                each(label, unescape(&value[..end], true))?;
                &value[end + 1..]
            }
            // A quoted text alone is the metric's name.
            None if was_quoted && name.is_none() => {
                *name = Some(label);
                after
            }
            None if was_quoted => return Err("the metric has two names"),
            None => return Err("a label has no ="),
        };
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start_matches([' ', '\t']),
            None if after.starts_with('}') => after,
            None => return Err("a comma is missing between two labels"),
        };
    }
    Ok(())
}

fn label_name(text: &str) -> Result<(Cow<'_, str>, bool, &str), Reason> {
    if let Some(inner) = text.strip_prefix('"') {
        let end = quoted(inner.as_bytes())?;
        return match end {
            0 => Err("a label has an empty name"),
            _ => Ok((unescape(&inner[..end], true), true, &inner[end + 1..])),
        };
    }
    let end = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if end == 0 || text.as_bytes()[0].is_ascii_digit() {
        return Err("this is no label name");
    }
    Ok((Cow::Borrowed(&text[..end]), false, &text[end..]))
}

#[cfg(test)]
mod tests;
