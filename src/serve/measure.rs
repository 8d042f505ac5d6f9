//! What a condition measures, and the set point that it holds it against: for the page, which draws the two.

use crate::promql::{Binary, Expr, Kind};

/// The two sides of the first comparison of a condition, as PromQL: the measure, and what it is held against. Nothing where
/// a condition compares nothing.
pub(super) fn sides(expr: &Expr) -> Option<(String, String)> {
    match &expr.kind {
        Kind::Paren(inner) => sides(inner),
        Kind::Binary(binary) if binary.op.is_comparison() => Some(turned(binary)),
        Kind::Binary(binary) if binary.op.is_set() => sides(&binary.left).or_else(|| sides(&binary.right)),
        _ => None,
    }
}

/// The measure first: a number on the left is the set point.
fn turned(binary: &Binary) -> (String, String) {
    let (left, right) = (binary.left.to_string(), binary.right.to_string());
    if is_number(&binary.left) && !is_number(&binary.right) { (right, left) } else { (left, right) }
}

fn is_number(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) => true,
        Kind::Negate(inner) | Kind::Paren(inner) => is_number(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql;

    #[test]
    fn the_measure_stands_before_its_set_point() {
        for (text, expected) in [
            ("sum(rate(x[1m])) > 0.5", Some(("sum(rate(x[1m]))", "0.5"))),
            ("-1 < (x)", Some(("(x)", "-1"))),
            ("(a > b) and on () c == 1", Some(("a", "b"))),
            ("x unless y > 2", Some(("y", "2"))),
            ("absent(x)", None),
        ] {
            let expected = expected.map(|(measure, point)| (measure.to_owned(), point.to_owned()));
            assert_eq!(sides(&promql::parse(text).expect(text)), expected, "{text}");
        }
    }
}
