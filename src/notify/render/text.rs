//! Foreign text made harmless: no control characters, no characters that turn the reading direction, no markup.

/// Keeps lines and tabs; every other control character and everything that reorders text becomes `\u{fffd}`.
pub(in crate::notify) fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").chars().map(|c| if c == '\n' || c == '\t' { c } else { harmless(c) }).collect()
}

/// As [`plain`], on one line: for subjects, headers and reasons.
pub(in crate::notify) fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { harmless(c) }).collect();
    line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn harmless(c: char) -> char {
    let turns = matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    if c.is_control() || turns { '\u{fffd}' } else { c }
}

/// The first `most` characters, with an ellipsis where something is missing.
pub(in crate::notify) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Escapes for HTML text and for attribute values in double quotes.
pub(in crate::notify) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// True for what may become a link: `http` or `https`, one word.
pub(in crate::notify) fn is_web_link(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_lose_their_power() {
        assert_eq!(plain("a\r\nb\tc\x1b[31m\u{202e}d\0"), "a\nb\tc\u{fffd}[31m\u{fffd}d\u{fffd}");
        assert_eq!(one_line(" a\r\nBcc: x@y\u{2028}z \u{7} "), "a Bcc: x@y z \u{fffd}");
        assert_eq!(shortened("äöü", 2), "äö…");
        assert_eq!(shortened("äö", 2), "äö");
        assert_eq!(escape_html("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn only_web_addresses_become_links() {
        for (text, expected) in [
            ("https://wiki/runbook", true),
            ("http://a", true),
            ("https://", false),
            ("javascript:alert(1)", false),
            ("https://a b", false),
            ("see https://a", false),
        ] {
            assert_eq!(is_web_link(text), expected, "{text}");
        }
    }
}
