//! Two vectors meet: set operators, one-to-one, many-to-one and one-to-many matching, fill values.

use super::annotations::Note;
use super::binary::{changes_meaning, operate};
use super::error::EvalError;
use super::evaluator::{Element, Evaluator, Frame, key};
use super::memo::{is_metadata, without_metadata};
use super::value::SampleValue;
use crate::model::{Labels, LabelsMap, NAME};
use crate::promql::ast::{Binary, BinaryOp, Cardinality, Expr, VectorMatching};

/// The labels by which elements find each other.
fn signature(labels: &Labels, matching: &VectorMatching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    if matching.on {
        labels.filtered(listed)
    } else if matching.labels.is_empty() {
        labels.without_name()
    } else {
        labels.filtered(|name| name != NAME && !listed(name))
    }
}

/// The labels of a result.
fn result_labels(many: &Labels, one: &Labels, binary: &Binary, matching: &VectorMatching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    let one_to_one = matching.cardinality == Cardinality::OneToOne;
    let nameless = changes_meaning(binary.op);
    if matching.include.is_empty() {
        if !one_to_one || (!matching.on && matching.labels.is_empty()) {
            return if nameless { without_metadata(many) } else { many.clone() };
        }
        return many.filtered(|name| !(nameless && is_metadata(name)) && listed(name) == matching.on);
    }
    let mut builder = many.to_builder();
    for (name, _) in many.iter() {
        if (nameless && is_metadata(name)) || (one_to_one && listed(name) != matching.on) {
            builder.remove(name);
        }
    }
    for name in &matching.include {
        builder.set(name, one.value(name));
    }
    builder.build()
}

/// The "one" side, found by signature, and what has met it.
struct Match {
    element: Element,
    met: bool,
    /// Many-to-one: the labels of the results so far.
    results: LabelsMap<()>,
}

impl Match {
    fn new(element: Element) -> Match {
        Match { element, met: false, results: LabelsMap::default() }
    }
}

impl Evaluator<'_> {
    pub(super) fn with_vector(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        frame: &Frame,
        at: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let left = self.vector(&binary.left, frame, at)?;
        let right = self.vector(&binary.right, frame, at)?;
        let default = VectorMatching {
            cardinality: if binary.op.is_set() { Cardinality::ManyToMany } else { Cardinality::OneToOne },
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let matching = binary.matching.as_deref().unwrap_or(&default);
        if binary.op.is_set() {
            return Ok(self.set_operation(expr, binary.op, matching, left, right));
        }
        let nothing = left.is_empty() && right.is_empty();
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if nothing || ((left.is_empty() || right.is_empty()) && !fills) {
            return Ok(Vec::new());
        }
        Join { expr, binary, matching, one_is_left: matching.cardinality == Cardinality::OneToMany, last_note: None }
            .run(self, left, right)
            .map_err(|error| error.at(expr.span))
    }

    fn set_operation(
        &mut self,
        expr: &Expr,
        op: BinaryOp,
        matching: &VectorMatching,
        left: Vec<Element>,
        right: Vec<Element>,
    ) -> Vec<Element> {
        if left.is_empty() {
            return if op == BinaryOp::Or { right } else { left };
        }
        if right.is_empty() {
            return if op == BinaryOp::And { right } else { left };
        }
        let mut signature_of = |labels: &Labels| self.cache.derived(key(expr), labels, |l| signature(l, matching));
        let mut present = LabelsMap::default();
        if op == BinaryOp::Or {
            for element in &left {
                present.insert(signature_of(&element.labels), ());
            }
            let mut out = left;
            out.extend(right.into_iter().filter(|element| !present.contains_key(&signature_of(&element.labels))));
            return out;
        }
        for element in &right {
            present.insert(signature_of(&element.labels), ());
        }
        let wanted = op == BinaryOp::And;
        left.into_iter().filter(|element| present.contains_key(&signature_of(&element.labels)) == wanted).collect()
    }
}

/// One arithmetic or comparison operation on two vectors.
struct Join<'j> {
    expr: &'j Expr,
    binary: &'j Binary,
    matching: &'j VectorMatching,
    /// `group_right`: the "one" side is the left one.
    one_is_left: bool,
    /// Of all elements only the last annotation is kept.
    last_note: Option<Note<'static>>,
}

impl Join<'_> {
    fn run(
        mut self,
        evaluator: &mut Evaluator<'_>,
        left: Vec<Element>,
        right: Vec<Element>,
    ) -> Result<Vec<Element>, EvalError> {
        let (many, one) = if self.one_is_left { (right, left) } else { (left, right) };
        // The many side is filled where the one side has no partner, and the other way round; which side is which in
        // the text does not matter to `fill_left` and `fill_right` (as in Prometheus).
        let (fill_many, fill_one) = (self.matching.fill_left, self.matching.fill_right);
        let (mut found, order) = self.one_side(evaluator, one)?;
        let mut out = Vec::with_capacity(many.len());
        for element in many {
            let signature = self.signature(evaluator, &element.labels);
            match (found.get_mut(&signature), fill_one) {
                (Some(matched), _) => self.join(evaluator, &element, matched, &mut out)?,
                (None, Some(fill)) => {
                    let mut filled = Match::new(Element::float(signature.clone(), fill));
                    self.join(evaluator, &element, &mut filled, &mut out)?;
                    found.insert(signature, filled);
                }
                (None, None) => {}
            }
        }
        if let Some(fill) = fill_many {
            for signature in order {
                let Some(matched) = found.get_mut(&signature).filter(|matched| !matched.met) else { continue };
                self.join(evaluator, &Element::float(signature, fill), matched, &mut out)?;
            }
        }
        if let Some(note) = &self.last_note {
            evaluator.note(note, self.expr.span);
        }
        Ok(out)
    }

    fn signature(&self, evaluator: &mut Evaluator<'_>, labels: &Labels) -> Labels {
        evaluator.cache.derived(key(self.expr), labels, |labels| signature(labels, self.matching))
    }

    /// The "one" side by signature, and the signatures in order; two elements of one signature are an error.
    fn one_side(
        &self,
        evaluator: &mut Evaluator<'_>,
        one: Vec<Element>,
    ) -> Result<(LabelsMap<Match>, Vec<Labels>), EvalError> {
        let mut found: LabelsMap<Match> = LabelsMap::default();
        let mut order = Vec::with_capacity(one.len());
        for element in one {
            let signature = self.signature(evaluator, &element.labels);
            if let Some(other) = found.get(&signature) {
                let side = if self.one_is_left { "left" } else { "right" };
                return Err(EvalError::execution(format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                     [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                    full(&signature),
                    full(&element.labels),
                    full(&other.element.labels),
                )));
            }
            order.push(signature.clone());
            found.insert(signature, Match::new(element));
        }
        Ok((found, order))
    }

    fn join(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        many: &Element,
        matched: &mut Match,
        out: &mut Vec<Element>,
    ) -> Result<(), EvalError> {
        let one = &matched.element;
        let (left, right) = if self.one_is_left { (one, many) } else { (many, one) };
        let operated = operate(self.binary.op, &left.value, &right.value);
        if operated.note.is_some() {
            self.last_note = operated.note;
        }
        let Some((mut value, keep)) = operated.result else { return Ok(()) };
        if self.binary.return_bool {
            value = SampleValue::Float(f64::from(u8::from(keep)));
        }
        let mut labels = evaluator.cache.derived_from_two(key(self.expr), &many.labels, &one.labels, |many, one| {
            result_labels(many, one, self.binary, self.matching)
        });
        if self.binary.return_bool && !evaluator.options.delayed_name_removal {
            labels = evaluator.cache.without_metadata(&labels);
        }
        if self.matching.cardinality == Cardinality::OneToOne {
            if matched.met {
                return Err(many_to_one());
            }
        } else if matched.results.insert(labels.clone(), ()).is_some() {
            return Err(EvalError::execution(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        matched.met = true;
        if keep || self.binary.return_bool {
            out.push(Element { labels, value, drop_name: self.binary.return_bool });
        }
        Ok(())
    }
}

fn many_to_one() -> EvalError {
    EvalError::execution("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")
}

/// A label set as Prometheus' errors show it: the name among the labels.
fn full(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", crate::model::Quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}
