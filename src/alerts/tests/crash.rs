//! Random histories with crashes at random points and receivers that fail in every way, against a plain oracle: the
//! set of alerts that fire at the source, and what a receiver knows that drops a repeated id.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{World, at, labels, line, report, secs, settings};
use crate::alerts::*;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
enum Step {
    Fire(usize),
    Resolve(usize),
    Wait(u64),
    Crash,
}

/// What a receiver does with one message, and what we hear of it.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Accepts,
    Fails,
    /// It takes the message, and we hear of a failure.
    AcceptsInSecret,
    Refuses,
    /// It takes the message, and we hear nothing.
    Silent,
    /// The process dies before this message is sent.
    WeDie,
}

const ALERTS: [&str; 4] = ["A i=1", "A i=2", "B i=1", "B i=2"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..ALERTS.len()).prop_map(Step::Fire),
        4 => (0..ALERTS.len()).prop_map(Step::Resolve),
        6 => (1_u64..16).prop_map(Step::Wait),
        1 => (60_u64..400).prop_map(Step::Wait),
        2 => Just(Step::Crash),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => Just(Deed::Accepts),
        3 => Just(Deed::Fails),
        2 => Just(Deed::AcceptsInSecret),
        2 => Just(Deed::Refuses),
        1 => Just(Deed::Silent),
        1 => Just(Deed::WeDie),
    ]
}

fn fast(resolve_wait: bool, by_name: bool, flapping: bool) -> Settings {
    let mut settings = settings();
    let email = IntegrationSpec { name: "email[0]".to_owned(), send_resolved: false, max_alerts: 0, rate_limit: None };
    settings.receivers[0].integrations.push(email);
    let (window, repeat, longest) = (secs(30), secs(20), secs(60));
    settings.flapping = flapping.then_some(FlapSettings { count: 2, window, repeat, longest });
    let route = &mut settings.route;
    (route.group_wait, route.group_interval) = (Some(secs(5)), Some(secs(10)));
    route.repeat_interval = Some(secs(100));
    route.resolve_wait = resolve_wait.then_some(secs(2));
    route.group_by = by_name.then(|| GroupBy::Labels(vec!["alertname".to_owned()]));
    settings
}

/// What one integration was told about one group.
#[derive(Default)]
struct Told {
    ids: BTreeMap<String, Notification>,
    /// First receptions, in order.
    lines: Vec<(Timestamp, NotifyReason)>,
    firing: BTreeSet<String>,
    ever: BTreeSet<String>,
}

impl Told {
    fn hear(&mut self, message: &Notification) {
        if let Some(before) = self.ids.get(&message.id.0) {
            assert_eq!(before, message, "an id stands for one content");
            return;
        }
        if let Some((last, _)) = self.lines.last() {
            assert!(*last <= message.created_at, "an older message came after a newer one: {}", line(message));
            let flapping = message.alerts.iter().any(|alert| alert.annotations.contains_key("flapping"));
            let repeat = message.reason == NotifyReason::RepeatInterval && !flapping;
            assert!(!repeat || message.created_at > *last + secs(100), "repeated too early: {}", line(message));
        }
        assert!(!message.alerts.is_empty());
        self.lines.push((message.created_at, message.reason));
        for alert in &message.alerts {
            match alert.status {
                AlertStatus::Firing => {
                    self.firing.insert(alert.fingerprint.clone());
                    self.ever.insert(alert.fingerprint.clone());
                }
                AlertStatus::Resolved => drop(self.firing.remove(&alert.fingerprint)),
            }
        }
        self.ids.insert(message.id.0.clone(), message.clone());
    }
}

struct Trial {
    world: World,
    deeds: Vec<Deed>,
    told: BTreeMap<(String, String), Told>,
    firing: BTreeMap<usize, Timestamp>,
}

impl Trial {
    fn run_to(&mut self, second: u64) {
        while let Some(next) = self.world.machine.next_deadline().filter(|next| *next <= at(second)) {
            let now = next.max(at(self.world.now));
            let mut out = Vec::new();
            self.world.machine.tick(now, &mut out);
            self.world.save();
            for message in out {
                if !self.deliver(now, &message) {
                    // Nothing after this was sent, and nothing of it is known.
                    self.crash(now);
                    break;
                }
            }
            self.world.save();
        }
        self.world.now = second;
    }

    fn crash(&mut self, now: Timestamp) {
        let settings = self.world.machine.settings.clone();
        self.world.machine = Alerts::new(settings, now.as_millis() as u64);
        assert_eq!(self.world.machine.restore(self.world.disk.clone(), now), Vec::<String>::new());
        self.world.save();
    }

    fn deliver(&mut self, now: Timestamp, message: &Notification) -> bool {
        let deed = self.deeds.pop().unwrap_or(Deed::Accepts);
        let told = self.told.entry((message.integration.clone(), message.group_key.clone())).or_default();
        if matches!(deed, Deed::Accepts | Deed::AcceptsInSecret | Deed::Silent) {
            told.hear(message);
        }
        let reason = "trouble".to_owned();
        let outcome = match deed {
            Deed::Accepts => Outcome::Accepted,
            Deed::Fails | Deed::AcceptsInSecret => Outcome::Retry { reason, after: None },
            Deed::Refuses => Outcome::Refused { reason },
            Deed::Silent => return true,
            Deed::WeDie => return false,
        };
        let settled = self.world.machine.delivered(now, &message.id, outcome);
        assert_ne!(settled, Settled::Unknown);
        self.world.save();
        true
    }

    fn put(&mut self, alert: usize, fires: bool) {
        let now = at(self.world.now);
        let start = *self.firing.entry(alert).or_insert(now);
        if !fires {
            self.firing.remove(&alert);
        }
        let end = if fires { now + secs(864_000) } else { now };
        self.world.machine.put(now, report(ALERTS[alert], start, Some(end))).expect("valid");
        self.world.save();
    }

    fn play(&mut self, steps: &[Step], crashes: bool) {
        for step in steps {
            match step {
                Step::Fire(alert) => self.put(*alert, true),
                Step::Resolve(alert) => self.put(*alert, false),
                Step::Wait(seconds) => self.run_to(self.world.now + seconds),
                Step::Crash if crashes => self.crash(at(self.world.now)),
                Step::Crash => {}
            }
        }
    }

    fn new(settings: Settings, deeds: Vec<Deed>) -> Trial {
        let world = World::new(settings);
        Trial { world, deeds, told: BTreeMap::new(), firing: BTreeMap::new() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_order_is_kept_whatever_fails(
        steps in prop::collection::vec(step(), 1..40),
        deeds in prop::collection::vec(deed(), 0..60),
        resolve_wait: bool,
        by_name: bool,
        flapping: bool,
    ) {
        let mut trial = Trial::new(fast(resolve_wait, by_name, flapping), deeds);
        trial.play(&steps, true);
        // From here on everyone is well.
        trial.deeds.clear();
        trial.run_to(trial.world.now + 1_000);
        let firing: BTreeSet<String> =
            trial.firing.keys().map(|alert| labels(ALERTS[*alert]).fingerprint().to_string()).collect();
        let of = |integration: &str, set: fn(&Told) -> &BTreeSet<String>| -> BTreeSet<String> {
            let lanes = trial.told.iter().filter(|((name, _), _)| name == integration);
            lanes.flat_map(|(_, told)| set(told).clone()).collect()
        };
        prop_assert_eq!(of("webhook[0]", |told| &told.firing), firing.clone());
        prop_assert!(firing.is_subset(&of("email[0]", |told| &told.ever)));
        prop_assert!(trial.world.machine.outbox.is_empty());
        // What is over leaves nothing in the journal.
        for alert in 0..ALERTS.len() {
            trial.put(alert, false);
        }
        trial.run_to(trial.world.now + 1_000);
        let now = at(trial.world.now);
        trial.world.machine.tick(now, &mut Vec::new());
        trial.world.save();
        // But for the week's count of each rule.
        let left = trial.world.disk.keys().filter(|key| !key.starts_with("noise/"));
        prop_assert_eq!(left.collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn a_history_with_crashes_says_what_one_without_says(
        steps in prop::collection::vec(step(), 1..40),
        resolve_wait: bool,
        by_name: bool,
        flapping: bool,
    ) {
        let heard = |crashes: bool| {
            let mut trial = Trial::new(fast(resolve_wait, by_name, flapping), Vec::new());
            trial.play(&steps, crashes);
            trial.run_to(trial.world.now + 300);
            let told = trial.told.into_iter();
            told.map(|(lane, told)| {
                let lines: Vec<_> = told.ids.into_values().map(|m| (m.created_at, m.id.0.clone(), line(&m))).collect();
                (lane, lines)
            })
            .collect::<BTreeMap<_, _>>()
        };
        prop_assert_eq!(heard(true), heard(false));
    }
}
