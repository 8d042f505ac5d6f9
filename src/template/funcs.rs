//! The functions that templates call by name: Go's own, Prometheus' for rules, Alertmanager's for notifications.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::tz::TimeZone;

use super::builtin;
use super::exec::Env;
use super::gofmt;
use super::gotime::{self, GoTime};
use super::text;
use super::value::{Field, ListKind, MapKind, Value};
use crate::model::Labels;
use crate::time::parse_duration;

/// Whose functions a template sees besides Go's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Prometheus' rules.
    Rule,
    /// Alertmanager's notifications.
    Notification,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Func {
    // Go's.
    And,
    Or,
    Not,
    Len,
    Index,
    Slice,
    Print,
    Printf,
    Println,
    Html,
    Js,
    UrlQuery,
    Call,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    // Of both dialects.
    ToUpper,
    ToLower,
    Match,
    ReReplaceAll,
    SafeHtml,
    Title,
    TitleCase,
    HumanizeDuration,
    NowSeconds,
    Now,
    // Prometheus'.
    Query,
    First,
    Label,
    Value,
    StrValue,
    SortByLabel,
    Args,
    StripPort,
    StripDomain,
    ParseDuration,
    UrlQueryEscape,
    GraphLink,
    TableLink,
    Humanize,
    Humanize1024,
    HumanizePercentage,
    HumanizeTimestamp,
    ToTime,
    ToDuration,
    ExternalUrl,
    PathPrefix,
    // Alertmanager's.
    TrimSpace,
    Join,
    SafeUrl,
    UrlUnescape,
    StringSlice,
    Date,
    Tz,
    Since,
    ToDate,
    MustToDate,
    ToJson,
    List,
    Append,
    Dict,
}

const GO: [(&str, Func); 19] = [
    ("and", Func::And),
    ("or", Func::Or),
    ("not", Func::Not),
    ("len", Func::Len),
    ("index", Func::Index),
    ("slice", Func::Slice),
    ("print", Func::Print),
    ("printf", Func::Printf),
    ("println", Func::Println),
    ("html", Func::Html),
    ("js", Func::Js),
    ("urlquery", Func::UrlQuery),
    ("call", Func::Call),
    ("eq", Func::Eq),
    ("ne", Func::Ne),
    ("lt", Func::Lt),
    ("le", Func::Le),
    ("gt", Func::Gt),
    ("ge", Func::Ge),
];

const RULE: [(&str, Func); 29] = [
    ("query", Func::Query),
    ("first", Func::First),
    ("label", Func::Label),
    ("value", Func::Value),
    ("strvalue", Func::StrValue),
    ("sortByLabel", Func::SortByLabel),
    ("args", Func::Args),
    ("reReplaceAll", Func::ReReplaceAll),
    ("match", Func::Match),
    ("title", Func::Title),
    ("toUpper", Func::ToUpper),
    ("toLower", Func::ToLower),
    ("stripPort", Func::StripPort),
    ("stripDomain", Func::StripDomain),
    ("parseDuration", Func::ParseDuration),
    ("urlQueryEscape", Func::UrlQueryEscape),
    ("graphLink", Func::GraphLink),
    ("tableLink", Func::TableLink),
    ("humanize", Func::Humanize),
    ("humanize1024", Func::Humanize1024),
    ("humanizeDuration", Func::HumanizeDuration),
    ("humanizePercentage", Func::HumanizePercentage),
    ("humanizeTimestamp", Func::HumanizeTimestamp),
    ("toTime", Func::ToTime),
    ("toDuration", Func::ToDuration),
    ("now", Func::NowSeconds),
    ("externalURL", Func::ExternalUrl),
    ("pathPrefix", Func::PathPrefix),
    ("safeHtml", Func::SafeHtml),
];

const NOTIFICATION: [(&str, Func); 22] = [
    ("toUpper", Func::ToUpper),
    ("toLower", Func::ToLower),
    ("title", Func::TitleCase),
    ("trimSpace", Func::TrimSpace),
    ("join", Func::Join),
    ("match", Func::Match),
    ("safeHtml", Func::SafeHtml),
    ("safeUrl", Func::SafeUrl),
    ("urlUnescape", Func::UrlUnescape),
    ("reReplaceAll", Func::ReReplaceAll),
    ("stringSlice", Func::StringSlice),
    ("date", Func::Date),
    ("tz", Func::Tz),
    ("now", Func::Now),
    ("since", Func::Since),
    ("humanizeDuration", Func::HumanizeDuration),
    ("toDate", Func::ToDate),
    ("mustToDate", Func::MustToDate),
    ("toJson", Func::ToJson),
    ("list", Func::List),
    ("append", Func::Append),
    ("dict", Func::Dict),
];

impl Func {
    /// The function of a name.
    pub fn named(name: &str, dialect: Dialect) -> Option<Func> {
        let own: &[(&str, Func)] = match dialect {
            Dialect::Rule => &RULE,
            Dialect::Notification => &NOTIFICATION,
        };
        own.iter().chain(&GO).find(|(known, _)| *known == name).map(|(_, func)| *func)
    }

    /// Its name, for errors.
    pub fn name(self) -> &'static str {
        let all = GO.iter().chain(&RULE).chain(&NOTIFICATION);
        all.clone().find(|(_, func)| *func == self).map_or("?", |(name, _)| name)
    }

    /// Least and most arguments.
    fn arity(self) -> (usize, usize) {
        const MANY: usize = usize::MAX;
        match self {
            Func::And | Func::Or | Func::Index | Func::Slice | Func::Printf | Func::Eq | Func::Append | Func::Call => {
                (1, MANY)
            }
            Func::Print | Func::Println | Func::Html | Func::Js | Func::UrlQuery => (0, MANY),
            Func::Args | Func::StringSlice | Func::List | Func::Dict => (0, MANY),
            Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge => (2, 2),
            Func::Match | Func::Label | Func::SortByLabel | Func::Join | Func::Date | Func::Tz => (2, 2),
            Func::ToDate | Func::MustToDate => (2, 2),
            Func::ReReplaceAll => (3, 3),
            Func::NowSeconds | Func::Now | Func::ExternalUrl | Func::PathPrefix => (0, 0),
            _ => (1, 1),
        }
    }

    /// Calls the function; `And` and `Or` are evaluated by the executor, which needs not evaluate all of theirs.
    ///
    /// # Errors
    /// When the arguments are too few, too many, or of another type, or the function itself fails.
    pub fn call(self, args: &[Value], env: &Env<'_>) -> Result<Value, String> {
        let (least, most) = self.arity();
        if args.len() < least || args.len() > most {
            let want = if most == usize::MAX { format!("at least {least}") } else { least.to_string() };
            return Err(format!("wrong number of args for {}: want {want} got {}", self.name(), args.len()));
        }
        let told = |error: String| format!("error calling {}: {error}", self.name());
        self.go(args, env)
            .or_else(|| self.shared(args, env))
            .or_else(|| self.rule(args, env))
            .unwrap_or_else(|| self.notification(args, env))
            .map_err(told)
    }

    fn go(self, args: &[Value], env: &Env<'_>) -> Option<Result<Value, String>> {
        let whole = || match args {
            [Value::Text(text)] => text.to_string(),
            args => gofmt::print(args),
        };
        Some(match self {
            Func::Not => Ok(Value::Bool(!args[0].truth())),
            Func::Len => builtin::len(&args[0]),
            Func::Index => builtin::index(args),
            Func::Slice => builtin::slice(args),
            Func::Print => Ok(Value::text(gofmt::print(args))),
            Func::Println => Ok(Value::text(gofmt::println(args))),
            Func::Printf => words(args, 0).and_then(|format| gofmt::printf(format, &args[1..]).map(Value::text)),
            // In HTML output the result is not escaped a second time.
            Func::Html if env.html => Ok(Value::Html(text::html(&whole()).into())),
            Func::Html => Ok(Value::text(text::html(&whole()))),
            Func::Js => Ok(Value::text(text::javascript(&whole()))),
            Func::UrlQuery => Ok(Value::text(text::query_escape(&whole()))),
            Func::Call => Err(format!("non-function of type {}", args[0].type_name())),
            Func::And | Func::Or => Ok(args[args.len() - 1].clone()),
            Func::Eq => builtin::equals_any(args),
            Func::Ne => builtin::equals_any(args).map(|equal| Value::Bool(!equal.truth())),
            Func::Lt => builtin::less(&args[0], &args[1]).map(Value::Bool),
            Func::Ge => builtin::less(&args[0], &args[1]).map(|less| Value::Bool(!less)),
            Func::Le => builtin::less_or_equal(&args[0], &args[1]).map(Value::Bool),
            Func::Gt => builtin::less_or_equal(&args[0], &args[1]).map(|less| Value::Bool(!less)),
            _ => return None,
        })
    }

    fn shared(self, args: &[Value], env: &Env<'_>) -> Option<Result<Value, String>> {
        let plain = |f: fn(&str) -> String| words(args, 0).map(|text| Value::text(f(text)));
        Some(match self {
            Func::ToUpper => plain(text::upper),
            Func::ToLower => plain(text::lower),
            Func::Title => plain(text::title),
            Func::TitleCase => plain(text::title_case),
            Func::Match => matches(args),
            Func::ReReplaceAll => replace_all(args),
            Func::SafeHtml => words(args, 0).map(|text| Value::Html(text.clone())),
            Func::HumanizeDuration => number(&args[0]).map(|n| Value::text(text::humanize_duration(n))),
            Func::NowSeconds => Ok(Value::Float(env.now.as_secs_f64())),
            Func::Now => Ok(Value::Time(Rc::new(GoTime::utc(env.now)))),
            _ => return None,
        })
    }

    fn rule(self, args: &[Value], env: &Env<'_>) -> Option<Result<Value, String>> {
        let plain = |f: &dyn Fn(&str) -> String| words(args, 0).map(|text| Value::text(f(text)));
        let of_number = |f: fn(f64) -> String| number(&args[0]).map(|n| Value::text(f(n)));
        let link = |tab: &str| plain(&|expr| format!("/graph?g0.expr={}&g0.tab={tab}", text::query_escape(expr)));
        Some(match self {
            Func::Query => words(args, 0).and_then(|query| run_query(query, env)),
            Func::First => first(&args[0]),
            Func::Label => {
                sample(&args[1]).and_then(|(labels, _)| Ok(labels.entry(words(args, 0)?).unwrap_or(Value::Nil)))
            }
            Func::Value => sample(&args[0]).map(|(_, value)| value),
            Func::StrValue => sample(&args[0]).map(|(labels, _)| labels.entry("__value__").unwrap_or(Value::Nil)),
            Func::SortByLabel => sort_by_label(args),
            Func::Args => {
                let entries = args.iter().enumerate().map(|(at, arg)| (format!("arg{at}").into(), arg.clone()));
                Value::map(MapKind::Any, entries.collect())
            }
            Func::StripPort => plain(&|text| text::strip_port(text).to_owned()),
            Func::StripDomain => plain(&text::strip_domain),
            Func::ParseDuration => words(args, 0).and_then(|text| {
                let span = parse_duration(text).map_err(|error| error.to_string())?;
                Ok(Value::Float(span.as_secs_f64()))
            }),
            Func::UrlQueryEscape => plain(&text::query_escape),
            Func::GraphLink => link("0"),
            Func::TableLink => link("1"),
            Func::Humanize => of_number(text::humanize),
            Func::Humanize1024 => of_number(text::humanize_1024),
            Func::HumanizePercentage => of_number(text::humanize_percentage),
            Func::HumanizeTimestamp => number(&args[0]).and_then(text::humanize_timestamp).map(Value::text),
            Func::ToTime => number(&args[0]).and_then(to_time),
            Func::ToDuration => number(&args[0]).and_then(to_duration),
            Func::ExternalUrl => Ok(Value::text(env.external_url)),
            Func::PathPrefix => Ok(Value::text(text::path_of(env.external_url))),
            _ => return None,
        })
    }

    fn notification(self, args: &[Value], env: &Env<'_>) -> Result<Value, String> {
        match self {
            Func::TrimSpace => words(args, 0).map(|text| Value::text(text.trim())),
            Func::Join => join(args),
            Func::SafeUrl => words(args, 0).map(|text| Value::Url(text.clone())),
            Func::UrlUnescape => words(args, 0).and_then(|text| text::query_unescape(text).map(Value::text)),
            Func::StringSlice => {
                let texts: Result<Vec<Rc<str>>, String> = (0..args.len()).map(|at| words(args, at).cloned()).collect();
                texts.map(Value::texts)
            }
            Func::Date => Ok(Value::text(time(args, 1)?.format(words(args, 0)?))),
            Func::Tz => {
                let name = words(args, 0)?;
                let zone = zone(name).ok_or_else(|| format!("unknown time zone {name}"))?;
                Ok(Value::Time(Rc::new(time(args, 1)?.in_zone(zone))))
            }
            Func::Since => {
                let nanos = GoTime::utc(env.now).at.as_nanosecond() - time(args, 0)?.at.as_nanosecond();
                Ok(Value::Span(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
            }
            Func::ToDate => {
                let parsed = gotime::parse(words(args, 0)?, words(args, 1)?);
                Ok(Value::Time(Rc::new(parsed.unwrap_or_else(|_| GoTime::zero()))))
            }
            Func::MustToDate => gotime::parse(words(args, 0)?, words(args, 1)?).map(|time| Value::Time(Rc::new(time))),
            Func::ToJson => {
                let mut out = String::new();
                text::json(&args[0], &mut out)?;
                Ok(Value::text(out))
            }
            Func::List => Value::list(ListKind::Any, args.to_vec()),
            Func::Append => match &args[0] {
                Value::List(list) => {
                    let kind = if list.kind == ListKind::Texts { ListKind::Texts } else { ListKind::Any };
                    Value::list(kind, list.items.iter().chain(&args[1..]).cloned().collect())
                }
                other => Err(format!("cannot append to {}", other.type_name())),
            },
            Func::Dict => dict(args),
            other => Err(format!("{} is not a function of notifications", other.name())),
        }
    }
}

/// A time zone by its name in the tz database.
fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "UTC" | "Local" => Some(TimeZone::UTC),
        name => TimeZone::get(name).ok(),
    }
}

fn words(args: &[Value], at: usize) -> Result<&Rc<str>, String> {
    args[at].as_text().ok_or_else(|| wrong_type("string", &args[at]))
}

fn time(args: &[Value], at: usize) -> Result<&GoTime, String> {
    match &args[at] {
        Value::Time(time) => Ok(time),
        other => Err(wrong_type("time.Time", other)),
    }
}

pub(super) fn wrong_type(want: &str, got: &Value) -> String {
    match got {
        Value::Nil => format!("invalid value; expected {want}"),
        got => format!("wrong type for value; expected {want}; got {}", got.type_name()),
    }
}

/// What Prometheus' humanizing takes: any number, a duration, or a text that holds a number.
fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Span(nanos) => Ok(*nanos as f64 / 1e9),
        Value::Text(text) => text.parse().map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

fn matches(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Bool(text::regex(words(args, 0)?)?.is_match(words(args, 1)?)))
}

fn replace_all(args: &[Value]) -> Result<Value, String> {
    let regex = text::regex(words(args, 0)?)?;
    let (by, text) = (words(args, 1)?, words(args, 2)?);
    Ok(Value::text(regex.replace_all(text, &**by)))
}

fn run_query(query: &str, env: &Env<'_>) -> Result<Value, String> {
    let samples = (env.query)(query)?;
    let items = samples.into_iter().map(|(labels, value)| sample_value(labels, value)).collect();
    Value::list(ListKind::Samples, items)
}

fn sample_value(labels: Labels, value: f64) -> Value {
    let labels = Field { name: "Labels", json: "Labels", value: Value::Labels(labels) };
    Value::structure(
        "*template.sample",
        vec![labels, Field { name: "Value", json: "Value", value: Value::Float(value) }],
    )
}

fn sample(value: &Value) -> Result<(&Value, Value), String> {
    match value {
        Value::Struct(object) if object.name == "*template.sample" => {
            Ok((&object.fields[0].value, object.fields[1].value.clone()))
        }
        other => Err(wrong_type("*template.sample", other)),
    }
}

fn first(value: &Value) -> Result<Value, String> {
    match value {
        Value::List(list) if list.kind == ListKind::Samples => {
            list.items.first().cloned().ok_or_else(|| "first() called on vector with no elements".to_owned())
        }
        other => Err(wrong_type("template.queryResult", other)),
    }
}

fn sort_by_label(args: &[Value]) -> Result<Value, String> {
    let label = words(args, 0)?;
    let Value::List(list) = &args[1] else { return Err(wrong_type("template.queryResult", &args[1])) };
    let mut keyed = Vec::with_capacity(list.items.len());
    for item in &list.items {
        let (labels, _) = sample(item)?;
        let key = labels.entry(label).and_then(|value| value.as_text().cloned());
        keyed.push((key, item.clone()));
    }
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    Value::list(ListKind::Samples, keyed.into_iter().map(|(_, item)| item).collect())
}

fn to_time(seconds: f64) -> Result<Value, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    GoTime::from_seconds(seconds).map(|time| Value::Time(Rc::new(time)))
}

fn to_duration(seconds: f64) -> Result<Value, String> {
    let nanos = seconds * 1e9;
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let seconds = gofmt::float(seconds);
        return Err(format!("{seconds} cannot be represented as a nanoseconds duration since it overflows int64"));
    }
    Ok(Value::Span(nanos as i64))
}

fn join(args: &[Value]) -> Result<Value, String> {
    let separator = words(args, 0)?;
    let Value::List(list) = &args[1] else { return Err(wrong_type("[]string", &args[1])) };
    let mut out = String::new();
    for (at, item) in list.items.iter().enumerate() {
        let text = item.as_text().ok_or_else(|| wrong_type("[]string", &args[1]))?;
        out.push_str(if at > 0 { separator } else { "" });
        out.push_str(text);
    }
    Ok(Value::text(out))
}

fn dict(args: &[Value]) -> Result<Value, String> {
    if !args.len().is_multiple_of(2) {
        return Err("dict takes pairs of a key and a value".to_owned());
    }
    let mut entries = BTreeMap::new();
    for (at, pair) in args.chunks_exact(2).enumerate() {
        entries.insert(words(args, at * 2)?.clone(), pair[1].clone());
    }
    Value::map(MapKind::Any, entries)
}
