use super::super::control::{ControlSettings, Law};
use super::super::dial::{DialRule, DialSource, Measured};
use super::super::value::{LimitUnit, SwitchValue};
use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::from_millis(s * 1000)
}

fn named(name: &str) -> SwitchName {
    SwitchName::new(name).expect("a name")
}

fn declared(name: &str, kind: SwitchKind, ladder: &[&str]) -> Declaration {
    let ladder = ladder.iter().map(|level| (*level).to_owned()).collect();
    Declaration { name: named(name), description: String::new(), kind, ladder, on_silence: OnSilence::Hold }
}

fn rule(rule: &str, switch: &str, levels: Vec<f64>, mode: Mode) -> DialRule {
    DialRule {
        rule: rule.into(),
        title: rule.into(),
        switch: named(switch),
        limit: Some(named("door")),
        source: DialSource::Law(ControlSettings { levels, ..ControlSettings::new(Law::WithLimit, 1.0) }),
        mode,
        scope: "fleet".into(),
        quorum: Default::default(),
    }
}

fn settings(dials: Vec<DialRule>) -> Settings {
    let declarations = vec![
        declared("items", SwitchKind::Dimmer { min: 0.0, max: 1.0 }, &[]),
        declared("recs", SwitchKind::Feature, &["full", "cached", "off"]),
        declared("door", SwitchKind::Limit { unit: LimitUnit::InFlight, min: 4.0, max: None, share_out: false }, &[]),
    ];
    Settings { declarations, dials, ..Settings::default() }
}

fn switches(dials: Vec<DialRule>) -> Switches {
    let mut switches = Switches::default();
    assert_eq!(switches.configure(at(0), settings(dials), &BTreeMap::new()), []);
    switches
}

fn measured(arrivals: f64, full: f64, degraded: f64, utilisation: f64, in_flight: f64) -> Measured {
    Measured {
        arrivals: Some(arrivals),
        full: Some(full),
        degraded: Some(degraded),
        slow: Some(0.0),
        utilisation: Some(utilisation),
        in_flight: Some(in_flight),
        counts_in_flight: true,
        ..Measured::default()
    }
}

fn calm() -> Measured {
    measured(40.0, 40.0, 0.0, 0.5, 2.0)
}

fn crowd() -> Measured {
    measured(160.0, 80.0, 0.0, 1.0, 60.0)
}

fn level(switches: &Switches, name: &str) -> String {
    switches.records[&named(name)].level.clone()
}

#[test]
fn a_dimmer_and_the_limit_behind_it_are_ruled_together() {
    let mut s = switches(vec![rule("a", "items", Vec::new(), Mode::Enforce)]);
    let writes = s.judge_dial(at(1), "a", calm());
    assert_eq!(writes.len(), 2, "the limit stands before the crowd: {writes:?}");
    assert_eq!((level(&s, "items").as_str(), level(&s, "door").as_str()), ("100%", "64"));
    assert_eq!(s.judge_dial(at(2), "a", calm()), [], "nothing that is worth telling");
    (3..6).for_each(|t| drop(s.judge_dial(at(t), "a", calm())));
    s.judge_dial(at(6), "a", crowd());
    assert_eq!((level(&s, "items").as_str(), level(&s, "door").as_str()), ("0%", "213.33"));
    let decision = s.records[&named("items")].decision.clone().expect("a decision");
    assert_eq!((decision.from.as_str(), decision.to.as_str()), ("100%", "0%"));
    assert!(decision.reason.starts_with("law ff+lim: 160 requests/s at 12.5 ms each"), "{}", decision.reason);
    let value = s.records[&named("items")].value.clone();
    assert_eq!(value.as_ref().map(SwitchValue::number), Some(0.0));
    for t in 7..40 {
        assert_eq!(s.judge_dial(at(t), "a", Measured::default()), [], "no sample freezes everything");
    }
}

#[test]
fn a_ladder_is_walked_by_the_same_law() {
    let mut s = switches(vec![rule("a", "recs", vec![1.0, 0.5, 0.0], Mode::Enforce)]);
    (1..6).for_each(|t| drop(s.judge_dial(at(t), "a", calm())));
    s.judge_dial(at(6), "a", crowd());
    assert_eq!((level(&s, "recs").as_str(), level(&s, "door").as_str()), ("off", "213.33"));
    assert_eq!(
        s.configure(at(7), settings(vec![rule("a", "recs", vec![1.0, 0.5, 0.0], Mode::Enforce)]), &BTreeMap::new()),
        []
    );
    assert_eq!(level(&s, "recs"), "off", "a reload restores nothing");
    s.configure(at(8), settings(Vec::new()), &BTreeMap::new());
    assert_eq!(
        (level(&s, "recs").as_str(), level(&s, "door").as_str()),
        ("full", "none"),
        "without rules all is healthy"
    );
}

#[test]
fn an_observing_law_tells_and_moves_nothing() {
    let mut s = switches(vec![rule("a", "items", Vec::new(), Mode::Observe)]);
    (1..6).for_each(|t| assert_eq!(s.judge_dial(at(t), "a", calm()), []));
    assert_eq!(s.judge_dial(at(6), "a", crowd()), []);
    assert_eq!((level(&s, "items").as_str(), level(&s, "door").as_str()), ("100%", "none"));
    let told: Vec<(String, String)> = s.decisions().map(|d| (d.from.clone(), d.to.clone())).collect();
    assert_eq!(told.last(), Some(&("100%, limit 64".to_owned(), "0%, limit 213".to_owned())));
}

#[test]
fn of_two_rules_the_smaller_share_is_in_force_and_a_pin_beats_both() {
    let mut s =
        switches(vec![rule("a", "items", Vec::new(), Mode::Enforce), rule("b", "items", Vec::new(), Mode::Enforce)]);
    for t in 1..6 {
        s.judge_dial(at(t), "a", calm());
        s.judge_dial(at(t), "b", calm());
    }
    s.judge_dial(at(6), "a", crowd());
    s.judge_dial(at(6), "b", calm());
    assert_eq!(level(&s, "items"), "0%");
    let pin = PinRequest {
        switch: "items".into(),
        level: "0.7".into(),
        until: at(100),
        reason: "known".into(),
        by: "ann".into(),
    };
    assert!(s.pin(at(7), pin).is_ok());
    s.judge_dial(at(8), "a", crowd());
    assert_eq!(level(&s, "items"), "70%");
    let (mut writes, mut calls) = (Vec::new(), Vec::new());
    s.tick(at(100), &mut writes, &mut calls);
    assert_eq!((level(&s, "items").as_str(), writes.len()), ("0%", 1), "the pin's end is a decision");
}

#[test]
fn a_freeze_holds_every_rule_until_it_ends_and_a_pin_still_works() {
    let mut s = switches(vec![rule("a", "items", Vec::new(), Mode::Enforce)]);
    (1..6).for_each(|t| drop(s.judge_dial(at(t), "a", calm())));
    let freeze = |until| FreezeRequest { reason: "bad push".into(), by: "ann".into(), until };
    assert!(s.freeze(at(5), FreezeRequest { reason: " ".into(), ..freeze(None) }).is_err());
    assert!(s.freeze(at(5), freeze(Some(at(4)))).is_err());
    assert!(s.freeze(at(5), freeze(Some(at(60)))).is_ok());
    assert_eq!(s.judge_dial(at(6), "a", crowd()), []);
    assert_eq!(level(&s, "items"), "100%");
    assert_eq!(s.held_back().next().map(|(_, held)| held), Some(HeldBack::Frozen));
    assert_eq!(s.next_deadline(), Some(at(60)));
    let kept: BTreeMap<_, _> = s.take_changes().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert!(kept.contains_key("freeze"), "it survives a restart");
    s.tick(at(60), &mut Vec::new(), &mut Vec::new());
    assert!(s.frozen().is_none());
    s.judge_dial(at(61), "a", crowd());
    assert_eq!(level(&s, "items"), "0%");
    s.freeze_file(at(62), Some("all broken\n".into()));
    assert_eq!(s.unfreeze(at(62), "ann"), Err(Refused::FrozenByFile));
    s.freeze_file(at(63), None);
    assert_eq!(s.unfreeze(at(63), "ann"), Err(Refused::NotFrozen));
    let commands = s.take_audit().into_iter().filter(|record| matches!(record, Audited::Command { .. })).count();
    assert_eq!(commands, 8, "every word and every refusal is in the audit log");
}

#[test]
fn a_bad_push_degrades_no_more_switches_than_it_may() {
    let mut settings = settings(vec![
        rule("a", "items", Vec::new(), Mode::Enforce),
        rule("b", "recs", vec![1.0, 0.5, 0.0], Mode::Enforce),
    ]);
    settings.guards.max_degraded = Some(1);
    let mut s = Switches::default();
    s.configure(at(0), settings, &BTreeMap::new());
    for t in 1..6 {
        s.judge_dial(at(t), "a", calm());
        s.judge_dial(at(t), "b", calm());
    }
    s.judge_dial(at(6), "b", crowd());
    s.judge_dial(at(6), "a", crowd());
    assert_eq!((level(&s, "recs").as_str(), level(&s, "items").as_str()), ("off", "100%"));
    assert_eq!(level(&s, "door"), "213.33", "a limit is a protection, and follows all the same");
}

#[test]
fn a_dimmer_that_turns_too_often_stays_down() {
    let mut settings = settings(vec![rule("a", "items", Vec::new(), Mode::Enforce)]);
    settings.guards.max_decisions_per_hour = Some(3);
    let mut s = Switches::default();
    s.configure(at(0), settings, &BTreeMap::new());
    let back = || measured(40.0, 6.0, 34.0, 0.15, 1.0);
    let mut t = 0;
    let mut shares = Vec::new();
    for _ in 0..4 {
        for sample in std::iter::repeat_n(calm(), 5).chain([crowd()]).chain(std::iter::repeat_n(back(), 60)) {
            t += 1;
            s.judge_dial(at(t), "a", sample);
        }
        shares.push(level(&s, "items"));
    }
    assert_eq!(shares[0], "100%");
    assert_ne!(shares[3], "100%", "{shares:?}");
}

#[test]
fn a_rate_stands_only_where_nothing_optional_is_left() {
    let mut settings = settings(vec![rule("a", "items", Vec::new(), Mode::Enforce)]);
    settings.declarations[2].kind =
        SwitchKind::Limit { unit: LimitUnit::RequestsPerSecond, min: 1.0, max: None, share_out: false };
    let mut s = Switches::default();
    s.configure(at(0), settings, &BTreeMap::new());
    (1..6).for_each(|t| drop(s.judge_dial(at(t), "a", calm())));
    assert_eq!(level(&s, "door"), "none");
    s.judge_dial(at(6), "a", crowd());
    assert_eq!(level(&s, "door"), "253.33", "0.95 of the degraded capacity");
}
