//! Alerts over a crash: real PromQL over a real store, one evaluation a second, in virtual time.

use std::time::Duration;

use super::script::settings;
use super::{Outcome, Rules};
use crate::model::{Batch, Labels, NAME, Source};
use crate::series::{Settings, Store};
use crate::time::Timestamp;

/// A process, and what is left of it after a crash.
struct Process {
    text: String,
    rules: Rules,
    store: Store,
    now: Timestamp,
    /// When it was started last.
    began: Timestamp,
    snapshot: Vec<u8>,
    journal: std::collections::BTreeMap<String, serde_json::Value>,
    /// Every change of what is seen of the alerts: seconds since the first start, and the states.
    seen: Vec<(u64, String)>,
}

const START: Timestamp = Timestamp::from_millis(1_000_000);

impl Process {
    fn new(rules: &[&str]) -> Process {
        let lines: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
        Process::of(format!("groups:\n- name: g\n  interval: 1s\n  rules:\n{lines}"))
    }

    fn of(text: String) -> Process {
        Process {
            rules: Rules::new(settings(&text), START),
            text,
            store: Store::default(),
            now: START,
            began: START,
            snapshot: Vec::new(),
            journal: Default::default(),
            seen: Vec::new(),
        }
    }

    /// Runs until this second, with these series each second: the name with its `l`, and the value.
    fn run(&mut self, until: u64, series: &[(&str, &str, f64)]) {
        while self.now.since(START) < Duration::from_secs(until) {
            self.now = self.now + Duration::from_secs(1);
            let samples =
                series.iter().map(|(name, l, value)| (Labels::from_pairs([(NAME, *name), ("l", *l)]), *value));
            if !series.is_empty() {
                let batch = Batch { samples: samples.collect(), ..Batch::ended(Source::new("test", "s"), self.now) };
                self.store.append_batch(&batch, &mut |labels, why| panic!("{labels} {why:?}"));
            }
            let mut out: Vec<Outcome> = Vec::new();
            self.rules.evaluate_due(self.now + Duration::from_millis(999), &mut self.store, &mut out);
            for (key, value) in self.rules.take_changes() {
                match value {
                    Some(value) => drop(self.journal.insert(key, value)),
                    None => drop(self.journal.remove(&key)),
                }
            }
            let states: Vec<String> = self
                .rules
                .active_alerts()
                .iter()
                .map(|alert| format!("{}{}", alert.labels.value("l"), alert.state.as_str()))
                .collect();
            let states = states.join(" ");
            if self.seen.last().is_none_or(|(_, before)| *before != states) {
                self.seen.push((self.now.since(START).as_secs(), states));
            }
        }
    }

    fn keep_snapshot(&mut self) {
        self.snapshot = self.store.snapshot();
    }

    /// Dies, and is back after so many seconds with what the disk has: the series only when there is a snapshot.
    fn crash(&mut self, pause: u64) {
        let last_alive = self.now;
        self.now = self.now + Duration::from_secs(pause);
        self.began = self.now;
        self.store = match self.snapshot.is_empty() {
            true => Store::default(),
            false => Store::restore(&self.snapshot, Settings::default()).expect("a snapshot").0,
        };
        self.rules = Rules::new(settings(&self.text), self.now);
        self.rules.restore(self.journal.clone().into_iter(), last_alive, self.now);
    }

    fn seen(&self) -> Vec<(u64, &str)> {
        self.seen.iter().map(|(second, states)| (*second, states.as_str())).collect()
    }
}

#[test]
fn a_pending_alert_killed_at_17_seconds_of_20_fires_in_time() {
    for snapshot in [true, false] {
        let mut process = Process::new(&["{alert: A, expr: 'x > 0', for: 20s}"]);
        process.run(10, &[("x", "a", 1.0)]);
        if snapshot {
            process.keep_snapshot();
        }
        process.run(18, &[("x", "a", 1.0)]);
        assert_eq!(process.seen(), [(1, "apending")]);
        process.crash(1);
        process.run(30, &[("x", "a", 1.0)]);
        assert_eq!(process.seen(), [(1, "apending"), (21, "afiring")], "with a snapshot: {snapshot}");
    }
}

#[test]
fn a_firing_alert_never_goes_back_while_its_input_is_away() {
    let mut process = Process::new(&["{alert: A, expr: 'x > 0', for: 5s}"]);
    process.run(5, &[("x", "a", 0.0)]);
    process.keep_snapshot();
    process.run(20, &[("x", "a", 1.0)]);
    process.crash(3);
    // The snapshot says 0, and that is old: nothing is believed until the source is heard.
    process.run(33, &[]);
    process.run(60, &[("x", "a", 1.0)]);
    assert_eq!(process.seen(), [(1, ""), (6, "apending"), (11, "afiring")]);
    // An input that does not come back is not waited for for ever: two intervals and the grace, here 32 s.
    process.crash(1);
    process.run(120, &[]);
    assert_eq!(process.seen()[3..], [(93, "")]);
}

#[test]
fn a_condition_that_ended_during_the_outage_ends_with_the_first_fresh_inputs() {
    let check = |expr: &str, ends: u64| {
        let mut process = Process::new(&[&format!("{{alert: A, expr: '{expr}'}}")]);
        process.run(30, &[("x", "a", 1.0), ("x", "b", 1.0), ("y", "a", 1.0)]);
        process.keep_snapshot();
        process.crash(10);
        process.run(43, &[]);
        process.run(60, &[("x", "a", 0.0), ("x", "b", 0.0), ("y", "a", 1.0)]);
        assert_eq!(process.seen().last().map(|(at, states)| (*at, *states)), Some((ends, "")), "{expr}");
    };
    check("x > 0", 44);
    check("sum(x) > 0", 44);
    check("x{l=\"a\"} > 0 and on(l) y == 1", 44);
    check("max_over_time(x[5s]) > 0", 45);
    check("x > 0 unless on(l) nowhere", 44);
}

#[test]
fn a_series_that_its_source_does_not_have_any_more_is_not_waited_for() {
    let mut process = Process::new(&["{alert: A, expr: 'x > 0'}"]);
    process.run(10, &[("x", "a", 1.0), ("x", "b", 1.0)]);
    process.keep_snapshot();
    process.crash(5);
    process.run(20, &[("x", "b", 1.0)]);
    assert_eq!(process.seen(), [(1, "afiring bfiring"), (16, "bfiring")]);
}

#[test]
fn a_range_without_its_beginning_is_waited_for() {
    let mut process = Process::new(&["{alert: A, expr: 'increase(x[20s]) > 5'}"]);
    for second in 1..=30_u32 {
        process.run(second.into(), &[("x", "a", f64::from(second.clamp(20, 30)))]);
    }
    let fired = process.seen().last().map(|(_, states)| states.to_string());
    assert_eq!(fired.as_deref(), Some("afiring"));
    // Without a snapshot nobody knows whether it grew until 20 s have been seen.
    process.crash(1);
    process.run(70, &[("x", "a", 30.0)]);
    assert_eq!(process.seen().last(), Some(&(51, "")));
}

#[test]
fn what_a_recording_rule_made_of_old_inputs_is_not_believed() {
    let text = "groups:\n- name: r\n  interval: 2s\n  rules: [{record: y, expr: 'x * 2'}]\n\
                - name: g\n  interval: 1s\n  rules: [{alert: A, expr: 'y > 0'}]\n";
    let mut process = Process::of(text.into());
    process.run(5, &[("x", "a", 0.0)]);
    process.keep_snapshot();
    process.run(20, &[("x", "a", 1.0)]);
    let before = process.seen().len();
    process.crash(1);
    // The recording rule goes on from the snapshot's 0 at once; the alert must not.
    process.run(26, &[]);
    process.run(40, &[("x", "a", 1.0)]);
    assert_eq!(process.seen().len(), before, "{:?}", process.seen());
    process.keep_snapshot();
    process.crash(1);
    process.run(60, &[("x", "a", 0.0)]);
    let (at, states) = *process.seen().last().expect("a change");
    assert!(states.is_empty() && at <= 45, "{:?}", process.seen());
}

#[test]
fn every_time_of_an_alert_survives_a_crash_exactly() {
    let rules = [
        "{alert: K, expr: 'x > 0', keep_firing_for: 30s}",
        "{alert: U, expr: 'z > 0', on_unknown: hold, unknown_for: 30s}",
    ];
    let mut process = Process::new(&rules);
    process.run(10, &[("x", "a", 1.0), ("z", "b", 1.0)]);
    process.run(15, &[("x", "a", 0.0)]);
    process.keep_snapshot();
    let before = process.rules.active_alerts();
    process.crash(4);
    let after = process.rules.active_alerts();
    let times = |alerts: &[super::ActiveAlert]| {
        alerts.iter().map(|a| (a.active_at, a.keep_firing_since, a.unknown_since)).collect::<Vec<_>>()
    };
    assert_eq!(times(&before), times(&after));
    assert!(after[0].keep_firing_since.is_some() && after[1].unknown_since.is_some(), "{after:?}");
    process.run(60, &[("x", "a", 0.0)]);
    assert_eq!(process.seen(), [(1, "afiring bfiring"), (41, "")], "11 s and 30 s, as without the crash");
}
