//! What the host that counts does with a candidate of the fleet's configuration: the next step, or back.
//!
//! It goes back, at once and for all, when on a host that is to run the candidate
//!
//! * the bundle is refused,
//! * an alert that is looked at fires and did not fire before the host took the candidate,
//!
//! and when hosts that ran it have been gone for [`GONE`], or not all of a step's hosts run it within [`SPREAD`]. A step is
//! over when all of its hosts have run it for the bake time without any of this. What is not known is no reason: while
//! nobody counts nothing goes on. A freeze of the host that counts holds up steps, and no way back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::votes::RunsConfig;
use super::stage::{Baking, Candidate, Happened, Locked, Stage, lot};
use crate::limits;
use crate::time::{Timestamp, format_duration};

/// How long a host that ran the candidate may be gone: a restart takes less.
pub(super) const GONE: Duration = Duration::from_secs(30);
/// How long the hosts of a step may take to run the candidate.
pub(super) const SPREAD: Duration = Duration::from_secs(3 * 60);

/// A host as the one that counts sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub name: &'a str,
    /// What it runs; `None` of a daemon that knows nothing of this.
    pub runs: Option<&'a RunsConfig>,
    pub gone_since: Option<Timestamp>,
}

/// What the host that counts remembers between two looks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    /// Since when fewer hosts run the candidate than had begun to bake it.
    fewer_since: Option<Timestamp>,
}

impl Watched {
    pub(super) fn clock_stepped(&mut self, by_millis: i64) {
        self.fewer_since = self.fewer_since.map(|at| at.shifted(by_millis));
    }
}

impl Stage {
    /// When all hosts of the step have to run the candidate; `None` when they do, or no step has begun.
    pub fn taken_by(&self) -> Option<Timestamp> {
        let candidate = self.candidate.as_ref().filter(|candidate| candidate.baking.is_none())?;
        Some(candidate.since? + SPREAD + self.spread())
    }
}

/// The next stage, if there is one now. `by` is the host that counts.
pub(super) fn advance(
    stage: &Stage,
    watched: &mut Watched,
    now: Timestamp,
    by: &str,
    hosts: &[Seen<'_>],
    frozen: bool,
) -> Option<Stage> {
    let Some(candidate) = &stage.candidate else {
        *watched = Watched::default();
        return None;
    };
    if let Some(why) = trouble(stage, candidate, watched, now, hosts) {
        return Some(rolled_back(stage, candidate, now, by, &why));
    }
    if frozen {
        return None;
    }
    let step = || match candidate.steps.get(candidate.step) {
        Some(_) => begun(stage, candidate, now, by, hosts),
        // No steps at all: everybody at once, and nothing to bake.
        None => Some(stable(stage, candidate, now, by)),
    };
    let Some(_) = candidate.upto else { return step() };
    match candidate.baking {
        None => {
            let (running, wanted) = running(candidate, hosts);
            let baking = Some(Baking { since: now, hosts: running });
            (wanted > 0 && running == wanted)
                .then(|| Stage { candidate: Some(Candidate { baking, ..candidate.clone() }), ..stage.clone() })
        }
        Some(baking) if now.since(baking.since) < Duration::from_secs(candidate.bake_seconds) => None,
        Some(_) if candidate.step + 1 < candidate.steps.len() => {
            let next = Candidate { step: candidate.step + 1, baking: None, ..candidate.clone() };
            begun(stage, &next, now, by, hosts)
        }
        Some(_) => Some(stable(stage, candidate, now, by)),
    }
}

/// How many of the hosts that are to run the candidate do, and how many there are.
fn running(candidate: &Candidate, hosts: &[Seen<'_>]) -> (usize, usize) {
    let wanted = hosts.iter().filter(|host| host.gone_since.is_none() && candidate.is_for(host.name));
    let runs = |host: &&Seen<'_>| host.runs.is_some_and(|runs| runs.revision == candidate.revision);
    (wanted.clone().filter(runs).count(), wanted.count())
}

fn trouble(
    stage: &Stage,
    candidate: &Candidate,
    watched: &mut Watched,
    now: Timestamp,
    hosts: &[Seen<'_>],
) -> Option<String> {
    let since = candidate.since?;
    let spread = SPREAD + stage.spread();
    for host in hosts.iter().filter(|host| candidate.is_for(host.name)) {
        let Some(runs) = host.runs else { continue };
        let ran = runs.revision == candidate.revision;
        if let Some(gone) = host.gone_since {
            if ran && gone >= since && now.since(gone) >= GONE {
                return Some(format!("{} ran it and has been gone for {}", host.name, format_duration(GONE)));
            }
            continue;
        }
        if let Some(refused) = runs.refused.as_ref().filter(|refused| refused.revision == candidate.revision) {
            return Some(format!("{} refuses it: {}", host.name, refused.why));
        }
        if ran && !runs.alerts.is_empty() {
            let alerts: Vec<&str> = runs.alerts.iter().map(String::as_str).collect();
            return Some(format!("{} fires on {}", alerts.join(", "), host.name));
        }
    }
    let (running, wanted) = running(candidate, hosts);
    match candidate.baking {
        None if now.since(since) >= spread => {
            Some(format!("only {running} of {wanted} hosts ran it within {}", format_duration(spread)))
        }
        Some(baking) if running < baking.hosts => {
            let fewer = *watched.fewer_since.get_or_insert(now);
            let gone = format_duration(GONE);
            (now.since(fewer) >= GONE).then(|| {
                format!("{running} hosts run it, and {} had begun to; that has been so for {gone}", baking.hosts)
            })
        }
        _ => {
            watched.fewer_since = None;
            None
        }
    }
}

/// The step that the candidate is at begins: so many of the hosts as its share says, those with the smallest lots.
fn begun(stage: &Stage, candidate: &Candidate, now: Timestamp, by: &str, hosts: &[Seen<'_>]) -> Option<Stage> {
    let live: Vec<&Seen<'_>> = hosts.iter().filter(|host| host.gone_since.is_none()).collect();
    let share = candidate.share();
    // Those that lately vanished are counted: when they are back they must not make the share larger.
    let mut lots: Vec<u32> = hosts.iter().map(|host| lot(host.name)).collect();
    lots.sort_unstable();
    let smallest = live.iter().map(|host| lot(host.name)).min()?;
    // A billionth less, as a share of a third of three hosts is one of them.
    let most = ((share * lots.len() as f64 - 1e-9).ceil() as usize).clamp(1, lots.len());
    let upto = if share >= 1.0 { u32::MAX } else { lots[most - 1].max(smallest) };
    let upto = upto.max(candidate.upto.unwrap_or(0));
    let first: BTreeSet<&str> = live.iter().map(|host| host.name).filter(|name| lot(name) <= upto).collect();
    let named: Vec<&str> = first.iter().copied().take(limits::FLEET_NAMES).collect();
    let others = if first.len() > named.len() { ", ..." } else { "" };
    let why = format!("{} of {} hosts: {}{others}", first.len(), live.len(), named.join(", "));
    let mut next = stage.clone();
    next.pass(now, candidate.revision, Happened::Step, by, &why);
    next.fleet = live.len();
    let begun = Candidate { upto: Some(upto), since: Some(now), baking: None, ..candidate.clone() };
    next.candidate = Some(begun);
    Some(next)
}

fn stable(stage: &Stage, candidate: &Candidate, now: Timestamp, by: &str) -> Stage {
    let mut next = Stage { stable: candidate.revision, candidate: None, ..stage.clone() };
    next.pass(now, candidate.revision, Happened::Stable, by, "all steps were baked");
    next
}

fn rolled_back(stage: &Stage, candidate: &Candidate, now: Timestamp, by: &str, why: &str) -> Stage {
    let locked = Locked { revision: candidate.revision, at: now, why: why.to_owned() };
    let mut next = Stage { candidate: None, locked: Some(locked), ..stage.clone() };
    next.pass(now, candidate.revision, Happened::RolledBack, by, why);
    next
}

#[cfg(test)]
mod tests {
    use super::super::super::votes::ConfigRefused;
    use super::super::stage::{Push, StageWord};
    use super::*;

    const BAKE: u64 = 600;

    /// A fleet whose hosts do what the stage says.
    struct World {
        now: Timestamp,
        stage: Stage,
        watched: Watched,
        hosts: Vec<(String, RunsConfig, Option<Timestamp>)>,
        frozen: bool,
    }

    impl World {
        fn new(hosts: usize, steps: &[f64]) -> World {
            let host = |number| (format!("h{number}"), RunsConfig::default(), None);
            let push = Push {
                by: "ann".into(),
                why: String::new(),
                steps: steps.to_vec(),
                bake: Duration::from_secs(BAKE),
                alerts: vec!["Brownout*".into()],
                acknowledge: false,
            };
            let now = Timestamp::from_millis(1_000_000);
            let stage = Stage::default().say(now, &StageWord::Push(push)).expect("pushed");
            World { now, stage, watched: Watched::default(), hosts: (0..hosts).map(host).collect(), frozen: false }
        }

        fn look(&mut self) {
            let seen = |(name, runs, gone_since): &(String, RunsConfig, Option<Timestamp>)| {
                (name.clone(), runs.clone(), *gone_since)
            };
            let hosts: Vec<_> = self.hosts.iter().map(seen).collect();
            let hosts: Vec<Seen<'_>> = hosts
                .iter()
                .map(|(name, runs, gone_since)| Seen { name, runs: Some(runs), gone_since: *gone_since })
                .collect();
            if let Some(next) = advance(&self.stage, &mut self.watched, self.now, "h0", &hosts, self.frozen) {
                self.stage = next;
            }
        }

        /// Every second the one that counts looks, and hosts take what they are to run.
        fn run(&mut self, seconds: u64) {
            for _ in 0..seconds {
                self.now = self.now + Duration::from_secs(1);
                self.look();
                for (name, runs, gone) in &mut self.hosts {
                    let wanted = self.stage.wanted(name);
                    if gone.is_none() && runs.refused.is_none() && runs.revision != wanted {
                        *runs = RunsConfig { revision: wanted, ..RunsConfig::default() };
                    }
                }
            }
        }

        fn running(&self) -> usize {
            self.hosts.iter().filter(|(_, runs, _)| runs.revision == 1).count()
        }

        fn first(&mut self) -> &mut (String, RunsConfig, Option<Timestamp>) {
            self.hosts.iter_mut().find(|(_, runs, _)| runs.revision == 1).expect("one that runs it")
        }

        fn locked(&self) -> &str {
            self.stage.locked.as_ref().map_or("", |locked| &locked.why)
        }
    }

    #[test]
    fn a_good_revision_goes_out_step_by_step() {
        let mut world = World::new(20, &[0.1, 0.5]);
        world.run(2);
        assert_eq!(world.running(), 2);
        world.run(BAKE - 1);
        assert_eq!(world.running(), 2, "all of the bake time");
        world.run(3);
        assert_eq!(world.running(), 10);
        world.run(BAKE + 3);
        assert_eq!((world.running(), world.stage.stable, &world.stage.candidate), (20, 1, &None));
        let words: Vec<&str> = world.stage.history.iter().map(|passed| passed.what.words()).collect();
        assert_eq!(words, ["pushed", "step", "step", "stable"]);
    }

    #[test]
    fn a_share_is_never_nobody_and_a_last_step_of_all_is_baked_too() {
        let mut world = World::new(4, &[0.01, 1.0]);
        world.run(2);
        assert_eq!(world.running(), 1);
        world.run(BAKE + 3);
        assert_eq!((world.running(), world.stage.stable), (4, 0));
        world.first().1.alerts.insert("BrownoutRuleFails".into());
        world.run(2);
        assert_eq!((world.running(), world.stage.stable), (0, 0));
        let mut world = World::new(4, &[]);
        world.run(2);
        assert_eq!((world.running(), world.stage.stable), (4, 1), "without steps at once");
        let mut nobody = World::new(0, &[0.5]);
        nobody.run(5);
        assert_eq!(nobody.stage.candidate.expect("a candidate").upto, None);
    }

    #[test]
    fn hosts_that_come_back_do_not_make_the_share_larger() {
        let mut world = World::new(20, &[0.25]);
        let now = world.now;
        let mut lots: Vec<u32> = (0..20).map(|number| lot(&format!("h{number}"))).collect();
        lots.sort_unstable();
        // Three of the five that would be the first are away.
        for (name, _, gone) in &mut world.hosts {
            *gone = (lot(name) <= lots[2]).then_some(now);
        }
        world.run(2);
        assert_eq!(world.running(), 2);
        world.hosts.iter_mut().for_each(|(_, _, gone)| *gone = None);
        world.run(5);
        assert_eq!(world.running(), 5);
        // All five: then it is the next one.
        let mut world = World::new(20, &[0.25]);
        for (name, _, gone) in &mut world.hosts {
            *gone = (lot(name) <= lots[4]).then_some(now);
        }
        world.run(2);
        assert_eq!(world.running(), 1, "one at least");
    }

    #[test]
    fn trouble_on_one_of_the_first_hosts_rolls_back_and_locks() {
        let check = |spoil: fn(&mut RunsConfig), why: &str| {
            let mut world = World::new(20, &[0.1]);
            world.run(100);
            spoil(&mut world.first().1);
            world.run(2);
            assert!(world.locked().contains(why), "{}", world.locked());
            assert_eq!((world.stage.stable, &world.stage.candidate), (0, &None));
            world.run(2 * BAKE);
            assert_eq!(world.stage.stable, 0, "nothing goes on by itself");
            assert_eq!(world.stage.history.last().map(|passed| passed.what), Some(Happened::RolledBack));
        };
        let fires = |runs: &mut RunsConfig| {
            runs.alerts.insert("BrownoutRuleFails".into());
        };
        check(fires, "BrownoutRuleFails fires on h");
        let refused = |runs: &mut RunsConfig| {
            runs.revision = 0;
            runs.refused = Some(ConfigRefused { revision: 1, why: "a.yaml:3: no switch".into() });
        };
        check(refused, "refuses it: a.yaml:3: no switch");
    }

    #[test]
    fn trouble_elsewhere_is_none_of_the_candidates() {
        let mut world = World::new(20, &[0.1]);
        world.run(2);
        for (_, runs, _) in world.hosts.iter_mut().filter(|(_, runs, _)| runs.revision == 0) {
            runs.alerts.insert("BrownoutRuleFails".into());
        }
        world.run(BAKE + 3);
        assert_eq!(world.stage.stable, 1);
    }

    #[test]
    fn hosts_that_ran_it_and_are_gone_roll_it_back_and_a_restart_does_not() {
        let mut world = World::new(20, &[0.1]);
        world.run(100);
        let now = world.now;
        world.first().2 = Some(now);
        world.run(20);
        world.first().2 = None;
        world.run(60);
        assert_eq!(world.locked(), "");
        let now = world.now;
        world.first().2 = Some(now);
        world.run(31);
        assert!(world.locked().contains("has been gone for 30s"), "{}", world.locked());
    }

    #[test]
    fn a_new_host_that_counts_knows_how_many_had_begun() {
        let mut world = World::new(20, &[0.1]);
        world.run(100);
        // The one that was elected never saw the host that is gone.
        let at = world.hosts.iter().position(|(_, runs, _)| runs.revision == 1).expect("one that runs it");
        world.hosts.remove(at);
        world.watched = Watched::default();
        world.run(29);
        assert_eq!(world.locked(), "");
        world.run(3);
        assert!(world.locked().contains("1 hosts run it, and 2 had begun to"), "{}", world.locked());
    }

    #[test]
    fn hosts_that_never_take_it_roll_it_back() {
        let mut world = World::new(20, &[0.1]);
        world.now = world.now + Duration::from_secs(1);
        world.look();
        world.now = world.now + SPREAD + Duration::from_secs(1);
        world.look();
        assert!(world.locked().contains("only 0 of 2 hosts ran it within 3m"), "{}", world.locked());
    }

    #[test]
    fn a_freeze_holds_up_steps_and_no_way_back() {
        let mut world = World::new(20, &[0.1]);
        world.run(2);
        world.frozen = true;
        world.run(2 * BAKE);
        assert_eq!((world.running(), world.stage.stable), (2, 0));
        world.first().1.alerts.insert("BrownoutRuleFails".into());
        world.run(1);
        assert!(!world.locked().is_empty());
    }
}
