//! Cuts a template into texts and the tokens of its actions, with trim markers and comments already applied.
//! Follows Go's `text/template/parse/lex.go` in what is a token and what is refused.

use std::ops::Range;

use super::TemplateError;

/// One token and where it stands in the source, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
    /// White space stands before it: `.a .b` are two operands, `.a.b` is one.
    pub spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text(String),
    Open,
    Close,
    Dot,
    /// `.name`, without the dot.
    Field(String),
    /// `$name`, with the dollar.
    Variable(String),
    /// A function or a keyword.
    Word(String),
    Literal(String),
    Number(Number),
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    Comma,
}

/// A number as Go's ideal constants are: what it is follows from how it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

/// Cuts the source into tokens.
pub(super) fn lex(source: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { source, at: 0, out: Vec::new(), trim_next: false };
    while lexer.at < source.len() {
        lexer.text()?;
    }
    Ok(lexer.out)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    out: Vec<Token>,
    /// The action before ended in ` -}}`.
    trim_next: bool,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn fail<T>(&self, from: usize, message: impl Into<String>) -> Result<T, TemplateError> {
        let to = self.at.max(from + 1).min(self.source.len());
        Err(TemplateError::new(from..self.char_end(to), message))
    }

    /// The next character boundary at or after `at`.
    fn char_end(&self, at: usize) -> usize {
        (at..=self.source.len()).find(|at| self.source.is_char_boundary(*at)).unwrap_or(self.source.len())
    }

    fn push(&mut self, kind: Kind, from: usize, spaced: bool) {
        self.out.push(Token { kind, span: from..self.at, spaced });
    }

    /// Text up to the next action, and that action.
    fn text(&mut self) -> Result<(), TemplateError> {
        let from = self.at;
        let (mut text, action) = match self.rest().find(OPEN) {
            Some(length) => (&self.rest()[..length], true),
            None => (self.rest(), false),
        };
        self.at += text.len();
        if std::mem::take(&mut self.trim_next) {
            text = text.trim_start_matches(is_space);
        }
        let open = self.at;
        let mut trim = false;
        if action {
            self.at += OPEN.len();
            let mut after = self.rest().chars();
            trim = after.next() == Some('-') && after.next().is_some_and(is_space);
        }
        if trim {
            text = text.trim_end_matches(is_space);
            self.at += 2;
        }
        if !text.is_empty() {
            self.out.push(Token { kind: Kind::Text(text.to_owned()), span: from..open, spaced: false });
        }
        match action {
            true if self.rest().starts_with("/*") => self.comment(open),
            true => self.action(open),
            false => Ok(()),
        }
    }

    fn comment(&mut self, open: usize) -> Result<(), TemplateError> {
        let Some(length) = self.rest().find("*/") else {
            self.at = open + 2;
            return self.fail(open, "this comment is not closed: write */}}");
        };
        self.at += length + 2;
        if !self.close() {
            return self.fail(open, "a comment must end with */}} and stand alone between its braces");
        }
        Ok(())
    }

    /// Takes `}}` or ` -}}`, if one of them comes next.
    fn close(&mut self) -> bool {
        let rest = self.rest();
        if rest.starts_with(CLOSE) {
            self.at += CLOSE.len();
            return true;
        }
        let trimmed =
            rest.strip_prefix(is_space).and_then(|r| r.strip_prefix('-')).is_some_and(|r| r.starts_with(CLOSE));
        if trimmed {
            self.at += 2 + CLOSE.len();
            self.trim_next = true;
        }
        trimmed
    }

    fn action(&mut self, open: usize) -> Result<(), TemplateError> {
        self.out.push(Token { kind: Kind::Open, span: open..self.at, spaced: false });
        let mut spaced = false;
        loop {
            let from = self.at;
            if self.close() {
                self.push(Kind::Close, from, spaced);
                return Ok(());
            }
            let Some(c) = self.peek() else {
                self.at = open + 2;
                return self.fail(open, "this action is not closed: }} is missing");
            };
            if is_space(c) {
                self.at += 1;
                spaced = true;
                continue;
            }
            let kind = self.token(c)?;
            self.push(kind, from, spaced);
            spaced = false;
        }
    }

    fn token(&mut self, c: char) -> Result<Kind, TemplateError> {
        let from = self.at;
        let next = self.rest()[c.len_utf8()..].chars().next();
        let mut single = |kind, bytes| {
            self.at += bytes;
            Ok(kind)
        };
        match c {
            '|' => single(Kind::Pipe, 1),
            '(' => single(Kind::LeftParen, 1),
            ')' => single(Kind::RightParen, 1),
            ',' => single(Kind::Comma, 1),
            '=' => single(Kind::Assign, 1),
            ':' if next == Some('=') => single(Kind::Declare, 2),
            ':' => self.fail(from, "expected := after the colon"),
            '"' => self.quoted(),
            '`' => self.raw(),
            '\'' => self.character(),
            '$' => {
                self.at += 1;
                let name = self.word();
                self.terminated()?;
                Ok(Kind::Variable(format!("${name}")))
            }
            '.' if !next.is_some_and(|n| n.is_ascii_digit()) => {
                self.at += 1;
                let name = self.word();
                if name.is_empty() {
                    return Ok(Kind::Dot);
                }
                self.terminated()?;
                Ok(Kind::Field(name))
            }
            '+' | '-' | '.' | '0'..='9' => self.number(),
            c if is_word(c) => {
                let word = self.word();
                self.terminated()?;
                Ok(Kind::Word(word))
            }
            c => self.fail(from, format!("unexpected character {c:?} in an action")),
        }
    }

    fn word(&mut self) -> String {
        let word: String = self.rest().chars().take_while(|c| is_word(*c)).collect();
        self.at += word.len();
        word
    }

    /// After a name only these may follow, as in Go: so `.a-b` is an error and no subtraction.
    fn terminated(&self) -> Result<(), TemplateError> {
        match self.peek() {
            None => Ok(()),
            Some(c) if is_space(c) || ".,|:)(".contains(c) || self.rest().starts_with(CLOSE) => Ok(()),
            Some(c) => {
                let hint = if c == '-' { ": a name with a dash needs {{ index $labels \"the-name\" }}" } else { "" };
                Err(TemplateError::new(self.at..self.at + c.len_utf8(), format!("bad character {c:?}{hint}")))
            }
        }
    }

    fn quoted(&mut self) -> Result<Kind, TemplateError> {
        let from = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(Kind::Literal(String::from_utf8_lossy(&text).into_owned()));
                }
                Some('\\') => self.escape('"', &mut text)?,
                None | Some('\n') => return self.fail(from, "this string is not closed"),
                Some(c) => {
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn raw(&mut self) -> Result<Kind, TemplateError> {
        let from = self.at;
        self.at += 1;
        let Some(length) = self.rest().find('`') else {
            return self.fail(from, "this raw string is not closed");
        };
        let text = self.rest()[..length].replace('\r', "");
        self.at += length + 1;
        Ok(Kind::Literal(text))
    }

    fn character(&mut self) -> Result<Kind, TemplateError> {
        let from = self.at;
        self.at += 1;
        let mut text = Vec::new();
        match self.peek() {
            Some('\\') => self.escape('\'', &mut text)?,
            None | Some('\n' | '\'') => return self.fail(from, "this is no character constant"),
            Some(c) => {
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += c.len_utf8();
            }
        }
        if self.peek() != Some('\'') {
            return self.fail(from, "a character constant holds one character between single quotes");
        }
        self.at += 1;
        let code = match std::str::from_utf8(&text).ok().and_then(|t| t.chars().next()) {
            Some(c) => i64::from(u32::from(c)),
            None => text.first().map_or(0, |b| i64::from(*b)),
        };
        Ok(Kind::Number(Number::Int(code)))
    }

    /// One escape sequence of Go's interpreted strings.
    fn escape(&mut self, quote: char, out: &mut Vec<u8>) -> Result<(), TemplateError> {
        let from = self.at;
        self.at += 1;
        let c = self.peek().unwrap_or('\n');
        self.at += if c == '\n' { 0 } else { c.len_utf8() };
        let plain = match c {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' => b'\\',
            c if c == quote => c as u8,
            'x' => self.code(from, 2, 16)? as u8,
            '0'..='7' => {
                self.at -= 1;
                match u8::try_from(self.code(from, 3, 8)?) {
                    Ok(byte) => byte,
                    Err(_) => return self.fail(from, "this escape sequence is larger than a byte"),
                }
            }
            'u' | 'U' => {
                let code = self.code(from, if c == 'u' { 4 } else { 8 }, 16)?;
                let Some(c) = char::from_u32(code) else {
                    return self.fail(from, "this escape sequence is no character");
                };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return self.fail(from, "unknown escape sequence"),
        };
        out.push(plain);
        Ok(())
    }

    fn code(&mut self, from: usize, digits: usize, radix: u32) -> Result<u32, TemplateError> {
        let text = self.rest().get(..digits).filter(|t| t.chars().all(|c| c.is_digit(radix)));
        let Some(code) = text.and_then(|t| u32::from_str_radix(t, radix).ok()) else {
            return self.fail(from, format!("an escape sequence of {digits} digits is cut short"));
        };
        self.at += digits;
        Ok(code)
    }

    fn number(&mut self) -> Result<Kind, TemplateError> {
        let from = self.at;
        let sign = usize::from(self.rest().starts_with(['+', '-']));
        let mut exponent = false;
        let hex = self.rest()[sign..].starts_with("0x") || self.rest()[sign..].starts_with("0X");
        let length = self
            .rest()
            .char_indices()
            .take_while(|(at, c)| {
                let go_on = *at < sign || is_word(*c) || *c == '.' || (exponent && matches!(c, '+' | '-'));
                exponent = if hex { matches!(c, 'p' | 'P') } else { matches!(c, 'e' | 'E') };
                go_on
            })
            .map(|(_, c)| c.len_utf8())
            .sum::<usize>();
        let text = &self.rest()[..length];
        self.at += length;
        if text.ends_with('i') {
            return self.fail(from, format!("{text} is a complex number, which templates here do not have"));
        }
        match parse_number(text) {
            Some(number) => Ok(Kind::Number(number)),
            None => self.fail(from, format!("bad number syntax: {text:?}")),
        }
    }
}

/// Reads a number as Go's templates do: an integer unless it is written as a float.
fn parse_number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let plain = digits.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") if lower.contains(['.', 'p']) => return None,
        Some("0x") => Some((16, 2)),
        Some("0b") => Some((2, 2)),
        Some("0o") => Some((8, 2)),
        _ if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) => Some((8, 1)),
        _ => None,
    };
    if let Some((radix, skip)) = radix {
        let value = i128::from(u64::from_str_radix(&lower[skip..], radix).ok()?);
        return i64::try_from(if negative { -value } else { value }).ok().map(Number::Int);
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if lower.contains(['.', 'e']) {
        let value: f64 = lower.parse().ok().filter(|v: &f64| v.is_finite())?;
        return Some(Number::Float(if negative { -value } else { value }));
    }
    let value: i128 = lower.parse().ok()?;
    i64::try_from(if negative { -value } else { value }).ok().map(Number::Int)
}
