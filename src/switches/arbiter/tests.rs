use super::super::ladder::{Clear, Level};
use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::from_millis(s * 1000)
}

fn name() -> SwitchName {
    SwitchName::new("recs").expect("a name")
}

fn rule(rule: &str, depth: usize, mode: Mode) -> LadderRule {
    LadderRule {
        rule: rule.into(),
        title: rule.into(),
        switch: name(),
        ladder: LadderSettings {
            levels: vec![Level { depth, hold: Duration::ZERO, clear: Clear::default() }],
            has_recover: false,
            recover_for: Duration::from_secs(10),
            min_hold: Duration::ZERO,
        },
        expressions: vec!["x > 1".into()],
        clear_expressions: vec![None],
        recover_expression: None,
        mode,
        scope: "fleet".into(),
        quorum: Default::default(),
        min_samples: 0,
    }
}

fn settings(ladders: Vec<LadderRule>) -> Settings {
    let ladder = ["full", "cached", "off"].map(String::from).to_vec();
    let on_silence = OnSilence::Hold;
    let declarations =
        vec![Declaration { name: name(), description: String::new(), kind: SwitchKind::Feature, ladder, on_silence }];
    Settings { declarations, ladders, ..Settings::default() }
}

fn switches(ladders: Vec<LadderRule>) -> Switches {
    let mut switches = Switches::default();
    assert_eq!(switches.configure(at(0), settings(ladders), &BTreeMap::new()), []);
    switches
}

fn level(switches: &Switches) -> &str {
    &switches.records[&name()].level
}

fn judge(switches: &mut Switches, s: i64, rule: &str, truth: Truth) -> Option<Write> {
    let levels = vec![Judged { truth, value: Some(2.0) }];
    switches.judge(at(s), rule, &LadderJudged { levels, ..LadderJudged::default() })
}

fn pin(level: &str, until: i64, reason: &str) -> PinRequest {
    PinRequest { switch: "recs".into(), level: level.into(), until: at(until), reason: reason.into(), by: "ann".into() }
}

#[test]
fn a_step_up_by_a_levels_own_clear_says_so() {
    let mut own = rule("a", 1, Mode::Enforce);
    own.ladder.levels[0].clear = Clear { has_when: true, hold: Some(Duration::from_secs(3)) };
    own.clear_expressions = vec![Some("x < 0.2".into())];
    let mut s = switches(vec![own]);
    judge(&mut s, 1, "a", Truth::True).expect("a write");
    let say = |truth, clear| LadderJudged {
        levels: vec![Judged { truth, value: None }],
        clears: vec![Some(Judged { truth: clear, value: Some(0.125) })],
        recover: None,
    };
    assert_eq!(s.judge(at(2), "a", &say(Truth::False, Truth::False)), None, "between the two conditions it holds");
    assert_eq!(s.judge(at(60), "a", &say(Truth::False, Truth::True)), None);
    assert_eq!(s.blind_rules("recs"), 0);
    s.judge(at(63), "a", &say(Truth::False, Truth::True)).expect("a write");
    assert_eq!(s.decisions().last().map(|d| d.reason.as_str()), Some("quiet for 3s: x < 0.2 (value 0.125)"));
}

#[test]
fn the_deepest_ask_of_several_rules_is_in_force_and_every_change_has_its_reason() {
    let mut s = switches(vec![rule("a", 1, Mode::Enforce), rule("b", 2, Mode::Enforce)]);
    let write = judge(&mut s, 1, "a", Truth::True).expect("a write");
    assert_eq!((write.record.level.as_str(), write.record.revision, write.expected), ("cached", 1, 0));
    assert_eq!(judge(&mut s, 2, "b", Truth::True).expect("a write").record.level, "off");
    judge(&mut s, 3, "b", Truth::False);
    judge(&mut s, 13, "b", Truth::False);
    assert_eq!(level(&s), "cached", "the other rule still asks");
    let reasons: Vec<_> = s.decisions().map(|d| (d.from.as_str(), d.to.as_str(), d.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            ("full", "cached", "x > 1 (value 2)"),
            ("cached", "off", "x > 1 (value 2)"),
            ("off", "cached", "quiet for 10s: no level's condition is true"),
        ]
    );
}

#[test]
fn an_observing_rule_changes_nothing_and_says_what_it_would_have_done() {
    let mut s = switches(vec![rule("a", 2, Mode::Observe)]);
    assert_eq!(judge(&mut s, 1, "a", Truth::True), None);
    assert_eq!(level(&s), "full");
    let decision = s.decisions().next().expect("a decision");
    assert_eq!((decision.to.as_str(), decision.mode, decision.revision), ("off", Mode::Observe, 0));
}

#[test]
fn a_pin_beats_every_rule_until_its_end_and_its_end_is_announced() {
    let mut s = switches(vec![rule("a", 1, Mode::Enforce)]);
    s.pin(at(1), pin("off", 100, "known deploy")).expect("pinned");
    judge(&mut s, 2, "a", Truth::True);
    assert_eq!(level(&s), "off");
    assert_eq!(s.next_deadline(), Some(at(100)));
    let (mut writes, mut calls) = (Vec::new(), Vec::new());
    s.tick(at(99), &mut writes, &mut calls);
    assert_eq!(writes, []);
    s.tick(at(100), &mut writes, &mut calls);
    assert_eq!(writes[0].record.level, "cached", "back to what the rule asks");
    let last = s.decisions().next_back().expect("a decision");
    assert_eq!((last.reason.as_str(), &last.by), ("the pin of ann (known deploy) ended", &Actor::System));
}

#[test]
fn pins_that_make_no_sense_are_refused_with_what_to_say_instead() {
    let mut s = switches(vec![]);
    let refused = |request: PinRequest, s: &mut Switches| s.pin(at(10), request).expect_err("refused").to_string();
    assert_eq!(
        refused(pin("half", 20, "x"), &mut s),
        "switch `recs` has no level `half`; its ladder is: full, cached, off"
    );
    assert!(refused(pin("off", 20, " "), &mut s).contains("needs a reason"));
    assert!(refused(pin("off", 5, "x"), &mut s).contains("in the future"));
    assert!(refused(pin("off", 10_000_000, "x"), &mut s).contains("within 1w"));
    let unknown = PinRequest { switch: "rec".into(), ..pin("off", 20, "x") };
    assert_eq!(refused(unknown, &mut s), "there is no switch `rec`; declared are: recs");
    assert_eq!(s.unpin(at(10), "recs", "ann").expect_err("refused").to_string(), "switch `recs` is not pinned");
}

#[test]
fn a_restart_keeps_the_level_even_when_the_journal_is_lost() {
    let mut s = switches(vec![rule("a", 1, Mode::Enforce)]);
    let stored = judge(&mut s, 1, "a", Truth::True).expect("a write").record;
    let memory: BTreeMap<String, Value> = s.take_changes().into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    assert_eq!(memory.keys().collect::<Vec<_>>(), ["ladder/a"]);
    for memory in [memory, BTreeMap::new()] {
        let mut again = Switches::default();
        again.store_has(at(50), &BTreeMap::from([(name(), stored.clone())]));
        assert_eq!(again.configure(at(50), settings(vec![rule("a", 1, Mode::Enforce)]), &memory), []);
        assert_eq!(level(&again), "cached");
        assert_eq!(judge(&mut again, 51, "a", Truth::Unknown), None, "no data holds");
        assert_eq!(judge(&mut again, 52, "a", Truth::False), None);
        assert_eq!(judge(&mut again, 62, "a", Truth::False).expect("a write").record.level, "full");
    }
}

#[test]
fn a_rule_that_is_gone_asks_for_nothing_any_more() {
    let mut s = switches(vec![rule("a", 1, Mode::Enforce)]);
    judge(&mut s, 1, "a", Truth::True);
    let writes = s.configure(at(2), settings(vec![]), &BTreeMap::new());
    assert_eq!(writes[0].record.level, "full");
}

#[test]
fn a_write_that_failed_is_given_again_until_the_store_has_it() {
    let mut s = switches(vec![rule("a", 1, Mode::Enforce)]);
    let write = judge(&mut s, 1, "a", Truth::True).expect("a write");
    s.write_failed(at(1), &name());
    let (mut writes, mut calls) = (Vec::new(), Vec::new());
    s.tick(at(2), &mut writes, &mut calls);
    assert_eq!(writes, std::slice::from_ref(&write));
    s.store_has(at(3), &BTreeMap::from([(name(), write.record)]));
    writes.clear();
    s.tick(at(10), &mut writes, &mut calls);
    assert_eq!(writes, []);
}

#[test]
fn restore_on_silence_climbs_one_rung_for_each_such_time() {
    let mut settings = settings(vec![rule("a", 2, Mode::Enforce)]);
    settings.declarations[0].on_silence = OnSilence::Restore(Duration::from_secs(60));
    let mut s = Switches::default();
    s.configure(at(0), settings, &BTreeMap::new());
    judge(&mut s, 1, "a", Truth::True);
    let seen: Vec<(i64, String)> =
        (2..200).filter_map(|t| Some((t, judge(&mut s, t, "a", Truth::Unknown)?.record.level))).collect();
    assert_eq!(seen, [(62, "cached".to_owned()), (122, "full".to_owned())]);
}

#[test]
fn a_rule_push_that_would_degrade_too_many_is_held_back_until_another_recovers() {
    let other = SwitchName::new("other").expect("a name");
    let mut settings = settings(vec![
        rule("a", 1, Mode::Enforce),
        LadderRule { switch: other.clone(), ..rule("b", 1, Mode::Enforce) },
    ]);
    settings.declarations.push(Declaration { name: other.clone(), ..settings.declarations[0].clone() });
    settings.guards.max_degraded = Some(1);
    let mut s = Switches::default();
    s.configure(at(0), settings, &BTreeMap::new());
    judge(&mut s, 1, "a", Truth::True);
    judge(&mut s, 2, "b", Truth::True);
    assert_eq!((level(&s), s.records[&other].level.as_str()), ("cached", "full"));
    assert!(s.decisions().any(|d| d.revision == 0 && d.reason.starts_with("held back: 1 switches")));
    judge(&mut s, 3, "a", Truth::False);
    judge(&mut s, 13, "a", Truth::False);
    let (mut writes, mut calls) = (Vec::new(), Vec::new());
    s.tick(at(14), &mut writes, &mut calls);
    assert_eq!((level(&s), s.records[&other].level.as_str()), ("full", "cached"));
    s.tick(at(15), &mut writes, &mut calls);
    assert_eq!(writes.len(), 1, "granted once");
}

#[test]
fn a_switch_past_its_hourly_budget_is_frozen_degraded_until_the_hour_is_over_and_a_pin_still_works() {
    let mut settings = settings(vec![rule("a", 1, Mode::Enforce)]);
    settings.guards.max_decisions_per_hour = Some(3);
    let mut s = Switches::default();
    s.configure(at(0), settings, &BTreeMap::new());
    let mut levels = Vec::new();
    for t in 1..3700 {
        let truth = if t % 40 == 1 { Truth::True } else { Truth::False };
        levels.extend(judge(&mut s, t, "a", truth).map(|write| (t, write.record.level)));
        let (mut writes, mut calls) = (Vec::new(), Vec::new());
        s.tick(at(t), &mut writes, &mut calls);
        levels.extend(writes.into_iter().map(|write| (t, write.record.level)));
    }
    let changes: Vec<_> =
        levels.iter().zip(levels.iter().skip(1)).filter(|(a, b)| a.1 != b.1).map(|(_, b)| b.0).collect();
    let first_hour: Vec<_> = changes.iter().filter(|t| **t < 3600).collect();
    assert_eq!(first_hour, [&12, &41], "down at 1, up, down, and then frozen there");
    assert_eq!(s.held_back().count(), 1);
    s.pin(at(3700), pin("full", 3800, "I know better")).expect("pinned");
    assert_eq!(level(&s), "full");
}
