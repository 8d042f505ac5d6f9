//! `info(v, {selector})`: labels of info metrics (`target_info`) joined to the series of the same job and instance.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::{Labels, LabelsBuilder, LabelsMap, MatchOp, Matcher, NAME};
use crate::promql::ast::{AtModifier, Call, Expr, Kind};
use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare};
use crate::promql::eval::selector::{Extent, Loaded, Reference};
use crate::promql::eval::value::SampleValue;

/// The labels by which an info series belongs to others.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
const TARGET_INFO: &str = "target_info";

/// Which info series are wanted, and which of their labels.
struct Wanted<'w> {
    /// On `__name__`.
    names: Vec<Matcher>,
    /// On the labels that are taken over.
    data: Vec<&'w Matcher>,
}

impl<'w> Wanted<'w> {
    fn new(selector: Option<&'w Expr>) -> Result<Wanted<'w>, EvalError> {
        let matchers: &[Matcher] = match selector.map(|expr| &bare(expr).kind) {
            Some(Kind::Selector(selector)) => &selector.matchers,
            _ => &[],
        };
        let (on_name, data): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| m.name == NAME);
        let mut names: Vec<Matcher> = on_name.into_iter().cloned().collect();
        if names.is_empty() {
            names.push(Matcher::equal(NAME, TARGET_INFO));
        } else if !names.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Matches)) {
            // Only exclusions: among info metrics.
            let any = Matcher::new(MatchOp::Matches, NAME, ".+_info");
            names.push(any.map_err(|error| EvalError::execution(error.to_string()))?);
        }
        Ok(Wanted { names, data })
    }

    fn is_info_name(&self, name: &str) -> bool {
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    fn takes(&self, label: &str) -> bool {
        self.data.is_empty() || self.data.iter().any(|matcher| matcher.name == label)
    }
}

impl Evaluator<'_> {
    pub(super) fn info(&mut self, expr: &Expr, call: &Call, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let in_place = |error: EvalError| error.at(expr.span);
        let wanted = Wanted::new(call.args.get(1)).map_err(in_place)?;
        let base = bare(&call.args[0]);
        let vector = self.vector(base, frame, at)?;
        if vector.is_empty() {
            return Ok(vector);
        }
        let Some(place) = self.info_place(base)? else { return Ok(vector) };
        let loaded = self.info_series(expr, &wanted, &place, frame)?;
        let partners = self.info_partners(&loaded, &vector, &wanted, place.time(at)).map_err(in_place)?;
        let mut out = Vec::with_capacity(vector.len());
        for mut element in vector {
            if wanted.is_info_name(element.labels.name()) {
                out.push(element);
                continue;
            }
            if let Some(labels) = enriched(&element.labels, &partners, &wanted).map_err(in_place)? {
                element.labels = labels;
                out.push(element);
            }
        }
        self.check_unique(&out, frame).map_err(in_place)?;
        Ok(out)
    }

    /// When info series are looked at: where the first selector of the base expression looks.
    fn info_place(&self, base: &Expr) -> Result<Option<Place>, EvalError> {
        let mut path = Vec::new();
        if !path_to_selector(base, &mut path) {
            return Ok(None);
        }
        let mut place = Place { offset: 0, pinned: None };
        for expr in path.iter().rev() {
            let modifiers = match &expr.kind {
                Kind::Selector(selector) => &selector.modifiers,
                Kind::Range(range) => &range.selector.modifiers,
                Kind::Subquery(subquery) => &subquery.modifiers,
                _ => continue,
            };
            place.offset += Reference::new(modifiers, &self.query)?.offset();
            place.pinned = modifiers.at.as_ref().map(|at| match at {
                AtModifier::Time(at) => at.as_millis(),
                AtModifier::Start => self.query.start,
                AtModifier::End => self.query.end,
            });
            if place.pinned.is_some() {
                // What stands around it has no say any more.
                break;
            }
        }
        Ok(Some(place))
    }

    fn info_series(
        &mut self,
        expr: &Expr,
        wanted: &Wanted<'_>,
        place: &Place,
        frame: &Frame,
    ) -> Result<Rc<Loaded>, EvalError> {
        let matchers: Vec<Matcher> =
            wanted.names.iter().cloned().chain(wanted.data.iter().map(|m| (*m).clone())).collect();
        let extent = Extent {
            from: place.time(frame.start) - self.lookback() + 1,
            until: place.time(frame.end),
            keep_stale: true,
            stats_only: false,
        };
        self.loaded(expr, frame, |evaluator| evaluator.load(expr, &matchers, extent))
    }

    /// The newest info series for each metric name and identity.
    fn info_partners(
        &self,
        loaded: &Loaded,
        vector: &[Element],
        wanted: &Wanted<'_>,
        until: i64,
    ) -> Result<Partners, EvalError> {
        let after = until - self.lookback();
        let identities = Identities::of(vector.iter().filter(|e| !wanted.is_info_name(e.labels.name())));
        let mut partners = Partners::default();
        for series in loaded.series.iter().filter(|series| identities.admit(&series.labels)) {
            let Some(newest) = series.newest(after, until) else { continue };
            if matches!(newest.value, SampleValue::Histogram(_)) {
                let message = format!("this should be an info metric, with float samples: {}", series.labels);
                return Err(EvalError::execution(message));
            }
            let by_name = partners.0.entry(identity(&series.labels)).or_default();
            let name = series.labels.name().to_owned();
            match by_name.get(&name) {
                Some((known, _)) if *known > newest.at => {}
                Some((known, existing)) if *known == newest.at => {
                    return Err(EvalError::execution(format!(
                        "found duplicate series for info metric: existing {existing} @ {known}, new {} @ {}",
                        series.labels, newest.at
                    )));
                }
                _ => drop(by_name.insert(name, (newest.at, series.labels.clone()))),
            }
        }
        Ok(partners)
    }
}

/// The instant at which info series are looked at.
struct Place {
    offset: i64,
    pinned: Option<i64>,
}

impl Place {
    fn time(&self, at: i64) -> i64 {
        self.pinned.unwrap_or(at) - self.offset
    }
}

/// The path from `expr` to the first selector below it, both included.
fn path_to_selector<'e>(expr: &'e Expr, path: &mut Vec<&'e Expr>) -> bool {
    path.push(expr);
    let found = match &expr.kind {
        Kind::Selector(_) | Kind::Range(_) => true,
        Kind::Number(_) | Kind::Text(_) => false,
        Kind::Subquery(subquery) => path_to_selector(&subquery.expr, path),
        Kind::Call(call) => call.args.iter().any(|arg| path_to_selector(arg, path)),
        Kind::Aggregate(aggregate) => path_to_selector(&aggregate.expr, path),
        Kind::Negate(inner) | Kind::Paren(inner) => path_to_selector(inner, path),
        Kind::Binary(binary) => path_to_selector(&binary.left, path) || path_to_selector(&binary.right, path),
    };
    if !found {
        path.pop();
    }
    found
}

fn identity(labels: &Labels) -> Labels {
    labels.filtered(|name| IDENTIFYING.contains(&name))
}

/// The values of the identifying labels among the base series; an info series must have one of each.
#[derive(Default)]
struct Identities(HashMap<&'static str, HashSet<String>>);

impl Identities {
    fn of<'e>(elements: impl Iterator<Item = &'e Element>) -> Identities {
        let mut identities = Identities::default();
        for element in elements {
            for label in IDENTIFYING {
                if let Some(value) = element.labels.get(label) {
                    identities.0.entry(label).or_default().insert(value.to_owned());
                }
            }
        }
        identities
    }

    fn admit(&self, labels: &Labels) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(label, values)| values.contains(labels.value(label)))
    }
}

/// Info series by identity and metric name, each with the time of its sample.
#[derive(Default)]
struct Partners(LabelsMap<std::collections::BTreeMap<String, (i64, Labels)>>);

/// The labels with those of the info series added; `None` when a wanted label is missing.
fn enriched(labels: &Labels, partners: &Partners, wanted: &Wanted<'_>) -> Result<Option<Labels>, EvalError> {
    let mut added = LabelsBuilder::new();
    let found = partners.0.get(&identity(labels));
    for (_, info) in found.into_iter().flat_map(|by_name| by_name.values()) {
        for (name, value) in info.iter().filter(|(name, _)| *name != NAME && wanted.takes(name)) {
            let known = added.value(name);
            if !known.is_empty() && known != value {
                return Err(EvalError::execution(format!("conflicting label: {name}")));
            }
            if labels.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    if found.is_none() && !wanted.data.iter().all(|matcher| matcher.matches_empty()) {
        return Ok(None);
    }
    let mut builder = labels.to_builder();
    for (name, value) in added.iter() {
        builder.set(name, value);
    }
    Ok(Some(builder.build()))
}
