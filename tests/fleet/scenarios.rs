//! What a fleet of fifty does, and does not.

use super::host::Plan;
use super::world::Fleet;

fn fifty(scope_and_quorum: &str) -> Fleet {
    let mut fleet = Fleet::new(50, 3, &Plan::of(scope_and_quorum), 7);
    fleet.run(6);
    fleet
}

fn sick(fleet: &mut Fleet, hosts: std::ops::Range<usize>) {
    fleet.hosts[hosts].iter_mut().for_each(|host| host.trouble = 1.0);
}

#[test]
fn one_sick_host_of_fifty_changes_nothing_and_fifteen_do_at_thirty_percent() {
    let mut fleet = fifty("quorum: {share: 30%, at_least: 3}");
    sick(&mut fleet, 0..1);
    fleet.run(4);
    assert_eq!(fleet.level(), "full");
    sick(&mut fleet, 1..14);
    fleet.run(4);
    assert_eq!(fleet.level(), "full", "fourteen are not enough");
    sick(&mut fleet, 14..15);
    fleet.run(4);
    assert_eq!(fleet.level(), "cached");
    let decision = fleet.record().and_then(|record| record.decision).expect("a decision");
    let votes = decision.votes.expect("votes");
    assert_eq!((votes.agreed, votes.of), (15, 50));
    assert_eq!(votes.hosts[..2], ["h00", "h01"]);
    assert!(fleet.told().iter().all(|level| level.as_deref() == Some("cached")));
    assert_eq!(fleet.history.iter().filter(|(_, record)| record.level == "cached").count(), 1, "decided once");
}

#[test]
fn forty_of_fifty_that_vanish_do_not_let_the_other_ten_decide() {
    let mut fleet = fifty("quorum: {share: 30%, at_least: 3}");
    (10..50).for_each(|host| fleet.kill(host));
    fleet.run(6);
    sick(&mut fleet, 0..10);
    fleet.run(10);
    assert_eq!(fleet.level(), "full");
    // Nor is what the fifty decided undone by ten.
    let mut fleet = fifty("quorum: {share: 30%, at_least: 3}");
    sick(&mut fleet, 10..50);
    fleet.run(5);
    assert_eq!(fleet.level(), "cached");
    (10..50).for_each(|host| fleet.kill(host));
    fleet.run(12);
    assert_eq!(fleet.level(), "cached");
}

#[test]
fn a_bad_rule_that_is_pushed_to_all_hosts_stops_at_the_cap() {
    let mut fleet = fifty("scope: host\n    quorum: {max_degraded_share: 20%}");
    sick(&mut fleet, 0..50);
    fleet.run(8);
    let degraded = fleet.told().iter().filter(|level| level.as_deref() == Some("cached")).count();
    assert_eq!(degraded, 10);
    assert_eq!(fleet.record(), None, "what hosts decide for themselves is in no store");
}

#[test]
fn a_zone_decides_for_itself() {
    let mut fleet = fifty("scope: zone\n    quorum: {share: 50%}");
    (0..50).filter(|host| host % 3 == 1).for_each(|host| fleet.hosts[host].trouble = 1.0);
    fleet.run(5);
    for host in &fleet.hosts {
        let expected = if host.zone == "z1" { "cached" } else { "full" };
        assert_eq!(host.told().as_deref(), Some(expected), "{}", host.name);
    }
}

#[test]
fn the_next_host_that_counts_goes_on_and_decides_nothing_twice() {
    let mut fleet = fifty("quorum: {share: 30%}");
    sick(&mut fleet, 1..20);
    fleet.run(4);
    assert_eq!(fleet.level(), "cached");
    let before = fleet.history.len();
    let counter = fleet.counter().expect("somebody counts");
    fleet.kill(counter);
    fleet.run(8);
    assert_ne!(fleet.counter(), Some(counter));
    assert_eq!(fleet.history.len(), before, "nothing is decided twice");
    fleet.hosts.iter_mut().for_each(|host| host.trouble = 0.0);
    fleet.run(8);
    assert_eq!(fleet.level(), "full");
    // One that starts now knows what was decided without it.
    fleet.start(counter);
    fleet.run(6);
    assert_eq!(fleet.hosts[counter].decisions(fleet.at), ["cached", "full"]);
    assert_eq!(fleet.hosts[49].decisions(fleet.at), ["cached", "full"]);
}
