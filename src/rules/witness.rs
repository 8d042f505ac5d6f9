//! What the inputs of a rule say about one alert that its result does not have: whether they are newer than a restart,
//! and whether they are there at all.
//!
//! A series *concerns* an alert when a selector of the rule matches it and it has no other value for any label that the
//! alert has from the result (labels that the rule sets itself do not count, nor labels that the series has not, as an
//! aggregation or a join may have brought them).

use std::time::Duration;

use super::inputs::{Input, Inputs, UP_AGE};
use crate::model::{Labels, Matcher, NAME};
use crate::series::{Point, SeriesRef, View};
use crate::time::Timestamp;

/// Answers for the alerts of one rule at one evaluation.
pub(crate) trait Witness {
    /// Whether everything that concerns the alert has been heard of since then.
    fn fresh(&self, alert: &Labels, since: Timestamp) -> bool;

    /// Whether the series that concern the alert are there, and their targets up.
    fn known(&self, alert: &Labels) -> bool;

    /// Whether an input is missing, whatever alert it concerns.
    fn missing(&self) -> bool;
}

/// The witness that looks into the store.
pub(crate) struct StoreWitness<'a> {
    pub view: &'a View,
    pub inputs: &'a Inputs,
    /// What the recording rules read that write the inputs; only after a restart.
    pub upstream: &'a [Input],
    /// When the expression was asked.
    pub at: Timestamp,
    /// Labels that the rule sets.
    pub own: &'a dyn Fn(&str) -> bool,
}

impl Witness for StoreWitness<'_> {
    fn fresh(&self, alert: &Labels, since: Timestamp) -> bool {
        let own = self.inputs.0.iter().map(|input| (input, input.required()));
        let upstream = self.upstream.iter().map(|input| (input, false));
        own.chain(upstream)
            .filter(|(input, _)| !input.reads_alerts() && !input.is_fixed())
            .all(|(input, needed)| self.is_fresh(input, alert, since, needed))
    }

    fn known(&self, alert: &Labels) -> bool {
        let needed = self.inputs.0.iter().filter(|input| input.required() && !input.reads_alerts());
        needed.into_iter().all(|input| {
            let alive = |series: &SeriesRef| input.is_alive(self.view, *series, self.at, 1);
            let up = |series: SeriesRef| self.view.labels(series).is_none_or(|labels| !self.is_down(labels));
            self.concerning(input, alert).filter(alive).any(up)
        })
    }

    fn missing(&self) -> bool {
        self.inputs.missing(self.view, self.at)
    }
}

impl StoreWitness<'_> {
    fn concerning(&self, input: &Input, alert: &Labels) -> impl Iterator<Item = SeriesRef> {
        let about = alert.filtered(|name| name != "alertname" && !(self.own)(name));
        let concerns = move |series: &SeriesRef| {
            self.view.labels(*series).is_some_and(|labels| {
                let agrees = |(name, value): (&str, &str)| {
                    let found = labels.value(name);
                    found.is_empty() || found == value
                };
                about.iter().all(agrees)
            })
        };
        self.view.resolve(&input.matchers).into_iter().filter(concerns)
    }

    /// Whether every series that was alive at the restart was heard of since, and one at least if it is `needed`.
    fn is_fresh(&self, input: &Input, alert: &Labels, since: Timestamp, needed: bool) -> bool {
        let mut fresh = 0;
        for series in self.concerning(input, alert) {
            let newest = self.last(series, self.at, Duration::MAX);
            if newest.is_some_and(|point| point.time() > since) {
                fresh += usize::from(self.is_covered(input, series, since));
                continue;
            }
            // Whoever was gone before the restart is not waited for.
            if self.last(series, since, input.lookback()).is_some_and(|point| !point.is_stale()) {
                return false;
            }
        }
        fresh > 0 || !needed
    }

    /// Whether the window of a range selector is not empty merely because the store lost what was before the restart.
    fn is_covered(&self, input: &Input, series: SeriesRef, since: Timestamp) -> bool {
        let back = input.range_and_offset();
        back.is_zero() || self.at.since(since) >= back || self.last(series, since, back).is_some()
    }

    fn last(&self, series: SeriesRef, at: Timestamp, within: Duration) -> Option<Point> {
        self.view.last_before(series, at, within)
    }

    /// Whether the target of a series is known not to answer.
    fn is_down(&self, labels: &Labels) -> bool {
        let (job, instance) = (labels.value("job"), labels.value("instance"));
        if job.is_empty() || instance.is_empty() || labels.name() == "up" {
            return false;
        }
        let matchers = [(NAME, "up"), ("job", job), ("instance", instance)].map(|(n, v)| Matcher::equal(n, v));
        self.view.any(&matchers, |up| {
            let newest = self.view.last_before(up, self.at, UP_AGE);
            matches!(newest, Some(Point::Float(_, value)) if value == 0.0)
        })
    }
}
