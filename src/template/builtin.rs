//! Go's own functions over values: length, indexing, slicing, comparison.

use std::cmp::Ordering;

use super::value::{List, Value};

/// `len`.
pub(super) fn len(value: &Value) -> Result<Value, String> {
    let count = match value {
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Labels(labels) => labels.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        value => match value.as_text() {
            Some(text) => text.len(),
            None => return Err(format!("len of type {}", value.type_name())),
        },
    };
    Ok(Value::Int(count as i64))
}

/// `index`: the first argument indexed by the others, one after the other.
pub(super) fn index(args: &[Value]) -> Result<Value, String> {
    let mut value = args[0].clone();
    for key in &args[1..] {
        value = match &value {
            Value::Nil => return Err("index of untyped nil".to_owned()),
            Value::List(list) => list.items[place(key, list.items.len())?].clone(),
            Value::Map(_) | Value::Labels(_) => match key.as_text() {
                Some(key) => value.entry(key).unwrap_or(Value::Nil),
                None => return Err(format!("value has type {}; should be string", key.type_name())),
            },
            other => match other.as_text() {
                Some(text) => Value::Int(i64::from(text.as_bytes()[place(key, text.len())?])),
                None => return Err(format!("can't index item of type {}", other.type_name())),
            },
        };
    }
    Ok(value)
}

fn place(key: &Value, count: usize) -> Result<usize, String> {
    match key {
        Value::Int(at) if usize::try_from(*at).is_ok_and(|at| at < count) => Ok(*at as usize),
        Value::Int(at) => Err(format!("index out of range: {at}")),
        Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        key => Err(format!("cannot index slice/array with type {}", key.type_name())),
    }
}

/// `slice`: from, to and (for lists) the capacity, which changes nothing here.
pub(super) fn slice(args: &[Value]) -> Result<Value, String> {
    let (count, most) = match &args[0] {
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        Value::List(list) => (list.items.len(), 3),
        value => match value.as_text() {
            Some(text) => (text.len(), 2),
            None => return Err(format!("can't slice item of type {}", value.type_name())),
        },
    };
    if args.len() - 1 > most {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let mut ends = [0, count, count];
    for (end, key) in ends.iter_mut().zip(&args[1..]) {
        *end = place(key, count + 1)?;
    }
    let [from, to, capacity] = ends;
    if from > to || to > capacity {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &args[0] {
        Value::List(list) => {
            let List { kind, items, .. } = &**list;
            Value::list(*kind, items[from..to].to_vec())
        }
        value => {
            let text = value.as_text().map(|text| &text.as_bytes()[from..to]).unwrap_or_default();
            Ok(Value::text(String::from_utf8_lossy(text)))
        }
    }
}

/// What Go compares by: values of different kinds do not compare.
#[derive(PartialEq)]
enum Kind<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Nil,
    Instant(i128),
}

fn kind(value: &Value) -> Result<Kind<'_>, String> {
    Ok(match value {
        Value::Bool(value) => Kind::Bool(*value),
        Value::Int(value) | Value::Span(value) => Kind::Int(*value),
        Value::Float(value) => Kind::Float(*value),
        Value::Nil => Kind::Nil,
        Value::Time(time) => Kind::Instant(time.at.as_nanosecond()),
        value => match value.as_text() {
            Some(text) => Kind::Text(text),
            None => return Err(format!("non-comparable type {}: {}", super::gofmt::display(value), value.type_name())),
        },
    })
}

/// `eq`: whether the first argument equals any of the others.
pub(super) fn equals_any(args: &[Value]) -> Result<Value, String> {
    if args.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    let first = kind(&args[0])?;
    for other in &args[1..] {
        let other = kind(other)?;
        let nil = first == Kind::Nil || other == Kind::Nil;
        if !nil && std::mem::discriminant(&first) != std::mem::discriminant(&other) {
            return Err("incompatible types for comparison".to_owned());
        }
        if first == other {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// `lt`.
pub(super) fn less(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(order(a, b)? == Some(Ordering::Less))
}

/// `le`: Go makes it of `lt` and `eq`, so it is false for NaN.
pub(super) fn less_or_equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(matches!(order(a, b)?, Some(Ordering::Less | Ordering::Equal)))
}

fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (kind(a)?, kind(b)?) {
        (Kind::Int(a), Kind::Int(b)) => Ok(Some(a.cmp(&b))),
        (Kind::Float(a), Kind::Float(b)) => Ok(a.partial_cmp(&b)),
        (Kind::Text(a), Kind::Text(b)) => Ok(Some(a.cmp(b))),
        (Kind::Bool(_), Kind::Bool(_)) | (Kind::Nil | Kind::Instant(_), _) | (_, Kind::Nil | Kind::Instant(_)) => {
            Err("invalid type for comparison".to_owned())
        }
        _ => Err("incompatible types for comparison".to_owned()),
    }
}
