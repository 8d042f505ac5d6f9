//! The text functions: Go's `strings`, `net/url`, escaping for HTML, JavaScript and JSON, regular expressions,
//! and Prometheus' humanizing. Plain functions from texts and numbers to texts.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

use regex::Regex;

use super::gofmt::{float_with, is_printable};
use super::gotime::GoTime;
use super::value::Value;
use crate::limits;

/// `strings.ToUpper`: character by character, so `ß` stays.
pub(super) fn upper(text: &str) -> String {
    text.chars().map(upper_char).collect()
}

/// `strings.ToLower`.
pub(super) fn lower(text: &str) -> String {
    text.chars().map(lower_char).collect()
}

fn upper_char(c: char) -> char {
    let mut all = c.to_uppercase();
    if all.len() == 1 { all.next().unwrap_or(c) } else { c }
}

fn lower_char(c: char) -> char {
    let mut all = c.to_lowercase();
    if all.len() == 1 { all.next().unwrap_or(c) } else { c }
}

/// `strings.Title`: the first letter of each word in upper case, the rest as it is.
pub(super) fn title(text: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        out.push(if is_separator(before) { upper_char(c) } else { c });
        before = c;
    }
    out
}

fn is_separator(c: char) -> bool {
    match c {
        '_' => false,
        c if c.is_ascii() => !c.is_ascii_alphanumeric(),
        c if c.is_alphanumeric() => false,
        c => c.is_whitespace(),
    }
}

/// Alertmanager's `title`: the first letter of each word in upper case, the rest in lower case. Digits, and marks
/// within a word, neither end it nor count as its first letter.
pub(super) fn title_case(text: &str) -> String {
    let (mut in_word, mut first) = (false, true);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        in_word = c.is_alphanumeric() || c == '_' || (in_word && matches!(c, '\'' | '’' | '.' | ':'));
        first |= !in_word;
        out.push(if first { upper_char(c) } else { lower_char(c) });
        first &= !c.is_alphabetic();
    }
    out
}

pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|error| {
            format!("error parsing regexp {pattern:?}: {}", error.to_string().lines().last().unwrap_or(""))
        })
}

/// `url.QueryEscape`.
pub(super) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// `url.QueryUnescape`.
pub(super) fn query_unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let code = text.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
                let cut = || format!("invalid URL escape {:?}", text.get(at..(at + 3).min(text.len())).unwrap_or("%"));
                out.push(code.ok_or_else(cut)?);
                at += 2;
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// `template.HTMLEscapeString`, the function that templates call `html`.
pub(super) fn html(text: &str) -> Cow<'_, str> {
    escape_html(text, false)
}

/// What `html/template` does to an inserted value; it also escapes the plus sign.
pub(super) fn html_inserted(text: &str) -> Cow<'_, str> {
    escape_html(text, true)
}

fn escape_html(text: &str, plus: bool) -> Cow<'_, str> {
    if !text.contains(|c| matches!(c, '<' | '>' | '&' | '"' | '\'' | '\0') || (plus && c == '+')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            '+' if plus => out.push_str("&#43;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// An address for the start of a link's attribute, as `html/template` filters it: other schemes than http, https and
/// mailto are taken out, and what an address cannot hold is percent-encoded.
pub(super) fn safe_address(text: &str) -> String {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('/'));
    let known = |scheme: &str| ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if scheme.is_some_and(|scheme| !known(scheme)) {
        return "#ZgotmplZ".to_owned();
    }
    normal_address(text)
}

/// Percent-encodes what an address cannot hold.
pub(super) fn normal_address(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~!#$&*+,/:;=?@[]%".contains(&byte);
        match byte {
            byte if plain => out.push(char::from(byte)),
            byte => drop(write!(out, "%{byte:02x}")),
        }
    }
    out
}

/// `template.JSEscapeString`.
pub(super) fn javascript(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let _ = match c {
            '\\' => write!(out, "\\\\"),
            '\'' => write!(out, "\\'"),
            '"' => write!(out, "\\\""),
            '<' | '>' | '&' | '=' => write!(out, "\\u{:04X}", u32::from(c)),
            c if u32::from(c) < 0x20 => write!(out, "\\u{:04X}", u32::from(c)),
            c if c.is_ascii() || is_printable(c) => write!(out, "{c}"),
            c => write!(out, "\\u{:04X}", u32::from(c)),
        };
    }
    out
}

/// `net.SplitHostPort`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// The host without its port.
pub(super) fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

/// The host without its domain, the port kept; addresses stay whole.
pub(super) fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let host = host.split('.').next().unwrap_or(host);
    if port.is_empty() { host.to_owned() } else { format!("{host}:{port}") }
}

/// The path of an address: what follows the host.
pub(super) fn path_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

/// `regexp.QuoteMeta`.
pub(super) fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// `humanize`: metric prefixes, four significant digits.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return float_with(value, 'g', 4);
    }
    if value.abs() >= 1.0 {
        return scaled(value, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"], "");
    }
    shrunk(value, "")
}

/// `humanize1024`: binary prefixes.
pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return float_with(value, 'g', 4);
    }
    scaled(value, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"], "")
}

fn scaled(mut value: f64, step: f64, prefixes: &[&'static str], unit: &str) -> String {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < step {
            break;
        }
        prefix = next;
        value /= step;
    }
    format!("{}{prefix}{unit}", float_with(value, 'g', 4))
}

fn shrunk(mut value: f64, unit: &str) -> String {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    format!("{}{prefix}{unit}", float_with(value, 'g', 4))
}

/// `humanizeDuration` of seconds: `1d 2h 3m 4s`, `12.3s`, `450ms`.
pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return float_with(value, 'g', 4);
    }
    if value == 0.0 {
        return format!("{}s", float_with(value, 'g', 4));
    }
    if value.abs() < 1.0 {
        return shrunk(value, "s");
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", float_with(value.abs(), 'g', 4))
    }
}

/// `humanizePercentage` of a ratio.
pub(super) fn humanize_percentage(value: f64) -> String {
    format!("{}%", float_with(value * 100.0, 'g', 4))
}

/// `humanizeTimestamp` of seconds since the epoch.
pub(super) fn humanize_timestamp(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Ok(float_with(value, 'g', 4));
    }
    GoTime::from_seconds(value).map(|time| time.print())
}

/// `encoding/json` with its HTML escaping; refuses what JSON cannot hold.
pub(super) fn json(value: &Value, out: &mut String) -> Result<(), String> {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) | Value::Span(number) => drop(write!(out, "{number}")),
        Value::Float(number) if !number.is_finite() => {
            return Err(format!("json: unsupported value: {}", super::gofmt::float(*number)));
        }
        Value::Float(number) => json_float(*number, out),
        Value::Text(text) | Value::Html(text) | Value::Url(text) => json_text(text, out),
        Value::Time(time) => json_text(&time.rfc3339(), out),
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                json(item, out)?;
            }
            out.push(']');
        }
        Value::Map(_) | Value::Labels(_) => {
            out.push('{');
            for (at, (key, item)) in value.entries().unwrap_or_default().iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                json_text(key, out);
                out.push(':');
                json(item, out)?;
            }
            out.push('}');
        }
        Value::Struct(object) => {
            out.push('{');
            // A field without a name in JSON is one of ours, which Alertmanager's JSON has not.
            for (at, field) in object.fields.iter().filter(|field| !field.json.is_empty()).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                json_text(field.json, out);
                out.push(':');
                json(&field.value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn json_float(number: f64, out: &mut String) {
    let size = number.abs();
    let _ = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        write!(out, "{mantissa}e{sign}{exponent}")
    } else {
        write!(out, "{number}")
    };
}

fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{8}' => write!(out, "\\b"),
            '\u{c}' => write!(out, "\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(out, "\\u{:04x}", u32::from(c)),
            c if u32::from(c) < 0x20 => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
}
