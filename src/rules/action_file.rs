//! The parts of a rule file that Prometheus does not know: rules that act.

use std::collections::HashSet;

use super::dim::{DimSpec, LimitSource, LimitSpec};
use super::file::{RawRule, missing, refuse_unkept};
use super::query::Query;
use super::rollout::RolloutSpec;
use super::spec::{
    ClearSpec, DegradeSpec, LevelSpec, Mode, OnUnknown, QuorumClearSpec, QuorumSpec, RecoverSpec, ScaleSpec, Scope,
    ZonesSpec,
};
use crate::model::SwitchName;
use crate::promql::{Expr, Kind};
use crate::yaml::{At, Decode, Fields, Spanned};

impl Decode for LevelSpec {
    fn decode(at: &mut At<'_>) -> Option<LevelSpec> {
        let mut fields = at.record("a level", "When a degrade rule goes to a level of its switch.")?;
        let level = fields.required("level", "a level of the switch's ladder, other than the first");
        let when = fields.required("when", "PromQL; it holds when its result is not empty");
        let hold = fields.or("for", "0s", "how long it must hold");
        let clear: Option<ClearSpec> = fields
            .optional("clear", "when to go back from this level; what it does not say comes from the rule's `recover`");
        check_condition(when.as_ref(), &mut fields);
        if let (Some(trip), Some(clear)) = (&when, clear.as_ref().and_then(|clear| clear.when.as_ref()))
            && bare(&trip.expr).to_string() == bare(&clear.expr).to_string()
        {
            let help = "write the condition for the way back, with a gap: `when: x > 0.9`, `clear: {when: x < 0.5}`";
            fields.push(clear.place.error("`clear` is the level's own `when`: it never goes back", Some(help.into())));
        }
        fields.finish();
        Some(LevelSpec { level: level?, when: when?, hold, clear })
    }
}

/// An expression without the brackets around it.
fn bare(expr: &Expr) -> &Expr {
    match &expr.kind {
        Kind::Paren(inner) => bare(inner),
        _ => expr,
    }
}

impl Decode for ClearSpec {
    fn decode(at: &mut At<'_>) -> Option<ClearSpec> {
        let mut fields = at.record("clear", "When a degrade rule goes back from one level.")?;
        let when = fields.optional("when", "PromQL; default: recover.when, or that the level's own `when` is false");
        let hold = fields.optional("for", "how long it must be quiet before the step back; default: recover.for");
        check_condition(when.as_ref(), &mut fields);
        if when.is_none() && !fields.has("when") && hold.is_none() && !fields.has("for") {
            let help = "add `when: <PromQL>`, `for: 5m` or both; or leave `clear` out, and `recover` speaks";
            fields.problem("", "this `clear` says nothing", Some(help.to_owned()));
        }
        fields.finish();
        Some(ClearSpec { when, hold })
    }
}

impl Decode for RecoverSpec {
    fn decode(at: &mut At<'_>) -> Option<RecoverSpec> {
        let mut fields = at.record("recover", "When a degrade rule goes back by one level.")?;
        let when = fields.optional("when", "PromQL; default: the level's own `when` is false");
        let hold = fields.or("for", "1m", "how long it must be quiet before each step back");
        check_condition(when.as_ref(), &mut fields);
        fields.finish();
        Some(RecoverSpec { when, hold })
    }
}

impl Decode for QuorumSpec {
    fn decode(at: &mut At<'_>) -> Option<QuorumSpec> {
        let mut fields = at.record("quorum", "How many hosts must agree before a switch changes.")?;
        let share = fields.optional::<Share>("share", "of the hosts that run the rule; default: 50% without at_least");
        let at_least = fields.optional("at_least", "and never fewer than so many hosts; default: 1");
        let clear: Option<QuorumClearSpec> =
            fields.optional("clear", "when it goes back; default: fewer than half of `share` still vote for it");
        let zones = fields.optional(
            "zones",
            "count each zone by itself, and so many must agree: any, all, or a number; default: all hosts are counted together",
        );
        let min_members = fields.or("min_members", "1", "with fewer hosts present nothing changes");
        let most: Option<Share> = fields.optional(
            "max_degraded_share",
            "of scope host and zone: the largest share of the hosts that the rule may have degraded at one time",
        );
        let (share, max_degraded_share) = (share.map(|share| share.0), most.map(|share| share.0));
        let trips = share.unwrap_or(0.5);
        if clear.as_ref().and_then(|clear| clear.share).is_some_and(|clears| clears > trips) {
            let help = Some("write a share that is not above `share`: between the two the switch stays".to_owned());
            fields.problem("clear", "it would go back while enough hosts vote for it", help);
        }
        fields.finish();
        Some(QuorumSpec { share, at_least, clear, zones, min_members, max_degraded_share })
    }
}

impl Decode for QuorumClearSpec {
    fn decode(at: &mut At<'_>) -> Option<QuorumClearSpec> {
        let mut fields =
            at.record("clear of a quorum", "When a switch that hosts have agreed on goes back by one level.")?;
        let share: Option<Share> =
            fields.optional("share", "fewer than this share still vote for it; default: half of the quorum's");
        let hold = fields.or("for", "0s", "for this long");
        fields.finish();
        Some(QuorumClearSpec { share: share.map(|share| share.0), hold })
    }
}

impl Decode for ZonesSpec {
    fn decode(at: &mut At<'_>) -> Option<ZonesSpec> {
        at.scalar("any, all, or a number of zones", |text| match (text, text.parse::<u32>()) {
            ("any", _) => Ok(ZonesSpec::AtLeast(1)),
            ("all", _) => Ok(ZonesSpec::All),
            (_, Ok(zones)) if zones > 0 => Ok(ZonesSpec::AtLeast(zones)),
            _ => Err(format!("expected any, all, or a number of zones, found `{text}`")),
        })
    }
}

/// What a quorum says must fit the scope it stands beside.
fn check_quorum(quorum: Option<&QuorumSpec>, scope: Scope, fields: &mut Fields<'_>) {
    let Some(quorum) = quorum else { return };
    if scope == Scope::Fleet && quorum.max_degraded_share.is_some() {
        let help =
            Some("remove it: what the fleet decides is for all hosts; or write `scope: zone` or `host`".to_owned());
        fields.problem("quorum", "`max_degraded_share` has no meaning with scope fleet", help);
    }
    if scope != Scope::Fleet && quorum.zones.is_some() {
        let help = Some("remove it, or write `scope: fleet`".to_owned());
        fields.problem("quorum", "`zones` has a meaning with scope fleet only", help);
    }
}

/// `30%` or `0.3`.
struct Share(f64);

impl Decode for Share {
    fn decode(at: &mut At<'_>) -> Option<Share> {
        at.scalar("a share (30%)", |text| {
            let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 100.0));
            match number.parse::<f64>() {
                Ok(value) if value > 0.0 && value <= unit => Ok(Share(value / unit)),
                _ => Err(format!("expected a share above 0% and up to 100%, found `{text}`")),
            }
        })
    }
}

impl Decode for Scope {
    fn decode(at: &mut At<'_>) -> Option<Scope> {
        at.one_of(&[("host", Scope::Host), ("zone", Scope::Zone), ("fleet", Scope::Fleet)])
    }
}

impl Decode for OnUnknown {
    fn decode(at: &mut At<'_>) -> Option<OnUnknown> {
        at.one_of(&[("resolve", OnUnknown::Resolve), ("hold", OnUnknown::Hold), ("alert", OnUnknown::Alert)])
    }
}

impl Decode for Mode {
    fn decode(at: &mut At<'_>) -> Option<Mode> {
        at.one_of(&[("observe", Mode::Observe), ("enforce", Mode::Enforce)])
    }
}

/// An action's condition must be able to be false.
pub(super) fn check_condition(query: Option<&Query>, fields: &mut Fields<'_>) {
    refuse_unkept(query, fields);
    let Some(query) = query else { return };
    if let Some(why) = query.useless() {
        fields
            .push(query.place.error(why, Some("drop the brackets, or use a function such as max_over_time()".into())));
    } else if let Some(why) = query.always_true() {
        fields.push(query.place.error(why, Some("write a comparison of a series without `bool`".into())));
    }
}

pub(super) fn read_degrade(raw: RawRule, fields: &mut Fields<'_>) -> Option<DegradeSpec> {
    let switch = switch_name(raw.degrade, fields)?;
    missing(fields, "degrade", "levels", "[{level: ..., when: ..., for: ...}]");
    if fields.has("levels") && raw.levels.as_ref().is_some_and(Vec::is_empty) {
        fields.problem("levels", "a degrade rule needs a level", Some("add `- {level: ..., when: ...}`".into()));
    }
    check_quorum(raw.quorum.as_ref(), raw.scope, fields);
    let levels = raw.levels?;
    let mut seen = HashSet::new();
    for level in &levels {
        if !seen.insert(level.level.value.as_str()) {
            let help = "join the two conditions with `or`".to_owned();
            fields.push(level.level.place.error(format!("level `{}` is there twice", level.level.value), Some(help)));
        }
    }
    Some(DegradeSpec {
        switch,
        levels,
        recover: raw.recover,
        min_hold: raw.min_hold,
        scope: raw.scope,
        quorum: raw.quorum,
        samples: raw.samples,
        min_samples: raw.control.min_samples,
        mode: raw.mode,
    })
}

pub(super) fn read_scale(raw: RawRule, fields: &mut Fields<'_>) -> Option<ScaleSpec> {
    missing(fields, "scale", "desired", "<PromQL>");
    missing(fields, "scale", "max", "<number>");
    missing(fields, "scale", "webhook", "<name>");
    if let Some((query, why)) = raw.desired.as_ref().and_then(|query| Some((query, query.useless()?))) {
        fields.push(query.place.error(why, Some("give one number, for example ceil(sum(...) / 200)".into())));
    }
    refuse_unkept(raw.desired.as_ref(), fields);
    if raw.max.is_some_and(|max| max < raw.min) {
        let message = format!("`max` is below `min`, which is {}", raw.min);
        fields.problem("max", message, Some("write the larger number as `max`".into()));
    }
    if raw.step == Some(0) {
        fields.problem("step", "a step of 0 never changes anything", Some("leave it out for no bound".into()));
    }
    let name = switch_name(raw.scale, fields)?;
    Some(ScaleSpec {
        name,
        desired: raw.desired?,
        min: raw.min,
        max: raw.max?,
        step: raw.step,
        hold: raw.hold,
        cooldown_out: raw.cooldown_out.unwrap_or(raw.cooldown),
        cooldown_in: raw.cooldown_in.unwrap_or(raw.cooldown),
        scale_in: raw.scale_in,
        verify: raw.verify,
        verify_within: raw.verify_within,
        beside: raw.beside.into_iter().filter_map(|text| switch_name(Some(text), fields)).collect(),
        webhook: raw.webhook?,
        mode: raw.mode,
    })
}

pub(super) fn read_dim(raw: RawRule, fields: &mut Fields<'_>) -> Option<DimSpec> {
    let switch = switch_name(raw.dim, fields)?;
    let limit = match raw.limit {
        Some(text) if text.value == "none" => None,
        Some(text) => Some(switch_name(Some(text), fields)?),
        None => {
            let help = "add `limit: NAME`, a switch that is declared with `limit: {}`; or `limit: none`, and nothing stands \
                        behind it when even degraded answers do not fit";
            fields.problem("dim", "a dimmer needs a limit behind it", Some(help.to_owned()));
            None
        }
    };
    if raw.control.shares.windows(2).any(|pair| pair[1] >= pair[0]) {
        let help = "write them from the mildest level on, falling: [50%, 0%]".to_owned();
        fields.problem("shares", "the shares do not fall", Some(help));
    }
    let shares = raw.control.shares.clone();
    let control = raw.control.control("dim", fields)?;
    check_quorum(raw.quorum.as_ref(), raw.scope, fields);
    Some(DimSpec { switch, control, limit, shares, scope: raw.scope, quorum: raw.quorum, mode: raw.mode })
}

pub(super) fn read_limit(raw: RawRule, fields: &mut Fields<'_>) -> Option<LimitSpec> {
    let switch = switch_name(raw.limit, fields)?;
    let source = match raw.control.value.clone() {
        Some(value) => {
            if let Some(why) = value.useless() {
                fields.push(value.place.error(why, Some("give one number, for example 200 * count(up == 1)".into())));
            }
            for key in ["objective", "service", "target"].into_iter().filter(|key| fields.has(key)).collect::<Vec<_>>()
            {
                let help = "remove one of the two: a limit comes from a law, or from an expression".to_owned();
                fields.problem(key, format!("`{key}` has no meaning beside `value`"), Some(help));
            }
            LimitSource::Value(value)
        }
        None => LimitSource::Law(raw.control.control("limit", fields)?),
    };
    check_quorum(raw.quorum.as_ref(), raw.scope, fields);
    Some(LimitSpec { switch, source, scope: raw.scope, quorum: raw.quorum, mode: raw.mode })
}

pub(super) fn read_rollout(raw: RawRule, fields: &mut Fields<'_>) -> Option<RolloutSpec> {
    let switch = switch_name(raw.rollout, fields)?;
    raw.release.spec(switch, raw.mode, fields)
}

fn switch_name(text: Option<Spanned<String>>, fields: &mut Fields<'_>) -> Option<Spanned<SwitchName>> {
    let text = text?;
    match SwitchName::new(&text) {
        Ok(value) => Some(Spanned { value, place: text.place }),
        Err(error) => {
            fields.push(text.place.error(error.to_string(), None));
            None
        }
    }
}
