//! The engine under a clock that is set, and over restarts: in simulated time.

use std::time::Duration;

use super::core::{Engine, Settings};
use super::{ActionSettings, Effects, Event, Restored};
use crate::alerts::{self, IntegrationSpec, ReceiverSpec};
use crate::model::{Batch, Labels, NAME, Source};
use crate::rules::{self, Listed};
use crate::series::{self, Progress, SnapshotSum};
use crate::time::Timestamp;
use crate::yaml::SourceFile;

const RULES: &str = "\
groups:
- name: g
  interval: 1s
  rules:
  - {alert: Pending, expr: 'x > 0', for: 20s}
  - {alert: Kept, expr: 'y > 0', keep_firing_for: 20s}
  - {alert: Moving, expr: 'rate(counter[10s]) < 0.9'}
";

fn settings() -> Settings {
    let (groups, problems) = rules::parse_file(&SourceFile::new("r.yaml", RULES));
    let integration =
        IntegrationSpec { name: "webhook[0]".into(), send_resolved: true, max_alerts: 0, rate_limit: None };
    let receivers = vec![ReceiverSpec { name: "all".into(), integrations: vec![integration] }];
    let mut alerts = alerts::Settings { receivers, ..Default::default() };
    alerts.route.receiver = Some("all".into());
    alerts.route.group_by = Some(alerts::GroupBy::All);
    alerts.route.group_wait = Some(Duration::from_secs(2));
    alerts.route.group_interval = Some(Duration::from_secs(10));
    Settings {
        series: series::Settings::default(),
        rules: rules::Settings { groups: groups.unwrap_or_else(|| panic!("{problems:?}")), ..Default::default() },
        alerts,
        actions: ActionSettings::default(),
        fleet: None,
        record: false,
    }
}

/// An engine that is driven second by second. `second` counts the time that really passes.
struct World {
    engine: Engine,
    now: Timestamp,
    second: u64,
    journal: std::collections::BTreeMap<String, serde_json::Value>,
    /// Messages: the second, the alert, its status.
    sent: Vec<String>,
    refused: u64,
}

impl World {
    fn new() -> World {
        let now = Timestamp::from_millis(100_000_000);
        let engine = Engine::restore(now, settings(), Restored::default(), 1, &mut Effects::default());
        World { engine, now, second: 0, journal: Default::default(), sent: Vec::new(), refused: 0 }
    }

    fn give(&mut self, event: Event) {
        let mut out = Effects::default();
        self.engine.handle(self.now, event, &mut out);
        for (key, value) in out.journal {
            match value {
                Some(value) => drop(self.journal.insert(key, value)),
                None => drop(self.journal.remove(&key)),
            }
        }
        self.refused += out.refused.values().sum::<u64>();
        for notification in out.notifications {
            for alert in &notification.alerts {
                let name = &alert.labels["alertname"];
                self.sent.push(format!("{} {name} {:?}", self.second, alert.status));
            }
            self.give(Event::Delivered(notification.id, super::DeliveryOutcome::Accepted));
        }
    }

    /// Whole seconds, each with one batch and then every deadline of that second.
    fn run(&mut self, until: u64, y: f64) {
        while self.second < until {
            self.second += 1;
            self.now = self.now + Duration::from_secs(1);
            let sample = |name: &str, value: f64| (Labels::from_pairs([(NAME, name)]), value);
            let samples = vec![sample("x", 1.0), sample("y", y), sample("counter", self.second as f64)];
            let batch = Batch { samples, ..Batch::ended(Source::new("test", "s"), self.now) };
            self.give(Event::Samples(batch));
            let end = self.now + Duration::from_millis(999);
            while let Some(due) = self.engine.next_deadline().filter(|due| *due <= end) {
                self.now = self.now.max(due);
                self.give(Event::Tick);
            }
            self.now =
                Timestamp::from_millis(100_000_000 + (self.now.as_millis() - 100_000_000).div_euclid(1000) * 1000);
        }
    }

    fn step_clock(&mut self, by_secs: i64) {
        // A batch that was stamped just before the step is handled just after it.
        let stamped = self.now + Duration::from_millis(5);
        self.now = self.now.shifted(by_secs * 1_000 + 10);
        self.give(Event::ClockStepped(by_secs * 1_000));
        let late = vec![(Labels::from_pairs([(NAME, "late")]), 1.0)];
        self.give(Event::Samples(Batch { samples: late, ..Batch::ended(Source::new("test", "late"), stamped) }));
        self.now = self.now.shifted(-10);
    }
}

const WITHOUT_STEP: [&str; 5] =
    ["4 Moving Firing", "5 Kept Firing", "14 Moving Resolved", "23 Pending Firing", "35 Kept Resolved"];

#[test]
fn a_step_of_the_clock_moves_no_notification_and_refuses_no_sample() {
    let mut expected = None;
    for by in [0, -3_600, -5, 3_600, 5] {
        let mut world = World::new();
        world.run(2, 0.0);
        world.run(12, 1.0);
        if by != 0 {
            world.step_clock(by);
        }
        world.run(60, 0.0);
        assert_eq!(world.refused, 0, "by {by}");
        let sent = expected.get_or_insert_with(|| world.sent.clone());
        assert_eq!(world.sent, *sent, "by {by}");
        let status = world.engine.rules().groups_status(Listed::All);
        let alert = &status[0].rules[0].alerts[0];
        let age = world.now.since(alert.active_at).as_secs();
        assert!((58..=60).contains(&age), "by {by}: {age} s, as long as it really was");
        assert!(status[0].missed <= 1, "by {by}");
    }
    let sent = expected.unwrap_or_default();
    let names: Vec<&str> = sent.iter().map(String::as_str).collect();
    assert_eq!(names, WITHOUT_STEP);
}

#[test]
fn a_clock_that_was_set_back_during_an_outage_is_noticed_at_the_start() {
    let mut world = World::new();
    world.run(2, 0.0);
    world.run(10, 1.0);
    let restored = Restored {
        entries: world.journal.clone(),
        last_alive: Some(world.now),
        series: Some(snapshot(&world.engine)),
        ..Restored::default()
    };
    world.now = world.now - Duration::from_secs(3_600);
    world.engine = Engine::restore(world.now, settings(), restored, 2, &mut Effects::default());
    world.run(30, 1.0);
    assert_eq!(world.refused, 0);
    assert!(world.sent.iter().any(|sent| sent == "23 Pending Firing"), "{:?}", world.sent);
}

#[test]
fn what_passes_a_limit_is_refused_and_counted_under_its_source() {
    let mut settings = settings();
    settings.series = series::Settings { max_series: 5, max_series_per_source: 3, ..Default::default() };
    let now = Timestamp::from_millis(100_000_000);
    let mut engine = Engine::restore(now, settings, Restored::default(), 1, &mut Effects::default());
    let mut refused = |source: &str, count: usize| {
        let name = |number: usize| Labels::from_pairs([(NAME, source.to_owned()), ("n", number.to_string())]);
        let samples = (0..count).map(|number| (name(number), 1.0)).collect();
        let mut out = Effects::default();
        let batch = Batch { samples, ..Batch::ended(Source::new("test", source), now) };
        engine.handle(now, Event::Samples(batch), &mut out);
        out.refused.into_iter().map(|((source, why), n)| format!("{} {why:?} {n}", source.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(refused("greedy", 5), ["test/greedy TooManySeriesOfSource 2"]);
    assert_eq!(refused("modest", 3), ["test/modest TooManySeries 1"]);
    assert!(refused("greedy", 3).is_empty(), "what it has goes on");
}

fn snapshot(engine: &Engine) -> Vec<u8> {
    let (mut run, mut bytes) = engine.begin_series_snapshot();
    while engine.series_snapshot_piece(&mut run, 1, &mut bytes) == Progress::More {}
    let mut sum = SnapshotSum::default();
    sum.add(&bytes);
    [bytes, sum.bytes().to_vec()].concat()
}
