//! The notation of test data: `metric{label="value"} 0+1x10 _ stale {{count:3}}x2`.
//!
//! Follows `docs/configuration/unit_testing_rules.md` ("series") and Prometheus' own test language. Used by rule unit
//! tests and by the conformance runner. `_xN` stands for N gaps, `VxN` for N+1 values, `V+DxN` for N+1 values that rise
//! by D each; hexadecimal numbers are not part of it, since `0x3` is three more zeros.

use std::sync::Arc;
use std::time::Duration;

use super::eval::SampleValue;
use super::lexer::unquote;
use crate::limits;
use crate::model::{BucketSpan, CounterResetHint, FloatHistogram, Labels, LabelsBuilder, NAME, stale_nan};
use crate::time::{millis, parse_duration};

/// Why a text is no such notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} in {text:?}")]
pub struct NotationError {
    pub what: String,
    /// The part of the text it is about.
    pub text: String,
}

fn fail<T>(what: impl Into<String>, text: &str) -> Result<T, NotationError> {
    Err(NotationError { what: what.into(), text: text.to_owned() })
}

/// One value, or a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    /// `None` for a gap.
    pub value: Option<SampleValue>,
    /// True for a histogram that says a counter reset hint.
    pub hint_given: bool,
}

/// Reads the metric at the beginning of a text, and gives what follows it.
///
/// # Errors
/// When the text begins with neither a name nor braces, or the braces do not hold `label="value"` pairs.
pub fn metric(text: &str) -> Result<(Labels, &str), NotationError> {
    let text = text.trim_start();
    let mut builder = LabelsBuilder::new();
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return fail("a metric name cannot begin with a digit", text);
    }
    builder.set(NAME, name);
    // Two braces are a histogram already.
    let Some(inside) = rest.trim_start().strip_prefix('{').filter(|inside| !inside.starts_with('{')) else {
        return if name.is_empty() { fail("expected a metric", text) } else { Ok((builder.build(), rest)) };
    };
    rest = inside.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((builder.build(), after));
        }
        rest = pair(&mut builder, rest)?.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return fail("expected a comma or a closing brace", rest),
        }
    }
}

/// `label="value"`, or a quoted metric name alone.
fn pair<'t>(builder: &mut LabelsBuilder, text: &'t str) -> Result<&'t str, NotationError> {
    let (name, rest) = if text.starts_with(['"', '\'', '`']) {
        quoted(text)?
    } else {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    };
    let rest = rest.trim_start();
    let Some(value) = rest.strip_prefix('=') else {
        if text.starts_with(['"', '\'', '`']) {
            builder.set(NAME, &name);
            return Ok(rest);
        }
        return fail("expected `label=\"value\"`", text);
    };
    let (value, rest) = quoted(value.trim_start())?;
    builder.set(&name, &value);
    Ok(rest)
}

fn quoted(text: &str) -> Result<(String, &str), NotationError> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else {
        return fail("expected a quoted text", text);
    };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            let value = unquote(&text[..=at]).or_else(|what| fail(what, text))?;
            return Ok((value, &text[at + 1..]));
        }
    }
    fail("the quote is not closed", text)
}

/// Reads a metric and its values.
///
/// # Errors
/// As [`metric`] and [`values`].
pub fn series(text: &str) -> Result<(Labels, Vec<Noted>), NotationError> {
    let (labels, rest) = metric(text)?;
    Ok((labels, values(rest)?))
}

/// Reads values separated by blanks.
///
/// # Errors
/// When an item is no value, or they are more than [`limits::NOTED_VALUES`].
pub fn values(text: &str) -> Result<Vec<Noted>, NotationError> {
    let mut noted = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = item(rest, &mut noted)?;
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return fail("expected a blank between values", rest);
        }
        rest = rest.trim_start();
    }
    Ok(noted)
}

fn item<'t>(text: &'t str, noted: &mut Vec<Noted>) -> Result<&'t str, NotationError> {
    if let Some(rest) = text.strip_prefix('_') {
        let (times, rest) = repetition(rest)?;
        return extend(noted, times.unwrap_or(1), text, rest, |_| Noted { value: None, hint_given: false });
    }
    if text.starts_with("{{") {
        return histograms(text, noted);
    }
    if let Some(rest) = text.strip_prefix("stale").filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric())) {
        let (times, rest) = repetition(rest)?;
        return extend(noted, times.unwrap_or(0) + 1, text, rest, |_| float(stale_nan()));
    }
    let (first, rest) = number(text)?;
    let step = match rest.as_bytes().first() {
        Some(b'+' | b'-') => {
            let (step, rest) = number(rest)?;
            Some((step, rest))
        }
        _ => None,
    };
    match step {
        None => {
            let (times, rest) = repetition(rest)?;
            extend(noted, times.unwrap_or(0) + 1, text, rest, |_| float(first))
        }
        Some((step, rest)) => {
            let (Some(times), rest) = repetition(rest)? else { return fail("expected `x` and a number", rest) };
            let mut value = first;
            extend(noted, times + 1, text, rest, |index| {
                if index > 0 {
                    value += step;
                }
                float(value)
            })
        }
    }
}

fn float(value: f64) -> Noted {
    Noted { value: Some(SampleValue::Float(value)), hint_given: false }
}

fn extend<'t>(
    noted: &mut Vec<Noted>,
    times: usize,
    item: &str,
    rest: &'t str,
    make: impl FnMut(usize) -> Noted,
) -> Result<&'t str, NotationError> {
    if noted.len().saturating_add(times) > limits::NOTED_VALUES {
        return fail(format!("more than {} values", limits::NOTED_VALUES), item);
    }
    noted.extend((0..times).map(make));
    Ok(rest)
}

/// `xN`.
fn repetition(text: &str) -> Result<(Option<usize>, &str), NotationError> {
    let Some(rest) = text.strip_prefix('x') else { return Ok((None, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match rest[..end].parse() {
        Ok(times) => Ok((Some(times), &rest[end..])),
        Err(_) => fail("expected a number behind `x`", text),
    }
}

/// A signed decimal number, `Inf` or `NaN`.
fn number(text: &str) -> Result<(f64, &str), NotationError> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = if text[..text.len() - unsigned.len()].matches('-').count() % 2 == 1 { -1.0 } else { 1.0 };
    for (word, value) in [("inf", f64::INFINITY), ("nan", f64::NAN)] {
        if unsigned.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
            return Ok((sign * value, &unsigned[3..]));
        }
    }
    let bytes = unsigned.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count() + from;
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(signed);
        if exponent > signed {
            end = exponent;
        }
    }
    match unsigned[..end].replace('_', "").parse::<f64>() {
        Ok(value) => Ok((sign * value, &unsigned[end..])),
        Err(_) => fail("expected a number", text),
    }
}

fn histograms<'t>(text: &'t str, noted: &mut Vec<Noted>) -> Result<&'t str, NotationError> {
    let ((first, hint_given), rest) = histogram(text)?;
    let sign = rest.as_bytes().first().copied();
    if let (Some(b'+' | b'-'), Some(second)) = (sign, rest.get(1..)) {
        let ((step, _), rest) = histogram(second)?;
        let (Some(times), rest) = repetition(rest)? else { return fail("expected `x` and a number", rest) };
        let mut current = first;
        let mut mixed = false;
        let rest = extend(noted, times + 1, text, rest, |index| {
            if index > 0 {
                let combined = if sign == Some(b'+') { current.add(&step) } else { current.subtract(&step) };
                mixed |= combined.is_err();
            }
            Noted { value: Some(SampleValue::Histogram(Arc::new(current.clone()))), hint_given }
        })?;
        return if mixed { fail("exponential and custom buckets do not add up", text) } else { Ok(rest) };
    }
    let (times, rest) = repetition(rest)?;
    let first = Arc::new(first);
    extend(noted, times.unwrap_or(0) + 1, text, rest, |_| Noted {
        value: Some(SampleValue::Histogram(Arc::clone(&first))),
        hint_given,
    })
}

/// `{{schema:1 sum:2 count:3 buckets:[1 2]}}`: the histogram, and whether it says a hint.
fn histogram(text: &str) -> Result<((FloatHistogram, bool), &str), NotationError> {
    let Some(inside) = text.strip_prefix("{{") else { return fail("expected `{{`", text) };
    let Some(end) = inside.find("}}") else { return fail("expected `}}`", text) };
    let mut literal = Literal::default();
    let mut rest = inside[..end].trim();
    while !rest.is_empty() {
        let Some((key, value)) = rest.split_once(':') else { return fail("expected `key:value`", rest) };
        let (value, after) = match value.strip_prefix('[') {
            Some(list) => list.split_once(']').map_or_else(|| fail("the bracket is not closed", value), Ok)?,
            None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        literal.set(key.trim(), value)?;
        rest = after.trim_start();
    }
    Ok((literal.finish(), &inside[end + 2..]))
}

#[derive(Default)]
struct Literal {
    histogram: Option<FloatHistogram>,
    offset: i32,
    negative_offset: i32,
    hint_given: bool,
}

impl Literal {
    fn set(&mut self, key: &str, value: &str) -> Result<(), NotationError> {
        let histogram = self.histogram.get_or_insert_with(FloatHistogram::empty);
        let float = || whole_number(value);
        let list = || value.split_whitespace().map(whole_number).collect::<Result<Vec<f64>, _>>();
        let integer = || value.parse::<i32>().or_else(|_| fail(format!("{key} takes a whole number"), value));
        match key {
            "schema" => {
                let schema = i8::try_from(integer()?).or_else(|_| fail("no such schema", value))?;
                histogram.schema = schema;
            }
            "sum" => histogram.sum = float()?,
            "count" => histogram.count = float()?,
            "z_bucket" => histogram.zero_count = float()?,
            "z_bucket_w" => histogram.zero_threshold = float()?,
            "custom_values" => histogram.custom_values = list()?,
            "buckets" => histogram.positive_buckets = list()?,
            "n_buckets" => histogram.negative_buckets = list()?,
            "offset" => self.offset = integer()?,
            "n_offset" => self.negative_offset = integer()?,
            "counter_reset_hint" => {
                self.hint_given = true;
                histogram.hint = match value {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::Reset,
                    "not_reset" => CounterResetHint::NotReset,
                    "gauge" => CounterResetHint::Gauge,
                    _ => return fail("a hint is unknown, reset, not_reset or gauge", value),
                };
            }
            _ => return fail("unknown key of a histogram", key),
        }
        Ok(())
    }

    fn finish(self) -> (FloatHistogram, bool) {
        let mut histogram = self.histogram.unwrap_or_else(FloatHistogram::empty);
        let span = |offset: i32, buckets: &[f64]| match u32::try_from(buckets.len()) {
            Ok(length) if length > 0 => vec![BucketSpan { offset, length }],
            _ => Vec::new(),
        };
        histogram.positive_spans = span(self.offset, &histogram.positive_buckets);
        histogram.negative_spans = span(self.negative_offset, &histogram.negative_buckets);
        (histogram, self.hint_given)
    }
}

fn whole_number(text: &str) -> Result<f64, NotationError> {
    match number(text)? {
        (value, "") => Ok(value),
        _ => fail("expected a number", text),
    }
}

/// Reads start timestamps relative to their samples, in milliseconds: `_`, `_xN`, `-1m`, `-1mxN`, `-30s-1mxN`.
///
/// # Errors
/// When an item is none of these.
pub fn start_offsets(text: &str) -> Result<Vec<Option<i64>>, NotationError> {
    let mut offsets = Vec::new();
    for item in text.split_whitespace() {
        if let Some(rest) = item.strip_prefix('_') {
            match repetition(rest)? {
                (times, "") => offsets.extend(std::iter::repeat_n(None, times.unwrap_or(1))),
                _ => return fail("expected `_` or `_xN`", item),
            }
            continue;
        }
        let (first, rest) = signed_duration(item)?;
        let (step, rest) = if rest.starts_with(['+', '-']) { signed_duration(rest)? } else { (0, rest) };
        let (times, "") = repetition(rest)? else { return fail("expected a duration", item) };
        for index in 0..=i64::try_from(times.unwrap_or(0)).unwrap_or(0) {
            offsets.push(Some(first + index * step));
        }
    }
    Ok(offsets)
}

fn signed_duration(text: &str) -> Result<(i64, &str), NotationError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(['x', '+', '-']).unwrap_or(unsigned.len());
    let span: Duration = parse_duration(&unsigned[..end]).or_else(|error| fail(error.to_string(), text))?;
    let sign = if text.starts_with('-') { -1 } else { 1 };
    Ok((sign * millis(span), &unsigned[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let shown = |noted: Noted| match noted.value {
            None => "_".to_owned(),
            Some(SampleValue::Float(value)) if crate::model::is_stale_nan(value) => "stale".to_owned(),
            Some(SampleValue::Float(value)) => value.to_string(),
            Some(SampleValue::Histogram(histogram)) => histogram.to_string(),
        };
        match values(text) {
            Ok(list) => list.into_iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn sequences_expand() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text), expected, "{text}");
        check("1 2.5 -3e-2", "1 2.5 -0.03");
        check("_ _x2 stale", "_ _ _ stale");
        check("0x2 1+2x2 1-1x1", "0 0 0 1 3 5 1 0");
        check("-10-5x2 1e1+1e-1x1", "-10 -15 -20 10 10.1");
        check("NaN Inf -Inf", "NaN inf -inf");
        check("{{}}x1", "{count:0, sum:0} {count:0, sum:0}");
        check(
            "{{count:3 sum:4 buckets:[1 2] offset:1}}+{{count:1 sum:1}}x1",
            "{count:3, sum:4, (1,2]:1, (2,4]:2} {count:4, sum:5, (1,2]:1, (2,4]:2}",
        );
        check("1x", "expected a number behind `x` in \"x\"");
        check("1+2", "expected `x` and a number in \"\"");
        check("abc", "expected a number in \"abc\"");
        check("0x99999999999", &format!("more than {} values in \"0x99999999999\"", limits::NOTED_VALUES));
    }

    #[test]
    fn metrics_read_with_any_quotes() {
        let check = |text: &str, expected: &str| {
            let (labels, rest) = metric(text).expect(text);
            assert_eq!(format!("{labels}|{rest}"), expected, "{text}");
        };
        check("up 1 2", "up| 1 2");
        check(r#"up{a="1", b='2',} 3"#, r#"up{a="1", b="2"}| 3"#);
        check(r#"{"my.metric", "a b"="}"} 3"#, r#"{"my.metric", "a b"="}"}| 3"#);
        check("{} 1", "{}| 1");
        check("h {{count:1}}", "h| {{count:1}}");
        assert!(metric("1 2").is_err());
        assert!(metric("up{a=1}").is_err());
    }

    #[test]
    fn start_timestamps_are_relative() {
        assert_eq!(
            start_offsets("_ _x2 -30s-1mx1 0"),
            Ok(vec![None, None, None, Some(-30_000), Some(-90_000), Some(0)])
        );
        assert_eq!(start_offsets("-59999ms-1mx0 +1m"), Ok(vec![Some(-59_999), Some(60_000)]));
        assert!(start_offsets("abc").is_err());
    }
}
