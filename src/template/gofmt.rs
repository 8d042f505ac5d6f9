//! Go's `fmt`: `Print`, `Println` and `Printf` with their verbs, flags, widths and complaints (`%!d(string=x)`).

use std::fmt::Write;

use super::gotime::span_text;
use super::value::{ListKind, MapKind, Value};
use crate::limits;

/// `fmt.Sprint`: operands next to each other are separated by a space unless one of them is a text.
pub(super) fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut before_is_text = true;
    for value in values {
        let is_text = value.as_text().is_some();
        if !before_is_text && !is_text {
            out.push(' ');
        }
        out.push_str(&display(value));
        before_is_text = is_text;
    }
    out
}

/// `fmt.Sprintln`.
pub(super) fn println(values: &[Value]) -> String {
    let mut out = values.iter().map(display).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// `%v`.
pub(super) fn display(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, &Spec::plain('v'));
    out
}

/// `%v` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn float(value: f64) -> String {
    Spec::plain('v').float(value)
}

/// A float with a verb and a precision: `%.4g` and the like.
pub(super) fn float_with(value: f64, verb: char, precision: usize) -> String {
    Spec { precision: Some(precision), ..Spec::plain(verb) }.float(value)
}

/// One `%` directive.
#[derive(Clone, Debug)]
struct Spec {
    verb: char,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Spec {
    fn plain(verb: char) -> Spec {
        Spec { verb, plus: false, minus: false, sharp: false, space: false, zero: false, width: None, precision: None }
    }

    fn pad(&self, out: &mut String, text: &str) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.minus {
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if self.zero && !text.contains("Inf") && !text.contains("NaN") {
            let sign = usize::from(text.starts_with(['+', '-', ' ']));
            out.push_str(&text[..sign]);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(&text[sign..]);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(text);
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        }
    }

    fn int(&self, value: i64) -> String {
        let size = value.unsigned_abs();
        let (prefix, mut digits) = match self.verb {
            'b' => (if self.sharp { "0b" } else { "" }, format!("{size:b}")),
            'o' => (if self.sharp { "0" } else { "" }, format!("{size:o}")),
            'O' => ("0o", format!("{size:o}")),
            'x' => (if self.sharp { "0x" } else { "" }, format!("{size:x}")),
            'X' => (if self.sharp { "0X" } else { "" }, format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        if let Some(precision) = self.precision {
            if precision == 0 && size == 0 {
                return String::new();
            }
            digits = format!("{digits:0>precision$}");
        }
        format!("{}{prefix}{digits}", self.sign(value < 0))
    }

    fn float(&self, value: f64) -> String {
        if value.is_nan() {
            return if self.plus { "+NaN" } else { "NaN" }.to_owned();
        }
        if value.is_infinite() {
            return if value < 0.0 { "-Inf" } else { "+Inf" }.to_owned();
        }
        let size = value.abs();
        let digits = match self.verb {
            'e' | 'E' => exponent_form(size, Some(self.precision.unwrap_or(6))),
            'f' | 'F' => format!("{size:.*}", self.precision.unwrap_or(6)),
            _ => self.general_form(size),
        };
        let digits = if matches!(self.verb, 'E' | 'G') { digits.to_uppercase() } else { digits };
        format!("{}{digits}", self.sign(value.is_sign_negative()))
    }

    /// `%g` and `%v`.
    fn general_form(&self, size: f64) -> String {
        let (digits, exponent) = significant(size, self.precision.map(|p| p.max(1)));
        // The shortest form turns to an exponent at 1e6; a given precision is itself the threshold.
        let threshold = match self.precision {
            None => 6,
            Some(precision) => {
                let precision = precision.max(1) as i32;
                let count = digits.len() as i32;
                if precision > count && count > exponent { count } else { precision }
            }
        };
        if exponent < -4 || exponent >= threshold {
            return with_exponent(&digits, exponent);
        }
        if exponent < 0 {
            return format!("0.{}{digits}", "0".repeat((-exponent - 1) as usize));
        }
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            return format!("{digits}{}", "0".repeat(whole - digits.len()));
        }
        format!("{}.{}", &digits[..whole], &digits[whole..])
    }
}

/// The significant digits without trailing zeros, and the decimal exponent of the first.
fn significant(size: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        None => format!("{size:e}"),
        Some(precision) => format!("{size:.*e}", precision - 1),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    let trimmed = digits.trim_end_matches('0');
    let digits = if trimmed.is_empty() { "0" } else { trimmed };
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

fn exponent_form(size: f64, precision: Option<usize>) -> String {
    let text = match precision {
        None => format!("{size:e}"),
        Some(precision) => format!("{size:.precision$e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn write_value(out: &mut String, value: &Value, spec: &Spec) {
    match value {
        Value::List(list) if spec.verb != 'T' => {
            if list.kind == ListKind::Pairs && matches!(spec.verb, 'v' | 's' | 'q') {
                return write_text(out, &pairs_text(value), spec, value);
            }
            out.push('[');
            for (at, item) in list.items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                write_value(out, item, spec);
            }
            out.push(']');
        }
        Value::Map(map) if map.kind == MapKind::Kv && matches!(spec.verb, 'v' | 's' | 'q') => {
            write_text(out, &pairs_text(value), spec, value);
        }
        Value::Map(_) | Value::Labels(_) => {
            out.push_str("map[");
            for (at, (key, item)) in value.entries().unwrap_or_default().iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                write_value(out, &Value::Text(key.clone()), spec);
                out.push(':');
                write_value(out, item, spec);
            }
            out.push(']');
        }
        Value::Struct(object) => {
            out.push('{');
            for (at, field) in object.fields.iter().filter(|field| !field.json.is_empty()).enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                if spec.plus {
                    out.push_str(field.name);
                    out.push(':');
                }
                write_value(out, &field.value, spec);
            }
            out.push('}');
        }
        Value::Time(time) if matches!(spec.verb, 'v' | 's' | 'q') => write_text(out, &time.print(), spec, value),
        Value::Span(nanos) if matches!(spec.verb, 'v' | 's' | 'q') => write_text(out, &span_text(*nanos), spec, value),
        Value::Nil if spec.verb == 'v' => spec.pad(out, "<nil>"),
        _ => write_scalar(out, value, spec),
    }
}

fn write_scalar(out: &mut String, value: &Value, spec: &Spec) {
    match (value, spec.verb) {
        (Value::Text(text) | Value::Html(text) | Value::Url(text), _) => write_text(out, text, spec, value),
        (Value::Bool(value), 't' | 'v') => spec.pad(out, if *value { "true" } else { "false" }),
        (Value::Int(number) | Value::Span(number), 'b' | 'd' | 'o' | 'O' | 'x' | 'X' | 'v') => {
            // A precision switches zero padding off.
            let spec = Spec { zero: spec.zero && spec.precision.is_none(), ..spec.clone() };
            spec.pad(out, &spec.int(*number));
        }
        (Value::Int(number), 'c') => spec.pad(out, &rune(*number).to_string()),
        (Value::Int(number), 'q') => spec.pad(out, &format!("'{}'", escaped(&rune(*number).to_string(), '\''))),
        (Value::Int(number), 'U') => spec.pad(out, &format!("U+{number:04X}")),
        (Value::Float(number), 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'v') => spec.pad(out, &spec.float(*number)),
        _ => complain(out, value, spec.verb),
    }
}

fn rune(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}

fn write_text(out: &mut String, text: &str, spec: &Spec, whole: &Value) {
    let cut = |text: &str| match spec.precision {
        Some(precision) => text.chars().take(precision).collect::<String>(),
        None => text.to_owned(),
    };
    match spec.verb {
        'v' if spec.sharp => spec.pad(out, &quote(text)),
        'v' | 's' => spec.pad(out, &cut(text)),
        'q' if spec.sharp && !text.contains('`') && !text.contains(char::is_control) => {
            spec.pad(out, &format!("`{text}`"))
        }
        'q' => spec.pad(out, &quote(&cut(text))),
        'x' | 'X' => {
            let upper = spec.verb == 'X';
            let hex: Vec<String> =
                text.bytes().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect();
            spec.pad(out, &hex.join(if spec.space { " " } else { "" }));
        }
        verb => complain(out, whole, verb),
    }
}

fn complain(out: &mut String, value: &Value, verb: char) {
    let _ = match value {
        Value::Nil => write!(out, "%!{verb}(<nil>)"),
        value => write!(out, "%!{verb}({}={})", value.type_name(), display(value)),
    };
}

/// `strconv.Quote`.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", escaped(text, '"'))
}

fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let _ = match c {
            c if c == quote => write!(out, "\\{c}"),
            '\\' => write!(out, "\\\\"),
            '\u{7}' => write!(out, "\\a"),
            '\u{8}' => write!(out, "\\b"),
            '\u{c}' => write!(out, "\\f"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{b}' => write!(out, "\\v"),
            c if is_printable(c) => write!(out, "{c}"),
            c if u32::from(c) < 0x80 => write!(out, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) < 0x1_0000 => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out
}

/// Go's `unicode.IsPrint`, without its table of unassigned characters.
pub(super) fn is_printable(c: char) -> bool {
    let hidden = matches!(u32::from(c), 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
        | 0xe000..=0xf8ff | 0xfff0..=0xfffb | 0xe_0000..=0x10_ffff);
    c == ' ' || !(c.is_control() || c.is_whitespace() || hidden)
}

/// Alertmanager's `Pairs.String()`: `a=1, b=2`, the alert's name first.
fn pairs_text(value: &Value) -> String {
    let pairs: Vec<(String, String)> = match value {
        Value::List(list) => list
            .items
            .iter()
            .filter_map(|item| match item {
                Value::Struct(pair) => Some((display(&pair.fields[0].value), display(&pair.fields[1].value))),
                _ => None,
            })
            .collect(),
        value => sorted_pairs(value).into_iter().map(|(n, v)| (n.to_string(), display(&v))).collect(),
    };
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// The entries of a map with `alertname` first: Alertmanager's `SortedPairs`.
pub(super) fn sorted_pairs(value: &Value) -> Vec<(std::rc::Rc<str>, Value)> {
    let mut pairs = value.entries().unwrap_or_default();
    pairs.sort_by_key(|(name, _)| &**name != "alertname");
    pairs
}

/// `fmt.Sprintf`.
///
/// # Errors
/// When the result, or a width or precision, is larger than a template may write.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut printer = Printer { values, next: 0, reordered: false, out: String::new() };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        printer.out.push_str(&rest[..at]);
        rest = printer.directive(&rest[at + 1..])?;
        if printer.out.len() > limits::TEMPLATE_OUTPUT_BYTES {
            return Err(format!("the result is larger than {} bytes", limits::TEMPLATE_OUTPUT_BYTES));
        }
    }
    printer.out.push_str(rest);
    printer.finish();
    Ok(printer.out)
}

struct Printer<'a> {
    values: &'a [Value],
    next: usize,
    reordered: bool,
    out: String,
}

impl<'a> Printer<'a> {
    /// One directive after its `%`; gives what follows it.
    fn directive<'f>(&mut self, format: &'f str) -> Result<&'f str, String> {
        let mut spec = Spec::plain('v');
        let mut rest = format;
        while let Some(flag) = rest.chars().next() {
            match flag {
                '+' => spec.plus = true,
                '-' => (spec.minus, spec.zero) = (true, false),
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = !spec.minus,
                _ => break,
            }
            rest = &rest[1..];
        }
        let mut bad = false;
        (rest, bad) = self.index(rest, bad);
        let (width, after) = self.count(rest, "%!(BADWIDTH)")?;
        rest = after;
        match width {
            Some(width) if width < 0 => (spec.minus, spec.zero, spec.width) = (true, false, Some(-width as usize)),
            width => spec.width = width.map(|w| w as usize),
        }
        if let Some(after) = rest.strip_prefix('.') {
            (rest, bad) = self.index(after, bad);
            let (precision, after) = self.count(rest, "%!(BADPREC)")?;
            spec.precision = Some(precision.filter(|p| *p >= 0).unwrap_or(0) as usize);
            rest = after;
        }
        (rest, bad) = self.index(rest, bad);
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return Ok("");
        };
        spec.verb = verb;
        let rest = &rest[verb.len_utf8()..];
        match (verb, self.values.get(self.next)) {
            ('%', _) => self.out.push('%'),
            (verb, _) if bad => drop(write!(self.out, "%!{verb}(BADINDEX)")),
            (verb, None) => drop(write!(self.out, "%!{verb}(MISSING)")),
            (verb, Some(value)) => {
                self.next += 1;
                match verb {
                    'T' => spec.pad(&mut self.out, value.type_name()),
                    _ => write_value(&mut self.out, value, &spec),
                }
            }
        }
        Ok(rest)
    }

    /// `[n]`: which operand comes next.
    fn index<'f>(&mut self, format: &'f str, bad: bool) -> (&'f str, bool) {
        let Some(inner) = format.strip_prefix('[') else { return (format, bad) };
        self.reordered = true;
        let Some((number, rest)) = inner.split_once(']') else { return (inner, true) };
        match number.parse::<usize>() {
            Ok(number) if (1..=self.values.len()).contains(&number) => {
                self.next = number - 1;
                (rest, bad)
            }
            _ => (rest, true),
        }
    }

    /// A width or precision: digits, or `*`.
    fn count<'f>(&mut self, format: &'f str, complaint: &str) -> Result<(Option<i64>, &'f str), String> {
        let too_large = |n: i64| n.unsigned_abs() > limits::TEMPLATE_OUTPUT_BYTES as u64;
        if let Some(rest) = format.strip_prefix('*') {
            let value = self.values.get(self.next);
            self.next += 1;
            return match value {
                Some(Value::Int(number)) if !too_large(*number) => Ok((Some(*number), rest)),
                _ => {
                    self.out.push_str(complaint);
                    Ok((None, rest))
                }
            };
        }
        let run = format.bytes().take_while(u8::is_ascii_digit).count();
        if run == 0 {
            return Ok((None, format));
        }
        match format[..run].parse::<i64>() {
            Ok(number) if !too_large(number) => Ok((Some(number), &format[run..])),
            _ => Err(format!("a width or precision of {} is too large", &format[..run])),
        }
    }

    fn finish(&mut self) {
        if self.reordered || self.next >= self.values.len() {
            return;
        }
        self.out.push_str("%!(EXTRA ");
        for (at, value) in self.values[self.next..].iter().enumerate() {
            if at > 0 {
                self.out.push_str(", ");
            }
            let _ = match value {
                Value::Nil => write!(self.out, "<nil>"),
                value => write!(self.out, "{}={}", value.type_name(), display(value)),
            };
        }
        self.out.push(')');
    }
}
