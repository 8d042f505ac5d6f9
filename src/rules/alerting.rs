//! The state machine of alerts: Prometheus' `rules/alerting.go`, step by step.
//!
//! An alert is one label set of a rule: the labels of a result's element without the metric name, with the rule's labels
//! carried out as templates, and `alertname`. Two elements with the same one are an error.
//!
//! | from | when | to |
//! | --- | --- | --- |
//! | nothing, Inactive | the result has it | Pending since this evaluation |
//! | Pending | it has been there for `for` | Firing (with `for: 0s` in the same evaluation) |
//! | Firing | it has been there for less than `for`: a reload made `for` longer | Pending |
//! | Pending | the result has it no more | nothing |
//! | Firing | the result has it no more, for less than `keep_firing_for` | Firing |
//! | Firing | the result has it no more | Inactive, told as resolved, kept for 15 minutes |
//!
//! Values and annotations are taken over from every result; labels cannot change, they are the identity. An error changes
//! nothing. Past the group's limit the rule fails and all of its alerts are dropped.
//!
//! An alert that is not pending is told when it resolved after it was last told, and again after the resend delay.
//!
//! # After a restart
//! An alert that was restored and is not in the result is held: it neither ends nor begins to fire until the rule has
//! once returned it, its inputs are newer than the restart, or they had the time to come back (see
//! [`super::Rules::restore`]).
//!
//! # Beyond Prometheus
//! * `resolve_when`: a firing alert that the result has no more goes on firing until this expression has an element all
//!   of whose labels the alert has too (labels that the rule sets do not count; one without labels ends them all).
//! * `on_unknown`: what becomes of an alert that the result has no more because its inputs are gone or their target is
//!   down. `resolve`, the default, is what Prometheus does. `hold` keeps it as it is, for `unknown_for` at the most.
//!   `alert` does the same and raises a companion, the alert's name with `Unknown` behind it and else the same labels,
//!   after the rule's `for`; also without labels of its own when inputs that were there are gone while nothing is active.

use std::sync::Arc;
use std::time::Duration;

use super::active::Active;
use super::evaluate::Reading;
use super::expand::Expanded;
use super::few::Few;
use super::id::RuleId;
use super::outcome::{AlertEvent, AlertState};
use super::spec::{AlertSpec, OnUnknown};
use super::text::TemplateText;
use super::witness::Witness;
use crate::limits;
use crate::model::{Labels, LabelsMap, NAME, TextMap};
use crate::template::QueryFn;
use crate::time::Timestamp;

/// How long a resolved alert is kept, so that its end is told again (Prometheus' `resolvedRetention`).
pub(crate) const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// An alerting rule with its alerts.
#[derive(Debug)]
pub(crate) struct AlertRule {
    /// What the file says.
    pub spec: Arc<AlertSpec>,
    pub active: Few<Active>,
    /// What became of the elements of the last result.
    pub expanded: Expanded,
    /// Alerts that left `active` since the journal was last told.
    pub gone: Vec<Labels>,
    /// How often an alert's inputs went away under it, since the last time that somebody asked.
    pub unknown_count: u32,
    /// Its inputs were there once: only then can they be missed.
    pub inputs_seen: bool,
}

/// What every rule of a configuration shares.
pub(crate) struct AlertContext<'a> {
    pub external_labels: &'a Labels,
    pub external_url: &'a str,
    /// Carries out a template's `query`.
    pub query: &'a QueryFn<'a>,
    /// The group's limit; 0 for none.
    pub limit: usize,
    pub witness: &'a dyn Witness,
    /// How long restored alerts wait beyond the first sight of fresh inputs: for what other rules make of these.
    pub settle: Duration,
    /// What `resolve_when` gives.
    pub resolving: &'a [Reading],
}

/// Why an alert that the result does not have stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    /// Its inputs were not heard of since a restart.
    Restored,
    /// Its inputs say nothing, and the rule holds it.
    Unknown,
    /// `resolve_when` does not hold.
    NotResolved,
}

/// One alert of a result, before it meets what is known.
pub(super) struct Found {
    pub annotations: Arc<TextMap>,
    pub value: f64,
}

impl AlertRule {
    /// Without any alert.
    pub fn new(spec: Arc<AlertSpec>) -> AlertRule {
        AlertRule {
            spec,
            active: Few::default(),
            expanded: Expanded::default(),
            gone: Vec::new(),
            unknown_count: 0,
            inputs_seen: false,
        }
    }

    /// Takes over a result and gives the series that show the alerts.
    ///
    /// # Errors
    /// When two elements become the same alert, or there are too many of them.
    pub fn evaluate(
        &mut self,
        result: &[Reading],
        at: Timestamp,
        context: &AlertContext<'_>,
    ) -> Result<Vec<(Labels, f64)>, String> {
        if result.len() > limits::ALERTS_PER_RULE {
            return Err(format!(
                "the result has {} elements; one rule may have {}",
                result.len(),
                limits::ALERTS_PER_RULE
            ));
        }
        let mut found = self.expanded.expand(&self.spec, result, at, context)?;
        let staying = self.staying(&found, at, context);
        self.raise_companions(&mut found, &staying, context);
        for (labels, found) in &found {
            let begins = self.active.get(labels).is_none_or(|active| active.state == AlertState::Inactive);
            if begins {
                self.active.insert(labels.clone(), Active::new(labels.clone(), at));
            }
            if let Some(active) = self.active.get_mut(labels) {
                active.value = found.value;
                active.annotations = Arc::clone(&found.annotations);
            }
        }
        let count = self.advance(&found, &staying, at);
        if context.limit > 0 && count > context.limit {
            self.gone.extend(self.active.take().keys().cloned());
            return Err(format!("exceeded limit of {} with {count} alerts", context.limit));
        }
        Ok(self.samples())
    }

    /// Whether there is anything that the journal was not told.
    pub fn has_changes(&self) -> bool {
        !self.gone.is_empty() || self.active.values().any(|alert| alert.changed)
    }

    /// Which alerts stay although the result does not have them.
    fn staying(&mut self, found: &LabelsMap<Found>, at: Timestamp, context: &AlertContext<'_>) -> LabelsMap<Stays> {
        let (mut staying, spec) = (LabelsMap::default(), &self.spec);
        let (on_unknown, unknown_for) = (spec.on_unknown, spec.unknown_for);
        let absent = |alert: &&mut Active| alert.state != AlertState::Inactive && !found.contains_key(&alert.labels);
        for alert in self.active.values_mut().filter(absent) {
            let known_too_little = alert.unknown_since.is_some_and(|since| at.since(since) >= unknown_for);
            if !known_too_little && alert.is_held(at, context) {
                staying.insert(alert.labels.clone(), Stays::Restored);
                continue;
            }
            if alert.labels.value("alertname") != spec.alert.as_str() {
                // A companion goes with what it is about.
                continue;
            }
            if !context.witness.known(&alert.labels) {
                let news = alert.unknown_since.is_none() && alert.keep_firing_since.is_none();
                self.unknown_count += u32::from(news);
                let since = alert.unknown_since.unwrap_or(at);
                if on_unknown != OnUnknown::Resolve && at.since(since) < unknown_for {
                    alert.changed |= alert.unknown_since.is_none();
                    alert.unknown_since = Some(since);
                    staying.insert(alert.labels.clone(), Stays::Unknown);
                }
                continue;
            }
            alert.changed |= alert.unknown_since.take().is_some();
            let ends = |element: &Reading| ends(element, &alert.labels, &|name| spec.labels.get(name).is_some());
            if spec.resolve_when.is_some() && alert.state == AlertState::Firing && !context.resolving.iter().any(ends) {
                staying.insert(alert.labels.clone(), Stays::NotResolved);
            }
        }
        staying
    }

    /// With `on_unknown: alert`: an alert for each that is kept without knowing, or one for the whole rule.
    fn raise_companions(
        &mut self,
        found: &mut LabelsMap<Found>,
        staying: &LabelsMap<Stays>,
        context: &AlertContext<'_>,
    ) {
        if self.spec.on_unknown != OnUnknown::Alert {
            return;
        }
        let missing = context.witness.missing();
        self.inputs_seen |= !missing;
        let companion = format!("{}Unknown", *self.spec.alert);
        let mut unknown: Vec<Labels> =
            staying.iter().filter(|(_, why)| **why == Stays::Unknown).map(|(labels, _)| labels.clone()).collect();
        if unknown.is_empty() && found.is_empty() && staying.is_empty() && missing && self.inputs_seen {
            let plain = |(name, text): (&String, &TemplateText)| {
                (!text.source.contains("{{")).then(|| (name.clone(), text.source.to_string()))
            };
            unknown.push(Labels::from_pairs(self.spec.labels.iter().filter_map(plain)));
        }
        for labels in unknown {
            let text = format!(
                "{} cannot be judged: the series that it reads are gone, or their target is down",
                *self.spec.alert
            );
            let annotations = TextMap::from_iter([("summary".to_owned(), text)]);
            let annotations = Arc::new(annotations);
            found.insert(labels.with("alertname", &companion), Found { annotations, value: 1.0 });
        }
    }

    /// Moves every alert one step; gives how many are pending or firing.
    fn advance(&mut self, found: &LabelsMap<Found>, staying: &LabelsMap<Stays>, at: Timestamp) -> usize {
        let (hold, keep_firing_for) = (self.spec.hold, self.spec.keep_firing_for);
        let gone = &mut self.gone;
        self.active.retain(|labels, alert| {
            let keep = if found.contains_key(labels) {
                alert.seen(at, hold);
                true
            } else {
                staying.contains_key(labels) || alert.missed(at, keep_firing_for, hold)
            };
            if !keep {
                gone.push(labels.clone());
            }
            keep
        });
        self.active.values().filter(|alert| alert.state != AlertState::Inactive).count()
    }

    fn samples(&self) -> Vec<(Labels, f64)> {
        let mut samples = Vec::with_capacity(2 * self.active.len());
        self.active.values().for_each(|alert| samples.extend(alert.samples()));
        samples
    }

    /// The alerts that are to be told now, without the link to their expression; from then on they count as told.
    pub fn take_events(
        &mut self,
        id: &RuleId,
        at: Timestamp,
        resend_delay: Duration,
        interval: Duration,
        external_labels: &Labels,
    ) -> Vec<AlertEvent> {
        let mut events = Vec::new();
        for alert in self.active.values_mut().filter(|alert| alert.needs_sending(at, resend_delay)) {
            alert.last_sent_at = Some(at);
            alert.changed = true;
            events.push(AlertEvent {
                rule: id.clone(),
                labels: with_external(&alert.labels, external_labels),
                annotations: alert.annotations.to_map(),
                state: alert.state,
                value: alert.value,
                active_at: alert.active_at,
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                resolved_at: alert.resolved_at,
                valid_until: at + 4 * interval.max(resend_delay),
                generator_url: Arc::default(),
            });
        }
        events.sort_by(|a, b| a.labels.cmp(&b.labels));
        events
    }
}

impl Active {
    /// Whether a restored alert still waits to be returned or for its inputs.
    fn is_held(&mut self, at: Timestamp, context: &AlertContext<'_>) -> bool {
        let Some(held) = &mut self.held else { return false };
        held.holds(at, context.settle, |since| context.witness.fresh(&self.labels, since))
    }
}

/// Whether an element of `resolve_when` speaks of an alert.
fn ends(element: &Reading, alert: &Labels, own: &dyn Fn(&str) -> bool) -> bool {
    element.labels.iter().all(|(name, value)| name == NAME || own(name) || alert.value(name) == value)
}

/// An alert's labels as an Alertmanager gets them: external labels where the alert does not say otherwise.
fn with_external(labels: &Labels, external: &Labels) -> Labels {
    if external.is_empty() {
        return labels.clone();
    }
    let mut builder = external.to_builder();
    for (name, value) in labels {
        builder.set(name, value);
    }
    builder.build()
}
