//! Groups, reloads, restarts, urgent batches, no data: the rules as a whole, in virtual time.

use std::time::Duration;

use super::outcome::{AlertState, Outcome, Part, Truth};
use super::script::{World, settings};
use super::{Health, Listed, RuleType, Rules};
use crate::model::{Labels, NAME, stale_nan};
use crate::series::Store;
use crate::time::Timestamp;

/// One group `g` with these rules.
fn yaml(rules: &[&str]) -> String {
    group("g", "1s", rules)
}

fn group(name: &str, interval: &str, rules: &[&str]) -> String {
    let lines: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    format!("groups:\n- name: {name}\n  interval: {interval}\n  rules:\n{lines}")
}

#[test]
fn rules_see_what_the_rules_before_them_wrote() {
    let mut world = World::new(&yaml(&["{record: b, expr: a}", "{record: c, expr: b}", "{record: d, expr: z}"]));
    world.answer("a", Ok(&[("x", 4.0)]));
    world.step();
    assert_eq!(world.points("c"), [r#"c{l="x"} 0 4"#]);
    assert_eq!(world.asked(), ["a", "b", "z"]);
    assert!(world.points("d").is_empty());
}

#[test]
fn a_series_that_vanishes_is_marked_stale_once() {
    let mut world = World::new(&yaml(&["{record: b, expr: a}"]));
    world.answer("a", Ok(&[("x", 1.0), ("y", 2.0)]));
    world.step();
    world.answer("a", Ok(&[("y", 3.0)]));
    world.step();
    world.step();
    assert_eq!(
        world.points("b"),
        [
            r#"b{l="x"} -2000 1"#,
            r#"b{l="x"} -1000 stale"#,
            r#"b{l="y"} -2000 2"#,
            r#"b{l="y"} -1000 3"#,
            r#"b{l="y"} 0 3"#
        ]
    );
}

#[test]
fn an_error_changes_no_state_and_marks_nothing_stale() {
    let rules = ["{record: b, expr: a}", "{alert: A, expr: a, for: 1s}", "{record: c, expr: d}"];
    let mut world = World::new(&yaml(&rules));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.answer("d", Ok(&[("x", 1.0)]));
    world.step();
    world.answer("a", Err("broken"));
    world.step();
    world.step();
    let status = world.rules.groups_status(Listed::All);
    let health: Vec<&str> = status[0].rules.iter().map(|rule| rule.health.as_str()).collect();
    assert_eq!(health, ["err", "err", "ok"], "the next rule goes on");
    assert_eq!((status[0].rules[1].last_error(), status[0].rules[1].state_str()), ("broken", "pending"));
    assert_eq!(world.points("b"), [r#"b{l="x"} -2000 1"#]);
    assert_eq!(world.points("ALERTS").len(), 1);
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    assert_eq!(world.told(), ["x:firing"], "the pending timer went on");
    assert_eq!(world.rules.counters().failures, 4);
}

#[test]
fn past_the_limit_a_recording_rule_fails() {
    let text = yaml(&["{record: b, expr: a}"]).replace("interval", "limit: 1\n  interval");
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0), ("y", 2.0)]));
    world.step();
    assert!(world.points("b").is_empty());
    let status = world.rules.groups_status(Listed::All);
    assert_eq!(status[0].rules[0].last_error(), "exceeded limit of 1 with 2 series");
}

#[test]
fn results_that_get_the_same_name_are_an_error() {
    let mut world = World::new(&yaml(&["{record: b, expr: a, labels: {l: same}}"]));
    world.answer("a", Ok(&[("x", 1.0), ("y", 2.0)]));
    world.step();
    let status = world.rules.groups_status(Listed::All);
    assert_eq!(
        status[0].rules[0].last_error(),
        "vector contains metrics with the same labelset after applying rule labels"
    );
}

#[test]
fn the_query_offset_moves_query_and_results() {
    let text = yaml(&["{record: b, expr: a}"]).replace("interval", "query_offset: 30s\n  interval");
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    assert_eq!(world.asked_at(), [world.now - Duration::from_secs(30)]);
    assert_eq!(world.points("b"), [r#"b{l="x"} -30000 1"#]);
}

#[test]
fn missed_ticks_are_skipped_and_counted() {
    let mut world = World::new(&yaml(&["{record: b, expr: a}"]));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    let first = world.now;
    world.now = first + Duration::from_millis(4_700);
    world.rules.evaluate_due(world.now, &mut world.store, &mut world.out);
    assert_eq!(world.asked_at(), [first, first + Duration::from_secs(4)], "at its slot, not at now");
    assert_eq!(world.rules.counters().missed, 3);
    assert_eq!(world.rules.groups_status(Listed::All)[0].missed, 3);
    assert_eq!(world.rules.next_deadline(), Some(first + Duration::from_secs(5)));
}

#[test]
fn a_stepped_clock_changes_no_timer_and_judging_goes_on() {
    for by in [-3_600_i64, -5, 3_600] {
        let rules =
            ["{alert: A, expr: a, for: 10s}", "{alert: B, expr: b, keep_firing_for: 10s}", "{record: r, expr: c}"];
        let mut world = World::at(&yaml(&rules), Timestamp::from_millis(10_000_000));
        world.answer("a", Ok(&[("x", 1.0)]));
        world.answer("b", Ok(&[("y", 1.0)]));
        world.answer("c", Ok(&[("z", 1.0)]));
        world.step();
        world.answer("b", Ok(&[]));
        (0..4).for_each(|_| drop(world.step()));
        world.now = world.now.shifted(by * 1_000);
        world.store.clock_stepped(by * 1_000);
        world.rules.clock_stepped(world.now, by * 1_000);
        world.asked();
        let mut told = Vec::new();
        for second in 5..15 {
            world.step();
            told.extend(world.told().into_iter().map(|what| format!("{second} {what}")));
        }
        assert_eq!(world.asked().len(), 30, "by {by}: once a second each");
        assert_eq!(told, ["10 x:firing", "11 y:inactive"], "by {by}");
        assert_eq!(world.rules.counters().refused, 0, "by {by}");
        assert_eq!(world.points("r").len(), 15, "by {by}");
    }
}

#[test]
fn a_reload_keeps_state_by_name_and_labels() {
    let mut world =
        World::new(&yaml(&["{alert: A, expr: a, for: 2s}", "{record: gone, expr: b}", "{record: kept, expr: b}"]));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.answer("b", Ok(&[("x", 1.0)]));
    world.step();
    // Another expression, another order, and one rule is no more.
    let next = world.rules.next_deadline();
    world.rules.reload(settings(&yaml(&["{record: kept, expr: b}", "{alert: A, expr: a + 0, for: 2s}"])), world.now);
    assert_eq!(world.rules.next_deadline(), next, "the slots stay");
    let status = world.rules.groups_status(Listed::All);
    assert_eq!((status[0].rules[1].state_str(), status[0].rules[1].alerts.len()), ("pending", 1));
    world.step();
    assert_eq!(world.points("gone"), [r#"gone{l="x"} -1000 1"#, r#"gone{l="x"} 0 stale"#]);
    assert_eq!(world.points("kept"), [r#"kept{l="x"} -1000 1"#, r#"kept{l="x"} 0 1"#]);
    world.step();
    assert_eq!(world.told(), ["x:firing"], "the pending timer went on");
}

#[test]
fn a_removed_group_is_marked_stale_after_two_intervals_unless_another_rule_took_over() {
    let two = |first: &str| {
        format!(
            "{}- name: h\n  interval: 1s\n  rules:\n  - {{record: c, expr: a}}\n",
            group(first, "1s", &["{record: b, expr: a}"])
        )
    };
    let mut world = World::new(&two("g"));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    world.step();
    let removed_at = world.now;
    world.rules.reload(settings(&group("renamed", "1s", &["{record: b, expr: a}"])), world.now);
    while world.now.since(removed_at) < Duration::from_millis(2_900) {
        world.step();
    }
    let last = |world: &World, name: &str| world.points(name).pop().expect("a point");
    assert!(last(&world, "c").ends_with("stale"), "{:?}", world.points("c"));
    let marked = world.points("c").len();
    assert!(marked <= 3, "marked once: {:?}", world.points("c"));
    assert!(world.points("b").iter().all(|line| !line.ends_with("stale")), "{:?}", world.points("b"));
}

#[test]
fn an_urgent_series_reaches_every_rule_that_depends_on_it_at_once() {
    let rules = [
        "{degrade: s, levels: [{level: low, when: 'ALERTS{alertname=\"Down\", alertstate=\"firing\"}'}]}",
        "{alert: Down, expr: failing}",
        "{alert: Other, expr: unrelated}",
        "{record: failing, expr: 'probe_success{l=\"\"}'}",
        "{degrade: t, levels: [{level: low, when: 'ALERTS{alertname=\"Other\"}'}]}",
    ];
    let mut world = World::new(&yaml(&rules));
    world.append("probe_success", 0.0);
    world.trigger("probe_success");
    assert_eq!(world.asked(), ["probe_success", "failing", "ALERTS"], "writers before readers, others not at all");
    assert_eq!(world.told(), [":firing"]);
    assert_eq!(world.truths(), ["true"]);
    assert_eq!(world.rules.counters().urgent, 3);
    world.trigger("something_else");
    assert_eq!(world.asked(), [""; 0]);
}

#[test]
fn an_urgent_evaluation_leaves_the_schedule_and_the_timers_alone() {
    let mut world = World::new(&yaml(&["{alert: A, expr: a, for: 2s}"]));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    let began = world.now;
    world.now = began + Duration::from_millis(300);
    world.trigger("a");
    assert_eq!(world.asked().len(), 2);
    assert_eq!(world.rules.next_deadline(), Some(began + Duration::from_secs(1)));
    let active = world.rules.active_alerts();
    assert_eq!((active[0].state, active[0].active_at), (AlertState::Pending, began));
    world.now = began + Duration::from_secs(2);
    world.trigger("a");
    assert_eq!(world.told(), ["x:firing"], "`for` is a matter of time, not of ticks");
    let times = |world: &World| world.points("ALERTS_FOR_STATE").len();
    let before = times(&world);
    // The tick of the same instant has nothing left to do.
    world.out.clear();
    world.rules.evaluate_due(world.now, &mut world.store, &mut world.out);
    assert_eq!((world.told(), times(&world)), (Vec::<String>::new(), before));
}

#[test]
fn what_is_said_once_more_wakes_only_rules_whose_turn_is_far() {
    for (interval, asked) in [("1s", 0), ("1m", 1)] {
        let mut world = World::new(&group("g", interval, &["{alert: A, expr: a, for: 5s}"]));
        world.tell("a", 0.0);
        assert_eq!(world.asked().len(), 1, "{interval}: the first value is news");
        world.now = world.now + Duration::from_millis(100);
        world.tell("a", 0.0);
        assert_eq!(world.asked().len(), asked, "{interval}");
        world.now = world.now + Duration::from_millis(100);
        world.tell("a", 1.0);
        assert_eq!(world.asked().len(), 1, "{interval}: another value is news");
    }
}

#[test]
fn a_storm_of_urgent_series_is_evaluated_once_per_gap() {
    let mut world = World::new(&yaml(&["{record: b, expr: a}"]));
    world.answer("a", Ok(&[("x", 1.0)]));
    let began = world.now;
    for _ in 0..100 {
        world.trigger("a");
    }
    assert_eq!(world.asked().len(), 1);
    assert_eq!(
        world.rules.next_deadline(),
        Some(began + crate::limits::URGENT_GAP),
        "the last of them is not forgotten"
    );
    world.step();
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.points("b").len(), 2);
    assert!(world.rules.next_deadline() > Some(world.now + Duration::from_millis(1)));
}

#[test]
fn conditions_tell_false_from_no_data_and_from_failure() {
    let rule =
        "{degrade: s, levels: [{level: low, when: 'a > 1'}, {level: off, when: 'b > 1'}], recover: {when: 'a < 1'}}";
    let mut world = World::new(&yaml(&[rule]));
    world.answer("a", Ok(&[]));
    world.answer("b", Err("broken"));
    world.step();
    assert_eq!(world.truths(), ["no data", "failed", "no data"]);
    world.append("a", 0.5);
    world.answer("b", Ok(&[("y", 3.0), ("x", 2.0)]));
    world.step();
    assert_eq!(world.truths(), ["false", "true", "false"]);
    let Outcome::Judged(judgement) = &world.out[0] else { panic!("{:?}", world.out) };
    let condition = &judgement.conditions[1];
    assert_eq!(judgement.rule.kind, RuleType::Degrade);
    assert_eq!((&condition.part, condition.value), (&Part::Level("off".into()), Some(2.0)));
    assert_eq!(condition.labels.value("l"), "x", "the first by labels");
    let since = world.now;
    world.step();
    let status = world.rules.groups_status(Listed::All);
    let rule = &status[0].rules[0];
    assert_eq!((rule.health.clone(), rule.conditions.len()), (Health::Ok, 3));
    assert_eq!(rule.conditions[1].since, Some(since));
    assert_eq!(rule.conditions[1].condition.as_ref().map(|c| c.truth.clone()), Some(Truth::True));
}

#[test]
fn no_data_is_judged_by_the_inputs_that_matter() {
    // The series `there` has two points, `once` has one, `ended` was marked stale.
    let check = |when: &str, expected: &str| {
        let mut world = World::new(&yaml(&[&format!("{{degrade: s, levels: [{{level: low, when: '{when}'}}]}}")]));
        for name in ["there", "ended", "gone", "ALERTS", "once"] {
            world.answer(name, Ok(&[]));
        }
        world.append("there", 1.0);
        world.append("ended", 1.0);
        world.now = world.now + Duration::from_millis(1);
        world.append("there", 1.0);
        world.append("once", 1.0);
        world.append("ended", crate::model::stale_nan());
        world.step();
        assert_eq!(world.truths(), [expected], "{when}");
    };
    check("there > 1", "false");
    check("gone > 1", "no data");
    check("ended > 1", "no data");
    check("rate(ended[1m]) > 1", "no data");
    check("rate(there[1m]) > 1", "false");
    check("rate(once[1m]) > 1", "no data");
    check("max_over_time(once[1m]) > 1", "false");
    check("there offset 1h > 1", "no data");
    check("there / gone > 1", "no data");
    check("there and gone", "no data");
    check("there unless gone", "false");
    check("there > 1 or gone > 1", "false");
    check("gone > 1 or there > 1", "no data");
    check("absent(gone) > 1", "false");
    check("absent_over_time(gone[5m]) > 1", "false");
    check("ALERTS{alertname=\"x\"}", "false");
    check("sum by (a) (gone) > 1", "no data");
    check("max_over_time((gone > 1)[1h:1m]) > 1", "no data");
    check("gone @ 0 > 1", "no data");
    check("there @ 1000.9 > 1", "false");
    check("there @ 2000 > 1", "no data");
    check("max_over_time(there[1h] @ 1000.9 offset 1s) > 1", "no data");
    check("max_over_time((there @ 1000.9 > 1)[1h:1m] offset 2h)", "false");
    check("info(there, {__name__=\"gone\"}) > 1", "false");
    check("there + fill_right(0) gone > 1", "false");
    check("gone + fill_left(0) there > 1", "false");
    check("gone + fill_right(0) there > 1", "no data");
    check("label_replace(there, \"a\", \"b\", \"c\", \"d\") > 1", "false");
}

#[test]
fn needs_say_how_far_back_each_selector_looks() {
    let rules =
        ["{record: b, expr: 'rate(a[10m] offset 5m) + c'}", "{record: d, expr: 'max_over_time(rate(e[1m])[1h:1m])'}"];
    let world = World::new(&yaml(&rules));
    let needs: Vec<String> = world
        .rules
        .needs()
        .iter()
        .map(|need| format!("{:?} {}", need.matchers, crate::time::format_duration(need.window)))
        .collect();
    assert_eq!(needs, [r#"[__name__="a"] 15m1s"#, r#"[__name__="c"] 5m1s"#, r#"[__name__="e"] 1h1m1s"#]);
}

#[test]
fn a_selector_that_matches_nothing_for_a_while_is_found_with_what_may_be_meant() {
    let rules = [
        "{alert: A, expr: 'there + thera > 1'}",
        "{alert: B, expr: absent(nowhere)}",
        "{alert: C, expr: 'there{l=\"q\"} unless nowhere'}",
        "{alert: D, expr: 'rate(there[1d] offset 1d) or nowhere'}",
        "{alert: E, expr: 'zzzzzzzzz'}",
        "{alert: F, expr: 'sum(ALERTS{alertname=\"q\"})'}",
        "{alert: G, expr: 'rate(brownout_log_bytes_lost_total[5m]) > 0'}",
    ];
    let mut world = World::new(&yaml(&rules));
    let began = world.now;
    let mut first = None;
    while world.now.since(began) < Duration::from_secs(100) {
        world.store.append(&Labels::from_pairs([(NAME, "there"), ("l", "x")]), world.now, 1.0);
        world.step();
        if !world.rules.findings().is_empty() {
            first.get_or_insert(world.now.since(began).as_secs());
        }
    }
    assert_eq!(first, Some(60), "not at once");
    let view = world.store.view();
    let found: Vec<String> = world
        .rules
        .findings()
        .iter()
        .map(|finding| format!("{}: {}", finding.rule.name, finding.message(&view)))
        .collect();
    assert_eq!(
        found,
        [
            "A: `thera` matches no series: there is no metric `thera`, did you mean `there`?",
            "C: `there{l=\"q\"}` matches no series: none of `there` fits `l=\"q\"`; there are values such as x",
            "E: `zzzzzzzzz` matches no series: there is no metric `zzzzzzzzz`",
        ]
    );
    let place = &world.rules.findings()[0].place;
    assert_eq!((&place.file.text[place.span.clone()], place.line()), ("thera", 5));
    // A clock that is set meanwhile makes no finding.
    world.rules.clock_stepped(world.now + Duration::from_secs(3_600), 3_600_000);
    assert_eq!(world.rules.findings().len(), 3);
}

#[test]
fn the_last_evaluations_of_a_rule_are_kept() {
    let mut world = World::new(&yaml(&["{alert: A, expr: a, for: 1s}", "{record: r, expr: 'b * 2'}"]));
    let ticks = std::sync::atomic::AtomicU64::new(0);
    let measure = move || Duration::from_millis(ticks.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    world.rules.measure_with(std::sync::Arc::new(measure));
    world.answer("b", Err("broken"));
    for count in 0..70_u32 {
        let many: Vec<(&str, f64)> = ["a", "b", "c", "d", "e", "f", "g"].map(|l| (l, f64::from(count))).to_vec();
        world.answer("a", Ok(&many[..usize::from(count % 2 == 0) * 7]));
        world.step();
    }
    let kept = &world.rules.evaluations(Some("g"), "A")[0].1;
    assert_eq!(kept.len(), crate::limits::EVALUATIONS_PER_RULE);
    let last = &kept[kept.len() - 2..];
    assert_eq!((last[1].at, last[0].at), (world.now, world.now - Duration::from_secs(1)));
    assert_eq!((last[0].elements, last[0].alerts, last[0].written), (7, 7, 14));
    assert_eq!((last[1].elements, last[1].alerts, last[1].written), (0, 0, 0));
    assert_eq!((last[0].values.len(), last[0].values[0].1), (crate::limits::EVALUATION_VALUES, 68.0));
    assert_eq!((last[0].took, last[0].urgent, last[0].error.as_deref()), (Duration::from_millis(1), false, None));
    let failed = &world.rules.evaluations(None, "r")[0].1;
    assert_eq!(failed.last().and_then(|last| last.error.as_deref()), Some("broken"));
    assert!(world.rules.evaluations(Some("other"), "A").is_empty());
    let status = world.rules.groups_status(Listed::All);
    assert_eq!(status[0].rules[0].evaluation_seconds, 0.001);
    assert_eq!(status[0].evaluation_seconds, 0.005, "the group with both of its rules");
}

/// A world after a restart: the journal's items, given to a new one.
fn restarted(before: &mut World, text: &str, pause: Duration) -> World {
    let items: Vec<_> =
        before.rules.take_changes().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let mut after = World::at(text, before.now + pause);
    after.rules.restore(items.into_iter(), before.now, after.now);
    after
}

#[test]
fn a_restart_keeps_every_timer_exactly() {
    let text = yaml(&["{alert: A, expr: a, for: 10s}", "{alert: B, expr: b, keep_firing_for: 10m}"]);
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0)]));
    world.answer("b", Ok(&[("x", f64::NAN)]));
    world.step();
    let began = world.now;
    world.answer("b", Ok(&[]));
    world.step();
    let mut after = restarted(&mut world, &text, Duration::from_secs(20));
    let alerts = after.rules.active_alerts();
    assert_eq!((alerts[0].state, alerts[0].active_at), (AlertState::Pending, began));
    assert_eq!((alerts[1].state, alerts[1].keep_firing_since), (AlertState::Firing, Some(world.now)));
    assert!(alerts[1].value.is_nan());
    after.answer("a", Ok(&[("x", 1.0)]));
    after.answer("b", Ok(&[]));
    after.step();
    assert_eq!(after.told(), ["x:firing"], "the pending one has been there for long enough; the other was told before");
}

#[test]
fn restored_alerts_wait_for_their_inputs() {
    let text = yaml(&["{alert: A, expr: 'rate(a[2m])'}", "{alert: B, expr: b, for: 5s}"]);
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0), ("y", 1.0)]));
    world.answer("b", Ok(&[("x", 1.0)]));
    world.step();
    let mut after = restarted(&mut world, &text, Duration::from_secs(10));
    let began = after.now;
    after.answer("a", Ok(&[]));
    after.answer("b", Ok(&[]));
    after.step();
    assert!(after.told().is_empty());
    assert_eq!(after.points("ALERTS").len(), 3, "they are shown while they are held");
    assert_eq!(after.rules.active_alerts()[2].state, AlertState::Pending, "held, and not promoted");
    // Seen once: from then on it is judged like any other.
    after.answer("a", Ok(&[("x", 1.0)]));
    after.step();
    after.answer("a", Ok(&[]));
    after.step();
    assert_eq!(after.told(), ["x:inactive"]);
    let mut ended = Vec::new();
    while after.now.since(began) < Duration::from_secs(155) {
        after.step();
        let rest = after.rules.active_alerts().len();
        if ended.last().is_none_or(|(_, before)| *before != rest) {
            ended.push((after.now.since(began).as_secs(), rest));
        }
    }
    // B: two intervals and the grace; A: its range of 2 minutes and the grace.
    assert_eq!(ended[1..], [(32, 1), (150, 0)], "{ended:?}");
}

#[test]
fn after_a_restart_a_condition_is_not_false_before_its_inputs_came_back() {
    let rule = "{degrade: s, levels: [{level: low, when: 'a > 1'}, {level: off, when: 'gone > 1'}], \
                recover: {when: 'rate(c[1m]) < 1'}}";
    let mut before = World::new(&yaml(&[rule]));
    let mut after = World::at(&yaml(&[rule]), before.now + Duration::from_secs(5));
    before.append("a", 0.5);
    let alive = ("something".to_owned(), serde_json::Value::Null);
    after.rules.restore([alive].into_iter(), before.now, after.now);
    let began = after.now;
    for name in ["a", "gone", "c"] {
        after.answer(name, Ok(&[]));
    }
    after.step();
    assert_eq!(after.conditions(), [Truth::NotYet, Truth::NotYet, Truth::NotYet]);
    after.append("a", 0.5);
    after.append("c", 0.5);
    after.step();
    assert_eq!(after.conditions(), [Truth::False, Truth::NotYet, Truth::NotYet], "the range of c is not full yet");
    after.answer("c", Ok(&[("x", 1.0)]));
    after.step();
    after.answer("c", Ok(&[]));
    after.step();
    assert_eq!(after.conditions(), [Truth::False, Truth::NotYet, Truth::NoData], "c was seen once");
    while after.conditions()[1] == Truth::NotYet {
        after.step();
    }
    // The longest range of the rule, and the grace.
    assert_eq!(after.now.since(began).as_secs(), 60 + crate::limits::RESTORE_GRACE.as_secs());
    assert_eq!(after.conditions()[1], Truth::NoData);
    let mut first = World::new(&yaml(&[rule]));
    first.rules.restore([].into_iter(), first.now, first.now);
    for name in ["a", "gone", "c"] {
        first.answer(name, Ok(&[]));
    }
    first.step();
    assert_eq!(first.conditions()[0], Truth::NoData, "nothing was lost at a first start");
}

#[test]
fn after_a_long_pause_pending_alerts_are_dropped_and_firing_ones_stay() {
    let text = yaml(&["{alert: A, expr: a, for: 10s}", "{alert: B, expr: b}"]);
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0)]));
    world.answer("b", Ok(&[("x", 1.0)]));
    world.step();
    let mut after = restarted(&mut world, &text, Duration::from_secs(3_601));
    let states: Vec<_> = after.rules.active_alerts().iter().map(|alert| alert.state).collect();
    assert_eq!(states, [AlertState::Firing]);
    let changes = after.rules.take_changes();
    assert_eq!(changes.len(), 1);
    assert!(changes[0].0.starts_with("alert/") && changes[0].1.is_none(), "the journal forgets it: {changes:?}");
}

#[test]
fn a_resolve_that_was_not_told_is_told_after_the_restart() {
    let text = yaml(&["{alert: A, expr: a}"]);
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    let firing = world.rules.take_changes();
    world.answer("a", Ok(&[]));
    world.step();
    let mut items: Vec<_> =
        world.rules.take_changes().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert_eq!((firing.len(), items.len()), (1, 1));
    // As if the process had died between the transition and the telling.
    items[0].1["last_sent_at"] = firing[0].1.as_ref().expect("a value")["last_sent_at"].clone();
    let mut after = World::at(&text, world.now + Duration::from_secs(7_200));
    after.rules.restore(items.into_iter(), world.now, after.now);
    after.answer("a", Ok(&[]));
    after.step();
    assert_eq!(after.told(), ["x:inactive"]);
    after.step();
    assert!(after.told().is_empty());
}

#[test]
fn only_what_must_survive_is_a_change() {
    let text = yaml(&["{alert: A, expr: a, for: 1s, annotations: {s: '{{ $value }}'}}"]);
    let mut world = World::new(&text);
    let changes = |world: &mut World, value: f64| {
        world.answer("a", Ok(&[("x", value)]));
        world.step();
        world.rules.take_changes().len()
    };
    assert_eq!(changes(&mut world, 1.0), 1, "pending");
    assert_eq!(changes(&mut world, 2.0), 1, "firing");
    let later: Vec<usize> = (0..61).map(|n| changes(&mut world, f64::from(n))).collect();
    assert_eq!(later.iter().sum::<usize>(), 1, "told again after the resend delay, values alone are no change");
    world.rules.reload(settings(&yaml(&["{alert: Other, expr: a}"])), world.now);
    let gone = world.rules.take_changes();
    assert!(gone.len() == 1 && gone[0].1.is_none(), "{gone:?}");
}

#[test]
fn what_the_journal_has_of_others_or_in_bad_shape_is_left_alone() {
    let mut world = World::new(&yaml(&["{alert: A, expr: a}"]));
    let items = [("switch/x", serde_json::json!({"a": 1})), ("alert/x", serde_json::json!({"a": 1}))];
    world.rules.restore(items.into_iter().map(|(key, value)| (key.to_owned(), value)), Timestamp::ZERO, world.now);
    assert!(world.rules.active_alerts().is_empty());
    assert_eq!(world.rules.take_changes(), [("alert/x".to_owned(), None)]);
}

#[test]
fn the_status_has_what_the_api_shows() {
    let text = yaml(&[
        "{alert: A, expr: 'a > 0', for: 1m, keep_firing_for: 2m, labels: {severity: page}, annotations: {s: '{{ $value }}'}}",
        "{record: b, expr: a}",
        "{scale: web, desired: a, max: 5, webhook: w}",
    ]);
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.5)]));
    assert_eq!(world.rules.groups_status(Listed::All)[0].rules[0].state_str(), "unknown");
    world.step();
    let status = world.rules.groups_status(Listed::All);
    let group = &status[0];
    assert_eq!((&*group.file, &*group.name, group.interval), ("r.yaml", "g", Duration::from_secs(1)));
    assert_eq!(group.last_evaluation, Some(world.now));
    let types: Vec<&str> = group.rules.iter().map(|rule| rule.id.kind.as_str()).collect();
    assert_eq!(types, ["alerting", "recording", "scale"]);
    let alert = &group.rules[0];
    assert_eq!((&*alert.query, alert.state_str(), alert.last_error()), ("a > 0", "pending", ""));
    assert_eq!((alert.duration, alert.keep_firing_for), (Duration::from_secs(60), Duration::from_secs(120)));
    assert_eq!((alert.spec.labels()["severity"], alert.spec.annotations()["s"]), ("page", "{{ $value }}"));
    assert_eq!(alert.alerts[0].annotations.get("s").unwrap(), "1.5");
    let condition = group.rules[2].conditions[0].condition.as_ref().expect("a condition");
    assert_eq!((condition.value, &condition.part), (Some(1.5), &Part::Desired));
    for (listed, rules) in [(Listed::Nothing, &[][..]), (Listed::Acting, &["web"]), (Listed::Alerting, &["A"])] {
        let status = world.rules.groups_status(listed);
        let names: Vec<&str> = status.iter().flat_map(|group| &group.rules).map(|rule| &*rule.id.name).collect();
        assert_eq!((status.len(), &*names), (1, rules), "{listed:?}");
    }
    world.answer("a", Ok(&[]));
    world.step();
    assert!(world.rules.groups_status(Listed::Alerting)[0].rules.is_empty(), "it is over");
}

#[test]
fn the_link_to_the_expression_is_escaped_as_in_prometheus() {
    let mut world = World::new(&yaml(&["{alert: A, expr: 'a{b=\"c d\"} > 0'}"]));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    let Outcome::Alert(event) = &world.out[0] else { panic!("{:?}", world.out) };
    assert_eq!(&*event.generator_url, "http://b/graph?g0.expr=a%7Bb%3D%22c+d%22%7D+%3E+0&g0.tab=1");
    assert_eq!(event.labels, Labels::from_pairs([("alertname", "A"), ("l", "x")]));
}

#[test]
fn the_wait_for_restored_alerts_has_an_end() {
    let text = yaml(&["{alert: A, expr: 'rate(a[1d])'}"]);
    let mut world = World::new(&text);
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    let after = restarted(&mut world, &text, Duration::from_secs(10));
    let tolerance = Duration::from_secs(3_600);
    assert_eq!(after.rules.active_alerts()[0].held_until, Some(after.now + tolerance + crate::limits::RESTORE_GRACE));
}

#[test]
fn a_reload_does_not_lose_a_slot_that_is_due_nor_what_waits_out_of_turn() {
    let text = group("g", "5m", &["{record: b, expr: a}"]);
    let mut world = World::new(&text);
    let due = world.rules.next_deadline().expect("a deadline");
    world.now = due + Duration::from_secs(1);
    world.rules.reload(settings(&text), world.now);
    assert_eq!(world.rules.next_deadline(), Some(due));
    world.trigger("a");
    world.trigger("a");
    world.asked();
    assert_eq!(world.rules.counters().urgent, 1, "the second one waits");
    world.now = world.now + Duration::from_millis(1);
    world.rules.reload(settings(&text), world.now);
    world.rules.evaluate_due(world.now, &mut world.store, &mut world.out);
    assert_eq!(world.rules.counters().urgent, 2);
}

#[test]
fn two_evaluations_of_one_rule_never_have_the_same_time() {
    let mut world = World::new(&yaml(&["{record: b, expr: a}"]));
    world.answer("a", Ok(&[("x", 1.0)]));
    world.step();
    world.trigger("a");
    assert_eq!((world.asked().len(), world.rules.counters().refused), (1, 0), "just evaluated: this one waits");
    world.step();
    assert_eq!((world.asked().len(), world.rules.counters().urgent), (1, 1));
    assert_eq!(world.points("b").len(), 2);
}

/// The example of the design, asked with the real PromQL over the real store.
#[test]
fn a_slow_checkout_is_recorded_told_and_judged() {
    let text = "\
groups:
- name: checkout
  interval: 1s
  rules:
  - record: checkout:latency_seconds:p99
    expr: histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{job=\"checkout\"}[10s])))
  - alert: CheckoutSlow
    expr: checkout:latency_seconds:p99 > 0.8
    for: 3s
    labels: {severity: critical}
    annotations: {summary: 'p99 is {{ $value | humanizeDuration }}'}
  - degrade: recommendations
    levels:
    - {level: cached, when: 'checkout:latency_seconds:p99 > 0.5', for: 5s}
    - {level: 'off', when: 'ALERTS{alertname=\"CheckoutSlow\", alertstate=\"firing\"}'}
    recover: {when: 'checkout:latency_seconds:p99 < 0.4', for: 60s}
  - {scale: checkout, desired: 'ceil(sum(rate(http_request_duration_seconds_bucket{le=\"+Inf\"}[10s])) / 40)', max: 9, webhook: w}
";
    let start = Timestamp::from_millis(1_000_000);
    let (mut rules, mut store) = (Rules::new(settings(text), start), Store::default());
    let mut lines = Vec::new();
    for second in 0..36_u32 {
        // 100 requests a second: fast ones, from the 5th to the 11th second slow ones, from the 23rd on none at all.
        let slow = f64::from(second.clamp(5, 11) - 5) * 100.0;
        for (le, count) in [
            ("0.1", f64::from(second) * 100.0 - slow),
            ("1", f64::from(second) * 100.0),
            ("+Inf", f64::from(second) * 100.0),
        ] {
            let name = [(NAME, "http_request_duration_seconds_bucket"), ("job", "checkout"), ("le", le)];
            let count = if second == 23 { stale_nan() } else { count };
            if second > 23 {
                continue;
            }
            store.append(&Labels::from_pairs(name), start + Duration::from_secs(second.into()), count);
        }
        let mut out = Vec::new();
        rules.evaluate_due(start + Duration::from_millis(u64::from(second) * 1_000 + 999), &mut store, &mut out);
        let mut words = Vec::new();
        for outcome in &out {
            match outcome {
                Outcome::Alert(event) => {
                    words.push(format!("{}: {}", event.state.as_str(), event.annotations["summary"]))
                }
                Outcome::Judged(judgement) => {
                    words.extend(judgement.conditions.iter().map(|condition| match condition.part {
                        Part::Desired => format!("{:?}", condition.value),
                        _ => condition.truth.as_str().to_owned(),
                    }))
                }
            }
        }
        let line = words.join(", ");
        if lines.last().is_none_or(|(_, before)| *before != line) && !words.is_empty() {
            lines.push((second, line));
        }
    }
    let lines: Vec<String> = lines.into_iter().map(|(second, line)| format!("{second}s {line}")).collect();
    assert_eq!(
        lines,
        [
            "0s no data, false, no data, None",
            "1s false, false, true, Some(1.0)",
            "4s false, false, true, Some(2.0)",
            "6s true, false, false, Some(2.0)",
            "8s true, false, false, Some(3.0)",
            "9s firing: p99 is 979.7ms, true, true, false, Some(3.0)",
            "10s true, true, false, Some(3.0)",
            "20s inactive: p99 is 919ms, false, false, true, Some(3.0)",
            "21s false, false, true, Some(3.0)",
            "25s false, false, true, Some(2.0)",
            "29s false, false, true, Some(1.0)",
            "31s no data, false, no data, None",
        ]
    );
}

#[test]
fn a_rule_takes_little_room() {
    let sizes =
        (size_of::<super::rule::Rule>(), size_of::<crate::model::Matcher>(), size_of::<crate::promql::Selector>());
    assert!(sizes.0 <= 320 && sizes.1 <= 48 && sizes.2 <= 48, "there are many thousands of them: {sizes:?}");
}
