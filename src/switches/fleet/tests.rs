//! One host of a fleet, told what the store says: what it asks, and what applications read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::arbiter::{LadderRule, PinRequest, Settings, Switches};
use super::super::ladder::{LadderSettings, Level, Truth};
use super::super::state::{Declaration, Mode, OnSilence, Record, Write};
use super::super::value::SwitchKind;
use super::super::votes::{Census, FleetSettings, Member, Place, Tables, Term, Vote};
use super::super::{Judged, LadderJudged, Refused};
use super::{Asked, DECISION_LIFE, Fleet, Quorum};
use crate::model::SwitchName;
use crate::time::Timestamp;

const LADDER: [&str; 3] = ["full", "cached", "off"];
const RULE: &str = "g/recs";

fn name() -> SwitchName {
    SwitchName::new("recs").expect("a name")
}

fn settings(on_silence: OnSilence) -> Settings {
    let level = |depth| Level { depth, hold: Duration::ZERO, clear: Default::default() };
    let declaration = Declaration {
        name: name(),
        description: String::new(),
        kind: SwitchKind::Feature,
        ladder: LADDER.map(str::to_owned).to_vec(),
        on_silence,
    };
    let rule = LadderRule {
        rule: "file/g/recs".into(),
        title: RULE.into(),
        switch: name(),
        ladder: LadderSettings {
            levels: vec![level(1), level(2)],
            has_recover: false,
            recover_for: Duration::ZERO,
            min_hold: Duration::from_secs(5),
        },
        expressions: vec!["x > 1".into(), "x > 2".into()],
        clear_expressions: vec![None, None],
        recover_expression: None,
        mode: Mode::Enforce,
        scope: "fleet".into(),
        quorum: Quorum::default(),
        min_samples: 0,
    };
    Settings { declarations: vec![declaration], ladders: vec![rule], ..Settings::default() }
}

/// A host, and a store that takes what it writes.
struct World {
    now: Timestamp,
    fleet: Fleet,
    own: Switches,
    census: Census,
    tables: Tables,
    asked: Asked,
}

impl World {
    fn new(on_silence: OnSilence) -> World {
        let now = Timestamp::from_millis(1_000_000_000);
        let host = FleetSettings { host: "h0".into(), zone: "z".into(), version: "1".into() };
        let mut own = Switches::of_host();
        drop(own.configure(now, settings(on_silence), &BTreeMap::new()));
        let mut fleet = Fleet::restore(now, host.clone(), &BTreeMap::new(), 1);
        fleet.configure(now, host, settings(on_silence), &mut own);
        let (census, tables) = (Census::default(), Tables::default());
        World { now, fleet, own, census, tables, asked: Asked::default() }
    }

    /// So many hosts are there, and this one counts.
    fn elected(hosts: usize, on_silence: OnSilence) -> World {
        let mut world = World::new(on_silence);
        for host in 0..hosts {
            world.join(host);
        }
        world.fleet.reach(world.now, true);
        world.fleet.tables(world.now, Tables::default());
        world.hear();
        let term = Term { key: "c".into(), number: 3 };
        world.fleet.elected(world.now, &mut world.own, Some(term));
        world.fleet.outbox(world.now, &mut world.own, BTreeMap::new());
        world.run(5);
        world
    }

    fn join(&mut self, host: usize) {
        let rules = BTreeSet::from([RULE.to_owned()]);
        let (since, at) = (self.now, self.now);
        let member = Member { zone: "z".into(), since, rules, version: "1".into(), at, ..Member::default() };
        self.census.members.insert(format!("h{host}"), Arc::new(member));
    }

    fn vote(&mut self, host: usize, level: Option<&str>) {
        let votes = Arc::make_mut(self.census.votes.entry(format!("h{host}")).or_default());
        let Some(level) = level else { return votes.clear() };
        let vote = Vote {
            rule: RULE.into(),
            switch: name(),
            level: level.into(),
            value: None,
            since: self.now,
            expression: "x > 1".into(),
            measured: Some(1.5),
            expires_at: self.now + Duration::from_secs(180),
        };
        votes.insert(RULE.into(), vote);
    }

    fn hear(&mut self) {
        self.census.revision += 1;
        self.fleet.census(self.now, &self.census);
    }

    fn tick(&mut self) -> Vec<Write> {
        self.fleet.tick(self.now, &mut self.own, &mut self.asked);
        std::mem::take(&mut self.asked.writes)
    }

    /// Whole seconds; the store takes every write.
    fn run(&mut self, seconds: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            let asked = self.tick();
            asked.iter().for_each(|write| self.store(write));
            if !asked.is_empty() {
                // The word of the store is an event, and what is told follows it.
                assert_eq!(self.tick(), []);
            }
            writes.extend(asked);
        }
        writes
    }

    fn store(&mut self, write: &Write) {
        self.tables.revision += 1;
        assert_eq!(write.place, Place::Fleet);
        self.tables.fleet.insert(write.name.clone(), write.record.clone());
        self.fleet.tables(self.now, self.tables.clone());
    }

    fn told(&self) -> &str {
        &self.fleet.told().switches[&name()].level
    }
}

#[test]
fn what_the_votes_agree_on_is_written_under_the_office_with_who_voted_and_an_end() {
    let mut world = World::elected(4, OnSilence::Hold);
    world.vote(1, Some("off"));
    world.hear();
    assert!(world.run(3).is_empty(), "one of four is not half");
    world.vote(2, Some("cached"));
    world.hear();
    let writes = world.run(1);
    let [write] = &writes[..] else { panic!("{writes:?}") };
    let decision = write.record.decision.clone().expect("a decision");
    assert_eq!((write.record.level.as_str(), write.term.as_ref().map(|term| term.number)), ("cached", Some(3)));
    let votes = decision.votes.expect("votes");
    assert_eq!((votes.agreed, votes.of, votes.hosts), (2, 4, vec!["h1".to_owned(), "h2".to_owned()]));
    assert_eq!(decision.reason, "2 of 4 hosts: x > 1");
    assert_eq!(write.record.expires_at, Some(world.now + DECISION_LIFE));
    assert_eq!(world.told(), "cached");
}

#[test]
fn a_decision_is_renewed_before_its_end_and_not_more_often() {
    let mut world = World::elected(2, OnSilence::Hold);
    world.vote(1, Some("cached"));
    world.hear();
    assert_eq!(world.run(1).len(), 1);
    for _ in 0..5 {
        world.run(60);
        world.vote(1, Some("cached"));
        world.hear();
    }
    let renewed = world.run(2);
    assert_eq!(renewed.len(), 1, "{renewed:?}");
    assert_eq!(renewed[0].record.level, "cached");
    assert_eq!(renewed[0].record.decision, world.tables.fleet[&name()].decision, "it is no new decision");
}

#[test]
fn votes_that_expired_or_whose_host_is_gone_do_not_count() {
    let mut world = World::elected(4, OnSilence::Hold);
    world.vote(1, Some("cached"));
    world.hear();
    assert!(world.run(1).is_empty(), "one of four");
    world.now = world.now + Duration::from_secs(181);
    world.vote(2, Some("cached"));
    world.hear();
    assert!(world.run(3).is_empty(), "the first has expired");
    world.census.members.remove("h2");
    world.vote(1, Some("cached"));
    world.hear();
    assert!(world.run(3).is_empty(), "the second is gone");
    world.join(2);
    world.hear();
    assert_eq!(world.run(1).len(), 1);
}

#[test]
fn the_age_of_a_vote_is_not_believed_of_a_host_whose_clock_is_wrong() {
    let mut world = World::elected(4, OnSilence::Hold);
    let wrong = world.now.shifted(-600_000);
    for host in [1, 2] {
        world.vote(host, Some("cached"));
        let vote = world.census.votes.get_mut(&format!("h{host}")).and_then(|votes| Arc::make_mut(votes).get_mut(RULE));
        vote.expect("a vote").expires_at = wrong + Duration::from_secs(180);
    }
    Arc::make_mut(world.census.members.get_mut("h0").expect("here")).at = world.now;
    Arc::make_mut(world.census.members.get_mut("h3").expect("here")).at = world.now;
    world.hear();
    let (others, own) = world.fleet.wrong_clocks();
    assert_eq!((others.keys().map(String::as_str).collect::<Vec<_>>(), own), (vec!["h1", "h2"], None));
    assert_eq!(world.run(1).len(), 1, "both count, since they were seen just now");
}

#[test]
fn a_rule_of_the_fleet_votes_instead_of_asking_and_renews_and_withdraws_its_vote() {
    let mut world = World::elected(4, OnSilence::Hold);
    world.asked = Asked::default();
    let judged = |truth| Judged { truth, value: Some(1.5) };
    let said = |first| LadderJudged {
        levels: vec![judged(first), judged(Truth::False)],
        clears: vec![None, None],
        recover: None,
    };
    assert_eq!(world.own.judge(world.now, "file/g/recs", &said(Truth::True)), None, "it asks nothing of this host");
    world.run(1);
    let votes = std::mem::take(&mut world.asked.votes);
    let [(key, Some(vote))] = &votes[..] else { panic!("{votes:?}") };
    assert_eq!((key.as_str(), vote.level.as_str(), vote.measured), (RULE, "cached", Some(1.5)));
    world.run(80);
    assert!(world.asked.votes.is_empty());
    world.run(20);
    assert_eq!(std::mem::take(&mut world.asked.votes).len(), 1, "it is renewed at half of its life");
    world.own.judge(world.now, "file/g/recs", &said(Truth::False));
    world.run(1);
    assert_eq!(std::mem::take(&mut world.asked.votes), [(RULE.to_owned(), None)]);
}

#[test]
fn a_refused_write_leaves_what_the_store_has_and_is_decided_anew() {
    let mut world = World::elected(2, OnSilence::Hold);
    world.vote(1, Some("cached"));
    world.hear();
    world.now = world.now + Duration::from_secs(1);
    let writes = world.tick();
    assert_eq!(writes.len(), 1);
    world.fleet.refused(world.now, &Place::Fleet, &name(), true);
    world.now = world.now + Duration::from_millis(10);
    let again = world.tick();
    assert_eq!(world.told(), "full", "nothing is told that the store does not have");
    assert!(again.is_empty(), "not at once");
    assert_eq!(world.run(1).len(), 1);
    assert_eq!(world.told(), "cached");
}

#[test]
fn a_pin_is_refused_without_the_store_and_said_again_over_another_hosts_write() {
    let mut world = World::elected(2, OnSilence::Hold);
    let request = || PinRequest {
        switch: "recs".into(),
        level: "off".into(),
        until: Timestamp::from_millis(1_000_000_000) + Duration::from_secs(3600),
        reason: "known".into(),
        by: "ann".into(),
    };
    let mut asked = Asked::default();
    assert_eq!(world.fleet.pin(world.now, request(), &mut asked), Ok(()));
    assert_eq!(asked.writes.len(), 1);
    // Somebody else was faster.
    let theirs = Record { revision: 4, level: "cached".into(), ..asked.writes[0].record.clone() };
    let theirs = Record { pin: None, decision: None, ..theirs };
    world.tables = Tables::of_one(9, BTreeMap::from([(name(), theirs)]));
    world.fleet.tables(world.now, world.tables.clone());
    world.fleet.refused(world.now, &Place::Fleet, &name(), true);
    let writes = world.run(1);
    assert_eq!((writes.len(), writes[0].expected, writes[0].term.clone()), (1, 4, None));
    assert_eq!(world.told(), "off");
    // A store that could not be asked: whoever said it was told that it was not done, and it is not done later.
    let higher = PinRequest { level: "cached".into(), ..request() };
    asked = Asked::default();
    assert_eq!(world.fleet.pin(world.now, higher, &mut asked), Ok(()));
    assert_eq!(asked.writes.len(), 1);
    world.fleet.refused(world.now, &Place::Fleet, &name(), false);
    let writes = world.run(10);
    assert!(writes.is_empty(), "{writes:?}");
    world.fleet.reach(world.now, false);
    assert_eq!(world.fleet.pin(world.now, request(), &mut asked), Err(Refused::OutOfReach));
}

#[test]
fn nobody_decides_any_more() {
    for (on_silence, minutes, expected) in [
        (OnSilence::Hold, 60, "off"),
        (OnSilence::Restore(Duration::from_secs(300)), 14, "off"),
        (OnSilence::Restore(Duration::from_secs(300)), 16, "cached"),
        (OnSilence::Restore(Duration::from_secs(300)), 21, "full"),
        (OnSilence::Degrade(Duration::from_secs(300)), 16, "off"),
    ] {
        let mut world = World::elected(2, on_silence);
        (0..2).for_each(|host| world.vote(host, Some("off")));
        world.hear();
        world.run(1);
        assert_eq!(world.told(), "off");
        world.fleet.reach(world.now, false);
        assert!(world.run(minutes * 60).is_empty(), "out of reach nothing is written");
        assert_eq!(world.told(), expected, "{on_silence:?} after {minutes} minutes");
        assert!(world.fleet.told().stale_since.is_some());
    }
}

#[test]
fn a_host_that_starts_without_the_store_tells_what_it_knew() {
    let mut world = World::elected(2, OnSilence::Hold);
    (0..2).for_each(|host| world.vote(host, Some("off")));
    world.hear();
    world.run(1);
    let changes = world.fleet.take_changes();
    let memory: BTreeMap<_, _> = changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let host = FleetSettings { host: "h0".into(), zone: "z".into(), version: "1".into() };
    let mut fleet = Fleet::restore(world.now, host.clone(), &memory, 1);
    fleet.configure(world.now, host, settings(OnSilence::Hold), &mut world.own);
    fleet.tick(world.now, &mut world.own, &mut Asked::default());
    assert_eq!(fleet.told().switches[&name()].level, "off");
    assert!(Arc::clone(fleet.told()).stale_since.is_some());
}
