//! A few hosts and the one that counts, without a store: what the fleet tells, and what hosts tell by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::*;
use crate::alerts::counter::FleetAlerts;
use crate::alerts::member::{Mark, Marks, Report};
use crate::alerts::*;
use crate::limits;
use crate::model::Labels;

fn host_settings(name: &str) -> Settings {
    let mut settings = settings();
    settings.route.fleet = Some(true);
    settings.route.group_by = Some(GroupBy::Labels(vec!["alertname".to_owned()]));
    settings.part = Part::Member { host: name.to_owned() };
    settings.links = Some(LinkSettings {
        key: LinkKey([name.as_bytes()[1]; 32]),
        valid_for: limits::ALERT_RETENTION,
        silence_for: secs(1_000),
        acknowledge_for: secs(100_000),
    });
    settings
}

fn host(name: &str) -> World {
    let mut world = World::new(host_settings(name));
    drop(world.machine.restore(BTreeMap::new(), at(0)));
    world
}

struct Counter {
    fleet: FleetAlerts,
    /// The links of the last message.
    links: BTreeMap<String, String>,
    kept: BTreeMap<String, serde_json::Value>,
    heard: Vec<String>,
    own: Alerts,
}

impl Counter {
    fn new() -> Counter {
        let fleet =
            FleetAlerts::restore(at(0), &host_settings("h0"), 1, &BTreeMap::new(), &BTreeSet::new(), BTreeMap::new());
        Counter {
            fleet,
            links: BTreeMap::new(),
            kept: BTreeMap::new(),
            heard: Vec::new(),
            own: Alerts::new(host_settings("h0"), 1),
        }
    }

    /// Takes the reports of these hosts, does what is due, and tells them what became of their alerts.
    fn round(&mut self, second: u64, hosts: &mut [(&str, &mut World)]) {
        let now = at(second);
        let report = |world: &World| Arc::new(world.machine.report(now).expect("a report"));
        let reports: BTreeMap<String, Arc<Report>> =
            hosts.iter().map(|(name, world)| ((*name).to_owned(), report(world))).collect();
        let mut reports = reports;
        reports.insert("h0".to_owned(), Arc::new(self.own.report(now).expect("a report")));
        let live = reports.keys().cloned().collect();
        self.fleet.reports(now, &mut self.own, &reports, &live);
        let mut out = Vec::new();
        self.fleet.tick(now, &mut out);
        for message in out {
            self.links.clone_from(&message.links);
            self.heard.push(format!("{second} {}", line(&message)));
            assert_eq!(self.fleet.delivered(now, &message.id, Outcome::Accepted), Settled::Done);
        }
        for (key, value) in self.fleet.take_changes() {
            match value {
                Some(value) => drop(self.kept.insert(key, value)),
                None => drop(self.kept.remove(&key)),
            }
        }
        for (name, marks) in self.fleet.take_marks(now) {
            if let Some((_, world)) = hosts.iter_mut().find(|(host, _)| *host == name) {
                world.machine.fleet_says(now, &marks);
            }
        }
        for (_, world) in hosts.iter_mut() {
            world.run_to(second);
        }
    }
}

#[test]
fn the_fleet_tells_all_and_the_hosts_tell_nothing() {
    let (mut one, mut two, mut counter) = (host("h1"), host("h2"), Counter::new());
    one.fire("Down");
    two.fire("Down");
    for second in 0..200 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    assert_eq!(counter.heard, ["30 webhook[0] first_notification firing Down/h1 Down/h2"]);
    one.resolve("Down");
    for second in 200..700 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    assert_eq!(counter.heard[1..], ["330 webhook[0] some_resolved firing Down/h2 resolved Down/h1"]);
    assert_eq!((one.heard.len(), two.heard.len()), (0, 0));
    assert_eq!(one.machine.report(at(700)), Some(Report::default()), "it is over and done with");
    // Whoever counts next goes on from what was kept: nothing is told again.
    let report = Arc::new(two.machine.report(at(700)).expect("a report"));
    let (reports, live) = (BTreeMap::from([("h2".to_owned(), report)]), BTreeSet::from(["h2".to_owned()]));
    let next = FleetAlerts::restore(at(700), &host_settings("h1"), 2, &reports, &live, counter.kept.clone());
    counter.fleet = next;
    for second in 700..1300 {
        counter.round(second, &mut [("h2", &mut two)]);
    }
    assert_eq!(counter.heard.len(), 2, "{:?}", counter.heard);
}

#[test]
fn what_is_silenced_on_its_host_is_not_told_of_that_host() {
    let (mut one, mut two, mut counter) = (host("h1"), host("h2"), Counter::new());
    let matchers = parse_matchers("alertname=Down").expect("matchers");
    let silence = SilenceIn {
        id: None,
        matchers,
        starts_at: at(0),
        ends_at: at(100),
        created_by: "me".to_owned(),
        comment: "known".to_owned(),
        annotations: BTreeMap::new(),
    };
    one.machine.set_silence(at(0), silence).expect("a silence");
    one.fire("Down");
    two.fire("Down");
    for second in 0..400 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    let expected =
        ["30 webhook[0] first_notification firing Down/h2", "330 webhook[0] new_alerts firing Down/h1 Down/h2"];
    assert_eq!(counter.heard, expected);
    assert_eq!((one.heard.len(), two.heard.len()), (0, 0));
}

/// The token of a link in the last message.
fn token(counter: &Counter, deed: &str) -> String {
    counter.links[deed].strip_prefix("http://page/act/").expect("a link to our page").to_owned()
}

#[test]
fn a_link_of_the_fleets_message_silences_for_all_whoever_counts() {
    let (mut one, mut two, mut counter) = (host("h1"), host("h2"), Counter::new());
    one.fire("Down");
    for second in 0..40 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    assert_eq!(counter.heard, ["30 webhook[0] first_notification firing Down/h1"]);
    let link = token(&counter, "silence");
    assert!(counter.own.link(at(40), &link).expect("a link").fleet);
    let mut own = counter.own.clone();
    // The host that sent it does not count any more: it is heard all the same.
    let said = own.use_link(at(40), &link, "ann", None).expect("used");
    assert!(said.starts_with("silenced for the whole fleet for 16m40s: silence "), "{said}");
    counter.own = own;
    two.fire("Down");
    for second in 40..100 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    assert!(counter.kept.keys().any(|key| key.starts_with("silence/")), "{:?}", counter.kept.keys());
    // Another one counts, and the host that was silenced at is gone for ever.
    let before = std::mem::replace(&mut counter.own, Alerts::new(host_settings("h5"), 3));
    let kept = counter.kept.clone();
    counter.fleet = FleetAlerts::restore(at(100), counter.own.settings(), 2, &BTreeMap::new(), &BTreeSet::new(), kept);
    for second in 100..900 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    assert_eq!(counter.heard.len(), 1, "{:?}", counter.heard);
    let there: Vec<Silence> = counter.own.silences().cloned().collect();
    assert_eq!(there, before.silences().cloned().collect::<Vec<_>>(), "people see it there");
    // It is ended where it is seen now.
    counter.own.expire_silence(at(900), &there[0].id).expect("it goes on");
    for second in 900..1300 {
        counter.round(second, &mut [("h1", &mut one), ("h2", &mut two)]);
    }
    assert_eq!(counter.heard[1..], ["1000 webhook[0] new_alerts firing Down/h1 Down/h2"]);
    assert_eq!((one.heard.len(), two.heard.len()), (0, 0));
}

#[test]
fn what_is_acknowledged_by_the_fleets_link_is_not_repeated_whoever_counts() {
    let (mut one, mut counter) = (host("h1"), Counter::new());
    one.fire("Down");
    for second in 0..40 {
        counter.round(second, &mut [("h1", &mut one)]);
    }
    let link = token(&counter, "acknowledge");
    assert_eq!(counter.own.use_link(at(40), &link, "ann", None), Err(LinkError::Elsewhere));
    let said = counter.own.use_link(at(41), &link, "ann", Some(&mut counter.fleet)).expect("used");
    assert!(said.starts_with("acknowledged"), "{said}");
    assert_eq!(counter.own.use_link(at(42), &link, "ann", Some(&mut counter.fleet)), Err(LinkError::Used));
    counter.round(43, &mut [("h1", &mut one)]);
    let kept = counter.kept.clone();
    counter.fleet = FleetAlerts::restore(at(44), &host_settings("h5"), 2, &BTreeMap::new(), &BTreeSet::new(), kept);
    for second in 44..9_000 {
        counter.round(second, &mut [("h1", &mut one)]);
    }
    assert_eq!(counter.heard.len(), 1, "repeats would have come after an hour: {:?}", counter.heard);
}

#[test]
fn a_host_waits_as_long_as_the_fleet_has_announced_and_no_longer() {
    let fingerprint = labels("Down").fingerprint().to_string();
    let marks = |told: bool, due: u64| {
        let mark = Mark { resolved: false, told, due: Some(at(due)).filter(|_| !told) };
        Marks { at: at(1000), alerts: BTreeMap::from([(fingerprint.clone(), mark)]) }
    };
    let check = |said: Option<Marks>, expected: &[&str]| {
        let mut world = host("h1");
        world.fire("Down");
        world.run_to(2);
        if let Some(marks) = &said {
            world.machine.fleet_says(at(2), marks);
        }
        world.run_to(500);
        assert_eq!(world.heard, expected, "{said:?}");
    };
    check(None, &["60 webhook[0] first_notification firing Down"]);
    // The other's clock is its own: 100 s from when it was said.
    check(Some(marks(false, 1100)), &["132 webhook[0] first_notification firing Down"]);
    check(Some(marks(false, 900)), &["60 webhook[0] first_notification firing Down"]);
    check(Some(marks(false, 1_000_000)), &[]);
    check(Some(marks(true, 0)), &[]);
}

#[test]
fn what_has_no_room_in_the_report_is_told_by_its_host() {
    let (mut one, mut counter) = (host("h1"), Counter::new());
    for number in 0..limits::FLEET_HOST_ALERTS + 2 {
        one.fire(&format!("Down n={number:03}"));
    }
    let report = one.machine.report(at(0)).expect("a report");
    assert_eq!((report.alerts.len(), report.left_out), (limits::FLEET_HOST_ALERTS, 2));
    for second in 0..100 {
        counter.round(second, &mut [("h1", &mut one)]);
    }
    assert_eq!(one.heard, ["60 webhook[0] first_notification firing Down/200 Down/201"]);
    assert_eq!(counter.heard.len(), 1);
    // And the fleet leaves alone what a host tells alone.
    let report = one.machine.report(at(100)).expect("a report");
    assert_eq!(report.alerts.iter().filter(|alert| alert.alone).count(), 0, "they have no room still");
    let labels = Labels::from_pairs(&report.alerts[7].labels);
    assert_eq!(labels.get("n"), Some("007"));
}

#[test]
fn without_a_fleet_the_scope_changes_nothing() {
    let mut world = World::new(Settings { part: Part::Alone, ..host_settings("h1") });
    world.fire("Down");
    world.run_to(100);
    assert_eq!(world.heard, ["30 webhook[0] first_notification firing Down"]);
    assert_eq!(world.machine.report(at(100)), None);
}
