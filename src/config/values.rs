//! The small values that fields of the configuration hold: each knows how to read itself and says what it expects.

use std::time::Duration;

use regex::{Regex, RegexBuilder};

use crate::limits;
use crate::model::is_label_name;
use crate::net::Secret;
use crate::time::parse_duration;
use crate::yaml::{At, Decode, Fields, Place, Problem, Spanned};

/// A mapping with free keys that keeps its order and the places of its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries(Vec::new())
    }
}

impl<T: Decode> Decode for Entries<T> {
    fn decode(at: &mut At<'_>) -> Option<Entries<T>> {
        at.entries().map(Entries)
    }
}

impl<T> Entries<T> {
    /// The value behind a key.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(k, _)| k.value == key).map(|(_, value)| value)
    }

    /// All keys, for "did you mean".
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.value.as_str())
    }
}

/// Anything at all; its content is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Anything;

impl Decode for Anything {
    fn decode(at: &mut At<'_>) -> Option<Anything> {
        at.node().map(|_| Anything)
    }
}

impl Decode for Secret {
    fn decode(at: &mut At<'_>) -> Option<Secret> {
        at.scalar("a secret", |text| Ok(Secret::from(text)))
    }
}

/// A label's name: letters, digits and `_`, not starting with a digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelName(pub String);

impl Decode for LabelName {
    fn decode(at: &mut At<'_>) -> Option<LabelName> {
        at.scalar("a label name", |text| label_name(text).map(LabelName))
    }
}

fn label_name(text: &str) -> Result<String, String> {
    if is_label_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a label name: use letters, digits and `_`, and do not start with a digit"))
}

/// Labels with fixed values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelPairs(pub Vec<(String, String)>);

impl Decode for LabelPairs {
    fn decode(at: &mut At<'_>) -> Option<LabelPairs> {
        let entries = at.entries::<String>()?;
        let mut pairs = Vec::new();
        let mut bad = false;
        for (name, value) in entries {
            match label_name(&name.value) {
                Ok(name) => pairs.push((name, value)),
                Err(message) => {
                    at.push(name.place.error(message, None));
                    bad = true;
                }
            }
        }
        (!bad).then_some(LabelPairs(pairs))
    }
}

/// A regular expression; not anchored by itself.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Decode for Pattern {
    fn decode(at: &mut At<'_>) -> Option<Pattern> {
        at.scalar("a regular expression", |text| compile(text).map(Pattern))
    }
}

/// Compiles a regular expression within the house's bound.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(limits::REGEX_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!("the regular expression needs more than {limit} bytes"),
        other => {
            // The library draws the expression with a caret over several lines; its last line has the reason.
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim();
            format!("not a regular expression: {}", reason.strip_prefix("error: ").unwrap_or(reason))
        }
    })
}

/// A duration as Go writes it (`1.5s`, `300ms`, `1h30m`), which blackbox_exporter takes, or as Prometheus does (`1d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl Decode for GoDuration {
    fn decode(at: &mut At<'_>) -> Option<GoDuration> {
        at.scalar("a duration", |text| match go_duration(text) {
            Some(span) => Ok(GoDuration(span)),
            None => parse_duration(text).map(GoDuration).map_err(|error| error.to_string()),
        })
    }
}

fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        seconds += number * factor;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// A duration longer than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

impl Decode for Interval {
    fn decode(at: &mut At<'_>) -> Option<Interval> {
        at.scalar("a duration", |text| match parse_duration(text) {
            Ok(Duration::ZERO) => Err("this must be longer than zero".to_owned()),
            Ok(span) => Ok(Interval(span)),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// A number of bytes: `4096`, `10MB`, `1GiB`. As in Prometheus, `KB` and `KiB` are both 1024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteCount(pub u64);

impl Decode for ByteCount {
    fn decode(at: &mut At<'_>) -> Option<ByteCount> {
        at.scalar("a number of bytes", |text| {
            byte_count(text)
                .map(ByteCount)
                .ok_or_else(|| format!("expected a number of bytes, for example 512KB or 10MB, found `{text}`"))
        })
    }
}

fn byte_count(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start().trim_end_matches(['B', 'b']).trim_end_matches('i');
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`, `[v6]:port` or `:port`.
    ///
    /// # Errors
    /// What is missing.
    pub fn parse(text: &str) -> Result<HostPort, String> {
        let help = |what: &str| format!("`{text}` {what}: write host:port, for example 127.0.0.1:9797");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| help("has no port"))?;
        let port = port.parse().map_err(|_| help("has no port number"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(|| help("has an unclosed bracket"))?,
            None if host.contains(':') => return Err(help("needs brackets around its address")),
            None => host,
        };
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Decode for HostPort {
    fn decode(at: &mut At<'_>) -> Option<HostPort> {
        at.scalar("host:port", HostPort::parse)
    }
}

/// An address that starts with `http://` or `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(pub String);

impl Decode for HttpUrl {
    fn decode(at: &mut At<'_>) -> Option<HttpUrl> {
        at.scalar("a URL", |text| http_url(text).map(|()| HttpUrl(text.to_owned())))
    }
}

/// As [`HttpUrl`], but it may hold a secret: messages never repeat it. A template is taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUrl(pub Secret);

impl Decode for SecretUrl {
    fn decode(at: &mut At<'_>) -> Option<SecretUrl> {
        at.scalar("a URL", |text| {
            if !text.contains("{{") {
                http_url(text)?;
            }
            Ok(SecretUrl(Secret::from(text)))
        })
    }
}

/// # Errors
/// What is wrong with the address, without repeating it.
pub(super) fn http_url(text: &str) -> Result<(), String> {
    let help = "write it as http://host/path or https://host/path";
    if !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(format!("not an HTTP address: {help}"));
    }
    match reqwest::Url::parse(text) {
        Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => Ok(()),
        Ok(_) => Err(format!("this address has no host: {help}")),
        Err(error) => Err(format!("not an address ({error}): {help}")),
    }
}

/// Reports keys that exclude each other.
pub fn at_most_one(fields: &mut Fields<'_>, keys: &[&str]) {
    let given: Vec<&str> = keys.iter().copied().filter(|key| fields.has(key)).collect();
    if let [first, .., last] = given[..] {
        let all = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        fields.problem(last, format!("`{last}` beside `{first}`"), Some(format!("give at most one of {all}")));
    }
}

/// The place of a key that is known but not described, when it is there and not null.
pub fn known_key(fields: &mut Fields<'_>, key: &str) -> Option<Place> {
    let place = fields.place_of(key);
    fields.hidden::<Anything>(key).map(|_| place)
}

/// Takes note of keys that are known and change nothing here.
pub fn pass_over(fields: &mut Fields<'_>, keys: &[&str]) {
    for key in keys {
        let _ = known_key(fields, key);
    }
}

/// Takes note of keys that are known but not supported: each one that is there becomes a refusal, with `{}` in the
/// message standing for the key. They are not described.
pub fn refuse(fields: &mut Fields<'_>, keys: &[&str], message: &str, help: &str, refused: &mut Vec<Problem>) {
    for key in keys {
        if let Some(place) = known_key(fields, key) {
            refused.push(place.error(message.replace("{}", key), Some(help.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_both_schools() {
        let check = |text: &str, millis: Option<u64>| {
            let span = go_duration(text).or_else(|| parse_duration(text).ok());
            assert_eq!(span, millis.map(Duration::from_millis), "{text}");
        };
        check("5s", Some(5_000));
        check("1.5s", Some(1_500));
        check("1h30m", Some(5_400_000));
        check("300ms", Some(300));
        check("1d", Some(86_400_000));
        check("5", None);
        check("", None);
        check("s", None);
        check("-1s", None);
    }

    #[test]
    fn byte_counts() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(byte_count(text), expected, "{text}");
        check("4096", Some(4096));
        check("10MB", Some(10 << 20));
        check("1GiB", Some(1 << 30));
        check("512 KB", Some(512 << 10));
        check("1.5MB", None);
        check("10XB", None);
        check("99999999999TB", None);
    }

    #[test]
    fn hosts_and_ports() {
        let check = |text: &str, expected: Option<(&str, u16)>| {
            let found = HostPort::parse(text).ok();
            assert_eq!(found.as_ref().map(|h| (h.host.as_str(), h.port)), expected, "{text}");
        };
        check("localhost:25", Some(("localhost", 25)));
        check(":25", Some(("", 25)));
        check("[fd12::1]:25", Some(("fd12::1", 25)));
        check("localhost", None);
        check("localhost:", None);
        check("fd12::1:25", None);
        check("a:99999", None);
    }

    #[test]
    fn addresses() {
        let check = |text: &str, good: bool| assert_eq!(http_url(text).is_ok(), good, "{text}");
        check("http://example.com/a?b=c", true);
        check("https://[::1]:8443", true);
        check("http:example.com", false);
        check("http://", false);
        check("telnet://example.com", false);
        check("/home", false);
        check("", false);
    }

    #[test]
    fn a_bad_expression_gets_one_line() {
        assert_eq!(compile(":[").map(|_| ()), Err("not a regular expression: unclosed character class".to_owned()));
        let huge = compile("\\w{1000}{1000}").map(|_| ());
        assert!(huge.is_err_and(|message| !message.contains('\n')));
    }
}
