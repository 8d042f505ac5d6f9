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
//! once returned it, or until its input had the time to come back (see [`super::Rules::restore`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::evaluate::Reading;
use super::id::RuleId;
use super::outcome::{AlertEvent, AlertState};
use super::text::TemplateText;
use crate::limits;
use crate::model::{Labels, LabelsMap, NAME};
use crate::template::{QueryFn, RuleVars};
use crate::time::Timestamp;

/// How long a resolved alert is kept, so that its end is told again (Prometheus' `resolvedRetention`).
pub(crate) const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// An alerting rule with its alerts.
#[derive(Debug)]
pub(crate) struct AlertRule {
    pub name: Arc<str>,
    pub hold: Duration,
    pub keep_firing_for: Duration,
    pub labels: BTreeMap<String, TemplateText>,
    pub annotations: BTreeMap<String, TemplateText>,
    pub generator_url: Arc<str>,
    pub active: LabelsMap<Active>,
    /// Alerts that left `active` since the journal was last told.
    pub gone: Vec<Labels>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Active {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub value: f64,
    pub state: AlertState,
    pub active_at: Timestamp,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub last_sent_at: Option<Timestamp>,
    pub keep_firing_since: Option<Timestamp>,
    /// After a restart: until when the result need not have it.
    pub held_until: Option<Timestamp>,
    /// Something changed that must survive a restart.
    pub changed: bool,
    series: Series,
}

/// The names of the series that show an alert, made once.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    pending: Labels,
    firing: Labels,
    for_state: Labels,
}

impl Series {
    fn of(labels: &Labels) -> Series {
        let mut builder = labels.to_builder();
        builder.set(NAME, "ALERTS_FOR_STATE");
        let for_state = builder.build();
        builder.set(NAME, "ALERTS").set("alertstate", AlertState::Pending.as_str());
        let pending = builder.build();
        builder.set("alertstate", AlertState::Firing.as_str());
        Series { pending, firing: builder.build(), for_state }
    }
}

impl Active {
    pub fn new(labels: Labels, at: Timestamp) -> Active {
        Active {
            series: Series::of(&labels),
            labels,
            annotations: BTreeMap::new(),
            value: 0.0,
            state: AlertState::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            keep_firing_since: None,
            held_until: None,
            changed: true,
        }
    }

    fn needs_sending(&self, at: Timestamp, resend_delay: Duration) -> bool {
        let Some(sent) = self.last_sent_at else { return self.state != AlertState::Pending };
        self.state != AlertState::Pending
            && (self.resolved_at.is_some_and(|resolved| resolved > sent) || sent + resend_delay < at)
    }

    fn is_told(&self) -> bool {
        match (self.resolved_at, self.last_sent_at) {
            (Some(resolved), sent) => sent.is_some_and(|sent| sent >= resolved),
            (None, _) => true,
        }
    }
}

/// What every rule of a configuration shares.
pub(crate) struct AlertContext<'a> {
    pub external_labels: &'a Labels,
    pub external_url: &'a str,
    /// Carries out a template's `query`.
    pub query: &'a QueryFn<'a>,
    /// The group's limit; 0 for none.
    pub limit: usize,
}

/// One alert of a result, before it meets what is known.
struct Found {
    annotations: BTreeMap<String, String>,
    value: f64,
}

impl AlertRule {
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
        let found = self.expand(result, at, context)?;
        for (labels, found) in &found {
            let begins = self.active.get(labels).is_none_or(|active| active.state == AlertState::Inactive);
            if begins {
                self.active.insert(labels.clone(), Active::new(labels.clone(), at));
            }
            if let Some(active) = self.active.get_mut(labels) {
                active.value = found.value;
                active.annotations.clone_from(&found.annotations);
            }
        }
        let count = self.advance(&found, at);
        if context.limit > 0 && count > context.limit {
            self.gone.extend(self.active.drain().map(|(labels, _)| labels));
            return Err(format!("exceeded limit of {} with {count} alerts", context.limit));
        }
        Ok(self.samples())
    }

    /// Whether there is anything that the journal was not told.
    pub fn has_changes(&self) -> bool {
        !self.gone.is_empty() || self.active.values().any(|alert| alert.changed)
    }

    /// Carries out the templates of every element.
    fn expand(
        &self,
        result: &[Reading],
        at: Timestamp,
        context: &AlertContext<'_>,
    ) -> Result<LabelsMap<Found>, String> {
        let mut found = LabelsMap::default();
        for reading in result {
            let vars = RuleVars {
                labels: &reading.labels,
                external_labels: context.external_labels,
                external_url: context.external_url,
                value: reading.float(),
                now: at,
                query: context.query,
            };
            let mut builder = reading.labels.to_builder();
            builder.remove(NAME);
            for (name, text) in &self.labels {
                builder.set(name, &text.render(&vars));
            }
            builder.set("alertname", &self.name);
            let annotations = self.annotations.iter().map(|(name, text)| (name.clone(), text.render(&vars))).collect();
            let alert = Found { annotations, value: reading.float() };
            if found.insert(builder.build(), alert).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".into());
            }
        }
        Ok(found)
    }

    /// Moves every alert one step; gives how many are pending or firing.
    fn advance(&mut self, found: &LabelsMap<Found>, at: Timestamp) -> usize {
        let (hold, keep_firing_for) = (self.hold, self.keep_firing_for);
        let gone = &mut self.gone;
        self.active.retain(|labels, alert| {
            let keep = if found.contains_key(labels) {
                alert.seen(at, hold);
                true
            } else {
                alert.missed(at, keep_firing_for, hold)
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
        for alert in self.active.values() {
            let series = match alert.state {
                AlertState::Inactive => continue,
                AlertState::Pending => &alert.series.pending,
                AlertState::Firing => &alert.series.firing,
            };
            samples.push((series.clone(), 1.0));
            let since = alert.active_at.as_millis().div_euclid(1_000) as f64;
            samples.push((alert.series.for_state.clone(), since));
        }
        samples
    }

    /// The alerts that are to be told now; from then on they count as told.
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
                annotations: alert.annotations.clone(),
                state: alert.state,
                value: alert.value,
                active_at: alert.active_at,
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                resolved_at: alert.resolved_at,
                valid_until: at + 4 * interval.max(resend_delay),
                generator_url: Arc::clone(&self.generator_url),
            });
        }
        events.sort_by(|a, b| a.labels.cmp(&b.labels));
        events
    }
}

impl Active {
    /// The result has it.
    fn seen(&mut self, at: Timestamp, hold: Duration) {
        self.changed |= self.keep_firing_since.take().is_some();
        self.held_until = None;
        self.count_hold(at, hold);
    }

    /// Pending becomes firing after `hold`, and back when a reload made it longer.
    fn count_hold(&mut self, at: Timestamp, hold: Duration) {
        let held = at.since(self.active_at) >= hold;
        match self.state {
            AlertState::Pending if held => {
                self.state = AlertState::Firing;
                self.fired_at = Some(at);
                self.changed = true;
            }
            AlertState::Firing if !held => {
                self.state = AlertState::Pending;
                (self.fired_at, self.last_sent_at, self.keep_firing_since) = (None, None, None);
                self.changed = true;
            }
            _ => {}
        }
    }

    /// The result does not have it. False when there is nothing left to keep.
    fn missed(&mut self, at: Timestamp, keep_firing_for: Duration, hold: Duration) -> bool {
        if self.state != AlertState::Inactive && self.held_until.is_some_and(|until| at < until) {
            return true;
        }
        match self.state {
            AlertState::Pending => false,
            AlertState::Firing => {
                if !keep_firing_for.is_zero() {
                    self.changed |= self.keep_firing_since.is_none();
                    let since = *self.keep_firing_since.get_or_insert(at);
                    if at.since(since) < keep_firing_for {
                        self.count_hold(at, hold);
                        return true;
                    }
                }
                self.state = AlertState::Inactive;
                self.resolved_at = Some(at);
                self.changed = true;
                true
            }
            // A resolve that nobody was told of outlives the retention: a restart may have lasted longer.
            AlertState::Inactive => {
                !self.is_told() || self.resolved_at.is_some_and(|resolved| at.since(resolved) <= RESOLVED_RETENTION)
            }
        }
    }
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
