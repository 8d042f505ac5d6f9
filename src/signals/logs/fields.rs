//! The fields of one line, and templates made of them. Both are used again for every line: no allocation on the way.

/// Where a field's text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Span {
    #[default]
    Missing,
    /// In the line.
    Line(usize, usize),
    /// In the scratch space, because escapes were resolved.
    Scratch(usize, usize),
}

/// The wanted fields of one line, by their number.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    spans: Vec<Span>,
    scratch: Vec<u8>,
}

impl Fields {
    /// Room for so many fields.
    pub fn new(count: usize) -> Fields {
        Fields { spans: vec![Span::Missing; count], scratch: Vec::new() }
    }

    /// Forgets the last line.
    pub fn clear(&mut self) {
        self.spans.fill(Span::Missing);
        self.scratch.clear();
    }

    /// Notes a part of the line.
    pub fn set(&mut self, field: usize, start: usize, end: usize) {
        self.spans[field] = Span::Line(start, end);
    }

    /// Notes a text that is not in the line as it is.
    pub fn set_text(&mut self, field: usize, text: &[u8]) {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(text);
        self.spans[field] = Span::Scratch(start, self.scratch.len());
    }

    /// A field's text; `None` when the line does not have it.
    pub fn get<'a>(&'a self, field: usize, line: &'a [u8]) -> Option<&'a [u8]> {
        match self.spans.get(field)? {
            Span::Missing => None,
            Span::Line(start, end) => line.get(*start..*end),
            Span::Scratch(start, end) => self.scratch.get(*start..*end),
        }
    }
}

/// Where a template takes a text from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A field of the format.
    Format(usize),
    /// A group of the metric's expression.
    Capture(usize),
}

/// A text with fields in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field(Origin),
}

/// What a template can read of one line.
pub struct Reading<'a> {
    pub line: &'a [u8],
    pub fields: &'a Fields,
    /// What the metric's expression looked at.
    pub subject: &'a [u8],
    pub captures: Option<&'a regex::bytes::CaptureLocations>,
}

impl<'a> Reading<'a> {
    fn get(&self, origin: Origin) -> Option<&'a [u8]> {
        match origin {
            Origin::Format(field) => self.fields.get(field, self.line),
            Origin::Capture(group) => {
                let (start, end) = self.captures?.get(group)?;
                self.subject.get(start..end)
            }
        }
    }
}

impl Template {
    /// Reads a template; `find` resolves a field's name. `Err(None)`: the text is no template; `Err(Some)`: this field is
    /// unknown.
    pub fn new(text: &str, mut find: impl FnMut(&str) -> Option<Origin>) -> Result<Template, Option<String>> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(open) = rest.find("{{") {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let close = open + rest[open..].find("}}").ok_or(None)?;
            let name = rest[open + 2..close].trim();
            if name.is_empty() {
                return Err(None);
            }
            parts.push(Part::Field(find(name).ok_or_else(|| Some(name.to_owned()))?));
            rest = &rest[close + 2..];
        }
        if rest.contains("}}") {
            return Err(None);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template { parts })
    }

    /// The text, when no field is in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// True when a field of the format is in it.
    pub fn needs_format(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(Origin::Format(_))))
    }

    /// True when a group of the expression is in it.
    pub fn needs_captures(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(Origin::Capture(_))))
    }

    /// Writes the text; a missing field is empty.
    pub fn write(&self, reading: &Reading<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(origin) => out.extend_from_slice(reading.get(*origin).unwrap_or_default()),
            }
        }
    }

    /// The number; `None` when a field is missing or the text is no finite number.
    pub fn number(&self, reading: &Reading<'_>, scratch: &mut Vec<u8>) -> Option<f64> {
        let text = match self.parts.as_slice() {
            [Part::Field(origin)] => reading.get(*origin)?,
            _ => {
                scratch.clear();
                self.write(reading, scratch);
                scratch
            }
        };
        let value: f64 = fast_float2::parse(text.trim_ascii()).ok()?;
        value.is_finite().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_take_fields_with_text_around() {
        let find = |name: &str| ["a", "b"].iter().position(|known| *known == name).map(Origin::Format);
        let check = |text: &str, expected: &str| {
            let mut fields = Fields::new(2);
            fields.set(0, 0, 2);
            fields.set_text(1, b"x\"y");
            let template = Template::new(text, find).expect(text);
            let mut out = Vec::new();
            template.write(&Reading { line: b"12 rest", fields: &fields, subject: b"", captures: None }, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check("plain", "plain");
        check("{{a}}", "12");
        check("{{ a }}xx", "12xx");
        check("s{{a}}-{{b}}", "s12-x\"y");
        check("{a}", "{a}");
        assert_eq!(Template::new("{{a", find), Err(None));
        assert_eq!(Template::new("a}}", find), Err(None));
        assert_eq!(Template::new("{{}}", find), Err(None));
        assert_eq!(Template::new("{{c}}", find), Err(Some("c".into())));
    }

    #[test]
    fn numbers_are_finite_or_nothing() {
        let check = |line: &str, expected: Option<f64>| {
            let mut fields = Fields::new(1);
            fields.set(0, 0, line.len());
            let template = Template::new("{{f}}", |_| Some(Origin::Format(0))).expect("template");
            let reading = Reading { line: line.as_bytes(), fields: &fields, subject: b"", captures: None };
            assert_eq!(template.number(&reading, &mut Vec::new()), expected, "{line}");
        };
        check("1.5", Some(1.5));
        check(" -2e3 ", Some(-2000.0));
        check("", None);
        check("NaN", None);
        check("1e999", None);
        check("12ms", None);
    }
}
