//! Counting: what a body of hosts agrees on. A value is a number here, and less is worse: of a ladder the depth below
//! zero, of a dimmer the share, of a limit the limit. Those that do not vote think that all is well.
//!
//! 1. **Worse**: the smallest value that enough hosts support: it, or less, is voted for by at least [`Quorum::needed`].
//!    Of a ladder that is the deepest level for which the votes for it or a deeper one reach the quorum.
//! 2. **Better**: the smallest value that at least [`Quorum::kept_by`] hosts still support, where hosts that are missing
//!    count as they voted last. When that is better than what is in force, it is what the hosts agree on.
//! 3. Otherwise what is in force stays.
//!
//! So hosts that vanish make agreement on anything harder: for the worse they still are in the denominator, for the better
//! their last votes still stand, until they are forgotten.

use super::quorum::{Quorum, ZonesNeeded};

/// The hosts that run a rule, of a zone or of the fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body {
    /// How many there are and lately were: one that vanished counts less and less.
    pub known: f64,
    /// Those that are present and can speak.
    pub live: usize,
    /// What those want that want something else than the healthy value; smallest first.
    pub votes: Vec<f64>,
    /// What those that are missing wanted last, smallest first.
    pub missing: Vec<f64>,
    /// Missing ones of which nobody knows what they wanted.
    pub unknown: usize,
}

/// What is to become of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Hold,
    Worse(f64),
    Better(f64),
}

/// What the bodies agree on: one of the whole fleet, or one a zone.
pub(super) fn count(quorum: &Quorum, bodies: &[Body], in_force: f64, healthy: f64) -> Step {
    if bodies.iter().map(|body| body.live).sum::<usize>() < quorum.min_members as usize {
        return Step::Hold;
    }
    // A zone of which hardly anything is remembered is none any more.
    let there: Vec<&Body> = bodies.iter().filter(|body| body.live > 0 || body.known >= 0.5).collect();
    let agree = match quorum.zones {
        None => 1,
        Some(ZonesNeeded::All) => there.len().max(1),
        Some(ZonesNeeded::AtLeast(zones)) => (zones as usize).max(1),
    };
    let nth = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(agree - 1).copied().unwrap_or(healthy).min(healthy)
    };
    let worse = nth(there.iter().map(|body| body.supports(quorum, healthy)).collect());
    if worse < in_force {
        return Step::Worse(worse);
    }
    let better = nth(there.iter().map(|body| body.keeps(quorum, healthy)).collect());
    if better > in_force { Step::Better(better) } else { Step::Hold }
}

impl Body {
    /// The smallest value that enough of those present vote for.
    fn supports(&self, quorum: &Quorum, healthy: f64) -> f64 {
        let needed = quorum.needed(self.known);
        self.votes.get(needed - 1).copied().unwrap_or(healthy)
    }

    /// The smallest value that enough hosts still want, those that are missing among them.
    fn keeps(&self, quorum: &Quorum, healthy: f64) -> f64 {
        let Some(last) = quorum.kept_by(self.known).checked_sub(self.unknown + 1) else { return f64::NEG_INFINITY };
        let mut wants: Vec<f64> = self.votes.iter().chain(&self.missing).copied().collect();
        wants.sort_by(f64::total_cmp);
        wants.get(last).copied().unwrap_or(healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many hosts, of which so many want the values; those that are missing wanted theirs.
    fn body(live: usize, votes: &[(usize, f64)], gone: usize, missing: &[(usize, f64)]) -> Body {
        let all = |votes: &[(usize, f64)]| {
            let mut all: Vec<f64> = votes.iter().flat_map(|(count, value)| vec![*value; *count]).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        Body { known: (live + gone) as f64, live, votes: all(votes), missing: all(missing), unknown: 0 }
    }

    fn quorum() -> Quorum {
        Quorum { share: 0.3, at_least: 3, clear_share: 0.1, ..Quorum::default() }
    }

    #[test]
    fn a_ladder_goes_where_enough_hosts_want_it_and_stays_until_few_do() {
        for (body, in_force, expected) in [
            (body(50, &[(1, -2.0)], 0, &[]), 0.0, Step::Hold),
            (body(50, &[(14, -2.0)], 0, &[]), 0.0, Step::Hold),
            (body(50, &[(15, -1.0)], 0, &[]), 0.0, Step::Worse(-1.0)),
            // Those for the deeper level are for the milder one, too.
            (body(50, &[(8, -1.0), (7, -2.0)], 0, &[]), 0.0, Step::Worse(-1.0)),
            (body(50, &[(8, -1.0), (15, -2.0)], 0, &[]), -1.0, Step::Worse(-2.0)),
            (body(50, &[(5, -1.0)], 0, &[]), -1.0, Step::Hold),
            (body(50, &[(4, -1.0)], 0, &[]), -1.0, Step::Better(0.0)),
            (body(50, &[(5, -1.0)], 0, &[]), -2.0, Step::Better(-1.0)),
            // Forty vanish: the ten that remain agree on nothing, one way or the other.
            (body(10, &[(10, -2.0)], 40, &[]), 0.0, Step::Hold),
            (body(10, &[], 40, &[(40, -1.0)]), -1.0, Step::Hold),
            (body(10, &[], 40, &[(4, -1.0)]), -1.0, Step::Better(0.0)),
            (body(2, &[(2, -1.0)], 0, &[]), 0.0, Step::Hold),
            (body(0, &[], 0, &[]), -1.0, Step::Better(0.0)),
        ] {
            let floor = Quorum { min_members: u32::from(body.live > 0), ..quorum() };
            assert_eq!(count(&floor, std::slice::from_ref(&body), in_force, 0.0), expected, "{body:?}");
        }
    }

    #[test]
    fn a_share_is_the_smallest_that_a_quorum_supports() {
        let votes = [(2, 0.2), (2, 0.5), (1, 0.8)];
        for (in_force, expected) in [(1.0, Step::Worse(0.5)), (0.5, Step::Hold), (0.1, Step::Better(0.2))] {
            assert_eq!(count(&quorum(), &[body(10, &votes, 0, &[])], in_force, 1.0), expected);
        }
        let limits = body(10, &[(3, 12.0)], 0, &[]);
        assert_eq!(count(&quorum(), &[limits], f64::INFINITY, f64::INFINITY), Step::Worse(12.0));
    }

    #[test]
    fn zones_are_counted_by_themselves_when_the_rule_says_so() {
        let (sick, well, gone) =
            (body(10, &[(10, -1.0)], 0, &[]), body(10, &[], 0, &[]), body(0, &[], 10, &[(10, -1.0)]));
        let zones = |zones| Quorum { zones: Some(zones), ..quorum() };
        for (quorum, bodies, in_force, expected) in [
            (zones(ZonesNeeded::AtLeast(1)), vec![sick.clone(), well.clone()], 0.0, Step::Worse(-1.0)),
            (zones(ZonesNeeded::AtLeast(2)), vec![sick.clone(), well.clone()], 0.0, Step::Hold),
            (zones(ZonesNeeded::AtLeast(2)), vec![sick.clone(), sick.clone()], 0.0, Step::Worse(-1.0)),
            (zones(ZonesNeeded::All), vec![sick.clone(), well.clone()], 0.0, Step::Hold),
            (zones(ZonesNeeded::All), vec![sick.clone(), sick.clone()], 0.0, Step::Worse(-1.0)),
            (zones(ZonesNeeded::All), vec![sick.clone(), gone.clone()], 0.0, Step::Hold),
            (zones(ZonesNeeded::All), vec![sick.clone(), gone], -1.0, Step::Hold),
            (zones(ZonesNeeded::All), vec![sick, well], -1.0, Step::Better(0.0)),
        ] {
            assert_eq!(count(&quorum, &bodies, in_force, 0.0), expected, "{quorum:?}");
        }
    }

    #[test]
    fn too_few_hosts_and_hosts_of_which_nothing_is_known_change_nothing() {
        let floor = Quorum { min_members: 5, ..quorum() };
        assert_eq!(count(&floor, &[body(4, &[(4, -1.0)], 0, &[])], 0.0, 0.0), Step::Hold);
        let unknown = Body { unknown: 40, ..body(10, &[], 40, &[]) };
        assert_eq!(count(&quorum(), &[unknown], -1.0, 0.0), Step::Hold);
    }
}
