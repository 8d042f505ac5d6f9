//! From the tree to typed fields, collecting every problem on the way.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::describe::{Describing, Field, Shape};
use super::problem::{Problem, Severity, SourceFile, nearest};
use super::tree::{Node, Span, Value, parse};
use crate::time::parse_duration;

/// A type that can stand in a file.
///
/// `decode` must ask for all of its fields before it returns, also when one is missing or wrong: read every field into a
/// local, call [`Fields::finish`], and only then build the value with `?`.
pub trait Decode: Sized {
    /// Reads a value at this place. `None` means that the problem was reported (or that nothing is read but described).
    fn decode(at: &mut At<'_>) -> Option<Self>;
}

/// A place in a file that messages can point at later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<SourceFile>,
    pub span: Span,
}

impl Place {
    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        let before = self.file.text.get(..self.span.start).unwrap_or(&self.file.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// An error here. `help` says what to write instead.
    pub fn error(&self, message: impl Into<String>, help: Option<String>) -> Problem {
        self.problem(Severity::Error, message.into(), help)
    }

    /// A warning here.
    pub fn warning(&self, message: impl Into<String>, help: Option<String>) -> Problem {
        self.problem(Severity::Warning, message.into(), help)
    }

    fn problem(&self, severity: Severity, message: String, help: Option<String>) -> Problem {
        Problem { severity, file: Arc::clone(&self.file), span: self.span.clone(), message, help }
    }

    /// The place of a part of this scalar's text: quotes, indentation and escapes of the file are stepped over.
    pub fn within(&self, text: &str, part: Range<usize>) -> Place {
        let raw = &self.file.text[self.span.clone()];
        let mut offsets = Vec::with_capacity(text.len() + 1);
        let mut at = 0;
        for c in text.chars() {
            let found = raw[at..].find(c).map_or(raw.len(), |skip| at + skip);
            // Runs of white space are folded and re-indented freely: stay where the last visible character ended.
            let here = if c.is_whitespace() { at } else { found };
            offsets.extend(std::iter::repeat_n(here, c.len_utf8()));
            at = if c.is_whitespace() || found >= raw.len() { at } else { found + c.len_utf8() };
        }
        offsets.push(at);
        let offset = |index: usize| offsets[index.min(offsets.len() - 1)];
        let last = if part.end > part.start { offset(part.end - 1) + 1 } else { offset(part.end) };
        let start = self.span.start + offset(part.start);
        Place { file: Arc::clone(&self.file), span: start..(self.span.start + last).max(start) }
    }
}

/// A value with its place. Two of them are equal when their values are.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub place: Place,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Spanned<T>) -> bool {
        self.value == other.value
    }
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(at: &mut At<'_>) -> Option<Spanned<T>> {
        let place = at.place();
        T::decode(at).map(|value| Spanned { value, place })
    }
}

/// Reads a whole file: the value when there was no error, and every problem.
pub fn decode_text<T: Decode>(file: &Arc<SourceFile>) -> (Option<T>, Vec<Problem>) {
    match parse(file) {
        Ok(node) => decode_node(file, &node),
        Err(problem) => (None, vec![problem]),
    }
}

/// Reads a parsed file: the value when there was no error, and every problem.
pub fn decode_node<T: Decode>(file: &Arc<SourceFile>, node: &Node) -> (Option<T>, Vec<Problem>) {
    let mut problems = Vec::new();
    let value = T::decode(&mut At(Mode::Read { node, file, problems: &mut problems }));
    let refused = problems.iter().any(|p| p.severity == Severity::Error);
    (value.filter(|_| !refused), problems)
}

/// Where a value is read, or described.
pub struct At<'a>(Mode<'a>);

enum Mode<'a> {
    Read { node: &'a Node, file: &'a Arc<SourceFile>, problems: &'a mut Vec<Problem> },
    Describe(&'a mut Describing),
}

impl<'a> At<'a> {
    pub(super) fn describing(describing: &'a mut Describing) -> At<'a> {
        At(Mode::Describe(describing))
    }

    /// The node that is read; `None` while describing.
    pub fn node(&self) -> Option<&'a Node> {
        match &self.0 {
            Mode::Read { node, .. } => Some(node),
            Mode::Describe(_) => None,
        }
    }

    /// The place that is read.
    pub fn place(&self) -> Place {
        match &self.0 {
            Mode::Read { node, file, .. } => Place { file: Arc::clone(file), span: node.span.clone() },
            Mode::Describe(_) => Place { file: SourceFile::new("", ""), span: 0..0 },
        }
    }

    /// Reports a problem at this place.
    pub fn problem(&mut self, message: impl Into<String>, help: Option<String>) {
        let problem = self.place().error(message, help);
        self.push(problem);
    }

    /// Reports a problem that was made elsewhere.
    pub fn push(&mut self, problem: Problem) {
        if let Mode::Read { problems, .. } = &mut self.0 {
            problems.push(problem);
        }
    }

    /// A mapping with fixed keys. `name` is how the reference and the schema call it.
    pub fn record(&mut self, name: &'static str, doc: &'static str) -> Option<Fields<'_>> {
        if let Mode::Read { node, .. } = &self.0 {
            let node: &Node = node;
            if !matches!(node.value, Value::Map(_) | Value::Null) {
                let message = format!("expected a mapping ({name}), found {}", node.kind());
                self.problem(message, Some("write `key: value` lines here".into()));
                return None;
            }
        }
        match &mut self.0 {
            Mode::Read { node, file, problems } => {
                let node: &Node = node;
                let entries: &[(String, Span, Node)] = match &node.value {
                    Value::Map(entries) => entries,
                    _ => &[],
                };
                let used = vec![false; entries.len()];
                Some(Fields(Source::Read { name, node, entries, used, known: Vec::new(), file, problems }))
            }
            Mode::Describe(describing) => {
                describing.shape = Some(Shape::Record(name));
                if describing.begin(name, doc) { Some(Fields(Source::Describe { name, describing })) } else { None }
            }
        }
    }

    /// A scalar read by a function of its text. `format` names what is expected, for messages and the schema.
    pub fn scalar<T>(&mut self, format: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match &mut self.0 {
            Mode::Describe(describing) => {
                describing.shape = Some(Shape::Text(format));
                None
            }
            Mode::Read { node, .. } => {
                let node: &Node = node;
                match &node.value {
                    Value::Scalar { text, .. } => match read(text) {
                        Ok(value) => Some(value),
                        Err(message) => {
                            self.problem(message, None);
                            None
                        }
                    },
                    _ => {
                        self.problem(format!("expected {format}, found {}", node.kind()), None);
                        None
                    }
                }
            }
        }
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&mut self, words: &[(&'static str, T)]) -> Option<T> {
        if let Mode::Describe(describing) = &mut self.0 {
            describing.shape = Some(Shape::OneOf(words.iter().map(|(word, _)| *word).collect()));
            return None;
        }
        let text = self.scalar("a word", |text| Ok(text.to_owned()))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = match nearest(&text, all.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write one of: {}", all.join(", ")),
        };
        self.problem(format!("unknown value `{text}`"), Some(help));
        None
    }

    /// A list; every wrong item is reported. A null is an empty list.
    pub fn list<T: Decode>(&mut self) -> Option<Vec<T>> {
        match &mut self.0 {
            Mode::Describe(describing) => {
                T::decode(&mut At(Mode::Describe(describing)));
                describing.wrap(Shape::List);
                None
            }
            Mode::Read { node, file, problems } => {
                let node: &Node = node;
                match &node.value {
                    Value::Null => Some(Vec::new()),
                    Value::Seq(items) => {
                        let read = |node| T::decode(&mut At(Mode::Read { node, file, problems }));
                        let values: Vec<Option<T>> = items.iter().map(read).collect();
                        values.into_iter().collect()
                    }
                    _ => {
                        let help = "write it as `[a, b]`, or one item a line, each after `- `".to_owned();
                        self.problem(format!("expected a list, found {}", node.kind()), Some(help));
                        None
                    }
                }
            }
        }
    }

    /// A mapping with free keys, in the order of the file. A null is an empty mapping.
    pub fn entries<T: Decode>(&mut self) -> Option<Vec<(Spanned<String>, T)>> {
        match &mut self.0 {
            Mode::Describe(describing) => {
                T::decode(&mut At(Mode::Describe(describing)));
                describing.wrap(Shape::Map);
                None
            }
            Mode::Read { node, file, problems } => {
                let node: &Node = node;
                match &node.value {
                    Value::Null => Some(Vec::new()),
                    Value::Map(entries) => {
                        let read = |(key, span, node): &'_ (String, Span, Node)| {
                            let place = Place { file: Arc::clone(file), span: span.clone() };
                            let value = T::decode(&mut At(Mode::Read { node, file, problems }));
                            value.map(|value| (Spanned { value: key.clone(), place }, value))
                        };
                        let values: Vec<Option<_>> = entries.iter().map(read).collect();
                        values.into_iter().collect()
                    }
                    _ => {
                        self.problem(format!("expected a mapping, found {}", node.kind()), None);
                        None
                    }
                }
            }
        }
    }
}

/// The fields of one mapping with fixed keys.
pub struct Fields<'a>(Source<'a>);

enum Source<'a> {
    Read {
        name: &'static str,
        node: &'a Node,
        entries: &'a [(String, Span, Node)],
        used: Vec<bool>,
        known: Vec<&'static str>,
        file: &'a Arc<SourceFile>,
        problems: &'a mut Vec<Problem>,
    },
    Describe {
        name: &'static str,
        describing: &'a mut Describing,
    },
}

impl Fields<'_> {
    /// A field that may be missing (or null).
    pub fn optional<T: Decode>(&mut self, key: &'static str, doc: &'static str) -> Option<T> {
        self.field(key, doc, None, false)
    }

    /// A field with a default, given as the YAML text that would stand there.
    ///
    /// # Panics
    /// When the default itself does not decode: describing the type once in a test finds that.
    pub fn or<T: Decode>(&mut self, key: &'static str, default: &'static str, doc: &'static str) -> T {
        self.field(key, doc, Some(default), false).unwrap_or_else(|| {
            let (value, problems) = decode_text(&SourceFile::new("default", default));
            value.unwrap_or_else(|| panic!("the default {default:?} of {key} does not decode: {problems:?}"))
        })
    }

    /// A field that must be there.
    pub fn required<T: Decode>(&mut self, key: &'static str, doc: &'static str) -> Option<T> {
        let missing = !self.has(key);
        if let Source::Read { name, node, file, problems, .. } = &mut self.0
            && missing
        {
            let place = Place { file: Arc::clone(file), span: first_line(node, &file.text) };
            problems.push(
                place.error(format!("missing field `{key}` in {name}"), Some(format!("add `{key}: ...`: {doc}"))),
            );
        }
        self.field(key, doc, None, true)
    }

    /// A field that may be missing (or null), that is neither described nor suggested: for keys of other programs' files
    /// that are refused, or passed over, with a message of their own.
    pub fn hidden<T: Decode>(&mut self, key: &str) -> Option<T> {
        let Source::Read { entries, used, file, problems, .. } = &mut self.0 else { return None };
        let at = entries.iter().position(|(k, _, _)| k == key)?;
        used[at] = true;
        let node = &entries[at].2;
        if matches!(node.value, Value::Null) {
            return None;
        }
        T::decode(&mut At(Mode::Read { node, file, problems }))
    }

    /// Whether a field is there and not null. False while describing.
    pub fn has(&self, key: &str) -> bool {
        match &self.0 {
            Source::Read { entries, .. } => {
                entries.iter().any(|(k, _, node)| k == key && !matches!(node.value, Value::Null))
            }
            Source::Describe { .. } => false,
        }
    }

    /// The place of a key, or of the whole mapping when the key is not there.
    pub fn place_of(&self, key: &str) -> Place {
        match &self.0 {
            Source::Read { entries, node, file, .. } => {
                let span = entries.iter().find(|(k, _, _)| k == key).map(|(_, span, _)| span.clone());
                Place { file: Arc::clone(file), span: span.unwrap_or_else(|| first_line(node, &file.text)) }
            }
            Source::Describe { .. } => Place { file: SourceFile::new("", ""), span: 0..0 },
        }
    }

    /// Reports a problem of a field, or of the whole mapping when the field is not there.
    pub fn problem(&mut self, key: &str, message: impl Into<String>, help: Option<String>) {
        let problem = self.place_of(key).error(message, help);
        self.push(problem);
    }

    /// Reports a problem that was made elsewhere.
    pub fn push(&mut self, problem: Problem) {
        if let Source::Read { problems, .. } = &mut self.0 {
            problems.push(problem);
        }
    }

    /// Ends the mapping: every key that nobody asked for is an error.
    pub fn finish(self) {
        let Source::Read { name, entries, used, known, file, problems, .. } = self.0 else { return };
        for ((key, span, _), _) in entries.iter().zip(used).filter(|(_, used)| !used) {
            let help = match nearest(key, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let place = Place { file: Arc::clone(file), span: span.clone() };
            let mut problem = place.error(format!("unknown field `{key}` in {name}"), Some(help));
            problem.severity = problem.file.unknown_fields;
            problems.push(problem);
        }
    }

    fn field<T: Decode>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        default: Option<&'static str>,
        required: bool,
    ) -> Option<T> {
        match &mut self.0 {
            Source::Read { entries, used, known, file, problems, .. } => {
                known.push(key);
                let at = entries.iter().position(|(k, _, _)| k == key)?;
                used[at] = true;
                let node = &entries[at].2;
                if matches!(node.value, Value::Null) {
                    return None;
                }
                T::decode(&mut At(Mode::Read { node, file, problems }))
            }
            Source::Describe { name, describing } => {
                T::decode(&mut At(Mode::Describe(describing)));
                let shape = describing.shape.take().unwrap_or(Shape::Any);
                describing.add(name, Field { key, doc, shape, default, required });
                None
            }
        }
    }
}

/// The first line of a node, so that a missing field does not mark half a file.
fn first_line(node: &Node, text: &str) -> Span {
    let start = node.span.start;
    let end = text[start..node.span.end.max(start)].find('\n').map_or(node.span.end.max(start), |at| start + at);
    start..end
}

impl Decode for String {
    fn decode(at: &mut At<'_>) -> Option<String> {
        at.scalar("a text", |text| Ok(text.to_owned()))
    }
}

impl Decode for bool {
    fn decode(at: &mut At<'_>) -> Option<bool> {
        at.scalar("true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(format!("expected true or false, found `{text}`")),
        })
    }
}

impl Decode for Duration {
    fn decode(at: &mut At<'_>) -> Option<Duration> {
        at.scalar("a duration", |text| parse_duration(text).map_err(|error| error.to_string()))
    }
}

impl Decode for f64 {
    fn decode(at: &mut At<'_>) -> Option<f64> {
        at.scalar("a number", |text| match text {
            ".inf" | "+.inf" => Ok(f64::INFINITY),
            "-.inf" => Ok(f64::NEG_INFINITY),
            ".nan" => Ok(f64::NAN),
            _ => text.parse().map_err(|_| format!("expected a number, found `{text}`")),
        })
    }
}

fn whole<T: std::str::FromStr>(at: &mut At<'_>) -> Option<T> {
    at.scalar("a whole number", |text| {
        let digits = text.replace('_', "");
        digits.parse().map_err(|_| format!("expected a whole number, found `{text}`"))
    })
}

impl Decode for u16 {
    fn decode(at: &mut At<'_>) -> Option<u16> {
        whole(at)
    }
}

impl Decode for u32 {
    fn decode(at: &mut At<'_>) -> Option<u32> {
        whole(at)
    }
}

impl Decode for u64 {
    fn decode(at: &mut At<'_>) -> Option<u64> {
        whole(at)
    }
}

impl Decode for usize {
    fn decode(at: &mut At<'_>) -> Option<usize> {
        whole(at)
    }
}

impl Decode for i64 {
    fn decode(at: &mut At<'_>) -> Option<i64> {
        whole(at)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(at: &mut At<'_>) -> Option<Vec<T>> {
        at.list()
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(at: &mut At<'_>) -> Option<Box<T>> {
        T::decode(at).map(Box::new)
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(at: &mut At<'_>) -> Option<BTreeMap<String, T>> {
        at.entries().map(|entries| entries.into_iter().map(|(key, value)| (key.value, value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Rule {
        name: String,
        hold: Duration,
        labels: BTreeMap<String, String>,
        children: Vec<Rule>,
    }

    impl Decode for Rule {
        fn decode(at: &mut At<'_>) -> Option<Rule> {
            let mut fields = at.record("a rule", "One rule.")?;
            let name = fields.required("name", "how it is called");
            let hold = fields.or("for", "5m", "how long it must hold");
            let labels = fields.or("labels", "{}", "labels to add");
            let children = fields.or("rules", "[]", "rules below");
            fields.finish();
            Some(Rule { name: name?, hold, labels, children })
        }
    }

    fn problems(text: &str) -> Vec<String> {
        let (value, problems) = decode_text::<Rule>(&SourceFile::new("t", text));
        assert!(value.is_none(), "{text}");
        problems.iter().map(Problem::one_line).collect()
    }

    #[test]
    fn fields_defaults_and_nulls() {
        let text = "name: 12\nlabels: {a: 1}\nrules:\n  - {name: x, for: 1s, rules: ~}\n";
        let (rule, problems) = decode_text::<Rule>(&SourceFile::new("t", text));
        assert!(problems.is_empty(), "{problems:?}");
        let rule = rule.expect("a rule");
        assert_eq!((rule.name.as_str(), rule.hold), ("12", Duration::from_secs(300)));
        assert_eq!(rule.labels["a"], "1");
        assert_eq!(rule.children[0].hold, Duration::from_secs(1));
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let found = problems("fro: 1m\nfor: 5\nlabels: [a]\nrules:\n  - {nmae: x}\n  - name: y\n    for: [1]\n");
        assert_eq!(
            found,
            [
                "t:1:1: missing field `name` in a rule (add `name: ...`: how it is called)",
                "t:2:6: \"5\" is not a duration: write a number and a unit (ms, s, m, h, d, w, y), largest first, for example 1m30s",
                "t:3:9: expected a mapping, found a list",
                "t:5:5: missing field `name` in a rule (add `name: ...`: how it is called)",
                "t:5:6: unknown field `nmae` in a rule (did you mean `name`?)",
                "t:7:10: expected a duration, found a list",
                "t:1:1: unknown field `fro` in a rule (did you mean `for`?)",
            ]
        );
    }

    #[test]
    fn a_part_of_a_scalar_is_found_in_the_file() {
        let check = |yaml: &str, part: &str| {
            let file = SourceFile::new("t", yaml);
            let (map, problems) = decode_text::<BTreeMap<String, Spanned<String>>>(&file);
            let map = map.unwrap_or_else(|| panic!("{problems:?}"));
            let spanned = &map["expr"];
            let start = spanned.value.find(part).expect("part");
            let place = spanned.place.within(&spanned.value, start..start + part.len());
            assert_eq!(&file.text[place.span], part, "{yaml}");
        };
        check("expr: rate(foo[5m]) > bar\n", "bar");
        check("expr: 'a == \"x\" and zz'\n", "zz");
        check("expr: \"a == \\\"x\\\" and zz\"\n", "zz");
        check("x: 1\nexpr: |\n  sum(\n    rate(foo[5m])\n  ) > zz\n", "zz");
        check("expr: >-\n  sum by (a)\n  (rate(foo[5m]))\n", "rate");
    }
}
