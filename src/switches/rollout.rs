//! The steps of one rollout: each bakes, and goes on only when it is known to be well.
//!
//! States: waiting, running (a step bakes), paused, rolled back (and locked), done. At each judgement:
//!
//! 1. Failing (`abort_when` is true, or the comparison is worse with enough samples) for `abort_for`: roll back to the
//!    initial share, and lock until a person acknowledges it. This holds while a step runs and while it is paused.
//! 2. Without data the step holds; for `no_data_for` without a break: roll back.
//! 3. At the end of the bake time: with `advance_when` true (or without one) and enough samples, the next step, or done
//!    after the last. `advance_when` false is no answer: pause, for a person. Too few samples hold the step, and pause it
//!    after another `no_data_for`.
//!
//! Commands: `pause`, `resume` (a paused step bakes anew), `abort` (roll back), `ack` (unlock; the rollout then waits, and
//! `resume` begins it anew). Another version in the rule begins anew, but never over a lock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ladder::Truth;
use super::state::Mode;
use super::value::{RolloutState, SwitchValue, percent};
use crate::model::SwitchName;
use crate::time::{Timestamp, format_duration};

/// A `rollout` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRule {
    /// Unique among the rules.
    pub rule: String,
    /// `group/rule`, for messages.
    pub title: String,
    pub switch: SwitchName,
    pub version: String,
    /// Shares and bake times.
    pub steps: Vec<(f64, Duration)>,
    pub advance_when: Option<String>,
    pub abort_when: Option<String>,
    pub abort_for: Duration,
    pub compare: Option<Compare>,
    pub no_data_for: Duration,
    pub mode: Mode,
}

/// When the new version counts as worse than the control group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compare {
    pub min_samples: f64,
    pub worse_by: f64,
    pub at_least: f64,
}

/// What the rule's expressions say; `None` for an expression that it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    pub abort: Option<Truth>,
    pub abort_value: Option<f64>,
    pub advance: Option<Truth>,
    /// The comparison: both measures and the number of requests; each `None` without data.
    pub new: Option<f64>,
    pub control: Option<f64>,
    pub samples: Option<f64>,
    /// A restart may be why something is not there.
    pub not_yet: bool,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutMemory {
    /// The version that it leads; `None` before the first judgement.
    pub version: Option<String>,
    pub state: RolloutState,
    pub step: usize,
    /// When the present step began to bake.
    pub since: Timestamp,
    /// Since when it has been failing, and without data.
    pub failing_since: Option<Timestamp>,
    pub silent_since: Option<Timestamp>,
    /// Why it is where it is.
    pub why: String,
}

/// What a person can say to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutWord {
    Pause,
    Resume,
    Abort,
    Acknowledge,
}

impl RolloutWord {
    /// Every word as the command line writes it.
    pub const WORDS: [(&'static str, RolloutWord); 4] = [
        ("pause", RolloutWord::Pause),
        ("resume", RolloutWord::Resume),
        ("abort", RolloutWord::Abort),
        ("ack", RolloutWord::Acknowledge),
    ];

    /// As the command line writes it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, word)| *word == self).map_or("", |(word, _)| word)
    }
}

/// One rollout.
#[derive(Clone, Debug)]
pub struct Rollout {
    rule: RolloutRule,
    memory: RolloutMemory,
    initial: f64,
    last: Evidence,
}

/// How the evidence is to be read.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Failing(String),
    /// Something is not known.
    Silent,
    /// Known, but from too few samples.
    TooFew(f64),
    Well,
}

impl Rollout {
    /// A rollout that goes on from its memory; `initial` is the share before it and after a rollback.
    pub fn new(rule: RolloutRule, memory: RolloutMemory, initial: f64) -> Rollout {
        let mut memory = memory;
        memory.step = memory.step.min(rule.steps.len().saturating_sub(1));
        Rollout { rule, memory, initial, last: Evidence::default() }
    }

    /// The rule.
    pub fn rule(&self) -> &RolloutRule {
        &self.rule
    }

    /// The system's clock was set: what was measured from the old one moves along.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.memory.since = self.memory.since.shifted(by_millis);
        for at in [&mut self.memory.failing_since, &mut self.memory.silent_since] {
            *at = at.map(|at| at.shifted(by_millis));
        }
    }

    /// What must survive a restart.
    pub fn memory(&self) -> &RolloutMemory {
        &self.memory
    }

    /// Whether this is where it is.
    pub(super) fn is_at(&self, state: RolloutState, step: usize, version: &str) -> bool {
        (self.memory.state, self.memory.step, self.memory.version.as_deref().unwrap_or_default())
            == (state, step, version)
    }

    /// What another host that led it until now would remember.
    pub(super) fn memory_at(
        state: RolloutState,
        step: usize,
        version: &str,
        since: Timestamp,
        why: String,
    ) -> RolloutMemory {
        let (failing_since, silent_since) = (None, None);
        RolloutMemory { version: Some(version.to_owned()), state, step, since, failing_since, silent_since, why }
    }

    /// What the expressions said last.
    pub fn evidence(&self) -> &Evidence {
        &self.last
    }

    /// What applications are told.
    pub fn value(&self) -> SwitchValue {
        let share = match self.memory.state {
            RolloutState::Waiting | RolloutState::RolledBack => self.initial,
            RolloutState::Running | RolloutState::Paused => self.rule.steps[self.memory.step].0,
            RolloutState::Done => self.rule.steps.last().map_or(self.initial, |(share, _)| *share),
        };
        SwitchValue::Rollout {
            share,
            state: self.memory.state,
            step: self.memory.step,
            version: self.memory.version.clone().unwrap_or_default(),
        }
    }

    /// When the present step is baked; `None` while none runs.
    pub fn baked_at(&self) -> Option<Timestamp> {
        (self.memory.state == RolloutState::Running).then(|| self.memory.since + self.rule.steps[self.memory.step].1)
    }

    /// Time in which nothing was judged does not bake.
    pub fn shift(&mut self, span: Duration) {
        self.memory.since = self.memory.since + span;
        (self.memory.failing_since, self.memory.silent_since) = (None, None);
    }

    /// Takes one judgement; the reason when something changed.
    pub fn judge(&mut self, now: Timestamp, evidence: Evidence) -> Option<String> {
        self.last = evidence;
        if self.memory.version.as_deref() != Some(&self.rule.version) && self.memory.state != RolloutState::RolledBack {
            self.memory.version = Some(self.rule.version.clone());
            return Some(self.begin(now));
        }
        if !matches!(self.memory.state, RolloutState::Running | RolloutState::Paused) {
            return None;
        }
        let verdict = self.verdict(&evidence);
        let since = |before: Option<Timestamp>, now_so: bool| if now_so { before.or(Some(now)) } else { None };
        if !(evidence.not_yet && verdict == Verdict::Silent) {
            self.memory.failing_since = since(self.memory.failing_since, matches!(verdict, Verdict::Failing(_)));
        }
        self.memory.silent_since = since(self.memory.silent_since, verdict == Verdict::Silent);
        if let Verdict::Failing(why) = &verdict
            && self.memory.failing_since.is_some_and(|since| now.since(since) >= self.rule.abort_for)
        {
            return Some(self.back(now, why.clone()));
        }
        if self.memory.state == RolloutState::Paused {
            return None;
        }
        if self.memory.silent_since.is_some_and(|since| now.since(since) >= self.rule.no_data_for) {
            let why = format!("no data for {}", format_duration(self.rule.no_data_for));
            return Some(self.back(now, why));
        }
        let baked = self.baked_at().filter(|at| *at <= now)?;
        match verdict {
            Verdict::Well => self.baked(now),
            Verdict::TooFew(samples) if now.since(baked) >= self.rule.no_data_for => {
                let least = self.rule.compare.map_or(0.0, |compare| compare.min_samples);
                Some(self.pause(now, format!("inconclusive: {samples} samples of at least {least}")))
            }
            Verdict::TooFew(_) | Verdict::Failing(_) | Verdict::Silent => None,
        }
    }

    fn verdict(&self, evidence: &Evidence) -> Verdict {
        if evidence.abort == Some(Truth::True) {
            let value = evidence.abort_value.map(|value| format!(" (value {value})")).unwrap_or_default();
            return Verdict::Failing(format!("{}{value}", self.rule.abort_when.as_deref().unwrap_or("abort_when")));
        }
        let silent = evidence.abort.is_some_and(|truth| !truth.is_known());
        let mut verdict = if silent { Verdict::Silent } else { Verdict::Well };
        if let Some(compare) = self.rule.compare {
            match (evidence.new, evidence.control, evidence.samples) {
                (_, _, Some(samples)) if samples < compare.min_samples => {
                    verdict = if verdict == Verdict::Silent { verdict } else { Verdict::TooFew(samples) };
                }
                (Some(new), Some(control), Some(_)) if new.is_finite() && control.is_finite() => {
                    if new > control * compare.worse_by && new - control > compare.at_least {
                        return Verdict::Failing(format!(
                            "the new version's {new} is worse than the control group's {control}"
                        ));
                    }
                }
                _ => verdict = Verdict::Silent,
            }
        }
        verdict
    }

    fn baked(&mut self, now: Timestamp) -> Option<String> {
        match self.last.advance {
            Some(Truth::False) => {
                let text = self.rule.advance_when.clone().unwrap_or_default();
                Some(self.pause(now, format!("inconclusive: at the end of the step this was not true: {text}")))
            }
            Some(Truth::Unknown | Truth::NotYet) => {
                self.memory.silent_since = self.memory.silent_since.or(Some(now));
                None
            }
            Some(Truth::True) | None => Some(self.forward(now)),
        }
    }

    fn begin(&mut self, now: Timestamp) -> String {
        let named = if self.rule.version.is_empty() { String::new() } else { format!(" of {}", self.rule.version) };
        let why = format!("the rollout{named} begins with {}", percent(self.rule.steps[0].0));
        self.go(now, RolloutState::Running, 0, why)
    }

    fn forward(&mut self, now: Timestamp) -> String {
        let (share, hold) = self.rule.steps[self.memory.step];
        let baked = format!("{} was well for {}", percent(share), format_duration(hold));
        if self.memory.step + 1 < self.rule.steps.len() {
            self.go(now, RolloutState::Running, self.memory.step + 1, baked)
        } else {
            self.go(now, RolloutState::Done, self.memory.step, baked)
        }
    }

    fn back(&mut self, now: Timestamp, why: String) -> String {
        let why = format!("rolled back from {}: {why}", percent(self.rule.steps[self.memory.step].0));
        self.go(now, RolloutState::RolledBack, self.memory.step, why)
    }

    fn pause(&mut self, now: Timestamp, why: String) -> String {
        self.go(now, RolloutState::Paused, self.memory.step, why)
    }

    fn go(&mut self, now: Timestamp, state: RolloutState, step: usize, why: String) -> String {
        let version = self.memory.version.take();
        self.memory = RolloutMemory {
            version,
            state,
            step,
            since: now,
            failing_since: None,
            silent_since: None,
            why: why.clone(),
        };
        why
    }

    /// Takes a person's word; the reason when it was taken.
    ///
    /// # Errors
    /// What it is doing instead, and what can be said to that.
    pub fn say(&mut self, now: Timestamp, word: RolloutWord, by: &str) -> Result<String, String> {
        let step = self.memory.step;
        match (word, self.memory.state) {
            (RolloutWord::Pause, RolloutState::Running) => Ok(self.pause(now, format!("paused by {by}"))),
            (RolloutWord::Resume, RolloutState::Paused) => {
                Ok(self.go(now, RolloutState::Running, step, format!("resumed by {by}: the step bakes anew")))
            }
            (RolloutWord::Resume, RolloutState::Waiting) => {
                self.memory.version = Some(self.rule.version.clone());
                Ok(self.go(now, RolloutState::Running, 0, format!("begun by {by}")))
            }
            (RolloutWord::Abort, RolloutState::Running | RolloutState::Paused | RolloutState::Done) => {
                Ok(self.back(now, format!("aborted by {by}")))
            }
            (RolloutWord::Acknowledge, RolloutState::RolledBack) => {
                Ok(self.go(now, RolloutState::Waiting, 0, format!("acknowledged by {by}; `resume` begins anew")))
            }
            (word, state) => Err(format!("it is {}, so there is nothing to {}", state.as_str(), word.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn rollout(change: impl FnOnce(&mut RolloutRule)) -> Rollout {
        let mut rule = RolloutRule {
            rule: "r".into(),
            title: "g/r".into(),
            switch: SwitchName::new("search").expect("a name"),
            version: "v2".into(),
            steps: vec![(0.01, secs(60)), (0.5, secs(60)), (1.0, secs(60))],
            advance_when: None,
            abort_when: Some("errors > 1".into()),
            abort_for: secs(5),
            compare: None,
            no_data_for: secs(30),
            mode: Mode::Enforce,
        };
        change(&mut rule);
        Rollout::new(rule, RolloutMemory::default(), 0.0)
    }

    const WELL: Evidence = Evidence {
        abort: Some(Truth::False),
        abort_value: None,
        advance: None,
        new: None,
        control: None,
        samples: None,
        not_yet: false,
    };

    /// One judgement a second; what the value became, at which second.
    fn run(rollout: &mut Rollout, from: i64, to: i64, evidence: Evidence) -> Vec<(i64, String, RolloutState)> {
        let step = |s: i64| {
            rollout.judge(at(s), evidence)?;
            Some((s, rollout.value().text(), rollout.memory().state))
        };
        (from..to).filter_map(step).collect()
    }

    fn state(s: i64, share: &str, state: RolloutState) -> (i64, String, RolloutState) {
        (s, share.to_owned(), state)
    }

    #[test]
    fn each_step_bakes_and_the_last_one_ends_it() {
        use RolloutState::{Done, Running};
        let mut r = rollout(|_| {});
        let expected =
            [state(0, "1%", Running), state(60, "50%", Running), state(120, "100%", Running), state(180, "100%", Done)];
        assert_eq!(run(&mut r, 0, 400, WELL), expected);
    }

    #[test]
    fn a_failure_that_lasts_brings_it_back_and_locks_it_until_somebody_acknowledges() {
        let mut r = rollout(|_| {});
        run(&mut r, 0, 70, WELL);
        let failing = Evidence { abort: Some(Truth::True), ..WELL };
        assert_eq!(run(&mut r, 70, 73, failing), []);
        assert_eq!(run(&mut r, 73, 75, WELL), [], "it was an accident");
        assert_eq!(run(&mut r, 75, 90, failing), [state(80, "0%", RolloutState::RolledBack)]);
        assert_eq!(run(&mut r, 90, 9_000, WELL), []);
        for word in [RolloutWord::Resume, RolloutWord::Pause, RolloutWord::Abort] {
            assert!(r.say(at(9_000), word, "ann").is_err());
        }
        r.rule.version = "v3".into();
        assert_eq!(run(&mut r, 9_000, 9_100, WELL), [], "a lock holds over a new version");
        assert!(r.say(at(9_100), RolloutWord::Acknowledge, "ann").is_ok());
        assert_eq!(run(&mut r, 9_100, 9_110, WELL), [state(9_100, "1%", RolloutState::Running)]);
    }

    #[test]
    fn after_an_acknowledgement_the_same_version_waits_for_a_word() {
        let mut r = rollout(|_| {});
        run(&mut r, 0, 10, WELL);
        assert!(r.say(at(10), RolloutWord::Abort, "ann").is_ok());
        assert!(r.say(at(11), RolloutWord::Acknowledge, "ann").is_ok());
        assert_eq!(run(&mut r, 11, 500, WELL), []);
        assert!(r.say(at(500), RolloutWord::Resume, "ann").is_ok());
        assert_eq!(r.value().text(), "1%");
    }

    #[test]
    fn a_failure_goes_on_over_a_restart_whose_inputs_are_not_back_yet() {
        let mut r = rollout(|_| {});
        let failing = Evidence { abort: Some(Truth::True), ..WELL };
        assert_eq!(run(&mut r, 0, 13, WELL).len(), 1);
        assert_eq!(run(&mut r, 13, 16, failing), []);
        let not_yet = Evidence { abort: Some(Truth::NotYet), not_yet: true, ..WELL };
        assert_eq!(run(&mut r, 16, 25, not_yet), [], "what is not known brings nothing back");
        assert_eq!(run(&mut r, 25, 26, failing), [state(25, "0%", RolloutState::RolledBack)]);
    }

    #[test]
    fn no_data_holds_and_then_rolls_back() {
        let mut r = rollout(|_| {});
        run(&mut r, 0, 55, WELL);
        let silent = Evidence { abort: Some(Truth::Unknown), ..WELL };
        assert_eq!(run(&mut r, 55, 80, silent), [], "it does not advance at 60");
        assert_eq!(run(&mut r, 80, 81, WELL), [state(80, "50%", RolloutState::Running)]);
        assert_eq!(run(&mut r, 81, 200, silent), [state(111, "0%", RolloutState::RolledBack)]);
    }

    #[test]
    fn what_is_inconclusive_pauses_and_a_failure_counts_while_paused() {
        let mut r = rollout(|rule| rule.advance_when = Some("ok > 1".into()));
        let unsure = Evidence { advance: Some(Truth::False), ..WELL };
        assert_eq!(run(&mut r, 0, 500, unsure)[1..], [state(60, "1%", RolloutState::Paused)]);
        assert!(r.say(at(500), RolloutWord::Resume, "ann").is_ok());
        let sure = Evidence { advance: Some(Truth::True), ..WELL };
        assert_eq!(run(&mut r, 500, 561, sure), [state(560, "50%", RolloutState::Running)]);
        assert!(r.say(at(561), RolloutWord::Pause, "ann").is_ok());
        let failing = Evidence { abort: Some(Truth::True), ..sure };
        assert_eq!(run(&mut r, 561, 600, failing), [state(566, "0%", RolloutState::RolledBack)]);
    }

    #[test]
    fn the_comparison_concludes_nothing_from_few_samples() {
        let compare = Compare { min_samples: 100.0, worse_by: 2.0, at_least: 0.01 };
        let mut r = rollout(|rule| (rule.abort_when, rule.compare) = (None, Some(compare)));
        let compared = |new: f64, control: f64, samples: f64| Evidence {
            new: Some(new),
            control: Some(control),
            samples: Some(samples),
            ..Evidence::default()
        };
        assert_eq!(run(&mut r, 0, 80, compared(0.5, 0.01, 20.0)).len(), 1, "neither back nor forth");
        assert_eq!(run(&mut r, 80, 81, compared(0.015, 0.01, 200.0)), [state(80, "50%", RolloutState::Running)]);
        assert_eq!(run(&mut r, 81, 100, compared(0.015, 0.001, 200.0)), [state(86, "0%", RolloutState::RolledBack)]);
        let mut r = rollout(|rule| (rule.abort_when, rule.compare) = (None, Some(compare)));
        let few = run(&mut r, 0, 200, compared(0.0, 0.0, 5.0));
        assert_eq!(few[1..], [state(90, "1%", RolloutState::Paused)]);
        let nothing = Evidence { samples: Some(500.0), ..Evidence::default() };
        let mut r = rollout(|rule| (rule.abort_when, rule.compare) = (None, Some(compare)));
        assert_eq!(run(&mut r, 0, 200, nothing)[1..], [state(31, "0%", RolloutState::RolledBack)]);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut whole = rollout(|_| {});
        let mut crashed = rollout(|_| {});
        for s in 0..400 {
            let text = serde_json::to_string(crashed.memory()).expect("json");
            crashed = Rollout::new(crashed.rule.clone(), serde_json::from_str(&text).expect("json"), 0.0);
            assert_eq!(whole.judge(at(s), WELL), crashed.judge(at(s), WELL), "at {s}");
        }
        assert_eq!(whole.value(), crashed.value());
    }
}
