//! The fleet's configuration: which of its revisions each host runs, and what people say to that.
//!
//! A **bundle** is one revision: rule files and declarations of switches. The **stage** says which revision is *stable* (for
//! everybody) and which is a *candidate* (for a first part of the hosts). States of a candidate, step by step:
//!
//! | state | until |
//! | --- | --- |
//! | given: no host runs it | the host that counts is there |
//! | spreading: the first `share` of the hosts take it | all of them run it; longer than [`super::staging::SPREAD`] is a rollback |
//! | baking: they run it | the bake time is over; then the next step, and after the last one it is stable |
//!
//! A host takes the candidate when its **lot**, a number that its name draws, is no greater than the one that the stage
//! names: so the same hosts are the first each time, and each step only adds hosts. A candidate that went wrong is rolled
//! back (`staging.rs`) and the stage is **locked**: nothing is pushed until a person acknowledges it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::votes::Term;
use crate::limits;
use crate::time::Timestamp;

/// A file of a bundle: rules, or declarations of switches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFile {
    pub name: String,
    pub text: String,
}

/// One revision of the fleet's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// From 1; 0 before it was given one.
    pub revision: u64,
    pub files: Vec<BundleFile>,
}

/// Which revision is for whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The last revision that was pushed.
    pub last: u64,
    /// What everybody runs; 0: nothing but the host's own files.
    pub stable: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// A candidate was rolled back, and nobody has acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<Locked>,
    /// The hosts of the fleet when it was last counted.
    #[serde(default)]
    pub fleet: usize,
    /// Oldest first.
    #[serde(default)]
    pub history: Vec<Passed>,
}

/// A revision on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub revision: u64,
    pub by: String,
    pub at: Timestamp,
    /// The shares of the hosts, ascending; after the last one everybody.
    pub steps: Vec<f64>,
    pub bake_seconds: u64,
    /// Names of alerts that roll it back where they fire on a host that runs it; `*` stands for any part of a name.
    pub alerts: Vec<String>,
    /// The step it is at, from 0.
    #[serde(default)]
    pub step: usize,
    /// Hosts whose lot is no greater run it; `None`: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<u32>,
    /// When the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Since when all of the step's hosts run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baking: Option<Baking>,
}

/// All of a step's hosts run the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baking {
    pub since: Timestamp,
    pub hosts: usize,
}

/// Why nothing may be pushed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Locked {
    pub revision: u64,
    pub at: Timestamp,
    pub why: String,
}

/// What happened to a revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    pub at: Timestamp,
    pub revision: u64,
    pub what: Happened,
    /// A person, or the host that counted.
    pub by: String,
    pub why: String,
}

/// What can happen to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    Pushed,
    /// A step began.
    Step,
    /// It is for everybody.
    Stable,
    RolledBack,
    Acknowledged,
}

impl Happened {
    /// One word or two.
    pub fn words(self) -> &'static str {
        match self {
            Happened::Pushed => "pushed",
            Happened::Step => "step",
            Happened::Stable => "stable",
            Happened::RolledBack => "rolled back",
            Happened::Acknowledged => "acknowledged",
        }
    }
}

/// A stage as the store has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged {
    /// Of the store, when it was last written; 0: it never was.
    pub revision: u64,
    pub stage: Stage,
}

/// A stage to be written, if the store still has the one that the writer saw.
#[derive(Clone, Debug, PartialEq)]
pub struct StageWrite {
    /// [`Staged::revision`].
    pub expected: u64,
    pub stage: Stage,
    /// Of a new revision.
    pub bundle: Option<Bundle>,
    /// Of what the host that counts writes.
    pub term: Option<Term>,
}

/// How a pushed revision is to go out.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    pub by: String,
    pub why: String,
    pub steps: Vec<f64>,
    pub bake: Duration,
    pub alerts: Vec<String>,
    /// Goes on although the last one was rolled back.
    pub acknowledge: bool,
}

/// What people say to the fleet's configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum StageWord {
    Push(Push),
    /// The candidate for everybody, now.
    Promote {
        by: String,
    },
    /// The stable one for everybody, now; without a candidate the stable one before, or this one.
    RollBack {
        by: String,
        why: String,
        to: Option<u64>,
    },
    Acknowledge {
        by: String,
    },
}

/// Why a word changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageRefused {
    #[error("revision {0} is on its way: promote it or roll it back first (`brownout fleet config show`)")]
    OnItsWay(u64),
    #[error(
        "revision {revision} was rolled back: {why}; when you know what was wrong with it, push with `--acknowledge`"
    )]
    Locked { revision: u64, why: String },
    #[error("the shares ascend and lie above 0% and at most at 100%")]
    Steps,
    #[error("the bake time is at most {} hours", limits::FLEET_CONFIG_BAKE.as_secs() / 3600)]
    Bake,
    #[error("no revision is on its way")]
    NoCandidate,
    #[error("no stable revision came before revision {0}: name one, or `--to 0` for none")]
    NothingBefore(u64),
    #[error("revision {0} is what everybody runs already")]
    Already(u64),
    #[error("there is no revision {0}")]
    Unknown(u64),
    #[error("nothing is to be acknowledged: no revision was rolled back")]
    NotLocked,
}

/// The lot of a host: the same whenever it is drawn, and even over all names.
pub(super) fn lot(host: &str) -> u32 {
    let named =
        host.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // Names that differ in their last letter alone must be far apart: two rounds of a mixer (splitmix64).
    let mixed = (named ^ (named >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 32) as u32
}

impl Candidate {
    /// Whether a host is one of those that run it.
    pub fn is_for(&self, host: &str) -> bool {
        self.upto.is_some_and(|upto| lot(host) <= upto)
    }

    /// The share of the step it is at.
    pub fn share(&self) -> f64 {
        self.steps.get(self.step).copied().unwrap_or(1.0)
    }
}

impl Stage {
    /// The revision that a host is to run; 0: none.
    pub fn wanted(&self, host: &str) -> u64 {
        match &self.candidate {
            Some(candidate) if candidate.is_for(host) => candidate.revision,
            _ => self.stable,
        }
    }

    /// How long a host may wait before it fetches a bundle, so that not all of a large fleet do at one moment.
    pub fn spread(&self) -> Duration {
        Duration::from_millis(5 * self.fleet as u64).min(Duration::from_secs(60))
    }

    pub(super) fn pass(&mut self, at: Timestamp, revision: u64, what: Happened, by: &str, why: &str) {
        self.history.push(Passed { at, revision, what, by: by.to_owned(), why: why.to_owned() });
        let excess = self.history.len().saturating_sub(limits::FLEET_CONFIG_HISTORY);
        self.history.drain(..excess);
    }

    /// The stage after what a person says.
    ///
    /// # Errors
    /// Why that is not possible now, and what to say instead.
    pub fn say(&self, now: Timestamp, word: &StageWord) -> Result<Stage, StageRefused> {
        let mut stage = self.clone();
        match word {
            StageWord::Push(push) => stage.push(now, push)?,
            StageWord::Promote { by } => {
                let candidate = stage.candidate.take().ok_or(StageRefused::NoCandidate)?;
                stage.stable = candidate.revision;
                stage.pass(now, candidate.revision, Happened::Stable, by, "promoted");
            }
            StageWord::RollBack { by, why, to } => stage.roll_back(now, by, why, *to)?,
            StageWord::Acknowledge { by } => {
                let locked = stage.locked.take().ok_or(StageRefused::NotLocked)?;
                stage.pass(now, locked.revision, Happened::Acknowledged, by, "");
            }
        }
        Ok(stage)
    }

    fn push(&mut self, now: Timestamp, push: &Push) -> Result<(), StageRefused> {
        if let Some(candidate) = &self.candidate {
            return Err(StageRefused::OnItsWay(candidate.revision));
        }
        if let Some(Locked { revision, why, .. }) = self.locked.take_if(|_| !push.acknowledge) {
            return Err(StageRefused::Locked { revision, why });
        }
        let ascend = push.steps.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascend || push.steps.iter().any(|share| !(*share > 0.0 && *share <= 1.0)) {
            return Err(StageRefused::Steps);
        }
        if push.bake > limits::FLEET_CONFIG_BAKE {
            return Err(StageRefused::Bake);
        }
        if let Some(locked) = self.locked.take() {
            self.pass(now, locked.revision, Happened::Acknowledged, &push.by, "");
        }
        self.last += 1;
        let revision = self.last;
        self.pass(now, revision, Happened::Pushed, &push.by, &push.why);
        self.candidate = Some(Candidate {
            revision,
            by: push.by.clone(),
            at: now,
            steps: push.steps.clone(),
            bake_seconds: push.bake.as_secs(),
            alerts: push.alerts.clone(),
            step: 0,
            upto: None,
            since: None,
            baking: None,
        });
        Ok(())
    }

    fn roll_back(&mut self, now: Timestamp, by: &str, why: &str, to: Option<u64>) -> Result<(), StageRefused> {
        if let Some(to) = to.filter(|to| *to > self.last) {
            return Err(StageRefused::Unknown(to));
        }
        let candidate = self.candidate.take().map(|candidate| candidate.revision);
        if candidate.is_none() && to.is_none_or(|to| to == self.stable) {
            if let Some(to) = to {
                return Err(StageRefused::Already(to));
            }
            let before = self.history.iter().rev().filter(|passed| passed.what == Happened::Stable);
            let before = before.map(|passed| passed.revision).find(|revision| *revision != self.stable);
            let before = before.ok_or(StageRefused::NothingBefore(self.stable))?;
            return self.roll_back(now, by, why, Some(before));
        }
        if let Some(revision) = candidate {
            self.pass(now, revision, Happened::RolledBack, by, why);
        }
        if let Some(to) = to.filter(|to| *to != self.stable) {
            if candidate.is_none() {
                self.pass(now, self.stable, Happened::RolledBack, by, why);
            }
            self.stable = to;
            self.pass(now, to, Happened::Stable, by, why);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn push() -> Push {
        let (by, why) = ("ann".to_owned(), "new thresholds".to_owned());
        let (bake, alerts) = (Duration::from_secs(600), vec!["Brownout*".to_owned()]);
        Push { by, why, steps: vec![0.1, 0.5], bake, alerts, acknowledge: false }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn say(stage: &Stage, word: StageWord) -> Stage {
        stage.say(at(1), &word).unwrap_or_else(|refused| panic!("{word:?}: {refused}"))
    }

    #[test]
    fn lots_are_stable_and_even() {
        assert_eq!(lot("web-1"), lot("web-1"));
        let low = (0..10_000).filter(|number| lot(&format!("web-{number}")) < u32::MAX / 10).count();
        assert!((900..1_100).contains(&low), "{low} of 10,000 names drew a lot in the lowest tenth");
    }

    #[test]
    fn a_pushed_revision_is_for_nobody_yet_and_a_second_one_has_to_wait() {
        let stage = say(&Stage::default(), StageWord::Push(push()));
        assert_eq!((stage.last, stage.stable, stage.wanted("h1")), (1, 0, 0));
        let refused = stage.say(at(2), &StageWord::Push(push()));
        assert_eq!(refused, Err(StageRefused::OnItsWay(1)));
        let stage = say(&stage, StageWord::Promote { by: "ann".into() });
        assert_eq!((stage.stable, stage.wanted("h1")), (1, 1));
        assert_eq!(stage.say(at(2), &StageWord::Promote { by: "ann".into() }), Err(StageRefused::NoCandidate));
    }

    #[test]
    fn only_hosts_with_a_small_lot_run_the_candidate() {
        let mut stage = say(&Stage::default(), StageWord::Push(push()));
        let candidate = stage.candidate.as_mut().expect("a candidate");
        candidate.upto = Some(lot("h1"));
        for host in ["h1", "h2", "h3"] {
            assert_eq!(stage.wanted(host), u64::from(lot(host) <= lot("h1")), "{host}");
        }
    }

    #[test]
    fn shares_and_times_that_make_no_sense_are_refused() {
        for steps in [vec![0.0], vec![1.5], vec![0.5, 0.1], vec![0.5, 0.5], vec![f64::NAN]] {
            let refused = Stage::default().say(at(1), &StageWord::Push(Push { steps: steps.clone(), ..push() }));
            assert_eq!(refused, Err(StageRefused::Steps), "{steps:?}");
        }
        let long = Push { bake: limits::FLEET_CONFIG_BAKE + Duration::from_secs(1), ..push() };
        assert_eq!(Stage::default().say(at(1), &StageWord::Push(long)), Err(StageRefused::Bake));
    }

    #[test]
    fn people_go_back_to_what_was_there_before() {
        let back = |to| StageWord::RollBack { by: "ann".into(), why: "odd".into(), to };
        let promoted = |stage: &Stage| {
            let stage = say(stage, StageWord::Push(push()));
            say(&stage, StageWord::Promote { by: "ann".into() })
        };
        let first = promoted(&Stage::default());
        assert_eq!(first.say(at(2), &back(None)), Err(StageRefused::NothingBefore(1)));
        assert_eq!(say(&first, back(Some(0))).stable, 0);
        let second = promoted(&first);
        assert_eq!(second.stable, 2);
        assert_eq!(say(&second, back(None)).stable, 1);
        assert_eq!(second.say(at(2), &back(Some(2))), Err(StageRefused::Already(2)));
        assert_eq!(second.say(at(2), &back(Some(3))), Err(StageRefused::Unknown(3)));
        // With one on its way it is that one which goes back.
        let third = say(&second, StageWord::Push(push()));
        let back_again = say(&third, back(None));
        assert_eq!((back_again.stable, &back_again.candidate), (2, &None));
        assert_eq!(back_again.history.last().map(|p| (p.revision, p.what)), Some((3, Happened::RolledBack)));
        assert_eq!(promoted(&back_again).stable, 4, "a revision is never given twice");
    }

    #[test]
    fn after_a_rollback_a_push_needs_a_person_who_knows() {
        let locked = Locked { revision: 1, at: at(0), why: "it fires".into() };
        let stage = Stage { last: 1, locked: Some(locked), ..Stage::default() };
        let refused = stage.say(at(1), &StageWord::Push(push()));
        assert_eq!(refused, Err(StageRefused::Locked { revision: 1, why: "it fires".into() }));
        let pushed = say(&stage, StageWord::Push(Push { acknowledge: true, ..push() }));
        assert!(pushed.locked.is_none() && pushed.candidate.is_some());
        let known = say(&stage, StageWord::Acknowledge { by: "ann".into() });
        assert_eq!(known.locked, None);
        assert_eq!(known.say(at(1), &StageWord::Acknowledge { by: "ann".into() }), Err(StageRefused::NotLocked));
    }

    #[test]
    fn the_history_is_bounded() {
        let mut stage = Stage::default();
        for _ in 0..limits::FLEET_CONFIG_HISTORY {
            stage = say(&stage, StageWord::Push(push()));
            stage = say(&stage, StageWord::Promote { by: "ann".into() });
        }
        assert_eq!(stage.history.len(), limits::FLEET_CONFIG_HISTORY);
    }
}
