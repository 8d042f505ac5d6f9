//! Fields, map keys and methods: what `.name` means on a value.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::funcs::wrong_type;
use super::gofmt::{display, sorted_pairs};
use super::gotime::Property;
use super::value::{Field, ListKind, MapKind, Value};

/// The field, entry or method `name` of a value; methods come before entries, as in Go.
///
/// # Errors
/// When there is no such thing, when a method's arguments are wrong, or when something that is no method gets arguments.
pub(super) fn field(value: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
    if let Some(result) = method(value, name, args) {
        return result;
    }
    let no_method = || format!("{name} is not a method but has arguments");
    match value {
        Value::Struct(object) => match object.fields.iter().find(|field| field.name == name) {
            Some(_) if !args.is_empty() => Err(no_method()),
            Some(field) => Ok(field.value.clone()),
            None => Err(format!("can't evaluate field {name} in type {}", object.name)),
        },
        value => match value.entry(name) {
            Some(_) if !args.is_empty() => Err(no_method()),
            Some(entry) => Ok(entry),
            None => Err(format!("can't evaluate field {name} in type {}", value.type_name())),
        },
    }
}

fn method(value: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let (want, result): (usize, Box<dyn Fn() -> Result<Value, String> + '_>) = match (value, name) {
        (Value::Map(map), "Remove") if map.kind == MapKind::Kv => (1, Box::new(|| remove(value, &args[0]))),
        (Value::Map(map), _) if map.kind == MapKind::Kv => {
            let get: fn(&Value) -> Value = match name {
                "SortedPairs" => pairs,
                "Names" => |value| Value::texts(sorted_pairs(value).into_iter().map(|(name, _)| name)),
                "Values" => |value| Value::texts(sorted_pairs(value).into_iter().map(|(_, value)| display(&value))),
                "String" => |value| Value::text(display(value)),
                _ => return None,
            };
            (0, Box::new(move || Ok(get(value))))
        }
        (Value::List(list), _) => match (list.kind, name) {
            (ListKind::Alerts, "Firing" | "Resolved") => (0, Box::new(move || with_status(&list.items, name))),
            // Not in Alertmanager: what fires, by whether the message before told it.
            (ListKind::Alerts, "New" | "Still") => (0, Box::new(move || with_news(&list.items, name == "New"))),
            (ListKind::Pairs, "Names") => (0, Box::new(|| Ok(column(&list.items, 0)))),
            (ListKind::Pairs, "Values") => (0, Box::new(|| Ok(column(&list.items, 1)))),
            (ListKind::Pairs, "String") => (0, Box::new(|| Ok(Value::text(display(value))))),
            _ => return None,
        },
        (Value::Time(_), _) => return of_time(value, name, args),
        (Value::Span(nanos), _) => return of_span(*nanos, name, args),
        _ => return None,
    };
    Some(if args.len() == want { result() } else { Err(wrong_count(name, want, args)) })
}

fn wrong_count(name: &str, want: usize, args: &[Value]) -> String {
    format!("wrong number of args for {name}: want {want} got {}", args.len())
}

fn pairs(value: &Value) -> Value {
    let pair = |(name, value): (Rc<str>, Value)| {
        let name = Field { name: "Name", json: "Name", value: Value::Text(name) };
        Value::structure("template.Pair", vec![name, Field { name: "Value", json: "Value", value }])
    };
    // Texts in structs in a list: never too deep.
    Value::list(ListKind::Pairs, sorted_pairs(value).into_iter().map(pair).collect()).unwrap_or(Value::Nil)
}

fn column(pairs: &[Value], at: usize) -> Value {
    Value::texts(pairs.iter().filter_map(|pair| match pair {
        Value::Struct(pair) => pair.fields.get(at).map(|field| display(&field.value)),
        _ => None,
    }))
}

fn remove(value: &Value, names: &Value) -> Result<Value, String> {
    let Value::List(names) = names else { return Err(wrong_type("[]string", names)) };
    let gone: Vec<&Rc<str>> = names.items.iter().filter_map(Value::as_text).collect();
    let entries = value.entries().unwrap_or_default();
    let kept: BTreeMap<_, _> = entries.into_iter().filter(|(name, _)| !gone.contains(&name)).collect();
    Value::map(MapKind::Kv, kept)
}

fn with_status(alerts: &[Value], status: &str) -> Result<Value, String> {
    let is = |alert: &&Value| match alert {
        Value::Struct(alert) => display(&alert.fields[0].value).eq_ignore_ascii_case(status),
        _ => false,
    };
    Value::list(ListKind::FilteredAlerts, alerts.iter().filter(is).cloned().collect())
}

fn with_news(alerts: &[Value], news: bool) -> Result<Value, String> {
    let is = |alert: &&Value| match alert {
        Value::Struct(alert) => {
            let fires = display(&alert.fields[0].value) == "firing";
            fires
                && alert.fields.iter().any(|f| f.name == "IsNew" && matches!(f.value, Value::Bool(new) if new == news))
        }
        _ => false,
    };
    Value::list(ListKind::FilteredAlerts, alerts.iter().filter(is).cloned().collect())
}

fn of_time(value: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let Value::Time(time) = value else { return None };
    let other = || match args {
        [Value::Time(other)] => Ok(other.at),
        [other] => Err(wrong_type("time.Time", other)),
        args => Err(wrong_count(name, 1, args)),
    };
    let span = || match args {
        [Value::Span(nanos) | Value::Int(nanos)] => Ok(*nanos),
        [other] => Err(wrong_type("time.Duration", other)),
        args => Err(wrong_count(name, 1, args)),
    };
    let result = match name {
        "Format" => match args {
            [layout] => match layout.as_text() {
                Some(layout) => Ok(Value::text(time.format(layout))),
                None => Err(wrong_type("string", layout)),
            },
            args => Err(wrong_count(name, 1, args)),
        },
        "String" => Ok(Value::text(time.print())),
        "Before" => other().map(|other| Value::Bool(time.at < other)),
        "After" => other().map(|other| Value::Bool(time.at > other)),
        "Equal" => other().map(|other| Value::Bool(time.at == other)),
        "Sub" => other().map(|other| {
            let nanos = time.at.as_nanosecond() - other.as_nanosecond();
            Value::Span(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        }),
        "Add" => span().map(|nanos| {
            let mut moved = (**time).clone();
            moved.at = moved.at.saturating_add(jiff::SignedDuration::from_nanos(nanos)).unwrap_or(moved.at);
            Value::Time(Rc::new(moved))
        }),
        name => match time.property(name)? {
            _ if !args.is_empty() => Err(wrong_count(name, 0, args)),
            Property::Int(number) => Ok(Value::Int(number)),
            Property::Name(name) => Ok(Value::text(name)),
            Property::Bool(value) => Ok(Value::Bool(value)),
            Property::Time(time) => Ok(Value::Time(Rc::new(time))),
        },
    };
    Some(result)
}

fn of_span(nanos: i64, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let unit = || match args {
        [Value::Span(unit) | Value::Int(unit)] => Ok(*unit),
        [other] => Err(wrong_type("time.Duration", other)),
        args => Err(wrong_count(name, 1, args)),
    };
    let result = match name {
        "Truncate" => unit().map(|unit| Value::Span(if unit > 0 { nanos - nanos % unit } else { nanos })),
        "Round" => unit().map(|unit| Value::Span(round(nanos, unit))),
        _ => {
            let value = match name {
                "Seconds" => Value::Float(nanos as f64 / 1e9),
                "Minutes" => Value::Float(nanos as f64 / 6e10),
                "Hours" => Value::Float(nanos as f64 / 3.6e12),
                "Milliseconds" => Value::Int(nanos / 1_000_000),
                "Microseconds" => Value::Int(nanos / 1_000),
                "Nanoseconds" => Value::Int(nanos),
                "Abs" => Value::Span(nanos.saturating_abs()),
                "String" => Value::text(super::gotime::span_text(nanos)),
                _ => return None,
            };
            if args.is_empty() { Ok(value) } else { Err(wrong_count(name, 0, args)) }
        }
    };
    Some(result)
}

/// Half away from zero, as Go's `Duration.Round`.
fn round(nanos: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return nanos;
    }
    let rest = nanos % unit;
    let down = nanos - rest;
    if rest.unsigned_abs() * 2 < unit.unsigned_abs() { down } else { down.saturating_add(unit * rest.signum()) }
}
