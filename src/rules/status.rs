//! What the rules look like from outside: for `/api/v1/rules`, `/api/v1/alerts` and the page.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::active::Active;
use super::evaluations::Evaluation;
use super::findings::Finding;
use super::group::Group;
use super::id::RuleId;
use super::outcome::{AlertState, Condition};
use super::rule::{Body, Health, Rule};
use super::ruler::Rules;
use super::spec::RuleSpec;
use crate::model::{Labels, TextMap};
use crate::time::Timestamp;

/// Which rules are to be described: of many thousands that takes time and room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The groups alone.
    Nothing,
    /// Those that act: what their conditions say.
    Acting,
    /// Those with a pending or firing alert.
    Alerting,
    All,
}

impl Listed {
    fn has(self, rule: &Rule) -> bool {
        match (self, &rule.body) {
            (Listed::Nothing, _) => false,
            (Listed::All, _) => true,
            (Listed::Acting, body) => matches!(body, Body::Action(_)),
            (Listed::Alerting, Body::Alert(alerts)) => {
                alerts.active.values().any(|alert| alert.state != AlertState::Inactive)
            }
            (Listed::Alerting, _) => false,
        }
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatus {
    pub file: Arc<str>,
    pub name: Arc<str>,
    pub interval: Duration,
    pub query_offset: Duration,
    /// 0: no limit.
    pub limit: usize,
    /// Those that were asked for, in their order.
    pub rules: Vec<RuleStatus>,
    /// How long the evaluation at the last slot took; 0 before.
    pub evaluation_seconds: f64,
    /// The slot of the last evaluation.
    pub last_evaluation: Option<Timestamp>,
    /// The slot of the next one.
    pub next_evaluation: Timestamp,
    /// Slots that were skipped.
    pub missed: u64,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleStatus {
    /// Its kind is the `type` of the API.
    pub id: RuleId,
    /// The expression; of an action rule all of them, one a line.
    pub query: Arc<str>,
    /// `for` of an alert.
    pub duration: Duration,
    pub keep_firing_for: Duration,
    pub health: Health,
    pub last_evaluation: Option<Timestamp>,
    /// How long the last evaluation took; 0 before.
    pub evaluation_seconds: f64,
    /// Selectors that match nothing.
    pub findings: Vec<Finding>,
    /// Of an alert: the worst of its alerts; `None` before the first evaluation, and for other kinds.
    pub state: Option<AlertState>,
    /// Pending and firing ones, in the order of their labels.
    pub alerts: Vec<ActiveAlert>,
    /// Of an action rule.
    pub conditions: Vec<ConditionStatus>,
    /// As the rule file has it.
    pub spec: RuleSpec,
}

impl RuleStatus {
    /// The `state` of the API: `unknown` before the first evaluation.
    pub fn state_str(&self) -> &'static str {
        self.state.map_or("unknown", AlertState::as_str)
    }

    /// The `lastError` of the API.
    pub fn last_error(&self) -> &str {
        match &self.health {
            Health::Failed(message) => message,
            Health::Unknown | Health::Ok => "",
        }
    }
}

/// A pending or firing alert.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    pub labels: Labels,
    pub annotations: Arc<TextMap>,
    pub state: AlertState,
    pub active_at: Timestamp,
    pub keep_firing_since: Option<Timestamp>,
    pub value: f64,
    /// Restored after a restart and not seen since: kept until then at least.
    pub held_until: Option<Timestamp>,
    /// Since when it is kept although its inputs are gone or their target is down.
    pub unknown_since: Option<Timestamp>,
}

/// A condition of an action rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionStatus {
    pub query: Arc<str>,
    /// `None` before the first evaluation.
    pub condition: Option<Condition>,
    /// Since when it has been saying the same.
    pub since: Option<Timestamp>,
}

impl Rules {
    /// Every group with those of its rules that are asked for, in the order of the files.
    pub fn groups_status(&self, listed: Listed) -> Vec<GroupStatus> {
        self.groups().iter().map(|group| group_status(group, listed)).collect()
    }

    /// How many alerts are in a state.
    pub fn alerts_in(&self, state: AlertState) -> usize {
        let rules = self.groups().iter().flat_map(|group| &group.rules);
        let of = |rule: &Rule| match &rule.body {
            Body::Alert(alerts) => alerts.active.values().filter(|alert| alert.state == state).count(),
            _ => 0,
        };
        rules.map(of).sum()
    }

    /// The names of the alerts that fire.
    pub fn firing_names(&self) -> BTreeSet<String> {
        let rules = self.groups().iter().flat_map(|group| &group.rules);
        let fires = |rule: &&Rule| match &rule.body {
            Body::Alert(alerts) => alerts.active.values().any(|alert| alert.state == AlertState::Firing),
            _ => false,
        };
        rules.filter(fires).map(|rule| rule.id.name.to_string()).collect()
    }

    /// Every pending and firing alert.
    pub fn active_alerts(&self) -> Vec<ActiveAlert> {
        let rules = self.groups().iter().flat_map(|group| &group.rules);
        rules.flat_map(alerts_of).collect()
    }

    /// How many alerts are kept although nothing is known of them.
    pub fn unknown_alerts(&self) -> usize {
        let rules = self.groups().iter().flat_map(|group| &group.rules);
        let of = |rule: &Rule| match &rule.body {
            Body::Alert(alerts) => alerts.active.values().filter(|alert| alert.unknown_since.is_some()).count(),
            _ => 0,
        };
        rules.map(of).sum()
    }

    /// Selectors that have matched no series for a while although their rule waits for some.
    pub fn findings(&self) -> Vec<Finding> {
        let rules = self.groups().iter().flat_map(|group| &group.rules);
        rules.flat_map(|rule| rule.missing.findings(&rule.id, &rule.asked)).collect()
    }

    /// How many findings there are.
    pub fn findings_count(&self) -> usize {
        self.groups().iter().flat_map(|group| &group.rules).map(|rule| rule.missing.count()).sum()
    }

    /// The last evaluations of the rules of this name, oldest first; of all groups when none is named.
    pub fn evaluations(&self, group: Option<&str>, name: &str) -> Vec<(RuleId, Vec<Evaluation>)> {
        let groups = self.groups().iter().filter(|known| group.is_none_or(|group| *known.name == *group));
        let rules = groups.flat_map(|group| &group.rules).filter(|rule| &*rule.id.name == name);
        rules.map(|rule| (rule.id.clone(), rule.ring.all().collect())).collect()
    }
}

fn group_status(group: &Group, listed: Listed) -> GroupStatus {
    GroupStatus {
        file: Arc::clone(&group.file),
        name: Arc::clone(&group.name),
        interval: group.interval,
        query_offset: group.query_offset,
        limit: group.limit,
        rules: group.rules.iter().filter(|rule| listed.has(rule)).map(rule_status).collect(),
        evaluation_seconds: group.took.as_secs_f64(),
        last_evaluation: group.last_evaluation,
        next_evaluation: group.next,
        missed: group.missed,
    }
}

fn rule_status(rule: &Rule) -> RuleStatus {
    let mut status = RuleStatus {
        id: rule.id.clone(),
        query: match &*rule.asked {
            [asked] => Arc::clone(&asked.query.text),
            several => several.iter().map(|asked| &*asked.query.text).collect::<Vec<_>>().join("\n").into(),
        },
        duration: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        health: rule.health.clone(),
        last_evaluation: rule.last_at,
        evaluation_seconds: rule.ring.last_took().map_or(0.0, |took| took.as_secs_f64()),
        findings: rule.missing.findings(&rule.id, &rule.asked),
        state: None,
        alerts: alerts_of(rule),
        conditions: conditions_of(rule),
        spec: rule.spec.clone(),
    };
    match &rule.spec {
        RuleSpec::Alert(spec) => {
            status.query = Arc::clone(&spec.expr.text);
            status.duration = spec.hold;
            status.keep_firing_for = spec.keep_firing_for;
            let worst = status.alerts.iter().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive);
            status.state = (rule.last_at.is_some() || worst > AlertState::Inactive).then_some(worst);
        }
        RuleSpec::Scale(spec) => status.duration = spec.hold,
        _ => {}
    }
    status
}

fn alerts_of(rule: &Rule) -> Vec<ActiveAlert> {
    let Body::Alert(alerts) = &rule.body else { return Vec::new() };
    let shown = |alert: &Active| ActiveAlert {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        state: alert.state,
        active_at: alert.active_at,
        keep_firing_since: alert.keep_firing_since,
        value: alert.value,
        held_until: alert.held.map(|held| held.until),
        unknown_since: alert.unknown_since,
    };
    let active = alerts.active.values().filter(|alert| alert.state != AlertState::Inactive);
    let mut alerts: Vec<ActiveAlert> = active.map(shown).collect();
    alerts.sort_by(|a, b| a.labels.cmp(&b.labels));
    alerts
}

fn conditions_of(rule: &Rule) -> Vec<ConditionStatus> {
    let Body::Action(action) = &rule.body else { return Vec::new() };
    let shown = |(part, asked): (&super::action::ActionPart, &super::action::Asked)| ConditionStatus {
        query: Arc::clone(&asked.query.text),
        condition: part.last.as_ref().map(|(condition, _)| condition.clone()),
        since: part.last.as_ref().map(|(_, since)| *since),
    };
    action.parts.iter().zip(&rule.asked).map(shown).collect()
}
