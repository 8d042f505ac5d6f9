//! Random sequences of events against a plain model: no illegal path, ever.
//!
//! 30,000 events by default; `BROWNOUT_RANDOM_EVENTS=1000000` for a million.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::control::{ControlSettings, Law};
use super::super::dial::{DialRule, DialSource, Measured};
use super::super::ladder::{Clear, Level, Truth};
use super::super::rollout::{Evidence, RolloutRule, RolloutWord};
use super::super::value::{LimitUnit, RolloutState, SwitchValue};
use super::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn share(&mut self) -> f64 {
        self.below(1_001) as f64 / 1000.0
    }

    fn truth(&mut self) -> Truth {
        [Truth::True, Truth::False, Truth::False, Truth::Unknown, Truth::NotYet][self.below(5) as usize]
    }

    /// Mostly a number up to this; sometimes no data.
    fn maybe(&mut self, most: f64) -> Option<f64> {
        let value = self.share() * most;
        (self.below(10) > 0).then_some(value)
    }
}

fn named(name: &str) -> SwitchName {
    SwitchName::new(name).expect("a name")
}

fn declared(name: &str, kind: SwitchKind, ladder: &[&str]) -> Declaration {
    Declaration {
        name: named(name),
        description: String::new(),
        kind,
        ladder: ladder.iter().map(|level| (*level).to_owned()).collect(),
        on_silence: OnSilence::Hold,
    }
}

fn ladder(rule: &str, switch: &str, mode: Mode) -> LadderRule {
    let clear = Clear { has_when: switch == "ads", hold: Some(Duration::from_secs(8)) };
    let levels = vec![
        Level { depth: 1, hold: Duration::ZERO, clear: Clear::default() },
        Level { depth: 2, hold: Duration::from_secs(3), clear },
    ];
    LadderRule {
        rule: rule.into(),
        title: rule.into(),
        switch: named(switch),
        ladder: LadderSettings {
            levels,
            has_recover: false,
            recover_for: Duration::from_secs(5),
            min_hold: Duration::from_secs(4),
        },
        expressions: vec!["a".into(), "b".into()],
        clear_expressions: vec![None, (switch == "ads").then(|| "c".to_owned())],
        recover_expression: None,
        mode,
        scope: "fleet".into(),
        quorum: Default::default(),
        min_samples: 0,
    }
}

fn settings(guards: Guards) -> Settings {
    let levels = ["full", "cached", "off"];
    let dial = |rule: &str, switch: &str, limit: Option<&str>, source| DialRule {
        rule: rule.into(),
        title: rule.into(),
        switch: named(switch),
        limit: limit.map(named),
        source,
        mode: Mode::Enforce,
        scope: "fleet".into(),
        quorum: Default::default(),
    };
    let law = ControlSettings { floor: 0.1, ..ControlSettings::new(Law::FeedForwardArmed, 1.0) };
    Settings {
        declarations: vec![
            declared("recs", SwitchKind::Feature, &levels),
            declared("ads", SwitchKind::Feature, &levels),
            declared("items", SwitchKind::Dimmer { min: 0.1, max: 1.0 }, &[]),
            declared(
                "door",
                SwitchKind::Limit { unit: LimitUnit::InFlight, min: 5.0, max: Some(500.0), share_out: false },
                &[],
            ),
            declared("search", SwitchKind::Rollout { initial: 0.02 }, &[]),
        ],
        ladders: vec![
            ladder("a", "recs", Mode::Enforce),
            ladder("b", "recs", Mode::Enforce),
            ladder("c", "ads", Mode::Enforce),
            ladder("d", "ads", Mode::Observe),
        ],
        dials: vec![
            dial("e", "items", Some("door"), DialSource::Law(law)),
            dial("f", "door", None, DialSource::Value("x".into())),
        ],
        rollouts: vec![RolloutRule {
            rule: "g".into(),
            title: "g".into(),
            switch: named("search"),
            version: "v2".into(),
            steps: vec![(0.1, Duration::from_secs(20)), (0.5, Duration::from_secs(20)), (1.0, Duration::from_secs(20))],
            advance_when: Some("ok".into()),
            abort_when: Some("bad".into()),
            abort_for: Duration::from_secs(2),
            compare: None,
            no_data_for: Duration::from_secs(10),
            mode: Mode::Enforce,
        }],
        guards,
        ..Settings::default()
    }
}

/// The daemon around the arbiter: its clock, its store and its journal.
struct World {
    switches: Switches,
    guards: Guards,
    now: Timestamp,
    store: BTreeMap<SwitchName, Record>,
    journal: BTreeMap<String, serde_json::Value>,
    pins: BTreeMap<SwitchName, (String, Timestamp)>,
    audited: usize,
}

/// Who may have moved something in an event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mover {
    Rules,
    Person,
}

impl World {
    fn new(guards: Guards) -> World {
        let mut world = World {
            switches: Switches::default(),
            guards,
            now: Timestamp::from_millis(1_000_000),
            store: BTreeMap::new(),
            journal: BTreeMap::new(),
            pins: BTreeMap::new(),
            audited: 0,
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.switches = Switches::default();
        self.switches.store_has(self.now, &self.store);
        let writes = self.switches.configure(self.now, settings(self.guards), &self.journal);
        self.keep(writes);
    }

    /// The store takes a write only from whoever saw the revision before it.
    fn keep(&mut self, writes: Vec<Write>) {
        for write in writes {
            let found = self.store.get(&write.name).map_or(0, |record| record.revision);
            assert_eq!(write.expected, found, "{}: {:?}", write.name, write.record);
            assert_eq!(write.record.revision, found + 1);
            self.store.insert(write.name, write.record);
        }
        for (key, value) in self.switches.take_changes() {
            match value {
                Some(value) => drop(self.journal.insert(key, value)),
                None => drop(self.journal.remove(&key)),
            }
        }
        self.audited += self.switches.take_audit().len();
    }

    fn level(&self, name: &str) -> &str {
        &self.switches.records[&named(name)].level
    }

    fn event(&mut self, dice: &mut Dice) -> Mover {
        self.now = self.now + Duration::from_millis(200 + dice.below(1_600));
        let now = self.now;
        let (mut writes, mut calls) = (Vec::new(), Vec::new());
        let mut mover = Mover::Rules;
        match dice.below(40) {
            0..=15 => {
                let rule = ["a", "b", "c", "d"][dice.below(4) as usize];
                let judged = |truth| Judged { truth, value: Some(1.0) };
                let levels = vec![judged(dice.truth()), judged(dice.truth())];
                let clears = vec![None, Some(judged(dice.truth())).filter(|_| rule > "b")];
                let depth = self.depth_of(rule);
                let said = LadderJudged { levels, clears, recover: None };
                writes.extend(self.switches.judge(now, rule, &said));
                self.check_step(rule, depth, &said);
            }
            16..=24 => {
                let load = [20.0, 40.0, 160.0, 800.0][dice.below(4) as usize];
                let served = f64::min(load, 150.0);
                let measured = Measured {
                    arrivals: (dice.below(10) > 0).then_some(load),
                    full: dice.maybe(served),
                    degraded: dice.maybe(served),
                    slow: dice.maybe(0.3),
                    utilisation: dice.maybe(1.0),
                    in_flight: dice.maybe(100.0),
                    pressure: dice.maybe(1.0),
                    counts_in_flight: true,
                    ..Measured::default()
                };
                writes.extend(self.switches.judge_dial(now, "e", measured));
            }
            25..=26 => {
                let value = dice.maybe(1_000.0);
                writes.extend(self.switches.judge_limit(now, "f", value));
            }
            27..=31 => {
                let abort = if dice.below(6) == 0 { Truth::True } else { dice.truth() };
                let abort = if dice.below(3) > 0 { Truth::False } else { abort };
                let evidence = Evidence { abort: Some(abort), advance: Some(dice.truth()), ..Evidence::default() };
                writes.extend(self.switches.judge_rollout(now, "g", evidence));
            }
            32 => {
                mover = Mover::Person;
                writes.extend(self.pin(dice));
            }
            33 => {
                mover = Mover::Person;
                let name = ["recs", "ads", "items", "door", "search"][dice.below(5) as usize];
                let pinned = self.pins.remove(&named(name)).is_some();
                let unpinned = self.switches.unpin(now, name, "ann");
                assert_eq!(unpinned.is_ok(), pinned, "{unpinned:?}");
                writes.extend(unpinned);
            }
            34 => {
                let until = (dice.below(2) == 0).then(|| now + Duration::from_secs(1 + dice.below(60)));
                let request = FreezeRequest { reason: "r".into(), by: "ann".into(), until };
                self.switches.freeze(now, request).expect("frozen");
            }
            35 => drop(self.switches.unfreeze(now, "ann")),
            36 => self.switches.freeze_file(now, (dice.below(4) == 0).then(|| "x".to_owned())),
            37 => {
                mover = Mover::Person;
                let word = RolloutWord::WORDS[dice.below(4) as usize].1;
                writes.extend(self.switches.say_to_rollout(now, "search", word, "ann").into_iter().flatten());
            }
            38 => writes.extend(self.switches.configure(now, settings(self.guards), &BTreeMap::new())),
            _ => {
                let file = self.switches.freezes().file.is_some();
                self.restart();
                self.switches.freeze_file(now, file.then(|| "x".to_owned()));
            }
        }
        self.pins.retain(|_, (_, until)| *until > now);
        self.switches.tick(now, &mut writes, &mut calls);
        self.keep(writes);
        mover
    }

    fn depth_of(&self, rule: &str) -> usize {
        let arm = self.switches.ladders().find(|(known, _)| known.rule == rule);
        arm.map_or(0, |(_, ladder)| ladder.memory().depth)
    }

    /// One rung up at the most, and only when the level's own condition, or else its silence, allows it; down only to a
    /// level whose condition is true.
    fn check_step(&self, rule: &str, from: usize, said: &LadderJudged) {
        let to = self.depth_of(rule);
        if to < from {
            assert_eq!(to, from - 1, "one rung at a time");
            assert!(said.levels[from - 1..].iter().all(|level| level.truth != Truth::True), "{said:?}");
            match said.clears[from - 1] {
                Some(clear) => assert_eq!(clear.truth, Truth::True, "{said:?}"),
                None => assert_eq!(said.levels[from - 1].truth, Truth::False, "{said:?}"),
            }
        } else if to > from {
            assert_eq!(said.levels[to - 1].truth, Truth::True, "{said:?}");
        }
    }

    fn pin(&mut self, dice: &mut Dice) -> Option<Write> {
        let (name, level) = [
            ("recs", "off"),
            ("ads", "full"),
            ("items", "35%"),
            ("door", "50"),
            ("search", "7%"),
            ("recs", "half"),
            ("nothing", "full"),
        ][dice.below(7) as usize];
        let until = self.now + Duration::from_secs(1 + dice.below(90));
        let request =
            PinRequest { switch: name.into(), level: level.into(), until, reason: "r".into(), by: "ann".into() };
        let pinned = self.switches.pin(self.now, request);
        assert_eq!(pinned.is_ok(), level != "half" && name != "nothing", "{pinned:?}");
        if pinned.is_ok() {
            self.pins.insert(named(name), (level.to_owned(), until));
        }
        pinned.ok()
    }

    /// The plain model: a pin wins, then a freeze, then the deepest ask.
    fn check_features(&self, before: &BTreeMap<SwitchName, Record>, mover: Mover, frozen: bool) {
        for name in ["recs", "ads"] {
            let level = self.level(name);
            if let Some((pinned, _)) = self.pins.get(&named(name)) {
                assert_eq!(level, pinned, "a pin beats everything");
                continue;
            }
            let was = &before[&named(name)].level;
            let asks =
                self.switches.ladders().filter(|(rule, _)| rule.switch.as_str() == name && rule.mode == Mode::Enforce);
            let deepest = asks.map(|(_, ladder)| ladder.memory().depth).max().unwrap_or(0);
            let wanted = ["full", "cached", "off"][deepest];
            if frozen && mover == Mover::Rules {
                assert_eq!(level, was, "nothing moves in a freeze");
            } else if !frozen && self.guards == Guards::default() {
                assert_eq!(level, wanted, "{name} at {:?}", self.now);
            } else {
                assert!(level == was || level == wanted, "{name}: {was} -> {level}, wanted {wanted}");
            }
        }
    }

    fn check_values(&self, before: &BTreeMap<SwitchName, Record>, mover: Mover, frozen: bool) {
        for name in ["items", "door", "search"] {
            let (was, is) = (&before[&named(name)], &self.switches.records[&named(name)]);
            let value = is.value.as_ref().expect("a value");
            assert_eq!(is.level, value.text());
            if let Some((pinned, _)) = self.pins.get(&named(name)) {
                assert_eq!(&is.level, pinned, "a pin beats everything");
            } else if frozen && mover == Mover::Rules && was.pin.is_none() {
                assert_eq!(is.value, was.value, "nothing moves in a freeze");
            }
            match value {
                SwitchValue::Dimmer { share, threshold, limit } => {
                    assert!((0.1..=1.0).contains(share), "{share}");
                    assert!(limit.zip(*threshold).is_none_or(|(limit, threshold)| limit > threshold), "{value:?}");
                }
                SwitchValue::Limit { value, .. } => {
                    assert!(value.is_none_or(|v| (5.0..=500.0).contains(&v)), "{value:?}")
                }
                SwitchValue::Rollout { share, state, .. } => {
                    assert!([0.02, 0.07, 0.1, 0.5, 1.0].contains(share), "{share}");
                    // Where a pin ended in a freeze, its value stays until the next judgement.
                    if is.pin.is_none()
                        && *share != 0.07
                        && matches!(state, RolloutState::RolledBack | RolloutState::Waiting)
                    {
                        assert_eq!(*share, 0.02);
                    }
                }
                SwitchValue::Feature { .. } => panic!("{name} is no feature"),
            }
        }
    }
}

/// A rollout goes only these ways.
fn legal(from: (RolloutState, usize), to: (RolloutState, usize), mover: Mover) -> bool {
    use RolloutState::{Done, Paused, RolledBack, Running, Waiting};
    let person = mover == Mover::Person;
    match (from, to) {
        (from, to) if from == to => true,
        ((Waiting, _), (Running, 0)) | ((Running, _), (RolledBack, _)) | ((Paused, _), (RolledBack, _)) => true,
        ((Running, a), (Running, b)) => b == a + 1,
        ((Running, 2), (Done, 2)) => true,
        ((Running, a), (Paused, b)) => a == b,
        ((Paused, a), (Running, b)) => person && a == b,
        ((Done, _), (RolledBack, _)) | ((RolledBack, _), (Waiting, 0)) => person,
        _ => false,
    }
}

fn run(seed: u64, events: u64, guards: Guards) -> World {
    let mut dice = Dice(seed);
    let mut world = World::new(guards);
    for number in 0..events {
        let before = world.switches.records.clone();
        let state = |world: &World| {
            let rollout = world.switches.rollouts().next().expect("a rollout");
            (rollout.memory().state, rollout.memory().step)
        };
        let (rollout, was_frozen) = (state(&world), world.switches.frozen().is_some());
        let mover = world.event(&mut dice);
        let frozen = was_frozen && world.switches.frozen().is_some();
        if frozen || world.switches.frozen().is_none() {
            world.check_features(&before, mover, frozen);
        }
        world.check_values(&before, mover, frozen);
        let after = state(&world);
        assert!(legal(rollout, after, mover), "event {number}: {rollout:?} -> {after:?} by {mover:?}");
        for (name, record) in &world.switches.records {
            assert_eq!(world.store.get(name).unwrap_or(record), record, "the store has what is in force");
        }
    }
    world
}

fn events() -> u64 {
    std::env::var_os("BROWNOUT_RANDOM_EVENTS").and_then(|events| events.to_str()?.parse().ok()).unwrap_or(30_000)
}

#[test]
fn random_events_never_lead_to_what_the_plain_model_does_not_allow() {
    let world = run(7, events(), Guards::default());
    assert!(world.audited as u64 > events() / 100, "decisions and commands were audited: {}", world.audited);
}

#[test]
fn random_events_never_pass_the_guards() {
    let guards =
        Guards { max_degraded: Some(1), max_decisions_per_hour: Some(8), max_decisions_per_hour_overall: Some(12) };
    run(11, events() / 5, guards);
}
