//! Tree to text: the form in which Prometheus prints an expression (`promql/parser/printer.go`).
//!
//! The text reads back to an equal tree, places aside. It differs from Prometheus' where the tree knows less or
//! more: a duration that stands for a number is printed as its seconds, and a quoted metric name stays quoted in the
//! braces.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::ast::{
    Aggregate, AtModifier, Binary, BinaryOp, Cardinality, DurationExpr, DurationKind, Expr, Kind, Modifiers,
    RangeSelector, Selector, Subquery, VectorMatching, WindowMode,
};
use crate::model::{Quoted, is_metric_name};
use crate::time::DurationText;

impl BinaryOp {
    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(value) => number(f, *value),
            Kind::Text(text) => write!(f, "{}", Quoted(text)),
            Kind::Selector(selector) => selector.fmt(f),
            Kind::Range(range) => range.fmt(f),
            Kind::Subquery(subquery) => subquery.fmt(f),
            Kind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                separated(f, &call.args, |f, arg| arg.fmt(f))?;
                f.write_str(")")
            }
            Kind::Aggregate(aggregate) => aggregate.fmt(f),
            Kind::Negate(inner) => write!(f, "-{inner}"),
            Kind::Binary(binary) => binary.fmt(f),
            Kind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

fn number(f: &mut Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    write!(f, "{value}")
}

fn separated<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut one: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        one(f, item)?;
    }
    Ok(())
}

/// A label in a list: quoted unless it is plain.
fn labels(f: &mut Formatter<'_>, names: &[String]) -> fmt::Result {
    f.write_str("(")?;
    separated(f, names, |f, name| {
        let plain = is_metric_name(name) && !["inf", "nan"].iter().any(|n| n.eq_ignore_ascii_case(name));
        if plain { f.write_str(name) } else { write!(f, "{}", Quoted(name)) }
    })?;
    f.write_str(")")
}

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        bare_selector(f, self)?;
        mode(f, self.mode)?;
        self.modifiers.fmt(f)
    }
}

fn bare_selector(f: &mut Formatter<'_>, selector: &Selector) -> fmt::Result {
    let rest = &selector.matchers[usize::from(selector.name().is_some())..];
    let plain = selector.name().filter(|name| stands_alone(name));
    let quoted = selector.name().filter(|_| plain.is_none());
    if let Some(name) = plain {
        f.write_str(name)?;
    }
    if plain.is_some() && rest.is_empty() {
        return Ok(());
    }
    f.write_str("{")?;
    if let Some(name) = quoted {
        write!(f, "{}", Quoted(name))?;
    }
    for (at, matcher) in rest.iter().enumerate() {
        let comma = if at > 0 || quoted.is_some() { "," } else { "" };
        write!(f, "{comma}{matcher}")?;
    }
    f.write_str("}")
}

/// Whether a metric name can stand outside braces.
fn stands_alone(name: &str) -> bool {
    let taken = ["inf", "nan", "bool", "on", "ignoring", "group_left", "group_right", "atan2"];
    is_metric_name(name) && !taken.iter().any(|word| word.eq_ignore_ascii_case(name))
}

fn mode(f: &mut Formatter<'_>, mode: WindowMode) -> fmt::Result {
    f.write_str(match mode {
        WindowMode::Plain => "",
        WindowMode::Anchored => " anchored",
        WindowMode::Smoothed => " smoothed",
    })
}

impl Display for Modifiers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.at {
            None => {}
            Some(AtModifier::Time(at)) => {
                let millis = at.as_millis();
                let sign = if millis < 0 { "-" } else { "" };
                write!(f, " @ {sign}{}.{:03}", millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000)?;
            }
            Some(AtModifier::Start) => f.write_str(" @ start()")?,
            Some(AtModifier::End) => f.write_str(" @ end()")?,
        }
        match &self.offset {
            None => Ok(()),
            Some(offset) => write!(f, " offset {offset}"),
        }
    }
}

impl Display for RangeSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        bare_selector(f, &self.selector)?;
        write!(f, "[{}]", self.range)?;
        mode(f, self.mode)?;
        self.selector.modifiers.fmt(f)
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:", self.expr, self.range)?;
        if let Some(step) = &self.step {
            step.fmt(f)?;
        }
        write!(f, "]{}", self.modifiers)
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.as_str())?;
        if self.without || !self.grouping.is_empty() {
            f.write_str(if self.without { " without " } else { " by " })?;
            labels(f, &self.grouping)?;
            f.write_str(" ")?;
        }
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.op.as_str())?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            matching.fmt(f)?;
        }
        write!(f, " {}", self.right)
    }
}

impl Display for VectorMatching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some(" group_left "),
            Cardinality::OneToMany => Some(" group_right "),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            f.write_str(if self.on { " on " } else { " ignoring " })?;
            labels(f, &self.labels)?;
        }
        if let Some(group) = group {
            f.write_str(group)?;
            labels(f, &self.include)?;
        }
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if same(left, right) => fill(f, "fill", left),
            (left, right) => {
                left.map_or(Ok(()), |value| fill(f, "fill_left", value))?;
                right.map_or(Ok(()), |value| fill(f, "fill_right", value))
            }
        }
    }
}

fn fill(f: &mut Formatter<'_>, word: &str, value: f64) -> fmt::Result {
    write!(f, " {word} (")?;
    number(f, value)?;
    f.write_str(")")
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Literal(secs) => duration(f, *secs),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Negate(inner) => write!(f, "-{inner}"),
            DurationKind::Binary(op, left, right) => {
                write!(f, "{left} {} ", op.as_str())?;
                match right.kind {
                    // What a duration is multiplied with is a number.
                    DurationKind::Literal(factor) if !matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mod) => {
                        number(f, factor)
                    }
                    _ => right.fmt(f),
                }
            }
            DurationKind::Min(left, right) => write!(f, "min_of({left}, {right})"),
            DurationKind::Max(left, right) => write!(f, "max_of({left}, {right})"),
            DurationKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// Seconds as a duration; as a number where the syntax of durations cannot say it.
fn duration(f: &mut Formatter<'_>, secs: f64) -> fmt::Result {
    let millis = (secs.abs() * 1000.0).round();
    if millis / 1000.0 != secs.abs() {
        return number(f, secs);
    }
    let sign = if secs < 0.0 { "-" } else { "" };
    write!(f, "{sign}{}", DurationText(Duration::from_millis(millis as u64)))
}
