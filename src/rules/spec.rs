//! What a rule file says, checked: groups and the kinds of rules in them. Plain values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::dim::{ControlSpec, DimSpec, LimitSource, LimitSpec};
use super::outcome::{ClearOf, Part};
use super::query::Query;
use super::rollout::RolloutSpec;
use super::text::Texts;
use crate::model::SwitchName;
use crate::yaml::Spanned;

/// A rule file.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFile {
    pub groups: Vec<GroupSpec>,
}

/// A group of rules that are evaluated one after the other at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSpec {
    /// The name of the file.
    pub file: Arc<str>,
    /// Unique in its file.
    pub name: Spanned<String>,
    /// `None`: the global evaluation interval.
    pub interval: Option<Duration>,
    /// How far in the past the rules are evaluated. `None`: the global one.
    pub query_offset: Option<Duration>,
    /// The most series (or alerts) that one rule may give; 0 for no limit.
    pub limit: usize,
    pub rules: Vec<RuleSpec>,
}

/// One rule; cheap to clone, as the configuration, the rule at work and every picture of it have one.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleSpec {
    Record(Arc<RecordSpec>),
    Alert(Arc<AlertSpec>),
    Degrade(Arc<DegradeSpec>),
    Scale(Arc<ScaleSpec>),
    Dim(Arc<DimSpec>),
    Limit(Arc<LimitSpec>),
    Rollout(Arc<RolloutSpec>),
}

impl RuleSpec {
    /// The name: of the recorded series, the alert, the switch, or what is scaled.
    pub fn name(&self) -> &str {
        match self {
            RuleSpec::Record(rule) => &rule.record,
            RuleSpec::Alert(rule) => &rule.alert,
            RuleSpec::Degrade(rule) => rule.switch.as_str(),
            RuleSpec::Scale(rule) => rule.name.as_str(),
            RuleSpec::Dim(rule) => rule.switch.as_str(),
            RuleSpec::Limit(rule) => rule.switch.as_str(),
            RuleSpec::Rollout(rule) => rule.switch.as_str(),
        }
    }

    /// The labels that it sets, as they stand in the file.
    pub fn labels(&self) -> BTreeMap<&str, &str> {
        match self {
            RuleSpec::Record(rule) => rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            RuleSpec::Alert(rule) => sources(&rule.labels),
            _ => BTreeMap::new(),
        }
    }

    /// The annotations of an alert, as they stand in the file.
    pub fn annotations(&self) -> BTreeMap<&str, &str> {
        match self {
            RuleSpec::Alert(rule) => sources(&rule.annotations),
            _ => BTreeMap::new(),
        }
    }

    /// Every expression of the rule.
    pub fn queries(&self) -> Vec<&Query> {
        match self {
            RuleSpec::Record(rule) => vec![&rule.expr],
            RuleSpec::Alert(rule) => std::iter::once(&rule.expr).chain(&rule.resolve_when).collect(),
            action => action.asked().into_iter().map(|(_, query)| query).collect(),
        }
    }

    /// Every expression of an action rule, with what it is; nothing for other kinds.
    pub fn asked(&self) -> Vec<(Part, &Query)> {
        match self {
            RuleSpec::Record(_) | RuleSpec::Alert(_) => Vec::new(),
            RuleSpec::Degrade(rule) => {
                let levels = rule.levels.iter().map(|l| (Part::Level(l.level.as_str().into()), &l.when));
                let clears = rule.levels.iter().enumerate().filter_map(|(index, level)| {
                    let name = format!("clear {}", level.level.value).into();
                    Some((Part::Clear(ClearOf { index, name }), level.clear.as_ref()?.when.as_ref()?))
                });
                let recover = rule.recover.when.iter().map(|when| (Part::Recover, when));
                levels
                    .chain(clears)
                    .chain(recover)
                    .chain(rule.samples.iter().map(|samples| (Part::Samples, samples)))
                    .collect()
            }
            RuleSpec::Scale(rule) => {
                let verify = rule.verify.iter().map(|verify| (Part::Verify, verify));
                std::iter::once((Part::Desired, &rule.desired)).chain(verify).collect()
            }
            RuleSpec::Dim(rule) => inputs(&rule.control),
            RuleSpec::Limit(rule) => match &rule.source {
                LimitSource::Law(control) => inputs(control),
                LimitSource::Value(value) => vec![(Part::Value, value)],
            },
            RuleSpec::Rollout(rule) => {
                let abort = rule.abort_when.iter().map(|when| (Part::Abort, when));
                let advance = rule.advance_when.iter().map(|when| (Part::Advance, when));
                let compared = rule.compare.iter().flat_map(|compare| {
                    [(Part::New, &compare.new), (Part::Control, &compare.control), (Part::Samples, &compare.samples)]
                });
                abort.chain(advance).chain(compared).collect()
            }
        }
    }
}

fn sources(texts: &Texts) -> BTreeMap<&str, &str> {
    texts.iter().map(|(name, text)| (name.as_str(), &*text.source)).collect()
}

fn inputs(control: &ControlSpec) -> Vec<(Part, &Query)> {
    control.inputs.iter().map(|(input, query)| (Part::Input(*input), query)).collect()
}

/// A recording rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordSpec {
    /// The name of the series that it writes.
    pub record: Spanned<String>,
    pub expr: Query,
    /// Set on every result; the group's labels are in it.
    pub labels: BTreeMap<String, String>,
}

/// An alerting rule.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertSpec {
    pub alert: Spanned<String>,
    pub expr: Query,
    /// How long the expression must hold before the alert fires.
    pub hold: Duration,
    /// How long the alert keeps firing after the expression ceased to hold.
    pub keep_firing_for: Duration,
    /// A firing alert goes on until this holds for its labels.
    pub resolve_when: Option<Query>,
    pub on_unknown: OnUnknown,
    /// How long an alert is kept at the most while its inputs are gone.
    pub unknown_for: Duration,
    /// Templates; the group's labels are in it.
    pub labels: Texts,
    pub annotations: Texts,
}

/// What becomes of an alert whose inputs are gone or whose target is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// It ends, as in Prometheus.
    #[default]
    Resolve,
    /// It stays as it is.
    Hold,
    /// It stays as it is, and another alert tells of it.
    Alert,
}

impl OnUnknown {
    /// The word of the rule file.
    pub fn as_str(self) -> &'static str {
        match self {
            OnUnknown::Resolve => "resolve",
            OnUnknown::Hold => "hold",
            OnUnknown::Alert => "alert",
        }
    }
}

/// A rule that walks the ladder of a feature switch.
#[derive(Clone, Debug, PartialEq)]
pub struct DegradeSpec {
    pub switch: Spanned<SwitchName>,
    /// Mildest first, as in the file.
    pub levels: Vec<LevelSpec>,
    pub recover: RecoverSpec,
    /// The shortest stay on a level before a recovery from it.
    pub min_hold: Duration,
    pub scope: Scope,
    /// `None`: half of the hosts that run the rule.
    pub quorum: Option<QuorumSpec>,
    /// How many requests the conditions rest on; with fewer than `min_samples` they say nothing.
    pub samples: Option<Query>,
    pub min_samples: u32,
    /// `None`: what `actions.mode` says.
    pub mode: Option<Mode>,
}

/// One level of a degrade rule.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelSpec {
    pub level: Spanned<String>,
    pub when: Query,
    /// How long `when` must hold.
    pub hold: Duration,
    /// What stands in place of `recover` for the step back from this level.
    pub clear: Option<ClearSpec>,
}

/// When a degrade rule goes back from one level. What is missing comes from `recover`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearSpec {
    pub when: Option<Query>,
    pub hold: Option<Duration>,
}

/// When a degrade rule goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoverSpec {
    /// `None`: as soon as the level's own `when` is false.
    pub when: Option<Query>,
    /// How long it must be quiet before each step back.
    pub hold: Duration,
}

/// How many votes change a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumSpec {
    /// Of the hosts that run the rule, 0 to 1.
    pub share: Option<f64>,
    pub at_least: Option<u32>,
    /// A recovery needs fewer votes than this share, for this time. `None`: half of `share`, at once.
    pub clear: Option<QuorumClearSpec>,
    /// `None`: all hosts are counted together.
    pub zones: Option<ZonesSpec>,
    /// With fewer hosts nothing changes.
    pub min_members: u32,
    /// Of scope `host` and `zone`: the largest share of the hosts that the rule may have degraded at one time.
    pub max_degraded_share: Option<f64>,
}

/// When a switch that hosts have agreed on goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumClearSpec {
    pub share: Option<f64>,
    pub hold: Duration,
}

/// How many zones must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZonesSpec {
    All,
    AtLeast(u32),
}

/// Whom a decision speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Host,
    Zone,
    Fleet,
}

/// Whether a decision is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Decide, record and show, and change nothing.
    Observe,
    Enforce,
}

/// A rule that asks for more or fewer machines.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleSpec {
    /// What is scaled.
    pub name: Spanned<SwitchName>,
    /// Gives the wanted number.
    pub desired: Query,
    pub min: u32,
    pub max: u32,
    /// The most that one call may change; `None`: no bound.
    pub step: Option<u32>,
    /// How long another number must be wanted before it is asked for.
    pub hold: Duration,
    /// The shortest time between two calls that ask for more.
    pub cooldown_out: Duration,
    /// The shortest time between any call and one that asks for fewer.
    pub cooldown_in: Duration,
    /// Whether it may ask for fewer.
    pub scale_in: bool,
    /// Gives what is there: it must follow what was asked for.
    pub verify: Option<Query>,
    /// Within this time.
    pub verify_within: Duration,
    /// Switches that degrade first: no call for fewer while one of them is degraded.
    pub beside: Vec<Spanned<SwitchName>>,
    /// The name of the webhook.
    pub webhook: Spanned<String>,
    /// `None`: what `actions.mode` says.
    pub mode: Option<Mode>,
}
