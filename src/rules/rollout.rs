//! Rules of kind `rollout`: the steps of a gray release, and the conditions that let it go on or bring it back.

use std::time::Duration;

use super::query::Query;
use super::spec::Mode;
use crate::model::SwitchName;
use crate::yaml::{At, Decode, Fields, Spanned};

/// A rule that leads a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSpec {
    pub switch: Spanned<SwitchName>,
    /// Another text here begins anew.
    pub version: String,
    pub steps: Vec<StepSpec>,
    /// Must hold at the end of each step; `None`: that nothing speaks against it is enough.
    pub advance_when: Option<Query>,
    /// Looked at all the time.
    pub abort_when: Option<Query>,
    /// How long `abort_when`, or a comparison that is worse, must hold.
    pub abort_for: Duration,
    pub compare: Option<CompareSpec>,
    /// How long a step may be without data before it is brought back.
    pub no_data_for: Duration,
    /// `None`: what `actions.mode` says.
    pub mode: Option<Mode>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSpec {
    /// Of users, 0 to 1.
    pub share: f64,
    /// How long it bakes.
    pub hold: Duration,
}

/// The new version against the control group.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareSpec {
    /// The same measure of both: the less, the better.
    pub new: Query,
    pub control: Query,
    /// Requests that the new version's measure rests on.
    pub samples: Query,
    pub min_samples: f64,
    /// Worse is: so many times the control group's, and by so much more.
    pub worse_by: f64,
    pub at_least: f64,
}

struct Share(f64);

impl Decode for Share {
    fn decode(at: &mut At<'_>) -> Option<Share> {
        at.scalar("a share (30%)", |text| {
            let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 100.0));
            match number.parse::<f64>() {
                Ok(value) if value > 0.0 && value <= whole => Ok(Share(value / whole)),
                _ => Err(format!("`{text}` is no share: write a percentage above 0% and up to 100%")),
            }
        })
    }
}

/// A number that is not negative.
struct Amount(f64);

impl Decode for Amount {
    fn decode(at: &mut At<'_>) -> Option<Amount> {
        at.scalar("a number", |text| match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Amount(value)),
            _ => Err(format!("expected a number of 0 or more, found `{text}`")),
        })
    }
}

impl Decode for StepSpec {
    fn decode(at: &mut At<'_>) -> Option<StepSpec> {
        let mut fields = at.record("a step", "A step of a rollout.")?;
        let share: Option<Share> = fields.required("share", "the share of users on the new version");
        let hold = fields.or("for", "10m", "how long it bakes before the next step");
        fields.finish();
        Some(StepSpec { share: share?.0, hold })
    }
}

impl Decode for CompareSpec {
    fn decode(at: &mut At<'_>) -> Option<CompareSpec> {
        let mut fields = at.record("compare", "The new version against the control group.")?;
        let new = fields.required("new", "PromQL: what is bad about the new version, such as its share of errors");
        let control = fields.required("control", "PromQL: the same of the control group");
        let samples = fields.required("samples", "PromQL: how many requests of the new version that rests on");
        let min_samples: Amount = fields.or("min_samples", "100", "with fewer nothing is concluded, and no step ends");
        let worse_by: Amount = fields.or("worse_by", "1.5", "worse is so many times the control group's");
        let at_least: Amount = fields.or("at_least", "0", "and by so much more");
        fields.finish();
        Some(CompareSpec {
            new: new?,
            control: control?,
            samples: samples?,
            min_samples: min_samples.0,
            worse_by: worse_by.0,
            at_least: at_least.0,
        })
    }
}

/// The fields of `rollout` rules.
pub(super) struct RawRollout {
    pub version: String,
    pub steps: Option<Vec<StepSpec>>,
    pub advance_when: Option<Query>,
    pub abort_when: Option<Query>,
    pub abort_for: Duration,
    pub compare: Option<CompareSpec>,
    pub no_data_for: Duration,
}

impl RawRollout {
    pub fn read(fields: &mut Fields<'_>) -> RawRollout {
        RawRollout {
            version: fields.or("version", "''", "the name of the new version; another one begins anew (rollout)"),
            steps: fields.optional("steps", "the shares of users and how long each bakes (rollout)"),
            advance_when: fields
                .optional("advance_when", "PromQL that must hold at the end of a step; else it pauses (rollout)"),
            abort_when: fields.optional("abort_when", "PromQL that brings everything back when it holds (rollout)"),
            abort_for: fields.or("abort_for", "0s", "how long `abort_when` or a worse comparison must hold (rollout)"),
            compare: fields.optional("compare", "the new version against the control group (rollout)"),
            no_data_for: fields.or(
                "no_data_for",
                "10m",
                "how long a step holds without data before it is brought back (rollout)",
            ),
        }
    }

    pub fn spec(self, switch: Spanned<SwitchName>, mode: Option<Mode>, fields: &mut Fields<'_>) -> Option<RolloutSpec> {
        let help = "[{share: 1%, for: 10m}, {share: 10%, for: 10m}, {share: 100%}]";
        super::file::missing(fields, "rollout", "steps", help);
        let steps = self.steps?;
        if steps.is_empty() {
            fields.problem("steps", "a rollout needs a step", Some(format!("write `steps: {help}`")));
        }
        if steps.windows(2).any(|pair| pair[1].share <= pair[0].share) {
            fields.problem("steps", "the shares do not grow", Some("order them from the smallest".into()));
        }
        if self.abort_when.is_none() && self.compare.is_none() {
            let help = "add `abort_when: <PromQL>`, or `compare: {new: ..., control: ..., samples: ...}`";
            fields.problem("rollout", "nothing can bring this rollout back", Some(help.into()));
        }
        for query in self.abort_when.iter().chain(&self.advance_when) {
            if let Some(why) = query.useless() {
                fields.push(query.place.error(why, None));
            } else if let Some(why) = query.always_true() {
                let help = "write a comparison of a series without `bool`".to_owned();
                fields.push(query.place.error(why, Some(help)));
            }
        }
        Some(RolloutSpec {
            switch,
            version: self.version,
            steps,
            advance_when: self.advance_when,
            abort_when: self.abort_when,
            abort_for: self.abort_for,
            compare: self.compare,
            no_data_for: self.no_data_for,
            mode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RuleSpec, parse_file};
    use super::*;
    use crate::yaml::SourceFile;

    fn problems(rule: &str) -> Vec<String> {
        let text = format!("groups:\n- name: g\n  rules:\n  - {rule}\n");
        let (groups, problems) = parse_file(&SourceFile::new("rules.yaml", text));
        if problems.is_empty() {
            let rules = groups.expect("groups").remove(0).rules;
            assert!(matches!(&rules[0], RuleSpec::Rollout(rule) if rule.steps[0].hold == Duration::from_secs(600)));
        }
        problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_rollout_needs_growing_steps_and_something_that_can_bring_it_back() {
        for (rule, expected) in [
            ("{rollout: s, steps: [{share: 1%}, {share: 100%}], abort_when: 'e > 1'}", None),
            ("{rollout: s, steps: [{share: 1%}], compare: {new: a, control: b, samples: c}}", None),
            ("{rollout: s, steps: [{share: 1%}]}", Some("nothing can bring this rollout back")),
            ("{rollout: s, abort_when: 'e > 1'}", Some("missing field `steps` in this rollout rule")),
            ("{rollout: s, steps: [{share: 10%}, {share: 1%}], abort_when: 'e > 1'}", Some("the shares do not grow")),
            ("{rollout: s, steps: [{share: 0%}], abort_when: 'e > 1'}", Some("`0%` is no share")),
            ("{rollout: s, steps: [{share: 1%}], abort_when: 'e > bool 1'}", Some("a comparison with `bool`")),
            (
                "{rollout: s, steps: [{share: 1%}], abort_when: 'e > 1', objective: 1s}",
                Some("`objective` does not belong in a rollout rule"),
            ),
        ] {
            let found = problems(rule);
            match expected {
                None => assert_eq!(found, Vec::<String>::new(), "{rule}"),
                Some(expected) => assert!(found.iter().any(|p| p.starts_with(expected)), "{rule}: {found:?}"),
            }
        }
    }
}
