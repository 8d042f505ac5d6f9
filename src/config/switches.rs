//! `switches`: the named values that applications obey.

use super::values::{Entries, Interval, refuse};
use crate::yaml::{At, Decode, Problem, Spanned};

/// What a switch does when nobody decides any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSilence {
    Hold,
    Restore,
}

impl Decode for OnSilence {
    fn decode(at: &mut At<'_>) -> Option<OnSilence> {
        at.one_of(&[("hold", OnSilence::Hold), ("restore", OnSilence::Restore)])
    }
}

/// `switches`: each by its name.
pub type Switches = Entries<Switch>;

/// One of `switches`.
#[derive(Clone, Debug)]
pub struct Switch {
    pub feature: Vec<Spanned<String>>,
    pub description: String,
    pub on_silence: OnSilence,
    pub restore_after: Option<Interval>,
    pub refused: Vec<Problem>,
}

impl Decode for Switch {
    fn decode(at: &mut At<'_>) -> Option<Switch> {
        let doc =
            "A value that applications obey. A feature is a ladder of levels, the first of which is the healthy one.";
        let mut fields = at.record("switch", doc)?;
        let feature: Option<Vec<Spanned<String>>> =
            fields.optional("feature", "the levels, healthy first, then ever milder service");
        let description = fields.or("description", "''", "what it is, for people");
        let on_silence =
            fields.or("on_silence", "hold", "when nobody decides any more: hold the value, or restore the first");
        let restore_after: Option<Interval> =
            fields.optional("restore_after", "for `restore`: how long nobody may decide before that");
        let mut refused = Vec::new();
        let help = "write `feature: [full, reduced, \"off\"]`: a ladder of levels";
        let message = "this version has switches of the kind `feature`, not `{}`";
        let others = ["dimmer", "limit", "rollout"];
        refuse(&mut fields, &others, message, help, &mut refused);
        if !fields.has("feature") && refused.is_empty() {
            let help = Some("add `feature: [full, reduced, \"off\"]`: its levels, healthy first".to_owned());
            fields.problem("feature", "a switch needs its kind", help);
        }
        if let Some(levels) = &feature {
            check_levels(&mut fields, levels);
        }
        if on_silence == OnSilence::Restore && restore_after.is_none() && !fields.has("restore_after") {
            let help = Some("add `restore_after: 10m`, or another time".to_owned());
            fields.problem("on_silence", "`restore` needs `restore_after`", help);
        }
        if on_silence == OnSilence::Hold && fields.has("restore_after") {
            let help = Some("write `on_silence: restore`, or remove `restore_after`".to_owned());
            fields.problem("restore_after", "`restore_after` has no meaning with `on_silence: hold`", help);
        }
        fields.finish();
        Some(Switch { feature: feature.unwrap_or_default(), description, on_silence, restore_after, refused })
    }
}

fn check_levels(fields: &mut crate::yaml::Fields<'_>, levels: &[Spanned<String>]) {
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

/// Whether action rules change switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ActionMode {
    #[default]
    Observe,
    Enforce,
}

impl Decode for ActionMode {
    fn decode(at: &mut At<'_>) -> Option<ActionMode> {
        at.one_of(&[("observe", ActionMode::Observe), ("enforce", ActionMode::Enforce)])
    }
}

/// `actions`.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    pub mode: ActionMode,
    pub max_degraded: Option<u32>,
    pub max_decisions_per_hour: Option<u32>,
}

impl Decode for Actions {
    fn decode(at: &mut At<'_>) -> Option<Actions> {
        let mut fields = at.record("actions", "What action rules (degrade, scale) may do.")?;
        let mode = fields.or(
            "mode",
            "observe",
            "observe: decide, record and show, and change nothing; enforce: do it; a rule may say its own mode",
        );
        let max_degraded =
            fields.optional("max_degraded", "the most switches that rules may have degraded at one time");
        let max_decisions_per_hour = fields.optional(
            "max_decisions_per_hour",
            "the most decisions for one switch in an hour; past it the switch is frozen",
        );
        fields.finish();
        Some(Actions { mode, max_degraded, max_decisions_per_hour })
    }
}
