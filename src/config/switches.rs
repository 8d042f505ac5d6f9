//! `switches`: the named values that applications obey.

use super::values::{Entries, Interval, refuse};
use crate::switches::{Mode, OnSilence};
use crate::yaml::{At, Decode, Problem, Spanned};

#[derive(Clone, Copy, PartialEq)]
enum Silence {
    Hold,
    Restore,
}

impl Decode for Silence {
    fn decode(at: &mut At<'_>) -> Option<Silence> {
        at.one_of(&[("hold", Silence::Hold), ("restore", Silence::Restore)])
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
        let silence =
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
        if silence == Silence::Restore && !fields.has("restore_after") {
            let help = Some("add `restore_after: 10m`, or another time".to_owned());
            fields.problem("on_silence", "`restore` needs `restore_after`", help);
        }
        if silence == Silence::Hold && fields.has("restore_after") {
            let help = Some("write `on_silence: restore`, or remove `restore_after`".to_owned());
            fields.problem("restore_after", "`restore_after` has no meaning with `on_silence: hold`", help);
        }
        fields.finish();
        let on_silence = match (silence, restore_after) {
            (Silence::Restore, Some(span)) => OnSilence::Restore(span.0),
            _ => OnSilence::Hold,
        };
        Some(Switch { feature: feature.unwrap_or_default(), description, on_silence, refused })
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
}

impl Decode for Actions {
    fn decode(at: &mut At<'_>) -> Option<Actions> {
        let mut fields = at.record("actions", "What action rules (degrade, scale) may do.")?;
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
        fields.finish();
        Some(Actions { mode: mode.0, max_degraded, max_decisions_per_hour })
    }
}
