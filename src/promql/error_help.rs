//! What to write instead: the helpful half of the error messages.

use super::ast::{Expr, Kind, Span, ValueType};
use super::error::ParseError;
use super::functions::{FUNCTIONS, aggregator_names, function};

/// Words that can never stand for a metric.
const RESERVED: [&str; 6] = ["bool", "on", "ignoring", "group_left", "group_right", "atan2"];

const KEYWORDS: [&str; 18] = [
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
    "anchored",
    "smoothed",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "fill",
    "fill_left",
    "fill_right",
    "step",
];

/// Names from other languages, and names that Prometheus once had.
const MISTAKEN: [(&str, &str); 14] = [
    ("holt_winters", "it is now called double_exponential_smoothing"),
    ("average", "the aggregator is called avg, over time avg_over_time"),
    ("mean", "the aggregator is called avg, over time avg_over_time"),
    ("median", "write quantile(0.5, ...), over time quantile_over_time(0.5, ...)"),
    ("percentile", "write quantile(0.95, ...), or histogram_quantile(0.95, ...) for buckets"),
    ("p99", "write quantile(0.99, ...), or histogram_quantile(0.99, ...) for buckets"),
    ("log", "write ln, log2 or log10"),
    ("pow", "write base ^ exponent"),
    ("power", "write base ^ exponent"),
    ("if", "filter with a comparison, and join conditions with: and"),
    ("not", "write: a unless b"),
    ("now", "write time()"),
    ("drop_common_labels", "it is gone: aggregate by(...) or without(...)"),
    ("count_scalar", "it is gone: write scalar(count(...))"),
];

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// Help for a word that stands where an operator should.
pub(super) fn operator_like(word: &str) -> Option<String> {
    match word.to_ascii_lowercase().as_str() {
        "bool" | "on" | "ignoring" | "group_left" | "group_right" | "fill" | "fill_left" | "fill_right" => {
            Some(format!("{word} stands directly behind a binary operator"))
        }
        "by" | "without" => Some(format!("{word} belongs to an aggregation: sum {word} (label) (vector)")),
        "where" | "if" => Some("filter by labels in braces, by values with a comparison".to_owned()),
        "mod" | "div" => Some("write % or /".to_owned()),
        "for" => Some("a rule's `for` is a field of its own, not part of the expression".to_owned()),
        _ => closest(word, KEYWORDS.into_iter()).map(|keyword| format!("did you mean {keyword:?}?")),
    }
}

pub(super) fn unknown_function(name: &str, span: Span) -> ParseError {
    if is_keyword(name) {
        return ParseError::new(span, format!("unexpected keyword {name:?}, expected an expression"));
    }
    let error = ParseError::new(span, format!("unknown function with name {name:?}"));
    let lower = name.to_ascii_lowercase();
    if let Some((_, help)) = MISTAKEN.iter().find(|(mistaken, _)| *mistaken == lower) {
        return error.with_help(*help);
    }
    if function(&lower).is_some() {
        return error.with_help(format!("function names are lower case: {lower}"));
    }
    match closest(&lower, FUNCTIONS.iter().map(|f| f.name).chain(aggregator_names())) {
        Some(other) => error.with_help(format!("did you mean {other:?}?")),
        None => error,
    }
}

pub(super) fn wrong_type(expr: &Expr, want: ValueType, got: ValueType, context: &str, text: &str) -> ParseError {
    let message = format!("expected type {} in {context}, got {}", want.documented(), got.documented());
    let error = ParseError::new(expr.span, message);
    let part = text.get(expr.span.start as usize..expr.span.end as usize).filter(|part| part.len() <= 60);
    let selector = matches!(expr.kind, Kind::Selector(_));
    match (want, got) {
        (ValueType::Matrix, ValueType::Vector) => error.with_help(match part {
            Some(part) if selector && !part.contains([' ', '@']) => format!("add a range: {part}[5m]"),
            _ if selector => "add a range behind the selector: metric[5m]".to_owned(),
            _ => "write a subquery: (expression)[5m:]".to_owned(),
        }),
        (ValueType::Vector, ValueType::Matrix) => error.with_help(range_help()),
        (ValueType::Vector, ValueType::Scalar) => error.with_help("vector(...) turns a number into a vector"),
        (ValueType::Scalar, ValueType::Vector) => {
            error.with_help("scalar(...) turns a vector of one element into a number")
        }
        (ValueType::String, _) => error.with_help("write a text in quotes"),
        (_, ValueType::String) => error.with_help("remove the quotes"),
        _ => error,
    }
}

pub(super) fn wrong_operand(expr: &Expr, got: ValueType) -> ParseError {
    let error = ParseError::new(expr.span, "binary expression must contain only scalar and instant vector types");
    match got {
        ValueType::Matrix => error.with_help(range_help()),
        _ => error.with_help("a text cannot be part of a calculation"),
    }
}

fn range_help() -> &'static str {
    "take the range away, or give it to a function: rate(metric[5m]), avg_over_time(metric[5m])"
}

/// The candidate nearest to a word, if it is near enough to be meant.
fn closest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.len() / 4).clamp(1, 3);
    // Of two that are equally near, the one that goes on where the word stops.
    let rank = |c: &str| (distance(word, c), !c.starts_with(word));
    candidates.map(|c| (rank(c), c)).filter(|((d, _), _)| *d <= allowed).min_by_key(|(r, _)| *r).map(|(_, c)| c)
}

/// Insertions, removals, replacements and swaps of neighbours that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_swaps_as_one() {
        assert_eq!(distance("rate", "rate"), 0);
        assert_eq!(distance("raet", "rate"), 1);
        assert_eq!(distance("irate", "rate"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
