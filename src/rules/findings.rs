//! Selectors that match no series although their rule waits for one: most often a typing error, or an exporter that
//! calls its series by another name.
//!
//! A rule looks at its selectors every [`limits::FINDING_LOOKS`] while it is evaluated. A selector counts as found
//! when it has matched no living series for [`limits::FINDING_GRACE`], whatever window or offset it asks for; so neither
//! a fresh start nor a gap between two scrapes is a finding. Selectors that may be empty in health are left out: those
//! within `absent()`, right of `unless` and `or`, those of `ALERTS`, and those of our own metrics, many of which begin
//! with the first event. Shipped rules are left out as a whole: what they read need not be on every host.

use std::sync::Arc;

use super::action::Asked;
use super::id::RuleId;
use crate::limits;
use crate::model::{MatchOp, Matcher, NAME};
use crate::series::View;
use crate::time::Timestamp;
use crate::yaml::{Place, nearest};

/// Something that is probably not as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub rule: RuleId,
    /// The selector's text.
    pub selector: String,
    /// Where the selector stands.
    pub place: Place,
    /// Since when it matches nothing.
    pub since: Timestamp,
    matchers: Arc<[Matcher]>,
}

impl Finding {
    /// What is wrong, in short.
    pub fn summary(&self) -> String {
        format!("`{}` matches no series", self.selector)
    }

    /// What is wrong, and what could be meant instead, by the series that are there. For the threads of readers: it
    /// looks at every metric name.
    pub fn message(&self, view: &View) -> String {
        let selector = &self.selector;
        let Some(name) = self.matchers.iter().find(|m| m.name == NAME && m.op == MatchOp::Equal) else {
            return self.summary();
        };
        let known = view.label_values(NAME);
        if !known.contains(&name.value.as_str()) {
            let longer = |known: &&str| {
                known.len() > 4 && (known.starts_with(name.value.as_str()) || name.value.starts_with(known))
            };
            return match nearest(&name.value, known.iter().copied()).or(known.iter().copied().find(|k| longer(k))) {
                Some(near) => {
                    format!(
                        "`{selector}` matches no series: there is no metric `{}`, did you mean `{near}`?",
                        name.value
                    )
                }
                None => format!("`{selector}` matches no series: there is no metric `{}`", name.value),
            };
        }
        let alone = |other: &&Matcher| other.name != NAME && !view.any(&[name.clone(), (*other).clone()], |_| true);
        let Some(wrong) = self.matchers.iter().find(alone) else {
            return format!("`{selector}` matches no series that goes on: those of `{}` ended", name.value);
        };
        let mut values: Vec<String> = Vec::new();
        view.any(std::slice::from_ref(name), |series| {
            let value = view.labels(series).map(|labels| labels.value(&wrong.name).to_owned()).unwrap_or_default();
            if !value.is_empty() && !values.contains(&value) {
                values.push(value);
            }
            values.len() >= 3
        });
        values.sort();
        let found =
            if values.is_empty() { "no such label".into() } else { format!("values such as {}", values.join(", ")) };
        format!("`{selector}` matches no series: none of `{}` fits `{wrong}`; there are {found}", name.value)
    }
}

/// What the names of the files of shipped rules begin with.
const SHIPPED: &str = "shipped/";

/// Which selectors of a rule match nothing, and since when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missing {
    looked_at: Option<Timestamp>,
    /// By the number of the expression and of its selector.
    since: Box<[(usize, usize, Timestamp)]>,
}

impl Missing {
    /// Looks, if it is time.
    pub fn look(&mut self, rule: &RuleId, asked: &[Asked], view: &View, at: Timestamp) {
        if rule.file.starts_with(SHIPPED) {
            return;
        }
        if self.looked_at.is_some_and(|looked| at.since(looked) < limits::FINDING_LOOKS) {
            return;
        }
        self.looked_at = Some(at);
        let mut since = Vec::new();
        for (number, asked) in asked.iter().enumerate() {
            for (place, input) in asked.inputs.0.iter().enumerate() {
                let expected = input.required() && !input.reads_alerts() && !input.is_fixed() && !input.reads_own();
                if !expected || input.matches_now(view, at) {
                    continue;
                }
                let known = self.since.iter().find(|(n, p, _)| (*n, *p) == (number, place));
                since.push((number, place, known.map_or(at, |(.., since)| *since)));
            }
        }
        self.since = since.into();
    }

    fn late(&self) -> impl Iterator<Item = &(usize, usize, Timestamp)> {
        let is_late = |since: Timestamp| self.looked_at.is_some_and(|at| at.since(since) >= limits::FINDING_GRACE);
        self.since.iter().filter(move |(.., since)| is_late(*since))
    }

    /// How many selectors have been missing for long enough.
    pub fn count(&self) -> usize {
        self.late().count()
    }

    /// What has been missing for long enough.
    pub fn findings(&self, rule: &RuleId, asked: &[Asked]) -> Vec<Finding> {
        let finding = |(number, place, since): &(usize, usize, Timestamp)| {
            let asked = asked.get(*number)?;
            let input = asked.inputs.0.get(*place)?;
            let span = input.span.start as usize..input.span.end as usize;
            Some(Finding {
                rule: rule.clone(),
                selector: asked.query.text.get(span.clone()).unwrap_or_default().to_owned(),
                place: asked.query.place.within(&asked.query.text, span),
                since: *since,
                matchers: Arc::clone(&input.matchers),
            })
        };
        let mut findings: Vec<Finding> = self.late().filter_map(finding).collect();
        findings.dedup_by(|a, b| a.selector == b.selector);
        findings
    }

    /// The system's clock was set.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.looked_at = self.looked_at.map(|at| at.shifted(by_millis));
        self.since.iter_mut().for_each(|(.., since)| *since = since.shifted(by_millis));
    }
}
