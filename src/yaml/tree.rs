//! The tree of a YAML document: every node knows its place in the text.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::problem::{Problem, Severity, SourceFile};
use crate::limits;

/// A place in the file, in bytes.
pub type Span = Range<usize>;

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    /// A plain or quoted text, number or boolean: as it was written, escapes resolved.
    Scalar {
        text: String,
        /// In quotes, or a block: never a number, a boolean or a null.
        quoted: bool,
    },
    Seq(Vec<Node>),
    /// Keys with their places, in the order of the file.
    Map(Vec<(String, Span, Node)>),
}

impl Node {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The child of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _, _)| k == key).map(|(_, _, node)| node),
            _ => None,
        }
    }
}

impl Node {
    /// Takes out the smallest entry of a mapping or list that holds this place; gives where it stood, and every text
    /// in it, keys too.
    pub fn prune(&mut self, place: &Span) -> Option<(Span, Vec<String>)> {
        let holds = |span: &Span| span.start <= place.start && place.end <= span.end;
        let entry = |key: &Span, node: &Node| key.start..node.extent().end.max(key.end);
        match &mut self.value {
            Value::Map(entries) => {
                let at = entries.iter().position(|(_, key, node)| holds(&entry(key, node)))?;
                entries[at].2.prune(place).or_else(|| {
                    let (key, key_span, node) = entries.remove(at);
                    let span = entry(&key_span, &node);
                    let mut texts = vec![key];
                    node.texts(&mut texts);
                    Some((span, texts))
                })
            }
            Value::Seq(items) => {
                let at = items.iter().position(|item| holds(&item.extent()))?;
                items[at].prune(place).or_else(|| {
                    let (item, mut texts) = (items.remove(at), Vec::new());
                    let span = item.extent();
                    item.texts(&mut texts);
                    Some((span, texts))
                })
            }
            Value::Null | Value::Scalar { .. } => None,
        }
    }

    /// From the beginning to the end of all that is in it: the span of a mapping or list is only where it begins.
    fn extent(&self) -> Span {
        let ends = match &self.value {
            Value::Null | Value::Scalar { .. } => None,
            Value::Seq(items) => items.last().map(|item| item.extent().end),
            Value::Map(entries) => entries.last().map(|(_, key, node)| node.extent().end.max(key.end)),
        };
        self.span.start..ends.unwrap_or_default().max(self.span.end)
    }

    fn texts(self, into: &mut Vec<String>) {
        match self.value {
            Value::Null => {}
            Value::Scalar { text, .. } => into.push(text),
            Value::Seq(items) => items.into_iter().for_each(|item| item.texts(into)),
            Value::Map(entries) => {
                for (key, _, node) in entries {
                    into.push(key);
                    node.texts(into);
                }
            }
        }
    }
}

/// Parses one document.
///
/// # Errors
/// One problem: the text is no YAML, has a key twice, or passes a limit (size, nodes, nesting, aliases).
pub fn parse(file: &Arc<SourceFile>) -> Result<Node, Problem> {
    let problem = |span: Span, message: String, help: Option<String>| Problem {
        severity: Severity::Error,
        file: Arc::clone(file),
        span,
        message,
        help,
    };
    if file.text.len() > limits::CONFIG_FILE_BYTES {
        let message = format!("the file is larger than {} bytes", limits::CONFIG_FILE_BYTES);
        return Err(problem(0..0, message, Some("split it".into())));
    }
    if file.text.trim().is_empty() {
        return Ok(Node { span: 0..0, value: Value::Null });
    }
    let parsed = serde_yaml::from_str_with_options::<serde_yaml::Spanned<Raw>>(&file.text, options());
    match parsed {
        Ok(raw) => Ok(to_node(raw, &file.text)),
        Err(error) => {
            let span = error.location().map_or(0..0, |location| span_of(&location, &file.text));
            let text = error.without_snippet().to_string();
            let message = text.lines().next().unwrap_or("not valid YAML").to_owned();
            let (message, help) = in_plain_words(strip_place(&message));
            Err(problem(span, message, help.map(str::to_owned)))
        }
    }
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        // Base64 stays the text that was written: whoever wants bytes looks for the tag.
        ignore_binary_tag_for_string: true,
        budget: serde_yaml::budget! {
            max_nodes: limits::YAML_NODES,
            max_events: 4 * limits::YAML_NODES,
            max_depth: limits::YAML_DEPTH,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
            max_total_scalar_bytes: 2 * limits::CONFIG_FILE_BYTES,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: limits::YAML_NODES,
        },
    }
}

/// The parser says where it is in its own words too; our message has its own place.
fn strip_place(message: &str) -> &str {
    match message.find(" at line ") {
        Some(at) => &message[..at],
        None => message,
    }
}

/// What people get wrong most, without the parser's words.
fn in_plain_words(message: &str) -> (String, Option<&'static str>) {
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(", set ").next().unwrap_or(rest);
        return (format!("the key `{key}` is there twice"), Some("put both into one, or remove one"));
    }
    let help = match message {
        text if text.contains("did not find expected key") => {
            Some("check the indentation of this line and of the one above")
        }
        text if text.contains("tab") => Some("use spaces, not tabs"),
        text if text.contains("flow") => Some("a bracket or brace before this is not closed, or a comma is missing"),
        _ => None,
    };
    (format!("not valid YAML: {message}"), help)
}

enum Raw {
    Null,
    Text(String),
    /// A number or a boolean: its text is taken from the file.
    Plain,
    Seq(Vec<serde_yaml::Spanned<Raw>>),
    Map(Vec<(serde_yaml::Spanned<String>, serde_yaml::Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn to_node(raw: serde_yaml::Spanned<Raw>, text: &str) -> Node {
    // An alias points at what it stands for; that is where its texts can be read.
    let span = span_of(&raw.defined, text);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(scalar) => {
            let quoted = text[span.clone()].starts_with(['"', '\'', '|', '>']) || text[span.clone()] != scalar;
            Value::Scalar { text: scalar, quoted }
        }
        Raw::Plain => Value::Scalar { text: text[span.clone()].trim().to_owned(), quoted: false },
        Raw::Seq(items) => Value::Seq(items.into_iter().map(|item| to_node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, node)| (key.value, span_of(&key.defined, text), to_node(node, text)))
                .collect(),
        ),
    };
    Node { span, value }
}

fn span_of(location: &serde_yaml::Location, text: &str) -> Span {
    let span = location.span();
    let clamp = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, length) = match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(length)) => (start as usize, length as usize),
        _ => {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let byte = |chars: u64| starts[(chars as usize).min(starts.len() - 1)];
            let start = byte(span.offset());
            (start, byte(span.offset() + span.len()) - start)
        }
    };
    let start = clamp(start);
    start..clamp(start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".into(),
            Value::Scalar { text, quoted } => format!("{text}{}", if *quoted { "!" } else { "" }),
            Value::Seq(items) => format!("[{}]", items.iter().map(outline).collect::<Vec<_>>().join(",")),
            Value::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(k, _, n)| format!("{k}:{}", outline(n))).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    fn check(text: &str, expected: &str) {
        let node = parse(&SourceFile::new("t", text)).expect(text);
        assert_eq!(outline(&node), expected, "{text}");
    }

    #[test]
    fn scalars_keep_the_text_that_was_written() {
        check("a: 5m\nb: 1e3\nc: yes\nd: 0x10\ne: 010\nf: 1_000\n", "{a:5m,b:1e3,c:yes,d:0x10,e:010,f:1_000}");
        check("a: 'x'\nb: \"y\\n\"\nc: ~\nd:\ne: ''\n", "{a:x!,b:y\n!,c:~,d:~,e:!}");
        check("a: |\n  one\n  two\nb: >-\n  x\n  y\n", "{a:one\ntwo\n!,b:x y!}");
        check("[1, {a: [true, off]}]", "[1,{a:[true,off]}]");
    }

    #[test]
    fn aliases_and_merge_keys_are_applied() {
        check("x: &x {a: 1, b: 2}\ny: *x\n", "{x:{a:1,b:2},y:{a:1,b:2}}");
        let node = parse(&SourceFile::new("t", "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n")).expect("yaml");
        let merged = node.get("y").expect("y");
        let value = |key| outline(merged.get(key).expect(key));
        assert_eq!((value("a"), value("b")), ("1".into(), "3".into()));
    }

    #[test]
    fn places_are_those_of_the_text() {
        let file = SourceFile::new("t", "größe:\n  - 'ä': 12\n");
        let node = parse(&file).expect("yaml");
        let Value::Seq(items) = &node.get("größe").expect("key").value else { panic!("{node:?}") };
        let Value::Map(entries) = &items[0].value else { panic!("{node:?}") };
        assert_eq!(&file.text[entries[0].2.span.clone()], "12");
        assert_eq!(&file.text[entries[0].1.clone()], "'ä'");
    }

    #[test]
    fn broken_and_hostile_texts_get_one_problem_with_its_place() {
        let bomb = format!(
            "a0: &a0 [x,x,x,x,x,x,x,x,x]\n{}",
            (1..10)
                .map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(",")))
                .collect::<String>()
        );
        let deep = "[".repeat(100_000);
        for (text, place) in [
            ("a: [", "t:1:"),
            ("a: 1\na: 2\n", "t:2:1"),
            ("a: \"x", "t:1:"),
            (bomb.as_str(), "t:"),
            (deep.as_str(), "t:1:"),
        ] {
            let problem = parse(&SourceFile::new("t", text)).expect_err(&text[..text.len().min(30)]);
            assert!(problem.one_line().starts_with(place), "{}", problem.one_line());
        }
    }
}
