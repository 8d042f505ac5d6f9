//! Alertmanager's matcher syntax: `{alertname="Down",severity=~"page|ticket"}`, braces and quotes optional.
//!
//! Two grammars, as Alertmanager has them. The newer one takes any UTF-8 name and value; the classic one takes classic
//! names and is lax about quotes and escapes. An input that only one of them takes is taken; where both take it and
//! differ, the classic reading wins, so that a pasted configuration keeps its meaning.

use std::ops::Range;

use crate::model::{MatchOp, Matcher};

/// Why a text is no list of matchers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MatcherSyntaxError {
    pub message: String,
    /// Where in the text, in bytes.
    pub range: Range<usize>,
}

type Parsed<T> = Result<T, MatcherSyntaxError>;

fn fail<T>(range: Range<usize>, message: impl Into<String>) -> Parsed<T> {
    Err(MatcherSyntaxError { message: message.into(), range })
}

/// Reads a list of matchers; an empty list (`{}` or nothing) is allowed.
///
/// # Errors
/// When neither grammar takes the text, with the newer grammar's complaint.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, MatcherSyntaxError> {
    match (utf8(text), classic(text)) {
        (_, Ok(matchers)) => Ok(matchers),
        (parsed, Err(_)) => parsed,
    }
}

fn matcher(op: MatchOp, name: &str, value: &str, range: Range<usize>) -> Parsed<Matcher> {
    Matcher::new(op, name, value).or_else(|error| fail(range, error.to_string()))
}

// ---- the newer grammar

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Open,
    Close,
    Comma,
    Op(MatchOp),
    Text(String),
}

struct Token {
    kind: Kind,
    range: Range<usize>,
}

fn utf8(text: &str) -> Parsed<Vec<Matcher>> {
    let tokens = lex(text)?;
    let end = text.len()..text.len();
    let mut rest = tokens.as_slice();
    let braces = matches!(rest.first(), Some(Token { kind: Kind::Open, .. }));
    if braces {
        rest = &rest[1..];
        match rest.split_last() {
            Some((Token { kind: Kind::Close, .. }, inner)) => rest = inner,
            _ => return fail(end, "the closing brace } is missing"),
        }
    }
    let mut out = Vec::new();
    while let Some(first) = rest.first() {
        let Kind::Text(name) = &first.kind else {
            return fail(first.range.clone(), format!("expected a label name, not {:?}", &text[first.range.clone()]));
        };
        let op = match rest.get(1) {
            Some(Token { kind: Kind::Op(op), .. }) => *op,
            other => {
                let range = other.map_or(end, |token| token.range.clone());
                return fail(range, format!("expected =, !=, =~ or !~ after {name:?}"));
            }
        };
        let value = match rest.get(2) {
            Some(Token { kind: Kind::Text(value), range }) => (value, range.clone()),
            other => {
                let range = other.map_or(end, |token| token.range.clone());
                return fail(range, format!("expected a value for {name:?}"));
            }
        };
        out.push(matcher(op, name, value.0, value.1)?);
        rest = &rest[3..];
        match rest.first() {
            None => {}
            Some(Token { kind: Kind::Comma, .. }) => rest = &rest[1..],
            Some(token) => {
                let got = &text[token.range.clone()];
                return fail(token.range.clone(), format!("expected a comma or the end, not {got:?}"));
            }
        }
    }
    Ok(out)
}

fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

fn lex(text: &str) -> Parsed<Vec<Token>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '{' => (Kind::Open, 1),
            '}' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            '=' if rest.starts_with("=~") => (Kind::Op(MatchOp::Matches), 2),
            '=' => (Kind::Op(MatchOp::Equal), 1),
            '!' if rest.starts_with("!=") => (Kind::Op(MatchOp::NotEqual), 2),
            '!' if rest.starts_with("!~") => (Kind::Op(MatchOp::NotMatches), 2),
            '!' => return fail(at..at + 1, "expected != or !~"),
            '"' => quoted(text, at)?,
            c if is_reserved(c) => return fail(at..at + c.len_utf8(), format!("{c:?} must stand in double quotes")),
            _ => {
                let word = rest.find(is_reserved).map_or(rest, |length| &rest[..length]);
                (Kind::Text(word.to_owned()), word.len())
            }
        };
        out.push(Token { kind, range: at..at + length });
        at += length;
    }
    Ok(out)
}

/// A double-quoted text with Go's escapes.
fn quoted(text: &str, from: usize) -> Parsed<(Kind, usize)> {
    let mut out = Vec::new();
    let mut at = from + 1;
    loop {
        let Some(c) = text[at..].chars().next() else {
            return fail(from..text.len(), "the closing quote is missing");
        };
        at += c.len_utf8();
        match c {
            '"' => break,
            '\n' => return fail(at - 1..at, "a line break in quotes is written \\n"),
            '\\' => {
                let (bytes, length) = escape(&text[at..])
                    .map_or_else(|| fail(at - 1..(at + 1).min(text.len()), "this escape sequence is not known"), Ok)?;
                out.extend(bytes);
                at += length;
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    match String::from_utf8(out) {
        Ok(value) => Ok((Kind::Text(value), at - from)),
        Err(_) => fail(from..at, "the escaped bytes are no UTF-8"),
    }
}

/// What stands after a backslash: its bytes, and how much of the text it takes.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let c = text.chars().next()?;
    let code = |from: usize, digits: usize, radix: u32| {
        let digits = text.get(from..from + digits).filter(|d| d.chars().all(|c| c.is_digit(radix)))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let byte = |byte: u8| Some((vec![byte], 1));
    match c {
        'a' => byte(0x07),
        'b' => byte(0x08),
        'f' => byte(0x0c),
        'n' => byte(b'\n'),
        'r' => byte(b'\r'),
        't' => byte(b'\t'),
        'v' => byte(0x0b),
        '\\' => byte(b'\\'),
        '"' => byte(b'"'),
        'x' => Some((vec![u8::try_from(code(1, 2, 16)?).ok()?], 3)),
        '0'..='7' => Some((vec![u8::try_from(code(0, 3, 8)?).ok()?], 3)),
        'u' => Some((char::from_u32(code(1, 4, 16)?)?.to_string().into_bytes(), 5)),
        'U' => Some((char::from_u32(code(1, 8, 16)?)?.to_string().into_bytes(), 9)),
        _ => None,
    }
}

// ---- the classic grammar

fn classic(text: &str) -> Parsed<Vec<Matcher>> {
    let start = text.len() - text.trim_start().len();
    let inner = text.trim();
    let (inner, start) = inner.strip_prefix('{').map_or((inner, start), |inner| (inner, start + 1));
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let mut out = Vec::new();
    let (mut from, mut in_quotes, mut escaped) = (0, false, false);
    let ends = inner.char_indices().chain([(inner.len(), ',')]);
    for (at, c) in ends {
        let last = at == inner.len();
        if escaped && !last {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes || last => {
                let part = &inner[from..at];
                // An empty part is allowed at the end only: a trailing comma.
                if !(last && part.trim().is_empty()) {
                    out.push(classic_one(part, start + from)?);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
    Ok(out)
}

fn classic_one(text: &str, offset: usize) -> Parsed<Matcher> {
    let range = offset..offset + text.len();
    let trimmed = text.trim();
    let head = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let name_end = trimmed.find(|c: char| !(head(c) || c.is_ascii_digit())).unwrap_or(trimmed.len());
    let name = &trimmed[..name_end];
    let rest = trimmed[name_end..].trim_start();
    let ops = [("=~", MatchOp::Matches), ("!=", MatchOp::NotEqual), ("!~", MatchOp::NotMatches), ("=", MatchOp::Equal)];
    let found = ops.iter().find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (*op, value.trim())));
    let Some((op, value)) = found.filter(|_| name.starts_with(head)) else {
        return fail(range, format!("bad matcher format: {trimmed:?}"));
    };
    let Some(value) = classic_value(value) else {
        return fail(range, format!("the value holds a double quote that is not escaped: {value:?}"));
    };
    matcher(op, name, &value, range)
}

fn classic_value(raw: &str) -> Option<String> {
    let (raw, mut wants_quote) = raw.strip_prefix('"').map_or((raw, false), |raw| (raw, true));
    let mut out = String::new();
    let mut chars = raw.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        let last = chars.peek().is_none();
        match c {
            '\\' if last => out.push('\\'),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                Some((_, c)) => out.extend(['\\', c]),
                None => {}
            },
            '"' if wants_quote && last => wants_quote = false,
            '"' => return None,
            c => out.push(c),
        }
    }
    (!wants_quote).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_read_as_alertmanager_reads_them() {
        let check = |text: &str, want: &str| {
            let got = parse_matchers(text).map(|ms| ms.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            assert_eq!(got.as_deref(), Ok(want), "{text}");
        };
        check("", "");
        check("{}", "");
        check("{foo=bar}", "foo=\"bar\"");
        check("{foo=bar,}", "foo=\"bar\"");
        check("{foo!=bar}", "foo!=\"bar\"");
        check("foo=~[a-z]+", "foo=~\"[a-z]+\"");
        check("{foo!~[a-z]+}", "foo!~\"[a-z]+\"");
        check("{foo=🙂bar}", "foo=\"🙂bar\"");
        check("{\"foo\"=\"\\xf0\\x9f\\x99\\x82\"}", "foo=\"🙂\"");
        check("{\"foo\"=\"\\U0001f642\"}", "foo=\"🙂\"");
        check("{\"foo\"=\"bar\\n\"}", "foo=\"bar\\n\"");
        check("{foo=\"bar\",bar!=\"baz\"}", "foo=\"bar\",bar!=\"baz\"");
        check(" foo = bar , bar = \"a,b\" ", "foo=\"bar\",bar=\"a,b\"");
        check("\"my label\"=\"x\"", "\"my label\"=\"x\"");
        check("Σ=\"x\"", "\"Σ\"=\"x\"");
        // Only the classic grammar takes these.
        check("foo=bar=baz", "foo=\"bar=baz\"");
        check("foo=~\"\\d+\"", "foo=~\"\\\\d+\"");
        check("foo=~a|b c", "foo=~\"a|b c\"");
        check("foo=", "foo=\"\"");
        check("foo=bar}", "foo=\"bar\"");
        check("foo=bar\\n", "foo=\"bar\\n\"");
    }

    #[test]
    fn what_neither_grammar_takes_is_refused_with_its_place() {
        let check = |text: &str, part: &str, message: &str| {
            let error = parse_matchers(text).expect_err(text);
            assert_eq!(&text[error.range.clone()], part, "{text}: {error:?}");
            assert!(error.message.contains(message), "{text}: {error:?}");
        };
        check(",", ",", "expected a label name");
        check("{,}", ",", "expected a label name");
        check("foo", "", "expected =");
        check("{foo=\"bar\"baz}", "baz", "expected a comma");
        check("foo=\"bar", "\"bar", "closing quote");
        check("foo=\"b\"r\"", "\"", "closing quote");
        check("1foo=\"bar\", =x", "=", "expected a label name");
        check("foo=~\"(\"", "\"(\"", "invalid regular expression");
        check("foo!bar", "!", "expected != or !~");
        check("Σ=\"\\xf0\\x9f\"", "\"\\xf0\\x9f\"", "no UTF-8");
        check("Σ=\"\\w\"", "\\w", "escape");
    }
}
