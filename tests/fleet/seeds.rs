//! Seeded histories: each runs under chosen faults, and is judged at every step.

use std::time::Duration;

use brownout::rng::Rng;

use super::host::Plan;
use super::judge::Judge;
use super::world::{Fleet, STEP};

/// Everybody is there by then.
const SETTLED: u64 = 6;
/// No fault, and no trouble, after this.
const HEALED: u64 = 36;
/// Everybody agrees by then.
const AGREED: u64 = 46;
/// And all is well again by then.
const WELL: u64 = 80;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(usize),
    KillCounter,
    CutOff(usize),
    CutOffMany(u64),
    LoseQuorum,
    Clock(usize, i64),
}

/// The plan of one history.
#[derive(Debug)]
struct History {
    seed: u64,
    faults: Vec<(u64, u64, Fault)>,
    /// By host: the seconds at which its trouble changes, and to what.
    troubles: Vec<Vec<(u64, f64)>>,
    pin: Option<(u64, usize)>,
    late: u64,
}

fn history(seed: u64) -> History {
    let mut rng = Rng::seeded(seed);
    let hosts = 5 + rng.below(6) as usize;
    let between = |rng: &mut Rng, from: u64, to: u64| from + rng.below(to - from);
    let mut faults = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let begin = between(&mut rng, SETTLED, HEALED - 4);
        let end = begin + between(&mut rng, 1, 13).min(HEALED - begin);
        let host = rng.below(hosts as u64) as usize;
        let fault = match rng.below(7) {
            0 | 1 => Fault::Kill(host),
            2 => Fault::KillCounter,
            3 => Fault::CutOff(host),
            4 => Fault::CutOffMany(rng.next_u64()),
            5 => Fault::LoseQuorum,
            _ => Fault::Clock(host, (rng.below(20) as i64 - 10) * 60_000),
        };
        faults.push((begin, end, fault));
    }
    // Waves of trouble over a part of the hosts, and one host that is sick by itself now and then.
    let mut troubles = vec![Vec::new(); hosts];
    for _ in 0..rng.below(4) {
        let (begin, part, depth) = (between(&mut rng, SETTLED, HEALED), rng.unit(), 1 + rng.below(2));
        let end = begin + between(&mut rng, 2, 15).min(HEALED - begin);
        for host in &mut troubles {
            if rng.unit() < part {
                host.extend([(begin, depth as f64), (end, 0.0)]);
            }
        }
    }
    troubles.iter_mut().for_each(|host| host.push((HEALED, 0.0)));
    let pin = (rng.below(4) == 0).then(|| (between(&mut rng, SETTLED, HEALED), rng.below(hosts as u64) as usize));
    let late = if rng.below(2) == 0 { 0 } else { 100 + rng.below(900) };
    History { seed, faults, troubles, pin, late }
}

/// Says at a failure what the history was.
struct Failed<'a>(&'a History);

impl Drop for Failed<'_> {
    #[expect(clippy::print_stdout, reason = "a history that fails is told")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:?}", self.0);
        }
    }
}

/// Runs a history and gives what the switch did, one line a change.
fn run(history: &History) -> String {
    let _told = Failed(history);
    let plan = Plan::of("quorum: {share: 50%, clear: {share: 20%}}");
    let mut fleet = Fleet::new(history.troubles.len(), 2, &plan, history.seed);
    fleet.late = history.late;
    let mut judge = Judge::default();
    let mut down: Vec<Option<usize>> = vec![None; history.faults.len()];
    for second in 0..WELL {
        for (host, troubles) in history.troubles.iter().enumerate() {
            for (_, trouble) in troubles.iter().filter(|(at, _)| *at == second) {
                fleet.hosts[host].trouble = *trouble;
            }
        }
        for (index, (begin, end, fault)) in history.faults.iter().enumerate() {
            if *begin == second {
                down[index] = inflict(&mut fleet, *fault);
            }
            if *end == second {
                heal(&mut fleet, *fault, down[index]);
            }
        }
        if let Some((_, host)) = history.pin.filter(|(at, host)| *at == second && fleet.hosts[*host].clock == 0) {
            let at = fleet.at;
            fleet.hosts[host].pin(at, "cached", Duration::from_secs(5));
        }
        if second == HEALED {
            heal_all(&mut fleet);
        }
        for _ in 0..1000 / STEP {
            fleet.step();
            judge.look(&fleet, history.seed);
        }
        if second == AGREED {
            fleet.late = 0;
        }
        if second == AGREED + 1 {
            Judge::agreed(&fleet, history.seed);
        }
    }
    Judge::offices(&fleet.hosts, history.seed);
    let path = || fleet.history.iter().map(|(at, record)| format!("{at} {record:?}\n")).collect::<String>();
    assert_eq!(fleet.level(), "full", "seed {}: all have been well for long\n{}", history.seed, path());
    Judge::agreed(&fleet, history.seed);
    let line =
        |(at, record): &(u64, brownout::switches::Record)| format!("{at} {} {}\n", record.revision, record.level);
    fleet.history.iter().map(line).collect()
}

fn inflict(fleet: &mut Fleet, fault: Fault) -> Option<usize> {
    match fault {
        Fault::Kill(host) => fleet.kill(host),
        Fault::KillCounter => {
            let counter = fleet.counter()?;
            fleet.kill(counter);
            return Some(counter);
        }
        Fault::CutOff(host) => fleet.cut_off(host, true),
        Fault::CutOffMany(which) => (0..fleet.hosts.len()).for_each(|host| fleet.cut_off(host, which >> host & 1 == 1)),
        Fault::LoseQuorum => fleet.world.lose(true),
        Fault::Clock(host, by) => {
            let at = fleet.at;
            fleet.hosts[host].set_clock(at, by);
        }
    }
    None
}

fn heal(fleet: &mut Fleet, fault: Fault, counter: Option<usize>) {
    match (fault, counter) {
        (Fault::Kill(host), _) | (Fault::KillCounter, Some(host)) => revive(fleet, host),
        (Fault::CutOff(host), _) => fleet.cut_off(host, false),
        (Fault::CutOffMany(which), _) => {
            (0..fleet.hosts.len()).filter(|host| which >> host & 1 == 1).for_each(|host| fleet.cut_off(host, false));
        }
        (Fault::LoseQuorum, _) => fleet.world.lose(false),
        // A clock stays wrong until all is healed.
        (Fault::Clock(..) | Fault::KillCounter, _) => {}
    }
}

fn revive(fleet: &mut Fleet, host: usize) {
    if fleet.hosts[host].engine.is_none() {
        fleet.start(host);
    }
}

fn heal_all(fleet: &mut Fleet) {
    fleet.world.lose(false);
    let at = fleet.at;
    for host in 0..fleet.hosts.len() {
        fleet.hosts[host].set_clock(at, 0);
        fleet.cut_off(host, false);
        revive(fleet, host);
    }
}

fn seeds() -> u64 {
    std::env::var_os("BROWNOUT_FLEET_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok()).unwrap_or(60)
}

#[test]
fn a_fleet_keeps_its_word_under_every_fault() {
    let first =
        std::env::var_os("BROWNOUT_FLEET_FIRST").and_then(|first| first.to_str()?.parse().ok()).unwrap_or(1_u64);
    let mut changes = 0;
    for seed in first..first + seeds() {
        changes += run(&history(seed)).lines().count();
    }
    assert!(changes as u64 > seeds() / 2, "{changes} changes: these histories try nothing");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [3, 14, 15] {
        assert_eq!(run(&history(seed)), run(&history(seed)), "seed {seed}");
    }
}
