//! Aggregations: groups of elements to one each (`sum`, `quantile`, ...), or to some of them (`topk`, `limitk`, ...).

use std::collections::HashMap;

use super::annotations::Note;
use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, bare, key};
use super::group::Group;
use super::limit::sampling_offset;
use super::names::{go_quoted, is_label};
use super::top::Top;
use super::value::SampleValue;
use crate::model::{Labels, LabelsMap, NAME};
use crate::promql::ast::{Aggregate, AggregateOp, Expr, Kind, Span};
use crate::promql::numbers::plain_digits;

/// The elements by group, both in order of appearance.
struct Grouped {
    labels: Vec<Labels>,
    members: Vec<Vec<Element>>,
}

impl Evaluator<'_> {
    pub(super) fn aggregate(
        &mut self,
        expr: &Expr,
        aggregate: &Aggregate,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let in_place = |error: EvalError| error.at(expr.span);
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(expr, aggregate, frame, at);
        }
        let param_expr = aggregate.param.as_ref().map(bare);
        let param_span = param_expr.map_or(expr.span, |param| param.span);
        let param = match param_expr {
            Some(param) => self.scalar(param, frame, at)?,
            None => f64::NAN,
        };
        let inner = bare(&aggregate.expr);
        let vector = self.vector(inner, frame, at)?;
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::LimitK => {
                let Some(k) = count_of(param).map_err(in_place)? else { return Ok(Vec::new()) };
                let k = k.min(vector.len());
                let grouped = self.grouped(expr, aggregate, vector);
                Ok(match aggregate.op {
                    AggregateOp::LimitK => grouped.members.into_iter().flat_map(|m| m.into_iter().take(k)).collect(),
                    _ => self.top(aggregate.op, k, grouped, expr.span),
                })
            }
            AggregateOp::LimitRatio => {
                self.note_param(key(expr), aggregate.op, param_span, param, frame);
                limit_ratio(param, vector).map_err(in_place)
            }
            _ => {
                if aggregate.op == AggregateOp::Quantile {
                    self.note_param(key(expr), aggregate.op, param_span, param, frame);
                }
                Ok(self.reduced(expr, aggregate, param, vector))
            }
        }
    }

    fn grouped(&mut self, expr: &Expr, aggregate: &Aggregate, vector: Vec<Element>) -> Grouped {
        let mut grouped = Grouped { labels: Vec::new(), members: Vec::new() };
        if !aggregate.without && aggregate.grouping.is_empty() {
            if !vector.is_empty() {
                grouped.labels.push(Labels::empty());
                grouped.members.push(vector);
            }
            return grouped;
        }
        let mut places: LabelsMap<usize> = LabelsMap::default();
        for element in vector {
            let labels = self.cache.derived(key(expr), &element.labels, |labels| group_labels(labels, aggregate));
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                grouped.labels.push(labels.clone());
                grouped.members.push(Vec::new());
                grouped.labels.len() - 1
            });
            grouped.members[place].push(element);
        }
        grouped
    }

    fn reduced(&mut self, expr: &Expr, aggregate: &Aggregate, param: f64, vector: Vec<Element>) -> Vec<Element> {
        let span = bare(&aggregate.expr).span;
        let all = (!aggregate.without && aggregate.grouping.is_empty()).then(Labels::empty);
        let mut places: LabelsMap<usize> = LabelsMap::default();
        let mut groups: Vec<(Labels, Group, bool)> = Vec::new();
        for element in vector {
            let labels = match &all {
                Some(none) => none.clone(),
                None => self.cache.derived(key(expr), &element.labels, |labels| group_labels(labels, aggregate)),
            };
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                groups.push((labels.clone(), Group::new(aggregate.op), false));
                groups.len() - 1
            });
            let (_, group, drop_name) = &mut groups[place];
            *drop_name |= element.drop_name;
            group.add(&element, &mut |note| self.note(&note, span));
        }
        let mut out = Vec::with_capacity(groups.len());
        for (labels, group, drop_name) in groups {
            if let Some(value) = group.finish(param, &mut |note| self.note(&note, span)) {
                out.push(Element { labels, value, drop_name });
            }
        }
        out
    }

    fn top(&mut self, op: AggregateOp, k: usize, grouped: Grouped, span: Span) -> Vec<Element> {
        let mut out = Vec::new();
        for members in grouped.members {
            let mut top = Top::new(k, op == AggregateOp::Bottomk);
            for element in members {
                match element.value.float() {
                    Some(value) => top.offer(value, element),
                    None => {
                        self.note(&Note::HistogramIgnored(op.as_str()), span);
                    }
                }
            }
            out.extend(top.into_sorted());
        }
        out
    }

    fn count_values(
        &mut self,
        expr: &Expr,
        aggregate: &Aggregate,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let target = match aggregate.param.as_ref().map(bare).map(|param| &param.kind) {
            Some(Kind::Text(text)) => text.as_str(),
            _ => "",
        };
        if !is_label(target) {
            return Err(EvalError::execution(format!("invalid label name {}", go_quoted(target))).at(expr.span));
        }
        let mut grouping = aggregate.grouping.clone();
        if !aggregate.without {
            grouping.push(target.to_owned());
        }
        let by = Aggregate {
            op: aggregate.op,
            expr: Expr { kind: Kind::Number(0.0), span: expr.span },
            param: None,
            grouping,
            without: aggregate.without,
        };
        let vector = self.vector(bare(&aggregate.expr), frame, at)?;
        let mut counts: HashMap<Labels, usize> = HashMap::new();
        let mut order = Vec::new();
        for element in vector {
            let text = match &element.value {
                SampleValue::Float(value) => plain_digits(*value),
                SampleValue::Histogram(histogram) => histogram.to_string(),
            };
            let labels = group_labels(&element.labels.with(target, &text), &by);
            *counts.entry(labels).or_insert_with_key(|labels| {
                order.push(labels.clone());
                0
            }) += 1;
        }
        let counted = |labels: Labels| {
            let count = counts.get(&labels).copied().unwrap_or(0);
            Element::float(labels, count as f64)
        };
        Ok(order.into_iter().map(counted).collect())
    }
}

/// The share of the elements that their hashes pick; a negative ratio takes the others.
fn limit_ratio(ratio: f64, vector: Vec<Element>) -> Result<Vec<Element>, EvalError> {
    if ratio == 0.0 {
        return Ok(Vec::new());
    }
    if ratio.is_nan() {
        return Err(EvalError::execution("Ratio value is NaN"));
    }
    let capped = ratio.clamp(-1.0, 1.0);
    let within = |element: &Element| {
        let offset = sampling_offset(&element.labels);
        if capped >= 0.0 { offset < capped } else { offset >= 1.0 + capped }
    };
    Ok(vector.into_iter().filter(within).collect())
}

/// The labels of an element's group.
fn group_labels(labels: &Labels, aggregate: &Aggregate) -> Labels {
    let listed = |name: &str| aggregate.grouping.iter().any(|label| label == name);
    if aggregate.without { labels.filtered(|name| name != NAME && !listed(name)) } else { labels.filtered(listed) }
}

/// A count of elements; `None` for less than one.
fn count_of(param: f64) -> Result<Option<usize>, EvalError> {
    if param < 1.0 {
        return Ok(None);
    }
    if param.is_nan() {
        return Err(EvalError::execution("Parameter value is NaN"));
    }
    if param >= i64::MAX as f64 {
        let value = crate::promql::numbers::GoFloat(param);
        return Err(EvalError::execution(format!("Scalar value {value} overflows int64")));
    }
    Ok(Some(param as usize))
}
