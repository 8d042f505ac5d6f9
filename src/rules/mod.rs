//! Rule files, groups, their schedule, and the state of alerts and of action rules. Pure: takes `now` as an argument.

mod action_file;
mod file;
#[cfg(test)]
mod file_tests;
mod query;
mod spec;
mod text;

pub use file::parse_file;
pub use query::Query;
pub use spec::{
    AlertSpec, DegradeSpec, GroupSpec, LevelSpec, Mode, QuorumSpec, RecordSpec, RecoverSpec, RuleFile, RuleSpec,
    ScaleSpec, Scope,
};
pub use text::TemplateText;
