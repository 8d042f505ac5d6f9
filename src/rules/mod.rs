//! Rule files, groups, their schedule, and the state of alerts and of action rules. Pure: takes `now` as an argument.
//!
//! A file becomes groups ([`parse_file`]), groups become [`Rules`], and `Rules`, told the time and given the store, say what
//! follows ([`Outcome`]): alerts to tell people about, and what the conditions of action rules say. Whom to tell is the
//! business of `alerts`, what to switch that of `switches`; this room knows neither.

mod action;
mod action_file;
mod active;
mod alerting;
#[cfg(test)]
mod alerting_tests;
mod dim;
mod durable;
mod evaluate;
mod evaluations;
mod expand;
mod few;
mod file;
#[cfg(test)]
mod file_tests;
mod findings;
mod group;
mod id;
mod inputs;
mod news;
mod outcome;
mod promql_evaluate;
mod query;
mod recording;
#[cfg(test)]
mod restart_tests;
mod rollout;
mod rule;
mod ruler;
#[cfg(test)]
mod ruler_tests;
mod schedule;
#[cfg(test)]
mod script;
mod spec;
mod status;
mod text;
mod unit_test;
mod unit_test_file;
#[cfg(test)]
mod unit_test_tests;
mod urgent;
mod witness;

pub use dim::{ControlSpec, DimSpec, Input, LawName, LimitSource, LimitSpec};
pub use evaluations::Evaluation;
pub use file::parse_file;
pub use findings::Finding;
pub use id::{ActionRuleId, RuleId, RuleType};
pub use outcome::{AlertEvent, AlertState, ClearOf, Condition, Judgement, Outcome, Part, Truth};
pub use query::Query;
pub use rollout::{CompareSpec, RolloutSpec, StepSpec};
pub use rule::Health;
pub use ruler::{Counters, Meter, Rules, Settings};
pub use spec::{
    AlertSpec, ClearSpec, DegradeSpec, GroupSpec, LevelSpec, Mode, OnUnknown, QuorumClearSpec, QuorumSpec, RecordSpec,
    RecoverSpec, RuleFile, RuleSpec, ScaleSpec, Scope, ZonesSpec,
};
pub use status::{ActiveAlert, ConditionStatus, GroupStatus, Listed, RuleStatus};
pub use text::{TemplateText, Texts};
pub use unit_test::{Covered, Failure, Loader, Report, TestReport, UnitTestOptions, run_unit_tests};
pub(crate) use unit_test::{Suite, is_part, pair_up};
pub(crate) use unit_test_file::{ExpectedMessage, NotificationTest, SwitchExpected, SwitchTest, UnitTest};
