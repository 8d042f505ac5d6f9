//! The checks that a tree passes before it can be evaluated: types, numbers of arguments, vector matching
//! (`checkAST` in `promql/parser/parse.go`). It also takes the vector matching off operations that have none.

use super::ast::{Aggregate, Binary, Call, Cardinality, Expr, Kind, Selector, Span, ValueType, VectorMatching};
use super::error::ParseError;
use super::error_help;
use crate::model::NAME;

type Checked<T> = Result<T, Box<ParseError>>;

fn refuse<T>(span: Span, message: impl Into<String>) -> Checked<T> {
    Err(Box::new(ParseError::new(span, message)))
}

/// Checks a whole tree.
pub(super) fn check(expr: &mut Expr, text: &str) -> Checked<ValueType> {
    let span = expr.span;
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Range(_) | Kind::Selector(_) => check_leaf(expr),
        Kind::Paren(inner) => check(inner, text),
        Kind::Negate(inner) => {
            let value_type = check(inner, text)?;
            check_signed(value_type, span)?;
            Ok(value_type)
        }
        Kind::Subquery(subquery) => match check(&mut subquery.expr, text)? {
            ValueType::Vector => Ok(ValueType::Matrix),
            other => {
                refuse(span, format!("subquery is only allowed on instant vector, got {} instead", other.documented()))
            }
        },
        Kind::Aggregate(aggregate) => check_aggregate(aggregate, text),
        Kind::Call(call) => check_call(call, span, text),
        Kind::Binary(binary) => check_binary(binary, span, text),
    }
}

fn check_leaf(expr: &Expr) -> Checked<ValueType> {
    match &expr.kind {
        Kind::Selector(selector) => check_selector(selector, expr.span)?,
        Kind::Range(range) => check_selector(&range.selector, range.selector_span)?,
        _ => {}
    }
    Ok(expr.value_type())
}

/// Whether a value of that type can have a sign.
pub(super) fn check_signed(value_type: ValueType, span: Span) -> Checked<()> {
    match value_type {
        ValueType::Scalar | ValueType::Vector => Ok(()),
        other => {
            let message = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                other.documented()
            );
            refuse(span, message)
        }
    }
}

fn check_selector(selector: &Selector, span: Span) -> Checked<()> {
    if let Some(name) = selector.name() {
        return match selector.matchers.iter().skip(1).find(|m| m.name == NAME) {
            Some(second) => {
                let message = format!("metric name must not be set twice: {name:?} or {:?}", second.value);
                refuse(span, message)
            }
            None => Ok(()),
        };
    }
    if selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
        let error = ParseError::new(span, "vector selector must contain at least one non-empty matcher");
        let help = "name the metric, or add a matcher that the empty text does not satisfy, such as job=~\".+\"";
        return Err(Box::new(error.with_help(help)));
    }
    Ok(())
}

fn expect_type(expr: &mut Expr, want: ValueType, context: &str, text: &str) -> Checked<()> {
    let got = check(expr, text)?;
    if got == want { Ok(()) } else { Err(Box::new(error_help::wrong_type(expr, want, got, context, text))) }
}

fn check_aggregate(aggregate: &mut Aggregate, text: &str) -> Checked<ValueType> {
    expect_type(&mut aggregate.expr, ValueType::Vector, "aggregation expression", text)?;
    if let (Some(param), Some(want)) = (&mut aggregate.param, aggregate.op.param_type()) {
        expect_type(param, want, "aggregation parameter", text)?;
    }
    Ok(ValueType::Vector)
}

fn check_call(call: &mut Call, span: Span, text: &str) -> Checked<ValueType> {
    let function = call.function;
    let (name, wanted, got) = (function.name, function.args.len(), call.args.len());
    let count = |how: &str, wanted: usize| {
        let message = format!("expected {how}{wanted} argument(s) in call to {name:?}, got {got}");
        Err(Box::new(ParseError::new(span, message).with_help(format!("it is {}", function.signature()))))
    };
    if function.variadic == 0 {
        if wanted != got {
            return count("", wanted);
        }
    } else if wanted - 1 > got {
        return count("at least ", wanted - 1);
    } else if let Ok(more) = usize::try_from(function.variadic)
        && wanted - 1 + more < got
    {
        return count("at most ", wanted - 1 + more);
    }
    let context = format!("call to function {name:?}");
    for (at, arg) in call.args.iter_mut().enumerate() {
        let want = function.args[at.min(wanted - 1)];
        if name == "info" && at == 1 {
            check_info_labels(arg)?;
        } else {
            expect_type(arg, want, &context, text)?;
        }
    }
    Ok(function.returns)
}

/// The second argument of `info()` selects labels: a selector without a name, which may match everything.
fn check_info_labels(arg: &Expr) -> Checked<()> {
    match &arg.kind {
        Kind::Selector(selector) if !selector.named => Ok(()),
        Kind::Selector(_) => {
            let error = ParseError::new(arg.span, "expected label selectors only, got vector selector instead");
            Err(Box::new(error.with_help("name the info metric by a matcher: {__name__=\"...\"}")))
        }
        _ => refuse(arg.span, "expected label selectors only"),
    }
}

fn check_binary(binary: &mut Binary, span: Span, text: &str) -> Checked<ValueType> {
    let left = check(&mut binary.left, text)?;
    let right = check(&mut binary.right, text)?;
    let (op, both_scalar) = (binary.op, left == ValueType::Scalar && right == ValueType::Scalar);
    let place = operator_span(binary, text);
    if binary.return_bool && !op.is_comparison() {
        return refuse(place, "bool modifier can only be used on comparison operators");
    }
    if op.is_comparison() && !binary.return_bool && both_scalar {
        let error = ParseError::new(place, "comparisons between scalars must use BOOL modifier");
        return Err(Box::new(error.with_help(format!("write {} bool", op.as_str()))));
    }
    if let Some(matching) = &binary.matching
        && let Some(label) = matching.labels.iter().find(|label| matching.on && matching.include.contains(label))
    {
        return refuse(place, format!("label {label:?} must not occur in ON and GROUP clause at once"));
    }
    for (value_type, side) in [(left, &binary.left), (right, &binary.right)] {
        if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
            return Err(Box::new(error_help::wrong_operand(side, value_type)));
        }
    }
    let vectors = left == ValueType::Vector && right == ValueType::Vector;
    if let Some(matching) = &binary.matching {
        check_matching(matching, vectors, op.is_set(), op.as_str(), span)?;
    }
    if !vectors {
        binary.matching = None;
        if op.is_set() {
            let error = ParseError::new(
                span,
                format!("set operator {:?} not allowed in binary scalar expression", op.as_str()),
            );
            return Err(Box::new(error.with_help("it joins two vectors; vector(1) turns a number into one")));
        }
    }
    Ok(if both_scalar { ValueType::Scalar } else { ValueType::Vector })
}

fn check_matching(matching: &VectorMatching, vectors: bool, set: bool, op: &str, span: Span) -> Checked<()> {
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if !vectors && !matching.labels.is_empty() {
        return refuse(span, "vector matching only allowed between instant vectors");
    }
    if !vectors && fills {
        return refuse(span, "filling in missing series only allowed between instant vectors");
    }
    if vectors && set && matching.cardinality != Cardinality::ManyToMany {
        return refuse(span, format!("no grouping allowed for {op:?} operation"));
    }
    if vectors && set && fills {
        return refuse(span, "filling in missing series not allowed for set operators");
    }
    Ok(())
}

/// The place of the operator and its modifiers: between the operands, without the blanks.
fn operator_span(binary: &Binary, text: &str) -> Span {
    let (from, to) = (binary.left.span.end as usize, binary.right.span.start as usize);
    let between = text.get(from..to).unwrap_or("");
    let start = from + (between.len() - between.trim_start().len());
    let end = to - (between.len() - between.trim_end().len());
    Span { start: start as u32, end: end.max(start) as u32 }
}
