//! How many hosts must agree: what a rule says of it.

use std::time::Duration;

/// The agreement that a rule of scope `zone` or `fleet` needs.
///
/// A switch goes to a worse value when at least `share` of the hosts that run the rule, and at least `at_least` of them,
/// vote for it or a worse one. It goes to a better one when fewer than `clear_share` still vote for what is in force, for
/// `clear_for`. Between the two it stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Quorum {
    /// 0 to 1.
    pub share: f64,
    pub at_least: u32,
    /// 0 to 1, at most `share`.
    pub clear_share: f64,
    pub clear_for: Duration,
    /// `None`: all hosts are counted together. Otherwise each zone is counted by itself, and so many of them must agree.
    pub zones: Option<ZonesNeeded>,
    /// With fewer hosts present nothing changes.
    pub min_members: u32,
    /// Of a rule of scope `host` or `zone`: the largest share of the fleet's hosts that it may have degraded at one time.
    pub max_degraded_share: Option<f64>,
}

/// How many zones must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZonesNeeded {
    All,
    AtLeast(u32),
}

impl Default for Quorum {
    fn default() -> Quorum {
        Quorum {
            share: 0.5,
            at_least: 1,
            clear_share: 0.25,
            clear_for: Duration::ZERO,
            zones: None,
            min_members: 1,
            max_degraded_share: None,
        }
    }
}

impl Quorum {
    /// The votes that a change for the worse needs where this many hosts run the rule.
    pub(super) fn needed(&self, known: f64) -> usize {
        share_of(self.share, known).max(self.at_least as usize)
    }

    /// The votes below which what is in force is given up.
    pub(super) fn kept_by(&self, known: f64) -> usize {
        share_of(self.clear_share, known).min(self.needed(known))
    }
}

/// At least one, and rounded up: 30 % of 4 hosts are 2.
fn share_of(share: f64, known: f64) -> usize {
    ((share * known - 1e-9).ceil() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_hosts_is_rounded_up_and_never_nobody() {
        let quorum = |share, at_least, clear_share| Quorum { share, at_least, clear_share, ..Quorum::default() };
        for (quorum, known, needed, kept_by) in [
            (quorum(0.3, 1, 0.1), 50.0, 15, 5),
            (quorum(0.3, 3, 0.1), 4.0, 3, 1),
            (quorum(0.5, 1, 0.25), 1.0, 1, 1),
            (quorum(0.5, 1, 0.25), 0.0, 1, 1),
            (quorum(0.3, 1, 0.1), 33.4, 11, 4),
            (quorum(0.5, 1, 0.5), 3.0, 2, 2),
        ] {
            assert_eq!((quorum.needed(known), quorum.kept_by(known)), (needed, kept_by), "{known} hosts, {quorum:?}");
        }
    }
}
