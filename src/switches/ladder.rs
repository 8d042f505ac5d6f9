//! The ladder of one `degrade` rule: down fast, up slowly.
//!
//! States: the depth that the rule asks for (0 is healthy). Transitions, at each judgement:
//!
//! 1. Down: the deepest level whose `when` has been true for its `for` is deeper than now: go there at once.
//! 2. Up: it has been quiet for `recover.for`, and the last move was at least `min_hold` ago: go one rung up; the quiet
//!    time starts again for the next rung. Quiet means that `recover.when` is true (without one: that the `when` of the
//!    present level is false), and that no condition of the present level or a deeper one is true. A level's own
//!    `clear.when` and `clear.for` stand in place of `recover.when` and `recover.for` for the step up from that level.
//! 3. Otherwise hold. A condition without data, or one that failed, is neither true nor quiet: its own clock starts
//!    again, and the ladder does not move up. One that is not known yet after a restart lets every clock go on, and lets
//!    the ladder move no more than one without data does.
//!
//! When a climb is undone within the quiet time of the level that is fallen to plus `min_hold` (the same trouble is
//! back), the next quiet time is twice as long, up to eight times; a full recovery that lasts as long as the longest
//! quiet time of the rule has grown brings it back.
//!
//! A restart goes on from [`LadderMemory`]; no clock starts again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The longest that the quiet time grows on repeated relapses, as a multiple of `recover.for`.
const LONGEST_BACK_OFF: u32 = 8;

/// One level of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Its place on the switch's ladder, at least 1.
    pub depth: usize,
    /// How long its condition must have been true.
    pub hold: Duration,
    pub clear: Clear,
}

/// What a level says itself about the step up from it; what it does not say comes from `recover`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clear {
    /// Whether it has a `clear.when`.
    pub has_when: bool,
    /// `clear.for`.
    pub hold: Option<Duration>,
}

/// A `degrade` rule as its ladder sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct LadderSettings {
    /// In the order of the rule file.
    pub levels: Vec<Level>,
    /// Whether the rule has a `recover.when` of its own.
    pub has_recover: bool,
    pub recover_for: Duration,
    pub min_hold: Duration,
}

/// What a condition says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// Its series are gone, or it failed.
    Unknown,
    /// After a restart its series have not been heard of again.
    NotYet,
}

impl Truth {
    /// Whether it says something.
    pub fn is_known(self) -> bool {
        matches!(self, Truth::True | Truth::False)
    }
}

/// What all conditions of a rule say now.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// One a level, in the order of the rule.
    pub levels: &'a [Truth],
    /// The levels' `clear.when` in the same order; what stands where a level has none is not looked at.
    pub clears: &'a [Truth],
    /// `recover.when`; not looked at without one.
    pub recover: Truth,
}

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LadderMemory {
    pub depth: usize,
    /// When the depth last changed.
    pub moved: Timestamp,
    /// Since when each level's condition has been true.
    pub true_since: Vec<Option<Timestamp>>,
    pub quiet_since: Option<Timestamp>,
    /// How many times the quiet time has been doubled.
    pub relapses: u32,
    /// When the ladder last went up a rung.
    pub climbed: Option<Timestamp>,
}

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Down because of this level (its index in the rule).
    Down { to: usize, level: usize },
    /// One rung up after the quiet time.
    Up { to: usize },
}

/// One rule's ladder.
#[derive(Clone, Debug)]
pub struct Ladder {
    settings: LadderSettings,
    memory: LadderMemory,
}

impl Ladder {
    /// A ladder at its healthy end.
    pub fn new(settings: LadderSettings, now: Timestamp) -> Ladder {
        let true_since = vec![None; settings.levels.len()];
        let memory = LadderMemory { depth: 0, moved: now, true_since, quiet_since: None, relapses: 0, climbed: None };
        Ladder { settings, memory }
    }

    /// Goes on from what was remembered. A memory of another number of levels keeps its depth and its clocks where the
    /// level is still there. What lies in the future was measured by a clock that was ahead: it counts from now on.
    pub fn restored(settings: LadderSettings, mut memory: LadderMemory, now: Timestamp) -> Ladder {
        memory.moved = memory.moved.min(now);
        for at in memory.true_since.iter_mut().chain([&mut memory.quiet_since, &mut memory.climbed]) {
            *at = at.map(|at| at.min(now));
        }
        memory.true_since.resize(settings.levels.len(), None);
        let deepest = settings.levels.iter().map(|level| level.depth).max().unwrap_or(0);
        memory.depth = memory.depth.min(deepest);
        Ladder { settings, memory }
    }

    /// The settings in force.
    pub fn settings(&self) -> &LadderSettings {
        &self.settings
    }

    /// What must survive a restart.
    pub fn memory(&self) -> &LadderMemory {
        &self.memory
    }

    /// The system's clock was set: what was measured from the old one moves along.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let memory = &mut self.memory;
        memory.moved = memory.moved.shifted(by_millis);
        for at in memory.true_since.iter_mut().chain([&mut memory.quiet_since, &mut memory.climbed]) {
            *at = at.map(|at| at.shifted(by_millis));
        }
    }

    /// The quiet time that the next rung up needs; of a healthy ladder, the one that makes relapses forgotten.
    pub fn quiet_needed(&self) -> Duration {
        let first = match self.memory.depth {
            0 => (self.settings.levels.iter()).map(|level| self.quiet_of(level.depth)).max(),
            depth => Some(self.quiet_of(depth)),
        };
        first.unwrap_or(self.settings.recover_for) * (1 << self.memory.relapses).min(LONGEST_BACK_OFF)
    }

    /// The quiet time of a level without relapses.
    fn quiet_of(&self, depth: usize) -> Duration {
        let own = self.settings.levels.iter().find(|level| level.depth == depth);
        own.and_then(|level| level.clear.hold).unwrap_or(self.settings.recover_for)
    }

    /// The earliest time of the next rung up if it stays quiet; `None` while it is not quiet or already healthy.
    pub fn next_climb(&self) -> Option<Timestamp> {
        let quiet = self.memory.quiet_since.filter(|_| self.memory.depth > 0)?;
        Some((quiet + self.quiet_needed()).max(self.memory.moved + self.settings.min_hold))
    }

    /// Takes one judgement.
    pub fn judge(&mut self, now: Timestamp, said: Said<'_>) -> Option<Move> {
        for (since, truth) in self.memory.true_since.iter_mut().zip(said.levels) {
            *since = match truth {
                Truth::True => since.or(Some(now)),
                Truth::NotYet => *since,
                Truth::False | Truth::Unknown => None,
            };
        }
        if let Some((to, level)) = self.deepest_held(now, said).filter(|(to, _)| *to > self.memory.depth) {
            self.fell(now, to);
            self.moved_to(now, to);
            return Some(Move::Down { to, level });
        }
        let quiet = self.quiet(said);
        self.memory.quiet_since = match quiet {
            Truth::True => self.memory.quiet_since.or(Some(now)),
            Truth::NotYet => self.memory.quiet_since,
            Truth::False | Truth::Unknown => None,
        };
        if self.memory.depth == 0 {
            self.forgive(now);
            return None;
        }
        if quiet != Truth::True || self.next_climb().is_none_or(|at| at > now) {
            return None;
        }
        let to = self.rung_above();
        self.moved_to(now, to);
        self.memory.climbed = Some(now);
        Some(Move::Up { to })
    }

    fn moved_to(&mut self, now: Timestamp, depth: usize) {
        self.memory.depth = depth;
        self.memory.moved = now;
        self.memory.quiet_since = None;
    }

    /// The deepest level whose condition has been true for its `for`, with its index in the rule.
    fn deepest_held(&self, now: Timestamp, said: Said<'_>) -> Option<(usize, usize)> {
        let levels = self.settings.levels.iter().zip(said.levels).zip(&self.memory.true_since).enumerate();
        levels
            .filter(|(_, ((_, truth), _))| **truth == Truth::True)
            .filter(|(_, ((level, _), since))| since.is_some_and(|since| now.since(since) >= level.hold))
            .map(|(index, ((level, _), _))| (level.depth, index))
            .max()
    }

    /// Whether it is quiet; [`Truth::NotYet`] when nothing speaks against it but what is not known yet.
    fn quiet(&self, said: Said<'_>) -> Truth {
        let with_truth = || self.settings.levels.iter().zip(said.levels);
        let here_or_deeper = || with_truth().filter(|(level, _)| level.depth >= self.memory.depth);
        let any = |sought: Truth| here_or_deeper().any(|(_, truth)| *truth == sought);
        if any(Truth::True) {
            return Truth::False;
        }
        let here = self.settings.levels.iter().position(|level| level.depth == self.memory.depth);
        let own = here.filter(|at| self.settings.levels[*at].clear.has_when);
        let own = own.map(|at| said.clears.get(at).copied().unwrap_or(Truth::Unknown));
        let clear = own.or(self.settings.has_recover.then_some(said.recover));
        clear.unwrap_or_else(|| {
            let unsure = [Truth::Unknown, Truth::NotYet].into_iter().find(|truth| any(*truth));
            unsure.unwrap_or(Truth::True)
        })
    }

    /// The next milder depth that this rule knows; healthy when there is none.
    fn rung_above(&self) -> usize {
        let milder = self.settings.levels.iter().map(|level| level.depth).filter(|depth| *depth < self.memory.depth);
        milder.max().unwrap_or(0)
    }

    /// A fall soon after a climb is a relapse.
    fn fell(&mut self, now: Timestamp, to: usize) {
        let soon = self.quiet_of(to) + self.settings.min_hold;
        if self.memory.climbed.is_some_and(|climbed| now.since(climbed) < soon) {
            self.memory.relapses = (self.memory.relapses + 1).min(LONGEST_BACK_OFF.ilog2());
        }
    }

    /// A full recovery that lasted as long as the grown quiet time makes relapses forgotten.
    fn forgive(&mut self, now: Timestamp) {
        if self.memory.relapses > 0 && now.since(self.memory.moved) >= self.quiet_needed() + self.settings.min_hold {
            self.memory.relapses = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Truth = Truth::True;
    const F: Truth = Truth::False;
    const U: Truth = Truth::Unknown;
    const N: Truth = Truth::NotYet;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn level(depth: usize, clear: Clear) -> Level {
        Level { depth, hold: secs(5), clear }
    }

    fn settings(has_recover: bool) -> LadderSettings {
        LadderSettings {
            levels: vec![level(1, Clear::default()), level(2, Clear::default())],
            has_recover,
            recover_for: secs(60),
            min_hold: secs(30),
        }
    }

    /// Feeds one judgement a second and lists the moves with their times.
    fn moves(ladder: &mut Ladder, from: i64, to: i64, levels: [Truth; 2], recover: Truth) -> Vec<(i64, usize)> {
        moves_clearing(ladder, (from, to), levels, [U, U], recover)
    }

    fn moves_clearing(
        ladder: &mut Ladder,
        (from, to): (i64, i64),
        levels: [Truth; 2],
        clears: [Truth; 2],
        recover: Truth,
    ) -> Vec<(i64, usize)> {
        (from..to)
            .filter_map(|s| match ladder.judge(at(s), Said { levels: &levels, clears: &clears, recover })? {
                Move::Down { to, .. } | Move::Up { to } => Some((s, to)),
            })
            .collect()
    }

    #[test]
    fn the_deepest_level_that_held_wins_at_once_and_recovery_goes_one_rung_at_a_time() {
        let mut ladder = Ladder::new(settings(true), at(0));
        assert_eq!(moves(&mut ladder, 0, 5, [T, T], F), []);
        assert_eq!(moves(&mut ladder, 5, 20, [T, T], F), [(5, 2)]);
        assert_eq!(moves(&mut ladder, 20, 79, [F, F], T), []);
        assert_eq!(moves(&mut ladder, 79, 200, [F, F], T), [(80, 1), (141, 0)]);
    }

    #[test]
    fn without_a_recover_condition_the_level_being_false_is_quiet() {
        let mut ladder = Ladder::new(settings(false), at(0));
        assert_eq!(moves(&mut ladder, 0, 10, [T, F], U), [(5, 1)]);
        assert_eq!(moves(&mut ladder, 10, 100, [F, F], U), [(70, 0)]);
    }

    #[test]
    fn no_data_holds_in_both_directions() {
        let mut ladder = Ladder::new(settings(false), at(0));
        assert_eq!(moves(&mut ladder, 0, 4, [T, F], U), []);
        assert_eq!(moves(&mut ladder, 4, 5, [U, F], U), []);
        assert_eq!(moves(&mut ladder, 5, 10, [T, F], U), [], "the level's clock started again");
        assert_eq!(moves(&mut ladder, 10, 12, [T, F], U), [(10, 1)]);
        assert_eq!(moves(&mut ladder, 12, 1000, [U, U], U), []);
        assert_eq!(moves(&mut ladder, 1000, 1100, [F, F], U), [(1060, 0)]);
    }

    #[test]
    fn hysteresis_holds_between_the_two_conditions() {
        let mut ladder = Ladder::new(settings(true), at(0));
        moves(&mut ladder, 0, 10, [T, F], F);
        assert_eq!(moves(&mut ladder, 10, 1000, [F, F], F), [], "below the trip, above the recovery");
        assert_eq!(moves(&mut ladder, 1000, 1100, [T, F], T), [], "a contradiction is not quiet");
    }

    #[test]
    fn min_hold_bounds_the_climb_from_below() {
        let mut quick = settings(true);
        (quick.recover_for, quick.min_hold) = (secs(1), secs(30));
        let mut ladder = Ladder::new(quick, at(0));
        assert_eq!(moves(&mut ladder, 0, 10, [T, F], F), [(5, 1)]);
        assert_eq!(moves(&mut ladder, 10, 60, [F, F], T), [(35, 0)]);
    }

    #[test]
    fn a_level_clears_by_its_own_condition_and_time() {
        let mut own = settings(true);
        own.levels[1].clear = Clear { has_when: true, hold: Some(secs(200)) };
        let mut ladder = Ladder::new(own, at(0));
        assert_eq!(moves_clearing(&mut ladder, (0, 10), [T, T], [F, F], F), [(5, 2)]);
        assert_eq!(
            moves_clearing(&mut ladder, (10, 1000), [F, F], [F, F], T),
            [],
            "`recover` does not speak for a level with a clear of its own"
        );
        assert_eq!(moves_clearing(&mut ladder, (1000, 1100), [F, F], [F, U], T), [], "no data is not good news");
        assert_eq!(moves_clearing(&mut ladder, (1100, 1300), [F, T], [F, T], T), [], "a contradiction is not quiet");
        assert_eq!(ladder.quiet_needed(), secs(200));
        assert_eq!(moves_clearing(&mut ladder, (1300, 1600), [F, F], [F, T], F), [(1500, 1)]);
        assert_eq!(ladder.quiet_needed(), secs(60), "the next level has none: `recover` speaks again");
        assert_eq!(moves_clearing(&mut ladder, (1600, 1700), [F, F], [F, T], F), []);
        assert_eq!(moves_clearing(&mut ladder, (1700, 1800), [F, F], [F, F], T), [(1760, 0)]);
    }

    #[test]
    fn what_a_clear_does_not_say_comes_from_recover() {
        let of = |has_recover, clear: Clear| {
            let mut own = settings(has_recover);
            own.levels[0].clear = clear;
            let mut ladder = Ladder::new(own, at(0));
            moves_clearing(&mut ladder, (0, 10), [T, F], [F, F], F);
            moves_clearing(&mut ladder, (10, 500), [F, F], [T, F], F)
        };
        let (only_for, only_when) =
            (Clear { has_when: false, hold: Some(secs(90)) }, Clear { has_when: true, hold: None });
        assert_eq!(of(false, only_for.clone()), [(100, 0)], "quiet is the level's `when` being false");
        assert_eq!(of(true, only_for), [], "quiet is `recover.when`");
        assert_eq!(of(true, only_when), [(70, 0)]);
    }

    #[test]
    fn a_relapse_is_measured_by_the_quiet_time_of_its_level() {
        let mut own = settings(true);
        own.levels[0].clear.hold = Some(secs(300));
        let mut ladder = Ladder::new(own, at(0));
        moves(&mut ladder, 0, 10, [T, F], F);
        assert_eq!(moves(&mut ladder, 10, 311, [F, F], T), [(310, 0)]);
        moves(&mut ladder, 311, 500, [F, F], T);
        assert_eq!(moves(&mut ladder, 500, 510, [T, F], F), [(505, 1)]);
        assert_eq!(ladder.quiet_needed(), secs(600), "the same trouble is back within 330 s");
    }

    #[test]
    fn a_relapse_doubles_the_quiet_time_and_a_lasting_recovery_forgives_it() {
        let mut ladder = Ladder::new(settings(true), at(0));
        moves(&mut ladder, 0, 10, [T, F], F);
        assert_eq!(moves(&mut ladder, 10, 71, [F, F], T), [(70, 0)]);
        assert_eq!(moves(&mut ladder, 71, 80, [T, F], F), [(76, 1)]);
        assert_eq!(ladder.quiet_needed(), secs(120));
        assert_eq!(moves(&mut ladder, 80, 400, [F, F], T), [(200, 0)]);
        assert_eq!(ladder.quiet_needed(), secs(60));
    }

    #[test]
    fn what_is_not_known_yet_after_a_restart_stops_no_clock_and_moves_nothing() {
        let mut ladder = Ladder::new(settings(true), at(0));
        assert_eq!(moves(&mut ladder, 0, 3, [T, F], F), []);
        assert_eq!(moves(&mut ladder, 3, 20, [N, N], N), [], "nobody says now that it is true");
        assert_eq!(moves(&mut ladder, 20, 21, [T, F], F), [(20, 1)], "it was true before the restart too");
        moves(&mut ladder, 21, 60, [F, F], T);
        assert_eq!(moves(&mut ladder, 60, 90, [N, N], N), [], "nobody says now that it is quiet");
        assert_eq!(moves(&mut ladder, 90, 91, [F, F], T), [(90, 0)]);
        // Without a condition of its own for the way back, all that speaks against it must be known.
        let mut plain = Ladder::new(settings(false), at(0));
        moves(&mut plain, 0, 10, [T, F], U);
        moves(&mut plain, 10, 60, [F, F], U);
        assert_eq!(moves(&mut plain, 60, 90, [F, N], U), []);
        assert_eq!(moves(&mut plain, 90, 91, [F, F], U), [(90, 0)]);
        // What is known counts at once.
        for (levels, recover) in [([N, N], F), ([T, N], N), ([N, N], U)] {
            let mut ladder = Ladder::new(settings(true), at(0));
            moves(&mut ladder, 0, 10, [T, F], F);
            moves(&mut ladder, 10, 60, [F, F], T);
            moves(&mut ladder, 60, 61, levels, recover);
            assert_eq!(moves(&mut ladder, 61, 122, [F, F], T), [(121, 0)], "{levels:?} {recover:?}");
        }
    }

    #[test]
    fn a_memory_from_the_future_does_not_hold_up_a_recovery() {
        let mut ladder = Ladder::new(settings(true), at(10_000));
        assert_eq!(moves(&mut ladder, 10_000, 10_010, [T, F], F), [(10_005, 1)]);
        // The daemon was stopped, and its clock is right now: two hours back.
        let mut ladder = Ladder::restored(settings(true), ladder.memory().clone(), at(2_800));
        assert_eq!(moves(&mut ladder, 2_800, 2_900, [F, F], T), [(2_860, 0)]);
    }

    #[test]
    fn a_restart_changes_nothing() {
        let steps: Vec<([Truth; 2], Truth)> =
            (0..400).map(|s| if s % 150 < 20 { ([T, T], F) } else { ([F, F], T) }).collect();
        let mut whole = Ladder::new(settings(true), at(0));
        let mut crashed = Ladder::new(settings(true), at(0));
        for (s, (levels, recover)) in steps.iter().enumerate() {
            let text = serde_json::to_string(crashed.memory()).expect("json");
            let now = at(s as i64);
            crashed = Ladder::restored(settings(true), serde_json::from_str(&text).expect("json"), now);
            let said = Said { levels, clears: &[], recover: *recover };
            assert_eq!(whole.judge(now, said), crashed.judge(now, said), "at {s}");
        }
    }
}
