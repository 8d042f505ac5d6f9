//! Reading kernel text byte by byte: lines, fields and numbers, without allocation.

use std::borrow::Cow;

/// The lines of a text, without their line ends; an empty last one is left out.
pub(crate) fn lines(data: &[u8]) -> Lines<'_> {
    Lines { rest: data }
}

/// See [`lines`].
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match memchr::memchr(b'\n', self.rest) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(line)
    }
}

/// The fields of a line, separated by spaces and tabs.
pub(crate) fn fields(line: &[u8]) -> Fields<'_> {
    Fields { rest: line }
}

/// See [`fields`].
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What is left of the line, without leading space.
    pub(crate) fn rest(&self) -> &'a [u8] {
        trim(self.rest)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|b| !b.is_ascii_whitespace())?;
        let rest = &self.rest[start..];
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }
}

/// Without the space at both ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// A decimal number; whole ones take the short way.
pub(crate) fn number(text: &[u8]) -> Option<f64> {
    if (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        let whole = text.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        return Some(whole as f64);
    }
    fast_float2::parse(text).ok()
}

/// A hexadecimal number without a prefix, at most 64 bits.
pub(crate) fn hex(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| Some(sum << 4 | u64::from(char::from(*byte).to_digit(16)?)))
}

/// A whole number as sysfs prints it: decimal with a sign, or hexadecimal after `0x`.
pub(crate) fn whole(text: &[u8]) -> Option<f64> {
    match text.strip_prefix(b"0x") {
        Some(digits) => hex(digits).map(|number| number as f64),
        None => std::str::from_utf8(text).ok()?.parse::<i64>().ok().map(|number| number as f64),
    }
}

/// As text; bytes that are no UTF-8 are replaced.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Splits at the first of a byte.
pub(crate) fn split_once(line: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(at, line)?;
    Some((&line[..at], &line[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_writes_them() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        check("0", Some(0.0));
        check("18446744073709551615", Some(18_446_744_073_709_551_615.0));
        check("9999999999999999999", Some(1e19));
        check("0.21", Some(0.21));
        check("-1", Some(-1.0));
        check("", None);
        check("12x", None);
        assert_eq!(hex(b"00551c3f"), Some(0x551c3f));
        assert_eq!(hex(b"zz"), None);
        assert_eq!(hex(b"11112222333344445"), None);
        assert_eq!(whole(b"0x1303"), Some(4867.0));
        assert_eq!(whole(b"-1"), Some(-1.0));
    }

    #[test]
    fn lines_and_fields_leave_nothing_out() {
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"a\n").count(), 1);
        assert_eq!(fields(b"  a\t b ").collect::<Vec<_>>(), [b"a", b"b"]);
        let mut some = fields(b"x  rest of it ");
        some.next();
        assert_eq!(some.rest(), b"rest of it");
    }
}
