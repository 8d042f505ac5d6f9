//! The tree of a PromQL expression. Every node knows its place in the text.
//!
//! Ten thousand rules have as many trees, so a node is no larger than a text, and what is larger stands in a box.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Matcher, Words};
use crate::time::Timestamp;

/// A place in the expression's text, in bytes, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    String,
    /// Prometheus' "instant vector".
    Vector,
    /// Prometheus' "range vector".
    Matrix,
}

impl ValueType {
    /// The words of Prometheus' error messages.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: Kind,
    pub span: Span,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A number; a duration literal such as `5m` is its seconds.
    Number(f64),
    /// A string. Bytes that are no UTF-8 stand in it as [`byte_char`]s.
    Text(String),
    Selector(Box<Selector>),
    /// `selector[range]`
    Range(Box<RangeSelector>),
    /// `expr[range:step]`
    Subquery(Box<Subquery>),
    Call(Box<Call>),
    Aggregate(Box<Aggregate>),
    /// `-expr`; a unary plus leaves no node.
    Negate(Box<Expr>),
    Binary(Box<Binary>),
    Paren(Box<Expr>),
}

/// The private character that stands for a byte which is no UTF-8: PromQL's strings are bytes, ours are text.
pub fn byte_char(byte: u8) -> char {
    char::from_u32(0x10_FF00 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// How samples are picked at the edges of a window (`anchored`, `smoothed`: experimental in Prometheus 3.x).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum WindowMode {
    #[default]
    Plain,
    Anchored,
    Smoothed,
}

/// An instant-vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Every condition, the metric name as one on `__name__` included.
    pub matchers: Arc<[Matcher]>,
    /// The first of them is the metric name as it stands before the braces (or as a bare quoted name within them).
    pub named: bool,
    pub modifiers: Modifiers,
    /// `anchored` and `smoothed` on an instant selector; on a range it is in [`RangeSelector::mode`].
    pub mode: WindowMode,
}

impl Selector {
    /// The metric name as it stands before the braces.
    pub fn name(&self) -> Option<&str> {
        self.matchers.first().filter(|_| self.named).map(|first| first.value.as_str())
    }

    fn share(&mut self, words: &mut Words) {
        let matchers = Arc::get_mut(&mut self.matchers).unwrap_or_default();
        matchers.iter_mut().for_each(|matcher| matcher.share(words));
    }
}

/// `offset` and `@`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Modifiers {
    pub offset: Option<Box<DurationExpr>>,
    pub at: Option<AtModifier>,
}

/// What stands behind `@`.
#[derive(Clone, Debug, PartialEq)]
pub enum AtModifier {
    Time(Timestamp),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// A range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSelector {
    /// Its modifiers (`offset`, `@`) are those written behind the brackets.
    pub selector: Selector,
    /// The place of the selector without the brackets.
    pub selector_span: Span,
    pub range: DurationExpr,
    pub mode: WindowMode,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    pub expr: Expr,
    pub range: DurationExpr,
    /// `None`: the default step.
    pub step: Option<DurationExpr>,
    pub modifiers: Modifiers,
}

/// A duration in the text: a literal, or arithmetic over literals, `step()` and `range()`.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    pub kind: DurationKind,
    pub span: Span,
}

/// What a duration is made of. The value is in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// Seconds, may be negative (offsets).
    Literal(f64),
    /// `step()`: the query's step.
    Step,
    /// `range()`: end minus start of the query.
    Range,
    Negate(Box<DurationExpr>),
    Binary(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `min(a, b)`, written `min_of` in calls.
    Min(Box<DurationExpr>, Box<DurationExpr>),
    Max(Box<DurationExpr>, Box<DurationExpr>),
    Paren(Box<DurationExpr>),
}

impl DurationExpr {
    /// The duration when it is a plain, positive literal.
    pub fn literal(&self) -> Option<Duration> {
        match &self.kind {
            DurationKind::Literal(secs) if *secs >= 0.0 => Duration::try_from_secs_f64(*secs).ok(),
            DurationKind::Paren(inner) => inner.literal(),
            _ => None,
        }
    }
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub function: &'static Function,
    /// The place of the function's name.
    pub name_span: Span,
    pub args: Box<[Expr]>,
}

/// The signature of a function.
#[derive(Debug, PartialEq)]
pub struct Function {
    pub name: &'static str,
    pub args: &'static [ValueType],
    /// Prometheus' `Variadic`. 0: exactly `args`; n > 0: the last may be left out, or stand up to n times;
    /// -1: the last may be left out, or stand any number of times.
    pub variadic: i32,
    pub returns: ValueType,
    pub experimental: bool,
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub expr: Expr,
    /// The parameter of `topk`, `bottomk`, `quantile`, `count_values`, `limitk`, `limit_ratio`.
    pub param: Option<Expr>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    pub without: bool,
}

/// The aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    LimitK,
    LimitRatio,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub left: Expr,
    pub right: Expr,
    /// `bool` behind a comparison.
    pub return_bool: bool,
    /// Present when both sides are vectors.
    pub matching: Option<Box<VectorMatching>>,
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
    /// `</`: drop the observations above.
    TrimUpper,
    /// `>/`: drop the observations below.
    TrimLower,
}

impl BinaryOp {
    /// True for `== != < <= > >=`.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    /// True for `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

/// How the elements of two vectors find each other.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// True for `on(...)`.
    pub on: bool,
    /// The labels of `group_left(...)` or `group_right(...)`.
    pub include: Vec<String>,
    /// `fill(x)` and `fill_left(x)`: what a missing element on the left counts as.
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

/// How many elements may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
    ManyToMany,
}

impl Expr {
    /// The type of the value that this node gives.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            Kind::Number(_) => ValueType::Scalar,
            Kind::Text(_) => ValueType::String,
            Kind::Selector(_) | Kind::Aggregate(_) => ValueType::Vector,
            Kind::Range(_) | Kind::Subquery(_) => ValueType::Matrix,
            Kind::Call(call) => call.function.returns,
            Kind::Negate(inner) | Kind::Paren(inner) => inner.value_type(),
            Kind::Binary(binary) => {
                let scalar = |e: &Expr| e.value_type() == ValueType::Scalar;
                // Chains grow to the left: asked first, the short side mostly answers alone.
                if scalar(&binary.right) && scalar(&binary.left) { ValueType::Scalar } else { ValueType::Vector }
            }
        }
    }

    /// Has the texts of its matchers in common with other expressions. Matchers that somebody else holds stay as they are.
    pub fn share(&mut self, words: &mut Words) {
        match &mut self.kind {
            Kind::Number(_) | Kind::Text(_) => {}
            Kind::Selector(selector) => selector.share(words),
            Kind::Range(range) => range.selector.share(words),
            Kind::Subquery(subquery) => subquery.expr.share(words),
            Kind::Call(call) => call.args.iter_mut().for_each(|arg| arg.share(words)),
            Kind::Aggregate(aggregate) => {
                aggregate.expr.share(words);
                aggregate.param.iter_mut().for_each(|param| param.share(words));
            }
            Kind::Negate(inner) | Kind::Paren(inner) => inner.share(words),
            Kind::Binary(binary) => {
                binary.left.share(words);
                binary.right.share(words);
            }
        }
    }

    /// Calls `visit` for this node and every node below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range(_) => {}
            Kind::Subquery(subquery) => subquery.expr.walk(visit),
            Kind::Call(call) => call.args.iter().for_each(|arg| arg.walk(visit)),
            Kind::Aggregate(aggregate) => {
                aggregate.expr.walk(visit);
                aggregate.param.iter().for_each(|param| param.walk(visit));
            }
            Kind::Negate(inner) | Kind::Paren(inner) => inner.walk(visit),
            Kind::Binary(binary) => {
                binary.left.walk(visit);
                binary.right.walk(visit);
            }
        }
    }
}
