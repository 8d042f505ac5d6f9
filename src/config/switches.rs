//! `switches`: the named values that applications obey.

use super::values::{Entries, Interval};
use std::time::Duration;

use crate::switches::{LimitUnit, Mode, OnSilence, SwitchKind, read_share};
use crate::yaml::{At, Decode, Fields, Spanned};

#[derive(Clone, Copy, PartialEq)]
enum Silence {
    Hold,
    Restore,
    Degrade,
}

impl Decode for Silence {
    fn decode(at: &mut At<'_>) -> Option<Silence> {
        at.one_of(&[("hold", Silence::Hold), ("restore", Silence::Restore), ("degrade", Silence::Degrade)])
    }
}

/// `switches`: each by its name.
pub type Switches = Entries<Switch>;

/// One of `switches`.
#[derive(Clone, Debug)]
pub struct Switch {
    pub kind: SwitchKind,
    pub feature: Vec<Spanned<String>>,
    pub description: String,
    pub on_silence: OnSilence,
}

/// The keys that say what kind a switch is.
const KINDS: [&str; 4] = ["feature", "dimmer", "limit", "rollout"];

impl Decode for Switch {
    fn decode(at: &mut At<'_>) -> Option<Switch> {
        let doc = "A value that applications obey. It has one kind: a `feature` is a ladder of levels, a `dimmer` a share of \
                   requests, a `limit` a number of requests, a `rollout` a share of users.";
        let mut fields = at.record("switch", doc)?;
        let feature: Option<Vec<Spanned<String>>> =
            fields.optional("feature", "the levels, healthy first, then ever milder service");
        let dimmer: Option<Dimmer> =
            fields.optional("dimmer", "the share of requests that get the optional part; `dimmer: {}` for 0 to 1");
        let limit: Option<Limit> =
            fields.optional("limit", "how many requests are let in; `limit: {}` for requests in flight");
        let rollout: Option<Rollout> =
            fields.optional("rollout", "the share of users on a new version; `rollout: {}` to begin at 0%");
        let description = fields.or("description", "''", "what it is, for people");
        let silence = fields.or(
            "on_silence",
            "hold",
            "when nobody decides any more: hold the value, restore the first level, or degrade to the last (feature)",
        );
        let restore_after: Option<Interval> =
            fields.optional("restore_after", "for `restore`: how long nobody may decide before each step back");
        let degrade_after: Option<Interval> =
            fields.optional("degrade_after", "for `degrade`: how long nobody may decide before that");
        check_kind(&mut fields);
        if let Some(levels) = &feature {
            check_levels(&mut fields, levels);
        }
        let (restore_after, degrade_after) = (restore_after.map(|span| span.0), degrade_after.map(|span| span.0));
        let on_silence = on_silence(&mut fields, silence, restore_after, degrade_after);
        if silence != Silence::Hold && feature.is_none() {
            let help = Some("remove it: a law that has no data holds, and never opens what may not be safe".to_owned());
            fields.problem("on_silence", "only a feature can be moved after a silence", help);
        }
        fields.finish();
        let kind = match (dimmer, limit, rollout) {
            (Some(dimmer), ..) => dimmer.0,
            (_, Some(limit), _) => limit.0,
            (.., Some(rollout)) => rollout.0,
            _ => SwitchKind::Feature,
        };
        Some(Switch { kind, feature: feature.unwrap_or_default(), description, on_silence })
    }
}

fn on_silence(
    fields: &mut Fields<'_>,
    silence: Silence,
    restore_after: Option<Duration>,
    degrade_after: Option<Duration>,
) -> OnSilence {
    for (key, word, wanted) in
        [("restore_after", "restore", Silence::Restore), ("degrade_after", "degrade", Silence::Degrade)]
    {
        if silence == wanted && !fields.has(key) {
            let help = Some(format!("add `{key}: 10m`, or another time"));
            fields.problem("on_silence", format!("`{word}` needs `{key}`"), help);
        }
        if silence != wanted && fields.has(key) {
            let help = Some(format!("write `on_silence: {word}`, or remove `{key}`"));
            fields.problem(key, format!("`{key}` has no meaning without `on_silence: {word}`"), help);
        }
    }
    match (silence, restore_after, degrade_after) {
        (Silence::Restore, Some(span), _) => OnSilence::Restore(span),
        (Silence::Degrade, _, Some(span)) => OnSilence::Degrade(span),
        _ => OnSilence::Hold,
    }
}

fn check_kind(fields: &mut Fields<'_>) {
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
    match given[..] {
        [] => {
            let help = Some(
                "add `feature: [full, reduced, \"off\"]`, its levels, healthy first; or `dimmer: {}`, `limit: {}`, \
                 `rollout: {}`"
                    .to_owned(),
            );
            fields.problem("", "a switch needs its kind", help);
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("a switch cannot be both a {first} and a {second}");
            fields.problem(second, message, Some("declare two switches".to_owned()));
        }
    }
}

/// `30%` or `0.3`.
#[derive(Clone, Copy, Debug)]
struct Share(f64);

impl Decode for Share {
    fn decode(at: &mut At<'_>) -> Option<Share> {
        at.scalar("a share (30%)", |text| read_share(text).map(Share))
    }
}

/// `dimmer`.
struct Dimmer(SwitchKind);

impl Decode for Dimmer {
    fn decode(at: &mut At<'_>) -> Option<Dimmer> {
        let mut fields = at.record("dimmer", "The share of requests that get the optional part.")?;
        let min: Share = fields.or("min", "0%", "the share never falls below");
        let max: Share = fields.or("max", "100%", "the share when all is well");
        if min.0 >= max.0 {
            let help = Some("write the larger share as `max`".to_owned());
            fields.problem("max", "`max` is not above `min`: such a dimmer never moves", help);
        }
        fields.finish();
        Some(Dimmer(SwitchKind::Dimmer { min: min.0, max: max.0 }))
    }
}

impl Decode for LimitUnit {
    fn decode(at: &mut At<'_>) -> Option<LimitUnit> {
        let words = [LimitUnit::InFlight, LimitUnit::RequestsPerSecond].map(|unit| (unit.as_str(), unit));
        at.one_of(&words)
    }
}

/// A number of requests.
#[derive(Clone, Copy, Debug)]
struct Amount(f64);

impl Decode for Amount {
    fn decode(at: &mut At<'_>) -> Option<Amount> {
        at.scalar("a number of requests", |text| match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Amount(value)),
            _ => Err(format!("expected a number of 0 or more, found `{text}`")),
        })
    }
}

/// `share_out`.
struct SharedOut;

impl Decode for SharedOut {
    fn decode(at: &mut At<'_>) -> Option<SharedOut> {
        at.one_of(&[("demand", ())]).map(|()| SharedOut)
    }
}

/// `limit`.
struct Limit(SwitchKind);

impl Decode for Limit {
    fn decode(at: &mut At<'_>) -> Option<Limit> {
        let mut fields = at.record("limit", "How many requests one host lets in.")?;
        let unit = fields.or(
            "unit",
            "in_flight",
            "in_flight: requests worked on at one time, for consumers that can count them, which is much the safer one; \
             requests/s: a rate",
        );
        let min: Amount = fields.or("min", "4", "the limit never falls below");
        let max: Option<Amount> = fields.optional("max", "the limit never rises above; if missing no bound");
        let shared: Option<SharedOut> = fields.optional(
            "share_out",
            "demand: the fleet's value is a total, shared out over the live hosts by what each is asked for; see \
             docs/fleet.md; if missing every host lets in the whole value",
        );
        if max.is_some_and(|max| max.0 < min.0) {
            let help = Some("write the larger number as `max`".to_owned());
            fields.problem("max", "`max` is below `min`", help);
        }
        fields.finish();
        Some(Limit(SwitchKind::Limit { unit, min: min.0, max: max.map(|max| max.0), share_out: shared.is_some() }))
    }
}

/// `rollout`.
struct Rollout(SwitchKind);

impl Decode for Rollout {
    fn decode(at: &mut At<'_>) -> Option<Rollout> {
        let mut fields = at.record("rollout", "The share of users on a new version.")?;
        let initial: Share = fields.or("initial", "0%", "the share before the first step and after a rollback");
        fields.finish();
        Some(Rollout(SwitchKind::Rollout { initial: initial.0 }))
    }
}

fn check_levels(fields: &mut Fields<'_>, levels: &[Spanned<String>]) {
    if levels.len() < 2 {
        let help = Some("write at least two, healthy first: `[full, \"off\"]`".to_owned());
        fields.problem("feature", "a feature needs at least two levels", help);
    }
    for (index, level) in levels.iter().enumerate() {
        if levels[..index].contains(level) {
            let help = Some("each level has a name of its own".to_owned());
            fields.push(level.place.error(format!("the level `{}` is there twice", level.value), help));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if level.value.is_empty() || !level.value.chars().all(good) {
            let help = Some("use letters, digits, `_`, `-` and `.`".to_owned());
            fields.push(level.place.error(format!("`{}` is no name for a level", level.value), help));
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
struct ModeWord(Mode);

impl Decode for ModeWord {
    fn decode(at: &mut At<'_>) -> Option<ModeWord> {
        at.one_of(&[("observe", ModeWord(Mode::Observe)), ("enforce", ModeWord(Mode::Enforce))])
    }
}

/// `actions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Of action rules that do not say their own.
    pub mode: Mode,
    /// The most switches that rules may have degraded at one time.
    pub max_degraded: Option<u32>,
    /// The most decisions of rules for one switch in an hour.
    pub max_decisions_per_hour: Option<u32>,
    /// And for all together.
    pub max_decisions_per_hour_overall: Option<u32>,
}

impl Decode for Actions {
    fn decode(at: &mut At<'_>) -> Option<Actions> {
        let mut fields = at.record("actions", "What action rules (degrade, dim, limit, scale, rollout) may do.")?;
        let mode: ModeWord = fields.or(
            "mode",
            "observe",
            "observe: decide, record and show, and change nothing; enforce: do it; a rule may say its own mode",
        );
        let max_degraded = fields.optional(
            "max_degraded",
            "while rules have degraded this many switches, they degrade no further one; if missing no bound",
        );
        let max_decisions_per_hour = fields.optional(
            "max_decisions_per_hour",
            "past this many decisions in an hour a switch only goes deeper, not back; if missing no bound",
        );
        let max_decisions_per_hour_overall = fields.optional(
            "max_decisions_per_hour_overall",
            "past this many decisions in an hour over all switches they only go deeper; if missing no bound",
        );
        fields.finish();
        Some(Actions { mode: mode.0, max_degraded, max_decisions_per_hour, max_decisions_per_hour_overall })
    }
}
