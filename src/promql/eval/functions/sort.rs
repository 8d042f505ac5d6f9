//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`.

use std::cmp::Ordering;

use super::text_arg;
use crate::promql::ast::{Call, Expr};
use crate::promql::eval::annotations::Note;
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame};

impl Evaluator<'_> {
    pub(super) fn sorted(
        &mut self,
        expr: &Expr,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        if !frame.is_single() {
            self.note(&Note::SortInRangeQuery, expr.span);
        }
        let mut vector = self.vector(&call.args[0], frame, at)?;
        let names: Vec<&str> = call.args[1..].iter().map(text_arg).collect();
        match call.function.name {
            "sort_by_label" => vector.sort_by(|a, b| by_labels(a, b, &names)),
            "sort_by_label_desc" => vector.sort_by(|a, b| by_labels(b, a, &names)),
            name => {
                vector.retain(|element| element.value.float().is_some());
                let descending = name == "sort_desc";
                vector.sort_by(|a, b| by_value(a.value.float(), b.value.float(), descending));
            }
        }
        Ok(vector)
    }
}

/// By value; NaN comes last either way.
fn by_value(a: Option<f64>, b: Option<f64>, descending: bool) -> Ordering {
    let (a, b) = (a.unwrap_or(f64::NAN), b.unwrap_or(f64::NAN));
    match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

fn by_labels(a: &Element, b: &Element, names: &[&str]) -> Ordering {
    for name in names {
        let (left, right) = (a.labels.value(name), b.labels.value(name));
        if left != right {
            return if natural_before(left, right) { Ordering::Less } else { Ordering::Greater };
        }
    }
    a.labels.cmp(&b.labels)
}

/// Natural order: runs of digits compare as numbers.
fn natural_before(a: &str, b: &str) -> bool {
    let (left, right) = (chunks(a), chunks(b));
    for (at, chunk) in left.iter().enumerate() {
        let Some(other) = right.get(at) else { return false };
        let ends = |equal: bool| -> Option<bool> {
            if !equal {
                None
            } else if at + 1 == left.len() {
                Some(true)
            } else if at + 1 == right.len() {
                Some(false)
            } else {
                None
            }
        };
        let equal = match (chunk.parse::<i64>(), other.parse::<i64>()) {
            (Ok(left), Ok(right)) if left != right => return left < right,
            (Ok(_), Ok(_)) => true,
            _ if chunk != other => return chunk < other,
            _ => true,
        };
        if let Some(before) = ends(equal) {
            return before;
        }
    }
    // An empty text has no chunk and comes first.
    left.is_empty() && !right.is_empty()
}

fn chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for at in 1..bytes.len() {
        if bytes[at].is_ascii_digit() != bytes[at - 1].is_ascii_digit() {
            chunks.push(&text[start..at]);
            start = at;
        }
    }
    if start < text.len() {
        chunks.push(&text[start..]);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_within_labels_compare_as_numbers() {
        let check = |a: &str, b: &str, before: bool| assert_eq!(natural_before(a, b), before, "{a} {b}");
        check("4m5", "4m600", true);
        check("4m1000", "4m600", false);
        check("a10", "a9", false);
        check("", "a", true);
        check("a", "a1", true);
        check("a1", "a", false);
        check("007", "7b", true);
    }
}
