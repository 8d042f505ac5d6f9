//! A fleet tells the alerts of all its hosts together: once when it can, by each host alone when it cannot.

use std::collections::{BTreeMap, BTreeSet};

use brownout::alerts::{AlertStatus, Notification};
use brownout::rng::Rng;

use super::host::Plan;
use super::world::Fleet;

const HOSTS: usize = 30;
/// `group_wait`, `tell_alone_after`, and the second in which a rule is evaluated.
const BOUND: u64 = 5 + 30 + 2;

fn thirty(seed: u64) -> Fleet {
    let mut fleet = Fleet::new(HOSTS, 3, &Plan::of_alerts(), seed);
    fleet.run(8);
    fleet
}

fn fire(fleet: &mut Fleet, hosts: std::ops::Range<usize>, fires: bool) {
    fleet.hosts[hosts].iter_mut().for_each(|host| host.trouble = f64::from(u8::from(fires)));
}

/// What was sent since the beginning, one entry an id, with how many alerts fire and how many are resolved in it.
fn sent(fleet: &Fleet) -> Vec<(usize, usize)> {
    let mut all: Vec<(u64, &Notification)> =
        fleet.hosts.iter().flat_map(|host| host.messages.iter().map(|(at, message)| (*at, message))).collect();
    all.sort_by_key(|(at, _)| *at);
    let mut ids = BTreeSet::new();
    all.retain(|(_, message)| ids.insert(&message.id));
    let count = |message: &Notification, status| message.alerts.iter().filter(|alert| alert.status == status).count();
    all.iter().map(|(_, m)| (count(m, AlertStatus::Firing), count(m, AlertStatus::Resolved))).collect()
}

/// How often each host's alert was told to begin and to end, by different ids.
fn told(fleet: &Fleet) -> BTreeMap<String, (usize, usize)> {
    let mut told: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for host in &fleet.hosts {
        for (_, message) in &host.messages {
            for alert in message.alerts.iter().filter(|alert| alert.is_news) {
                // What a host tells alone is its own, and has no other name in it.
                let name = alert.labels.get("host").unwrap_or(&host.name).clone();
                let resolved = alert.status == AlertStatus::Resolved;
                if !seen.insert((name.clone(), resolved, message.id.clone())) {
                    continue;
                }
                let told = told.entry(name).or_default();
                if resolved { told.1 += 1 } else { told.0 += 1 }
            }
        }
    }
    told
}

#[test]
fn the_same_alert_on_thirty_hosts_is_one_message() {
    let mut fleet = thirty(1);
    fire(&mut fleet, 0..HOSTS, true);
    fleet.run(60);
    assert_eq!(sent(&fleet), [(HOSTS, 0)]);
    let message = fleet.hosts.iter().flat_map(|host| &host.messages).map(|(_, message)| message).next();
    let message = message.expect("a message");
    assert_eq!(message.group_labels, BTreeMap::from([("alertname".to_owned(), "Trouble".to_owned())]));
    assert_eq!(message.alerts[7].labels["host"], "h07");
    // One more, then half of them end, then the rest.
    fire(&mut fleet, 0..15, false);
    fleet.run(20);
    fire(&mut fleet, 0..HOSTS, false);
    fleet.run(60);
    assert_eq!(sent(&fleet), [(HOSTS, 0), (15, 15), (0, 15)]);
}

#[test]
fn the_next_host_that_counts_goes_on_and_repeats_nothing() {
    for after in [1, 4, 5, 6, 7, 9, 12] {
        let mut fleet = thirty(after);
        fire(&mut fleet, 0..HOSTS, true);
        fleet.run(after);
        let counter = fleet.counter().expect("somebody counts");
        fleet.kill(counter);
        fleet.run(30);
        assert_eq!(sent(&fleet).len(), 1, "killed after {after} s: {:?}", sent(&fleet));
        fleet.start(counter);
        fleet.run(60);
        fire(&mut fleet, 0..HOSTS, false);
        fleet.run(60);
        let beginnings: Vec<_> = told(&fleet).into_values().collect();
        assert_eq!(beginnings, [(1, 1); HOSTS], "killed after {after} s");
    }
}

#[test]
fn without_the_store_each_host_tells_its_own_in_time_and_nothing_again() {
    let mut fleet = thirty(2);
    fleet.world.lose(true);
    fleet.run(2);
    fire(&mut fleet, 0..HOSTS, true);
    fleet.run(BOUND - 5);
    assert_eq!(sent(&fleet), []);
    fleet.run(5);
    assert_eq!(sent(&fleet), [(1, 0); HOSTS]);
    for host in &fleet.hosts {
        let message = &host.messages[0].1;
        assert!(message.common_annotations["fleet"].contains(&host.name), "{message:?}");
        assert!(message.group_key.ends_with(&format!("@{}", host.name)), "{}", message.group_key);
    }
    // On return nothing is said: who told the beginning tells the end.
    fleet.world.lose(false);
    fleet.run(60);
    assert_eq!(sent(&fleet).len(), HOSTS);
    fire(&mut fleet, 0..HOSTS, false);
    fleet.run(30);
    assert_eq!(told(&fleet).into_values().collect::<Vec<_>>(), [(1, 1); HOSTS]);
}

#[test]
fn what_the_fleet_has_told_no_host_tells_again_though_the_store_is_lost_and_the_host_restarts() {
    let mut fleet = thirty(3);
    fire(&mut fleet, 0..HOSTS, true);
    fleet.run(15);
    fleet.world.lose(true);
    fleet.run(5);
    for host in 0..HOSTS {
        fleet.kill(host);
        fleet.start(host);
    }
    fleet.run(2 * BOUND);
    assert_eq!(sent(&fleet), [(HOSTS, 0)]);
    // The end of what the fleet told waits for the fleet.
    fire(&mut fleet, 0..HOSTS, false);
    fleet.run(2 * BOUND);
    fleet.world.lose(false);
    fleet.run(60);
    assert_eq!(told(&fleet).into_values().collect::<Vec<_>>(), [(1, 1); HOSTS], "{:?}", sent(&fleet));
}

#[test]
fn a_host_that_vanished_has_ended_nothing() {
    let mut fleet = thirty(4);
    fire(&mut fleet, 0..3, true);
    fleet.run(15);
    let victim = (0..3).find(|host| fleet.counter() != Some(*host)).expect("another than the one that counts");
    fleet.kill(victim);
    fleet.run(120);
    assert_eq!(sent(&fleet), [(3, 0)]);
    fleet.run(15 * 60);
    assert_eq!(sent(&fleet), [(3, 0), (2, 1)]);
    let last = fleet.hosts.iter().flat_map(|host| &host.messages).max_by_key(|(at, _)| *at).expect("a message");
    let ended = last.1.alerts.iter().find(|alert| alert.status == AlertStatus::Resolved).expect("an end");
    assert!(ended.annotations["fleet"].contains("vanished"), "{ended:?}");
}

/// Faults while alerts begin and end; what fired for long enough was told, and ends.
fn history(seed: u64) {
    let mut fleet = thirty(seed);
    let mut rng = Rng::seeded(seed);
    fleet.late = if rng.below(2) == 0 { 0 } else { 100 + rng.below(900) };
    let firing = 1 + rng.below(HOSTS as u64) as usize;
    let begin = rng.below(10);
    let fault_at = rng.below(20);
    let (kind, lasts) = (rng.below(4), 1 + rng.below(60));
    let mut down = None;
    for second in 0..20 + 60 + BOUND {
        if second == begin {
            fire(&mut fleet, 0..firing, true);
        }
        if second == fault_at {
            down = fleet.counter();
            match (kind, down) {
                (0, Some(counter)) => fleet.kill(counter),
                (1, Some(counter)) => fleet.cut_off(counter, true),
                (2, _) => (0..HOSTS).filter(|host| host % 3 == 0).for_each(|host| fleet.cut_off(host, true)),
                _ => fleet.world.lose(true),
            }
        }
        if second == fault_at + lasts {
            fleet.world.lose(false);
            (0..HOSTS).for_each(|host| fleet.cut_off(host, false));
            if let Some(counter) = down.filter(|_| kind == 0) {
                fleet.start(counter);
            }
        }
        fleet.run(1);
    }
    fleet.run(BOUND);
    let names: BTreeSet<String> = fleet.hosts[..firing].iter().map(|host| host.name.clone()).collect();
    let begun = told(&fleet);
    assert!(begun.keys().eq(&names), "seed {seed}: {begun:?}, not {names:?}");
    fire(&mut fleet, 0..HOSTS, false);
    fleet.run(2 * BOUND);
    for (name, (begun, ended)) in told(&fleet) {
        assert!(begun >= 1 && ended >= 1, "seed {seed}: {name} was told {begun} times to begin and {ended} to end");
        assert!(begun <= 2, "seed {seed}: {name} was told {begun} times to begin");
    }
}

#[test]
fn every_alert_is_told_whatever_breaks() {
    let seeds =
        std::env::var_os("BROWNOUT_FLEET_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok()).unwrap_or(24_u64);
    (1..=seeds).for_each(history);
}
