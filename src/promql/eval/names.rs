//! Label names that are given as strings.

use std::fmt::Write as _;

use crate::promql::ast::byte_char;

/// True for what may be a label's name: any text that is UTF-8 and not empty.
pub(super) fn is_label(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| byte_of(c).is_some())
}

/// A string as Go quotes it, bytes that are no UTF-8 as `\xff`.
pub(super) fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match (c, byte_of(c)) {
            (_, Some(byte)) => drop(write!(out, "\\x{byte:02x}")),
            ('"' | '\\', _) => out.extend(['\\', c]),
            ('\n', _) => out.push_str("\\n"),
            ('\t', _) => out.push_str("\\t"),
            ('\r', _) => out.push_str("\\r"),
            (c, _) if c.is_ascii_control() => drop(write!(out, "\\x{:02x}", u32::from(c))),
            (c, _) => out.push(c),
        }
    }
    out.push('"');
    out
}

fn byte_of(c: char) -> Option<u8> {
    let byte = (c as u32).checked_sub(byte_char(0) as u32)?;
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_no_label() {
        let check = |text: &str, valid: bool, quoted: &str| {
            assert_eq!((is_label(text), go_quoted(text).as_str()), (valid, quoted), "{text}");
        };
        check("job", true, "\"job\"");
        check("é \"", true, "\"é \\\"\"");
        check("", false, "\"\"");
        check(&format!("a{}z", byte_char(0xc5)), false, "\"a\\xc5z\"");
    }
}
