//! From `dim`, `limit` and `rollout` rules to the arbiter's settings, and from their judgements to what it takes.

use crate::rules::{
    Condition, ControlSpec, DimSpec, Input, LawName, LimitSource, LimitSpec, Part, QuorumSpec, RolloutSpec, RuleStatus,
    Scope, Truth, ZonesSpec,
};
use crate::switches::{
    self, Compare, ControlSettings, Declaration, DialRule, DialSource, Evidence, Law, Measured, Mode, Quorum,
    RolloutRule, SwitchKind, ZonesNeeded,
};

pub(super) fn dim(
    declarations: &[Declaration],
    status: &RuleStatus,
    spec: &DimSpec,
    interval: f64,
    mode: Mode,
) -> Option<DialRule> {
    let declaration = declarations.iter().find(|d| d.name == spec.switch.value)?;
    let mut settings = control(&spec.control, interval);
    match &declaration.kind {
        SwitchKind::Dimmer { min, max } => (settings.floor, settings.ceiling) = (*min, *max),
        _ => settings.levels = levels(declaration.ladder.len(), &spec.shares),
    }
    let least = |limit: &Declaration| match limit.kind {
        SwitchKind::Limit { min, .. } => min,
        _ => 0.0,
    };
    let limit = spec.limit.as_ref().map(|limit| limit.value.clone());
    let behind = limit.as_ref().and_then(|limit| declarations.iter().find(|d| d.name == *limit));
    settings.least_limit = settings.least_limit.max(behind.map_or(0.0, least));
    Some(DialRule {
        rule: status.id.to_string(),
        title: super::actions::title(status),
        switch: spec.switch.value.clone(),
        limit,
        source: DialSource::Law(settings),
        mode,
        scope: scope(spec.scope).to_owned(),
        quorum: quorum(spec.quorum.as_ref()),
    })
}

/// A limit by itself: no answer can be made cheaper, so a degraded one costs as much as a full one and the share stays.
pub(super) fn limit(status: &RuleStatus, spec: &LimitSpec, interval: f64, mode: Mode) -> DialRule {
    let source = match &spec.source {
        LimitSource::Law(law) => {
            let (floor, cost_ratio) = (1.0, 1.0);
            DialSource::Law(ControlSettings { floor, cost_ratio, ..control(law, interval) })
        }
        LimitSource::Value(query) => DialSource::Value(query.text.to_string()),
    };
    DialRule {
        rule: status.id.to_string(),
        title: super::actions::title(status),
        switch: spec.switch.value.clone(),
        limit: None,
        source,
        mode,
        scope: scope(spec.scope).to_owned(),
        quorum: quorum(spec.quorum.as_ref()),
    }
}

pub(super) fn rollout(status: &RuleStatus, spec: &RolloutSpec, mode: Mode) -> RolloutRule {
    let text = |query: &crate::rules::Query| query.text.to_string();
    RolloutRule {
        rule: status.id.to_string(),
        title: super::actions::title(status),
        switch: spec.switch.value.clone(),
        version: spec.version.clone(),
        steps: spec.steps.iter().map(|step| (step.share, step.hold)).collect(),
        advance_when: spec.advance_when.as_ref().map(text),
        abort_when: spec.abort_when.as_ref().map(text),
        abort_for: spec.abort_for,
        compare: spec.compare.as_ref().map(|compare| Compare {
            min_samples: compare.min_samples,
            worse_by: compare.worse_by,
            at_least: compare.at_least,
        }),
        no_data_for: spec.no_data_for,
        mode,
    }
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Host => "host",
        Scope::Zone => "zone",
        Scope::Fleet => "fleet",
    }
}

/// The agreement that a rule needs, where it says nothing half of the hosts.
pub(super) fn quorum(spec: Option<&QuorumSpec>) -> Quorum {
    let Some(spec) = spec else { return Quorum::default() };
    // With `at_least` alone that number is enough.
    let share = spec.share.unwrap_or(if spec.at_least.is_some() { 0.0 } else { 0.5 });
    let clear = spec.clear.as_ref();
    Quorum {
        share,
        at_least: spec.at_least.unwrap_or(1),
        clear_share: clear.and_then(|clear| clear.share).unwrap_or(share / 2.0),
        clear_for: clear.map_or(std::time::Duration::ZERO, |clear| clear.hold),
        zones: spec.zones.map(|zones| match zones {
            ZonesSpec::All => ZonesNeeded::All,
            ZonesSpec::AtLeast(zones) => ZonesNeeded::AtLeast(zones),
        }),
        min_members: spec.min_members,
        max_degraded_share: spec.max_degraded_share,
    }
}

fn control(spec: &ControlSpec, interval: f64) -> ControlSettings {
    let law = match spec.law {
        LawName::FeedForward => Law::FeedForward,
        LawName::WithLimit => Law::WithLimit,
        LawName::FeedForwardArmed => Law::FeedForwardArmed,
        LawName::Armed => Law::Armed,
        LawName::Klein => Law::Klein,
        LawName::Aimd => Law::Aimd,
    };
    ControlSettings {
        interval,
        cost_ratio: spec.cost_ratio,
        target: spec.target,
        slow_share: spec.slow_share,
        hold: spec.hold.as_secs_f64(),
        evidence: f64::from(spec.min_samples.max(1)),
        ..ControlSettings::new(law, spec.objective.as_secs_f64())
    }
}

/// The shares that a ladder's levels stand for.
fn levels(count: usize, shares: &[f64]) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1);
    let given = shares.len() == last;
    (0..=last)
        .map(|level| match level {
            0 => 1.0,
            level if given => shares[level - 1],
            level => 1.0 - level as f64 / last as f64,
        })
        .collect()
}

/// What the inputs of a law gave.
pub(super) fn measured(conditions: &[Condition]) -> Measured {
    let mut measured = Measured::default();
    for condition in conditions {
        let value = condition.value.filter(|_| condition.truth == Truth::True);
        let Part::Input(input) = &condition.part else { continue };
        match input {
            Input::Arrivals => measured.arrivals = value,
            Input::Full => measured.full = value,
            Input::Degraded => measured.degraded = value,
            Input::Answers => measured.answers = value,
            Input::Slow => measured.slow = value,
            Input::Utilisation => measured.utilisation = value,
            Input::InFlight => (measured.in_flight, measured.counts_in_flight) = (value, true),
            Input::Latency => measured.latency = value,
            Input::Pressure => measured.pressure = value,
        }
    }
    measured
}

/// What the expressions of a rollout say.
pub(super) fn evidence(conditions: &[Condition]) -> Evidence {
    let mut evidence = Evidence::default();
    for condition in conditions {
        let value = condition.value.filter(|_| condition.truth == Truth::True);
        evidence.not_yet |= condition.truth == Truth::NotYet;
        match condition.part {
            Part::Abort => (evidence.abort, evidence.abort_value) = (Some(truth(&condition.truth)), value),
            Part::Advance => evidence.advance = Some(truth(&condition.truth)),
            Part::New => evidence.new = value,
            Part::Control => evidence.control = value,
            Part::Samples => evidence.samples = value,
            _ => {}
        }
    }
    evidence
}

pub(super) fn truth(truth: &Truth) -> switches::Truth {
    match truth {
        Truth::True => switches::Truth::True,
        Truth::False => switches::Truth::False,
        Truth::NotYet => switches::Truth::NotYet,
        Truth::NoData | Truth::Failed(_) => switches::Truth::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stand_for_shares_that_fall_evenly_unless_the_rule_says_otherwise() {
        assert_eq!(levels(3, &[]), [1.0, 0.5, 0.0]);
        assert_eq!(levels(3, &[0.3, 0.1]), [1.0, 0.3, 0.1]);
        assert_eq!(levels(2, &[]), [1.0, 0.0]);
    }
}
