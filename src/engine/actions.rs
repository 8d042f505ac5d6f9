//! From the rules' files to the arbiter's settings: which rule moves which switch, and how.

use std::time::Duration;

use super::dials;
use crate::rules::{self, DegradeSpec, Listed, RuleSpec, RuleStatus, Rules, ScaleSpec, Scope};
use crate::switches::{Clear, Declaration, Guards, LadderRule, LadderSettings, Level, Mode, ScaleSettings, Settings};

/// What the configuration says of switches beside its rule files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionSettings {
    pub declarations: Vec<Declaration>,
    /// Of rules that do not say their own.
    pub mode: Mode,
    pub guards: Guards,
}

/// The arbiter's settings for these rules. A rule whose switch or level is not declared is left out: the configuration
/// refuses it before.
pub(super) fn settings(actions: &ActionSettings, rules: &Rules) -> Settings {
    let mut settings = Settings {
        declarations: actions.declarations.clone(),
        ladders: Vec::new(),
        scales: Vec::new(),
        dials: Vec::new(),
        rollouts: Vec::new(),
        guards: actions.guards,
    };
    let groups = rules.groups_status(Listed::Acting);
    for (group, status) in groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))) {
        let interval = group.interval.as_secs_f64();
        match &status.spec {
            RuleSpec::Degrade(spec) => settings.ladders.extend(ladder(actions, status, spec)),
            RuleSpec::Scale(spec) => settings.scales.push(scale(actions, status, spec)),
            RuleSpec::Dim(spec) => {
                let mode = mode(actions, spec.mode);
                settings.dials.extend(dials::dim(&actions.declarations, status, spec, interval, mode));
            }
            RuleSpec::Limit(spec) => {
                settings.dials.push(dials::limit(status, spec, interval, mode(actions, spec.mode)));
            }
            RuleSpec::Rollout(spec) => settings.rollouts.push(dials::rollout(status, spec, mode(actions, spec.mode))),
            RuleSpec::Record(_) | RuleSpec::Alert(_) => {}
        }
    }
    settings
}

fn mode(actions: &ActionSettings, own: Option<rules::Mode>) -> Mode {
    match own {
        Some(rules::Mode::Enforce) => Mode::Enforce,
        Some(rules::Mode::Observe) => Mode::Observe,
        None => actions.mode,
    }
}

pub(super) fn title(status: &RuleStatus) -> String {
    format!("{}/{}", status.id.group, status.id.name)
}

fn ladder(actions: &ActionSettings, status: &RuleStatus, spec: &DegradeSpec) -> Option<LadderRule> {
    let declaration = actions.declarations.iter().find(|d| d.name == spec.switch.value)?;
    let clear = |level: &rules::LevelSpec| {
        let clear = level.clear.as_ref();
        Clear { has_when: clear.is_some_and(|clear| clear.when.is_some()), hold: clear.and_then(|clear| clear.hold) }
    };
    let level = |level: &rules::LevelSpec| {
        let depth = declaration.depth(&level.level.value)?;
        Some(Level { depth, hold: level.hold, clear: clear(level) })
    };
    let cleared = |level: &rules::LevelSpec| Some(level.clear.as_ref()?.when.as_ref()?.text.to_string());
    let scope = match spec.scope {
        Scope::Host => "host",
        Scope::Zone => "zone",
        Scope::Fleet => "fleet",
    };
    Some(LadderRule {
        rule: status.id.to_string(),
        title: title(status),
        switch: spec.switch.value.clone(),
        ladder: LadderSettings {
            levels: spec.levels.iter().map(level).collect::<Option<_>>()?,
            has_recover: spec.recover.when.is_some(),
            recover_for: spec.recover.hold,
            min_hold: spec.min_hold,
        },
        expressions: spec.levels.iter().map(|level| level.when.text.to_string()).collect(),
        clear_expressions: spec.levels.iter().map(cleared).collect(),
        recover_expression: spec.recover.when.as_ref().map(|when| when.text.to_string()),
        mode: mode(actions, spec.mode),
        scope: scope.to_owned(),
        quorum: dials::quorum(spec.quorum.as_ref()),
        min_samples: spec.min_samples,
    })
}

fn scale(actions: &ActionSettings, status: &RuleStatus, spec: &ScaleSpec) -> ScaleSettings {
    let at_least = |span: Duration| span.max(Duration::from_secs(1));
    ScaleSettings {
        target: spec.name.to_string(),
        rule: status.id.to_string(),
        title: title(status),
        expression: spec.desired.text.to_string(),
        webhook: spec.webhook.value.clone(),
        hold: spec.hold,
        min: spec.min.into(),
        max: spec.max.into(),
        step: spec.step.map(i64::from),
        cooldown_out: at_least(spec.cooldown_out),
        cooldown_in: at_least(spec.cooldown_in),
        scale_in: spec.scale_in,
        verify_within: spec.verify.as_ref().map(|_| spec.verify_within),
        beside: spec.beside.iter().map(|name| name.value.clone()).collect(),
        mode: mode(actions, spec.mode),
    }
}
