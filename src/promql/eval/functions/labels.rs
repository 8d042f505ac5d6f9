//! `label_replace` and `label_join`.

use regex::Regex;

use super::text_arg;
use crate::limits;
use crate::model::{Labels, NAME};
use crate::promql::ast::{Call, Expr};
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, has_duplicates, key};
use crate::promql::eval::names::is_label;

impl Evaluator<'_> {
    pub(super) fn label_replace(
        &mut self,
        expr: &Expr,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let [vector, target, replacement, source, pattern] = &call.args[..] else {
            return Err(EvalError::execution("label_replace takes five arguments").at(expr.span));
        };
        let (target, replacement) = (text_arg(target), text_arg(replacement));
        let (source, pattern) = (text_arg(source), text_arg(pattern));
        let regex = self.cache.pattern(key(expr), || compiled(pattern)).map_err(|error| error.at(expr.span))?;
        check_label("destination", "label_replace", target).map_err(|error| error.at(expr.span))?;
        let vector = self.vector(vector, frame, at)?;
        let keeps_name = |labels: &Labels| target == NAME && regex.is_match(labels.value(source));
        self.relabelled(expr, vector, keeps_name, |labels| {
            replaced(&regex, labels, target, replacement, source).unwrap_or_else(|| labels.clone())
        })
    }

    pub(super) fn label_join(
        &mut self,
        expr: &Expr,
        call: &Call,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let [vector, target, separator, sources @ ..] = &call.args[..] else {
            return Err(EvalError::execution("label_join takes at least three arguments").at(expr.span));
        };
        let (target, separator) = (text_arg(target), text_arg(separator));
        let sources: Vec<&str> = sources.iter().map(text_arg).collect();
        for source in &sources {
            check_label("source", "label_join", source).map_err(|error| error.at(expr.span))?;
        }
        check_label("destination", "label_join", target).map_err(|error| error.at(expr.span))?;
        let vector = self.vector(vector, frame, at)?;
        self.relabelled(
            expr,
            vector,
            |_| target == NAME,
            |labels| {
                let values: Vec<&str> = sources.iter().map(|source| labels.value(source)).collect();
                labels.with(target, &values.join(separator))
            },
        )
    }

    fn relabelled(
        &mut self,
        expr: &Expr,
        mut vector: Vec<Element>,
        keeps_name: impl Fn(&Labels) -> bool,
        derive: impl Fn(&Labels) -> Labels,
    ) -> Result<Vec<Element>, EvalError> {
        for element in &mut vector {
            // A name that was put there on purpose stays.
            if element.drop_name && keeps_name(&element.labels) {
                element.drop_name = false;
            }
            element.labels = self.cache.derived(key(expr), &element.labels, &derive);
        }
        if vector.len() > 1 && has_duplicates(vector.iter().map(|element| &element.labels)) {
            return Err(EvalError::same_labels().at(expr.span));
        }
        Ok(vector)
    }
}

fn compiled(pattern: &str) -> Result<Regex, EvalError> {
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|_| EvalError::execution(format!("invalid regular expression in label_replace(): {pattern}")))
}

/// The labels after the replacement; `None` when the pattern does not match.
fn replaced(regex: &Regex, labels: &Labels, target: &str, replacement: &str, source: &str) -> Option<Labels> {
    let captures = regex.captures(labels.value(source))?;
    let mut value = String::new();
    captures.expand(replacement, &mut value);
    Some(labels.with(target, &value))
}

fn check_label(role: &str, function: &str, name: &str) -> Result<(), EvalError> {
    if !is_label(name) {
        return Err(EvalError::execution(format!("invalid {role} label name in {function}(): {name}")));
    }
    Ok(())
}
