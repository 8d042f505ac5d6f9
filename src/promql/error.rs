//! What is wrong with an expression's text, and where.
//!
//! An error carries a place, a message and, where one is known, a sentence that says what to write instead. It does
//! not carry the text itself: [`ParseError::render`] is given it.

use std::fmt::Write as _;

use super::ast::Span;

/// Why a text is no PromQL expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default())]
pub struct ParseError {
    /// The offending part of the text, in bytes.
    pub span: Span,
    /// What is wrong: a lower-case fragment, in Prometheus' words where it has some.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// Characters of a message that repeats what was written, however much that was.
const MESSAGE_CHARS: usize = 400;

/// A message of bounded size: the middle of one that is too long is left out.
fn bounded(message: String) -> String {
    let chars = message.chars().count();
    if chars <= MESSAGE_CHARS {
        return message;
    }
    let half = MESSAGE_CHARS / 2;
    let (first, last): (String, String) =
        (message.chars().take(half).collect(), message.chars().skip(chars - half).collect());
    format!("{first} ... {last}")
}

impl ParseError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> ParseError {
        ParseError { span, message: bounded(message.into()), help: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> ParseError {
        self.help = Some(help.into());
        self
    }

    /// Line and column of the error in `text`, both from 1; columns count characters.
    pub fn position(&self, text: &str) -> (usize, usize) {
        position(text, self.span.start)
    }

    /// The error as several lines for people: place and message, the line of the text, a caret under the offending
    /// part, and the help.
    pub fn render(&self, text: &str) -> String {
        let (line, column) = self.position(text);
        let start = floor_boundary(text, self.span.start);
        let end = floor_boundary(text, self.span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let shown = shorten(&text[line_start..line_end], start - line_start);
        let carets = text[start..end.min(line_end)].chars().count().clamp(1, shown.room.max(1));
        let mut out = format!("{line}:{column}: {}\n", self.message);
        let gutter = " ".repeat(line.to_string().len());
        let _ = writeln!(out, "{gutter} |\n{line} | {}", shown.text);
        let _ = write!(out, "{gutter} | {}{}", shown.indent, "^".repeat(carets));
        if let Some(help) = &self.help {
            let _ = write!(out, "\n{gutter} = help: {help}");
        }
        out
    }
}

/// Line and column, both from 1, of a byte offset in `text`; columns count characters.
pub fn position(text: &str, offset: u32) -> (usize, usize) {
    let before = &text[..floor_boundary(text, offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

fn floor_boundary(text: &str, offset: u32) -> usize {
    text.floor_char_boundary((offset as usize).min(text.len()))
}

/// A line as it is shown: at most [`SHOWN`] characters of it around the error.
struct Shown {
    text: String,
    /// What stands before the caret: blanks, and the tabs of the line.
    indent: String,
    /// Characters from the caret to the end of what is shown.
    room: usize,
}

const SHOWN: usize = 120;

fn shorten(line: &str, at: usize) -> Shown {
    let before = line[..at].chars().count();
    let skipped = before.saturating_sub(SHOWN / 2);
    let mut text: String = line.chars().skip(skipped).take(SHOWN).map(plain).collect();
    let room = text.chars().count().saturating_sub(before - skipped);
    let mut indent: String = text.chars().take(before - skipped).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    if skipped > 0 {
        text.insert_str(0, "...");
        indent.insert_str(0, "   ");
    }
    if line.chars().count() > skipped + SHOWN {
        text.push_str("...");
    }
    Shown { text, indent, room }
}

/// Control characters never reach a terminal.
fn plain(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}
