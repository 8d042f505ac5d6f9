//! The stable name of a rule: the same after a restart and after a reload that does not touch it.

use std::fmt;
use std::sync::Arc;

/// What a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleType {
    Recording,
    Alerting,
    Degrade,
    Scale,
    Dim,
    Limit,
    Rollout,
}

impl RuleType {
    /// The word of `/api/v1/rules`.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleType::Recording => "recording",
            RuleType::Alerting => "alerting",
            RuleType::Degrade => "degrade",
            RuleType::Scale => "scale",
            RuleType::Dim => "dim",
            RuleType::Limit => "limit",
            RuleType::Rollout => "rollout",
        }
    }
}

/// The name of one rule: file, group, kind, name, its labels as they stand in the file, and, among those that are alike
/// in all of these, its number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    pub file: Arc<str>,
    pub group: Arc<str>,
    pub kind: RuleType,
    pub name: Arc<str>,
    /// `name=value` pairs, templates not carried out.
    pub labels: Arc<str>,
    pub nth: u32,
}

/// The name of a rule that acts: of kind degrade or scale.
pub type ActionRuleId = RuleId;

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{};{} {}", self.file, self.group, self.kind.as_str(), self.name)?;
        if !self.labels.is_empty() {
            write!(f, "{{{}}}", self.labels)?;
        }
        if self.nth > 0 { write!(f, "#{}", self.nth) } else { Ok(()) }
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
