//! A revision of the fleet's configuration goes out, while hosts die, are cut off, and the store loses its quorum.

use std::time::Duration;

use brownout::rng::Rng;
use brownout::switches::{Push, Stage, StageWord};

use super::host::Plan;
use super::world::Fleet;

const HOSTS: usize = 8;
const BAKE: u64 = 10;

fn fleet(seed: u64) -> Fleet {
    let mut fleet = Fleet::new(HOSTS, 2, &Plan::of("quorum: {share: 50%}"), seed);
    fleet.run(6);
    fleet
}

fn push(fleet: &mut Fleet, bad: bool) {
    let push = Push {
        by: "ann".into(),
        why: String::new(),
        steps: vec![0.25],
        bake: Duration::from_secs(BAKE),
        alerts: vec!["Brownout*".into()],
        acknowledge: true,
    };
    let at = fleet.at;
    assert!(fleet.hosts[0].say(at, &StageWord::Push(push)), "taken");
    if bad {
        fleet.hosts.iter_mut().for_each(|host| host.bad = 1);
    }
}

fn stage(fleet: &Fleet) -> Stage {
    fleet.hosts[0].stage().expect("it is there").stage.clone()
}

fn ran(fleet: &Fleet) -> usize {
    fleet.hosts.iter().filter(|host| host.ran.contains(&1)).count()
}

#[test]
fn a_good_revision_reaches_all_and_a_bad_one_a_quarter() {
    let mut good = fleet(5);
    push(&mut good, false);
    good.run(BAKE - 2);
    assert_eq!((ran(&good), stage(&good).stable), (2, 0));
    good.run(6);
    assert_eq!((ran(&good), stage(&good).stable), (HOSTS, 1));
    let mut bad = fleet(5);
    push(&mut bad, true);
    bad.run(BAKE + 6);
    let stage = stage(&bad);
    assert_eq!((ran(&bad), stage.stable), (2, 0));
    assert!(stage.locked.expect("rolled back").why.contains("BrownoutWrong fires on h"));
    assert!(bad.hosts.iter().all(|host| host.runs == 0));
}

/// One history of faults around a push.
fn history(seed: u64) {
    let mut rng = Rng::seeded(seed);
    let mut fleet = fleet(seed);
    let bad = rng.below(2) == 0;
    fleet.late = rng.below(2) * 500;
    push(&mut fleet, bad);
    for _ in 0..1 + rng.below(3) {
        let host = 1 + rng.below(HOSTS as u64 - 1) as usize;
        fleet.run(rng.below(6));
        let lasts = 1 + rng.below(12);
        match rng.below(4) {
            0 => {
                let counter = fleet.counter().filter(|counter| *counter > 0).unwrap_or(host);
                fleet.kill(counter);
                fleet.run(lasts);
                fleet.start(counter);
            }
            1 => {
                fleet.kill(host);
                fleet.run(lasts);
                fleet.start(host);
            }
            2 => {
                fleet.cut_off(host, true);
                fleet.run(lasts);
                fleet.cut_off(host, false);
            }
            _ => {
                fleet.world.lose(true);
                fleet.run(lasts);
                fleet.world.lose(false);
            }
        }
    }
    fleet.late = 0;
    fleet.run(40);
    let stage = stage(&fleet);
    assert_eq!(stage.candidate, None, "seed {seed}: it has come to an end");
    assert_eq!(stage.stable, u64::from(!bad), "seed {seed}: {:?}", stage.history);
    assert_eq!(stage.locked.is_some(), bad, "seed {seed}: {:?}", stage.locked);
    for host in &fleet.hosts {
        assert_eq!(host.runs, stage.stable, "seed {seed}: {}", host.name);
    }
    // One that was away when the share was measured by a host that never knew it may come on top.
    assert!(!bad || ran(&fleet) <= 4, "seed {seed}: {} hosts ran a bad revision", ran(&fleet));
}

#[test]
fn faults_change_nothing_about_the_end() {
    let seeds = std::env::var_os("BROWNOUT_FLEET_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok()).unwrap_or(40);
    (1..=seeds).for_each(history);
}
