//! The values that templates compute with: Go's basic types, lists, maps, a few structs, times and durations.
//! Cheap to clone. Nesting is bounded, so that printing and dropping never exhaust the stack.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::gotime::GoTime;
use crate::model::Labels;

/// A list or map in a list or map, and so on, at most.
pub(super) const NESTING: u8 = 32;

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Go's invalid value or untyped nil: prints as `<no value>`.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// A text that HTML output takes as it is.
    Html(Rc<str>),
    /// A text that HTML output takes as a safe address.
    Url(Rc<str>),
    List(Rc<List>),
    Map(Rc<Map>),
    /// A `map[string]string` that is a label set.
    Labels(Labels),
    Struct(Rc<Struct>),
    Time(Rc<GoTime>),
    /// Nanoseconds.
    Span(i64),
}

/// What a list is in Go: decides its methods and its name in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Any,
    Texts,
    Alerts,
    FilteredAlerts,
    Pairs,
    Samples,
}

#[derive(Debug)]
pub(super) struct List {
    pub kind: ListKind,
    pub items: Vec<Value>,
    depth: u8,
}

/// What a map is in Go: `map[string]interface{}`, or Alertmanager's `KV` of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapKind {
    Any,
    Kv,
}

#[derive(Debug)]
pub(super) struct Map {
    pub kind: MapKind,
    pub entries: BTreeMap<Rc<str>, Value>,
    depth: u8,
}

#[derive(Debug)]
pub(super) struct Struct {
    /// Go's name of the type.
    pub name: &'static str,
    pub fields: Vec<Field>,
    depth: u8,
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    /// Its key in JSON.
    pub json: &'static str,
    pub value: Value,
}

impl Value {
    pub fn text(text: impl Into<Rc<str>>) -> Value {
        Value::Text(text.into())
    }

    /// A list; refuses to nest deeper than [`NESTING`].
    pub fn list(kind: ListKind, items: Vec<Value>) -> Result<Value, String> {
        let depth = deepest(items.iter())?;
        Ok(Value::List(Rc::new(List { kind, items, depth })))
    }

    pub fn texts<T: Into<Rc<str>>>(items: impl IntoIterator<Item = T>) -> Value {
        let items = items.into_iter().map(Value::text).collect();
        Value::List(Rc::new(List { kind: ListKind::Texts, items, depth: 1 }))
    }

    /// A map; refuses to nest deeper than [`NESTING`].
    pub fn map(kind: MapKind, entries: BTreeMap<Rc<str>, Value>) -> Result<Value, String> {
        let depth = deepest(entries.values())?;
        Ok(Value::Map(Rc::new(Map { kind, entries, depth })))
    }

    pub fn kv<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
        let entries = pairs.into_iter().map(|(name, value)| (name.into(), Value::text(value))).collect();
        Value::Map(Rc::new(Map { kind: MapKind::Kv, entries, depth: 1 }))
    }

    /// A struct of known shape, whose fields never nest deeply.
    pub fn structure(name: &'static str, fields: Vec<Field>) -> Value {
        let depth = 1 + fields.iter().map(|f| f.value.depth()).max().unwrap_or(0);
        Value::Struct(Rc::new(Struct { name, fields, depth }))
    }

    fn depth(&self) -> u8 {
        match self {
            Value::List(list) => list.depth,
            Value::Map(map) => map.depth,
            Value::Struct(object) => object.depth,
            Value::Labels(_) => 1,
            _ => 0,
        }
    }

    /// Go's name of the type, for errors and `%T`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Html(_) => "template.HTML",
            Value::Url(_) => "template.URL",
            Value::List(list) => match list.kind {
                ListKind::Any => "[]interface {}",
                ListKind::Texts => "[]string",
                ListKind::Alerts => "template.Alerts",
                ListKind::FilteredAlerts => "[]template.Alert",
                ListKind::Pairs => "template.Pairs",
                ListKind::Samples => "template.queryResult",
            },
            Value::Map(map) => match map.kind {
                MapKind::Any => "map[string]interface {}",
                MapKind::Kv => "template.KV",
            },
            Value::Labels(_) => "map[string]string",
            Value::Struct(object) => object.name,
            Value::Time(_) => "time.Time",
            Value::Span(_) => "time.Duration",
        }
    }

    /// Go's truth: whatever is not the type's zero value; a struct is always true.
    pub fn truth(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) | Value::Span(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) | Value::Html(text) | Value::Url(text) => !text.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Labels(labels) => !labels.is_empty(),
            Value::Struct(_) | Value::Time(_) => true,
        }
    }

    /// The text in a value of a text type.
    pub fn as_text(&self) -> Option<&Rc<str>> {
        match self {
            Value::Text(text) | Value::Html(text) | Value::Url(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key in a map, and the zero value of its element type when it is missing.
    pub fn entry(&self, key: &str) -> Option<Value> {
        match self {
            Value::Labels(labels) => Some(Value::text(labels.value(key))),
            Value::Map(map) => Some(match (map.entries.get(key), map.kind) {
                (Some(value), _) => value.clone(),
                (None, MapKind::Kv) => Value::text(""),
                (None, MapKind::Any) => Value::Nil,
            }),
            _ => None,
        }
    }

    /// The entries of a map, sorted by key.
    pub fn entries(&self) -> Option<Vec<(Rc<str>, Value)>> {
        match self {
            Value::Labels(labels) => Some(labels.iter().map(|(n, v)| (n.into(), Value::text(v))).collect()),
            Value::Map(map) => Some(map.entries.iter().map(|(n, v)| (n.clone(), v.clone())).collect()),
            _ => None,
        }
    }
}

fn deepest<'a>(values: impl Iterator<Item = &'a Value>) -> Result<u8, String> {
    match values.map(Value::depth).max().unwrap_or(0) {
        depth if depth < NESTING => Ok(depth + 1),
        _ => Err(format!("lists and maps nest deeper than {NESTING} levels")),
    }
}
