//! Guards against a bad rule push: what rules may do to all switches together, and to one switch in an hour.
//!
//! 1. `max_degraded`: while that many switches are degraded by rules, no healthy one is degraded; one that is degraded
//!    already may go deeper. What was held back is tried again when another switch recovers.
//! 2. `max_decisions_per_hour`: past it a switch is frozen at its safest level: it may still go deeper, and recovers only when
//!    the hour's count has fallen below the bound. Of a dimmer, steps in one direction count as one decision.
//! 3. `max_decisions_per_hour_overall`: the same over all switches together.
//! 4. A freeze: nothing moves.
//!
//! None of them stands in the way of a person. Limits are protections: only a freeze holds them back.

use std::time::Duration;

use crate::time::format_duration;

/// The time over which decisions are counted.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The guards; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// The most switches that rules may have degraded at one time.
    pub max_degraded: Option<u32>,
    /// The most decisions of rules for one switch in an hour.
    pub max_decisions_per_hour: Option<u32>,
    /// The same over all switches together.
    pub max_decisions_per_hour_overall: Option<u32>,
}

/// Why a rule's wish is not granted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    TooManyDegraded(u32),
    BudgetSpent(u32),
    OverallBudgetSpent(u32),
    Frozen,
    /// It was held back before a restart; why is found out at the next tick.
    Remembered,
}

impl HeldBack {
    /// The reason in words.
    pub fn words(self) -> String {
        match self {
            HeldBack::TooManyDegraded(most) => {
                format!("held back: {most} switches are degraded already (actions.max_degraded)")
            }
            HeldBack::BudgetSpent(most) => format!(
                "frozen: {most} decisions in {} (actions.max_decisions_per_hour); pin it if you know better",
                format_duration(HOUR)
            ),
            HeldBack::OverallBudgetSpent(most) => format!(
                "frozen: {most} decisions over all switches in {} (actions.max_decisions_per_hour_overall)",
                format_duration(HOUR)
            ),
            HeldBack::Frozen => "held back: everything is frozen".to_owned(),
            HeldBack::Remembered => "held back since before the restart".to_owned(),
        }
    }
}

impl Guards {
    /// The depth that a rule's wish leads to, and why it is not the wanted one if it is not.
    pub(super) fn admit(
        &self,
        now_at: usize,
        wanted: usize,
        others_degraded: usize,
        decisions_in_hour: usize,
        decisions_overall: usize,
    ) -> (usize, Option<HeldBack>) {
        if let Some(most) = self.max_degraded
            && now_at == 0
            && wanted > 0
            && others_degraded >= most as usize
        {
            return (0, Some(HeldBack::TooManyDegraded(most)));
        }
        if let Some(most) = self.max_decisions_per_hour
            && wanted < now_at
            && decisions_in_hour >= most as usize
        {
            return (now_at, Some(HeldBack::BudgetSpent(most)));
        }
        if let Some(most) = self.max_decisions_per_hour_overall
            && wanted < now_at
            && decisions_overall >= most as usize
        {
            return (now_at, Some(HeldBack::OverallBudgetSpent(most)));
        }
        (wanted, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guards_hold_back_what_they_should_and_nothing_else() {
        let guards =
            Guards { max_degraded: Some(2), max_decisions_per_hour: Some(6), max_decisions_per_hour_overall: Some(20) };
        for (now_at, wanted, others, decisions, expected) in [
            (0, 1, 1, 0, (1, None)),
            (0, 1, 2, 0, (0, Some(HeldBack::TooManyDegraded(2)))),
            (1, 2, 2, 0, (2, None)),
            (1, 0, 2, 5, (0, None)),
            (1, 0, 2, 6, (1, Some(HeldBack::BudgetSpent(6)))),
            (1, 2, 2, 9, (2, None)),
            (0, 0, 9, 9, (0, None)),
        ] {
            assert_eq!(guards.admit(now_at, wanted, others, decisions, 0), expected, "{now_at} -> {wanted}");
        }
        assert_eq!(guards.admit(2, 1, 0, 0, 19), (1, None));
        assert_eq!(guards.admit(2, 1, 0, 0, 20), (2, Some(HeldBack::OverallBudgetSpent(20))));
        assert_eq!(guards.admit(1, 2, 0, 0, 20), (2, None));
        assert_eq!(Guards::default().admit(0, 3, 100, 100, 100), (3, None));
    }
}
