//! Text for a terminal: spans with a style, and nothing in them that a terminal would obey.
//!
//! Much of what is shown was written by others: label values, log lines, annotations, reasons of pins. No function here
//! lets a control character through, so that none of them can move the cursor, hide a line or set a title.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How a span looks where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    /// One of several curves.
    Curve(usize),
}

impl Style {
    /// The escape sequence that switches it on; empty for plain text.
    fn start(self) -> &'static str {
        const CURVES: [&str; 6] = ["\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[31m"];
        match self {
            Style::Plain => "",
            Style::Bold => "\x1b[1m",
            Style::Dim => "\x1b[2m",
            Style::Good => "\x1b[32m",
            Style::Warn => "\x1b[33m",
            Style::Bad => "\x1b[1;31m",
            Style::Curve(index) => CURVES[index % CURVES.len()],
        }
    }
}

/// One line of text with its styles.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Text(Vec<(Style, String)>);

impl Text {
    /// An empty line.
    pub(super) fn new() -> Text {
        Text::default()
    }

    /// A span in one style.
    pub(super) fn styled(style: Style, text: impl Into<String>) -> Text {
        Text(vec![(style, neutral(&text.into()).into_owned())])
    }

    /// The same with a further span.
    pub(super) fn and(mut self, style: Style, text: impl Into<String>) -> Text {
        self.push(style, text);
        self
    }

    /// The same with further plain text.
    pub(super) fn then(self, text: impl Into<String>) -> Text {
        self.and(Style::Plain, text)
    }

    pub(super) fn push(&mut self, style: Style, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.push((style, neutral(&text).into_owned()));
        }
    }

    pub(super) fn append(&mut self, other: Text) {
        self.0.extend(other.0);
    }

    /// How many characters it has.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// At most so many characters; what was cut shows as `…`.
    pub(super) fn cut(mut self, width: usize) -> Text {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        for (_, text) in &mut self.0 {
            *text = text.chars().take(left).collect();
            left -= text.chars().count();
        }
        self.0.push((Style::Plain, "…".to_owned()));
        self
    }

    /// For output, with or without colours.
    pub(super) fn render(&self, colours: bool) -> String {
        let mut out = String::new();
        for (style, text) in &self.0 {
            let start = if colours { style.start() } else { "" };
            out.push_str(start);
            out.push_str(text);
            if !start.is_empty() {
                out.push_str("\x1b[0m");
            }
        }
        out
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text::styled(Style::Plain, text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::styled(Style::Plain, text)
    }
}

/// A line without anything that a terminal obeys or that changes the order of what is read: such a character shows as
/// its number.
pub(super) fn neutral(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c.is_control())
}

/// The same for text of several lines.
pub(super) fn neutral_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c.is_control() && c != '\n')
}

fn replaced(text: &str, control: fn(char) -> bool) -> Cow<'_, str> {
    let bad = |c: char| control(c) || is_direction(c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' if bad(c) => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if bad(c) => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Characters that reorder or split lines without being control characters.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON as it is, but for characters that a terminal could obey: within its strings they become `\u` escapes, which
/// mean the same.
pub(super) fn neutral_json(json: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' || is_direction(c);
    if !json.contains(bad) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        match c {
            '\t' | '\r' => out.push(' '),
            c if bad(c) => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_command_the_terminal() {
        for (foreign, shown) in [
            ("plain é 日本", "plain é 日本"),
            ("\x1b[31mred\x1b[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("a\u{9b}2Jb", "a\\u{9b}2Jb"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("exe\u{202e}txt", "exe\\u{202e}txt"),
            ("\u{7f}", "\\u{7f}"),
        ] {
            assert_eq!(neutral(foreign), shown);
            assert_eq!(Text::from(foreign).render(true), shown);
            assert_eq!(Text::new().and(Style::Plain, foreign).render(false), shown);
        }
        assert_eq!(neutral_lines("a\nb\x1b"), "a\nb\\u{1b}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let json = "{\"a\":\"\u{9b}\u{7f}\u{202e}é\",\t\"b\":1}\n";
        let shown = neutral_json(json);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
        let [before, after] = [json, &shown].map(|text| serde_json::from_str::<serde_json::Value>(text).expect("json"));
        assert_eq!(before, after);
    }

    #[test]
    fn styles_show_only_where_there_are_colours() {
        let text = Text::styled(Style::Bad, "firing").then(" now");
        assert_eq!(text.render(false), "firing now");
        assert_eq!(text.render(true), "\x1b[1;31mfiring\x1b[0m now");
        assert_eq!(text.width(), 10);
        assert_eq!(text.clone().cut(8).render(false), "firing …");
        assert_eq!(text.cut(10).render(false), "firing now");
    }
}
