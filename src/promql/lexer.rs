//! PromQL text to tokens, as `promql/parser/lex.go` of Prometheus 3.14 cuts them.
//!
//! The whole text is cut at once. At the first text that is no token the list ends with [`Token::Broken`], and the
//! error stands beside it: a syntax error further left wins. Comments and blanks leave no token. Keywords are words;
//! only the parser knows when a word is one.

use super::ast::{BinaryOp, Span, byte_char};
use super::error::ParseError;
use crate::time::parse_duration;

/// The kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// An identifier or keyword.
    Word,
    Number,
    Duration,
    /// A quoted text, with its quotes.
    Text,
    Op(BinaryOp),
    /// `=`
    Assign,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    /// Here the text stops being PromQL.
    Broken,
    End,
}

/// A token and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) span: Span,
}

/// The tokens of a text; the last is [`Token::End`].
pub(crate) fn lex(text: &str) -> (Vec<Lexeme>, Option<ParseError>) {
    let mut lexer = Lexer { text, at: 0, braces: false, brackets: false };
    let mut lexemes = Vec::with_capacity(text.len() / 3 + 2);
    let mut error = None;
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.next().unwrap_or_else(|broken| {
            error = Some(broken);
            Token::Broken
        });
        lexemes.push(Lexeme { token, span: span(start, lexer.at) });
        if token == Token::Broken {
            lexemes.push(Lexeme { token: Token::End, span: span(text.len(), text.len()) });
        }
        if matches!(token, Token::End | Token::Broken) {
            return (lexemes, error);
        }
    }
}

fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Within `{...}`: keywords and colons mean nothing.
    braces: bool,
    /// Within `[...]`: a colon stands alone.
    brackets: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn take(&mut self, bytes: usize, token: Token) -> Token {
        self.at += bytes;
        token
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        let Some(first) = self.text[self.at..].chars().next() else { return Ok(Token::End) };
        Ok(match (first, self.peek(1)) {
            ('(', _) => self.take(1, Token::LeftParen),
            (')', _) => self.take(1, Token::RightParen),
            ('{', _) => {
                self.braces = true;
                self.take(1, Token::LeftBrace)
            }
            ('}', _) => {
                self.braces = false;
                self.take(1, Token::RightBrace)
            }
            ('[', _) => {
                self.brackets = true;
                self.take(1, Token::LeftBracket)
            }
            (']', _) => {
                self.brackets = false;
                self.take(1, Token::RightBracket)
            }
            (',', _) => self.take(1, Token::Comma),
            ('@', _) => self.take(1, Token::At),
            ('=', b'~') => self.take(2, Token::Matches),
            ('!', b'~') => self.take(2, Token::NotMatches),
            ('"' | '\'' | '`', _) => return self.quoted(first),
            ('0'..='9', _) | ('.', b'0'..=b'9') => return self.number(),
            (':', _) if self.brackets => self.take(1, Token::Colon),
            ('a'..='z' | 'A'..='Z' | '_' | ':', _) => self.word(),
            _ => return self.operator(first),
        })
    }

    fn operator(&mut self, first: char) -> Result<Token, ParseError> {
        let (op, bytes) = match (first, self.peek(1)) {
            ('=', b'=') => (BinaryOp::Equal, 2),
            ('=', _) => return Ok(self.take(1, Token::Assign)),
            ('!', b'=') => (BinaryOp::NotEqual, 2),
            ('<', b'=') => (BinaryOp::LessEqual, 2),
            ('<', b'/') => (BinaryOp::TrimUpper, 2),
            ('<', _) => (BinaryOp::Less, 1),
            ('>', b'=') => (BinaryOp::GreaterEqual, 2),
            ('>', b'/') => (BinaryOp::TrimLower, 2),
            ('>', _) => (BinaryOp::Greater, 1),
            ('+', _) => (BinaryOp::Add, 1),
            ('-', _) => (BinaryOp::Sub, 1),
            ('*', _) => (BinaryOp::Mul, 1),
            ('/', _) => (BinaryOp::Div, 1),
            ('%', _) => (BinaryOp::Mod, 1),
            ('^', _) => (BinaryOp::Pow, 1),
            _ => return Err(self.stranger(first)),
        };
        Ok(self.take(bytes, Token::Op(op)))
    }

    /// The error for a character that begins no token.
    fn stranger(&mut self, first: char) -> ParseError {
        let start = self.at;
        self.at += first.len_utf8();
        let whereabouts = if self.braces { " inside braces" } else { "" };
        let error = ParseError::new(span(start, self.at), format!("unexpected character{whereabouts}: {first:?}"));
        match first {
            '&' => error.with_help("the logical operator is written: and"),
            '|' => error.with_help("the logical operator is written: or"),
            '!' => error.with_help("write != or !~ to compare; to exclude series write: a unless b"),
            '~' => error.with_help("a pattern is matched with =~ or !~"),
            ';' => error.with_help("an expression has no end mark: remove it"),
            '$' => error.with_help("a template variable was not replaced: write a value in its place"),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}' => {
                error.with_help("typographic quotes are not quotes: write \" or '")
            }
            '\u{2013}' | '\u{2014}' | '\u{2212}' => error.with_help("write a plain minus sign: -"),
            '\u{d7}' => error.with_help("write * to multiply"),
            '\u{2264}' => error.with_help("write <="),
            '\u{2265}' => error.with_help("write >="),
            '\u{a0}' => error.with_help("a no-break space stands here: write a plain one"),
            c if c.is_alphabetic() => error.with_help(
                "quote names that are not plain ASCII: {\"name\"} for a metric, \"name\"=\"value\" for a label",
            ),
            _ => error,
        }
    }

    fn word(&mut self) -> Token {
        let colon = !self.braces && !self.brackets;
        let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (b == b':' && colon);
        let start = self.at;
        self.at += 1;
        while part(self.peek(0)) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        if !self.braces && (word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")) {
            return Token::Number;
        }
        Token::Word
    }

    fn quoted(&mut self, quote: char) -> Result<Token, ParseError> {
        let start = self.at;
        let body = &self.text[start + 1..];
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at = start + 1 + at + 1;
                    return Ok(Token::Text);
                }
                '\\' if quote != '`' => drop(chars.next()),
                '\n' if quote != '`' => break,
                _ => {}
            }
        }
        let line = body.find('\n').filter(|_| quote != '`').unwrap_or(body.len());
        self.at = start + 1 + line;
        let what = if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" };
        Err(ParseError::new(span(start, self.at), what).with_help(format!("close it with {quote}")))
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        self.scan_number();
        let joined = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        if !joined(self.peek(0)) {
            return Ok(Token::Number);
        }
        while joined(self.peek(0)) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        if parse_duration(word).is_ok() {
            return Ok(Token::Duration);
        }
        let error = ParseError::new(span(start, self.at), format!("bad number or duration syntax: {word:?}"));
        let units = "durations are whole numbers with the units y, w, d, h, m, s, ms, largest first, each at most once";
        Err(match word.find(|c: char| c.is_ascii_alphabetic()).map(|at| &word[at..]) {
            Some("min" | "mins" | "minute" | "minutes") => error.with_help("minutes are written m: 5m"),
            Some("sec" | "secs" | "second" | "seconds") => error.with_help("seconds are written s: 5s"),
            Some("hr" | "hrs" | "hour" | "hours") => error.with_help("hours are written h: 2h"),
            Some("day" | "days") => error.with_help("days are written d: 2d"),
            Some(_) => error.with_help(format!("{units}: for example 1h30m")),
            None => error,
        })
    }

    fn scan_number(&mut self) {
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') {
            self.at += 2;
            while self.peek(0).is_ascii_hexdigit() || self.peek(0) == b'_' {
                self.at += 1;
            }
            return;
        }
        self.scan_digits();
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.scan_digits();
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.scan_digits();
            }
        }
    }

    fn scan_digits(&mut self) {
        while self.peek(0).is_ascii_digit() || self.peek(0) == b'_' {
            self.at += 1;
        }
    }
}

/// The value of a number token, as Go's `ParseInt(s, 0, 64)` and then `ParseFloat` read it: hexadecimal with `0x`,
/// octal with a leading `0`, `_` between digits.
pub(crate) fn number_value(word: &str) -> Result<f64, String> {
    let bad = || format!("error parsing number {word:?}");
    match word.to_ascii_lowercase().as_str() {
        "inf" => return Ok(f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    if !underscores_separate_digits(word) {
        return Err(format!("{}: an underscore must stand between digits", bad()));
    }
    let digits = word.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let range = if hex.is_empty() { "" } else { ": value out of range" };
        return i64::from_str_radix(hex, 16).map(|n| n as f64).map_err(|_| format!("{}{range}", bad()));
    }
    if digits.len() > 1
        && digits.starts_with('0')
        && let Ok(octal) = i64::from_str_radix(&digits, 8)
    {
        return Ok(octal as f64);
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("{}: value out of range", bad())),
        Err(_) => Err(bad()),
    }
}

fn underscores_separate_digits(word: &str) -> bool {
    let bytes = word.as_bytes();
    let hex = word.starts_with("0x") || word.starts_with("0X");
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(at, _)| {
        let before = at.checked_sub(1).map_or(b'_', |at| bytes[at]);
        let after = bytes.get(at + 1).copied().unwrap_or(b'_');
        let digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        (digit(before) || (hex && at == 2)) && digit(after)
    })
}

/// The text of a quoted token: Go's escapes in double and single quotes, none in backquotes.
pub(crate) fn unquote(word: &str) -> Result<String, String> {
    let bytes = unquote_bytes(word)?;
    String::from_utf8(bytes).map_err(|_| "escape sequences of the string give no valid UTF-8".to_owned())
}

/// As [`unquote`], but bytes that are no UTF-8 are kept: as [`crate::promql::byte_char`]s.
pub(crate) fn unquote_any(word: &str) -> Result<String, String> {
    let bytes = unquote_bytes(word)?;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| byte_char(*byte)));
    }
    Ok(text)
}

fn unquote_bytes(word: &str) -> Result<Vec<u8>, String> {
    let quote = word.as_bytes().first().copied().unwrap_or(b'"');
    let body = word.get(1..word.len().saturating_sub(1)).unwrap_or("");
    if quote == b'`' || !body.contains('\\') {
        return Ok(body.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&rest[at + 1..], quote, &mut out)?;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Reads one escape sequence behind its backslash and gives what follows it.
fn escape<'t>(text: &'t str, quote: u8, out: &mut Vec<u8>) -> Result<&'t str, String> {
    let Some(first) = text.chars().next() else { return Err("escape sequence not terminated".to_owned()) };
    let simple = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        c if c == char::from(quote) => quote,
        '0'..='7' => return coded(text, 0, 3, 8, out),
        'x' => return coded(text, 1, 2, 16, out),
        'u' => return coded(text, 1, 4, 16, out),
        'U' => return coded(text, 1, 8, 16, out),
        other => {
            return Err(format!("unknown escape sequence \\{other}: write \\\\ for a backslash, or use backquotes"));
        }
    };
    out.push(simple);
    Ok(&text[1..])
}

fn coded<'t>(text: &'t str, skip: usize, digits: usize, radix: u32, out: &mut Vec<u8>) -> Result<&'t str, String> {
    let code = text.get(skip..skip + digits).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
    let value = code
        .and_then(|code| u32::from_str_radix(code, radix).ok())
        .ok_or_else(|| format!("escape sequence \\{} needs {digits} digits", &text[..1]))?;
    if digits <= 3 {
        out.push(u8::try_from(value).map_err(|_| "escape sequence is larger than one byte".to_owned())?);
    } else {
        let c = char::from_u32(value).ok_or("escape sequence is an invalid Unicode code point")?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&text[skip + digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_gos_values() {
        let check = |word: &str, expected: Option<f64>| assert_eq!(number_value(word).ok(), expected, "{word}");
        check("1", Some(1.0));
        check("1_000_000", Some(1e6));
        check("0x1F", Some(31.0));
        check("0x_1f", Some(31.0));
        check("0755", Some(493.0));
        check("0789", Some(789.0));
        check(".5", Some(0.5));
        check("5.", Some(5.0));
        check("1e-3", Some(0.001));
        check("InF", Some(f64::INFINITY));
        check("1e999", None);
        check("0xffffffffffffffffff", None);
        check("1__0", None);
        check("1_", None);
        check("0x", None);
    }

    #[test]
    fn escapes_are_gos() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(unquote(word).ok().as_deref(), expected, "{word}");
        };
        check(r#""a\n\t\\b""#, Some("a\n\t\\b"));
        check(r#""\x41\101\u00e9\U0001F600""#, Some("AA\u{e9}\u{1f600}"));
        check(r"'\''", Some("'"));
        check(r#"'\"'"#, None);
        check(r"`\n`", Some("\\n"));
        check(r#""\xc3\xa9""#, Some("\u{e9}"));
        check(r#""\xff""#, None);
        assert_eq!(unquote_any(r#""a\xffb""#), Ok("a\u{10ffff}b".to_owned()));
        check(r#""\q""#, None);
        check(r#""\u12""#, None);
        check(r#""\ud800""#, None);
        check(r#""\400""#, None);
    }

    #[test]
    fn tokens_are_cut_as_prometheus_does() {
        let check = |text: &str, expected: &[Token]| {
            let (lexemes, _) = lex(text);
            let tokens: Vec<Token> = lexemes.iter().map(|l| l.token).collect();
            assert_eq!(tokens, expected, "{text}");
        };
        check("a:b:c", &[Token::Word, Token::End]);
        check(
            "a[5m:1m]",
            &[
                Token::Word,
                Token::LeftBracket,
                Token::Duration,
                Token::Colon,
                Token::Duration,
                Token::RightBracket,
                Token::End,
            ],
        );
        check("a </ 1", &[Token::Word, Token::Op(BinaryOp::TrimUpper), Token::Number, Token::End]);
        check("# nothing", &[Token::End]);
        check("1 # one\n+2", &[Token::Number, Token::Op(BinaryOp::Add), Token::Number, Token::End]);
        check("{nan}", &[Token::LeftBrace, Token::Word, Token::RightBrace, Token::End]);
        check("1 ?", &[Token::Number, Token::Broken, Token::End]);
    }
}
