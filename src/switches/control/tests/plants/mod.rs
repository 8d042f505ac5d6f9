//! The laws on simulated plants: they must settle, and not oscillate.
//!
//! The seeds are none that the laws were tuned on (those were 1 to 12 and 101 to 112). Without more it runs one seed of
//! most scenes; `BROWNOUT_PLANT_SEEDS=12` runs that many of all, `BROWNOUT_PLANT_FIRST=101` from another seed on.
//! `--nocapture` prints the table.

mod plant;
mod run;
mod scene;

use plant::Plant;
use run::{Measured, law, run};
use scene::{Scene, scenes};

const FOUR: Plant = Plant::Sharing { processors: 4 };
const ONE: Plant = Plant::Sharing { processors: 1 };
const QUEUE: Plant = Plant::Queue { workers: 4 };
/// The first seed.
const FRESH: u64 = 301;

fn set(name: &str, default: u64) -> u64 {
    std::env::var_os(name).and_then(|number| number.to_str()?.parse().ok()).unwrap_or(default)
}

fn seeds() -> u64 {
    set("BROWNOUT_PLANT_SEEDS", 1)
}

fn mean(scene: &Scene, plant: Plant, name: &str) -> Measured {
    let (mut settings, ruled) = law(name);
    settings.least_limit = settings.least_limit.max(plant.processors() as f64);
    let first = set("BROWNOUT_PLANT_FIRST", FRESH);
    let all: Vec<Measured> = (first..first + seeds()).map(|seed| run(scene, plant, &settings, ruled, seed)).collect();
    let of = |field: fn(&Measured) -> f64| all.iter().map(field).sum::<f64>() / all.len() as f64;
    Measured {
        slow: of(|m| m.slow),
        slow_later: of(|m| m.slow_later),
        good: of(|m| m.good),
        optional: of(|m| m.optional),
        calm: of(|m| m.calm),
        turns: of(|m| m.turns),
        back: of(|m| m.back),
    }
}

/// What a law must reach in a scene: at most so many per cent slow, turns, and seconds until full service; at least so
/// many per cent of the best goodput.
type Bound = (&'static str, f64, f64, f64, f64);

fn check(plant: Plant, name: &str, bounds: &[Bound]) {
    let mut worse = Vec::new();
    let scenes = scenes();
    println!("{plant:?} {name}: slow % (after 5 s) | good % | optional % | calm full % | turns | back s");
    for (scene, slow, turns, back, good) in bounds {
        let scene = scenes.iter().find(|known| known.name == *scene).expect("a scene");
        let m = mean(scene, plant, name);
        println!(
            "  {:22} {:5.2} ({:4.2}) | {:3.0} | {:3.0} | {:3.0} | {:4.1} | {:3.0}",
            scene.name, m.slow, m.slow_later, m.good, m.optional, m.calm, m.turns, m.back
        );
        if m.slow > *slow || m.turns > *turns || m.back > *back || m.good < *good {
            worse.push(format!("{name} in {}: {m:?}", scene.name));
        }
    }
    assert!(worse.is_empty(), "worse than its bounds: {worse:#?}");
}

/// Scenes that every build runs; the others run where more seeds are asked for.
const ALWAYS: [&str; 7] = [
    "crowd 2x",
    "crowd 10x",
    "capacity to 30 %",
    "noisy 2x",
    "absent in the middle",
    "square 10 s / 10 s",
    "calm at 0.7x",
];

const WITH_LIMIT: [Bound; 19] = [
    ("crowd 2x", 0.3, 1.0, 15.0, 99.0),
    ("crowd 4x", 0.2, 1.0, 16.0, 98.0),
    ("crowd 10x", 0.4, 1.0, 16.0, 97.0),
    ("ramp to 4x", 0.9, 1.0, 9.0, 98.0),
    ("capacity to 30 %", 1.9, 2.0, 26.0, 97.0),
    ("slow leak", 1.4, 2.0, 35.0, 98.0),
    ("noisy 2x", 0.5, 5.0, 25.0, 98.0),
    ("measure 10 s late", 1.4, 1.5, 24.0, 96.0),
    ("absent in the middle", 0.3, 1.0, 15.0, 99.0),
    ("absent at the start", 0.9, 1.0, 15.0, 97.0),
    ("absent at the end", 0.3, 1.0, 54.0, 99.0),
    ("square 10 s / 10 s", 0.6, 3.0, 15.0, 98.0),
    ("sine 60 s", 2.2, 5.5, 60.0, 97.0),
    ("bursts at 1.2x", 3.2, 8.0, 60.0, 94.0),
    ("retries at 4x", 0.2, 1.0, 16.0, 98.0),
    ("retries at 10x", 0.4, 1.0, 17.0, 92.0),
    ("fleet of 8", 0.3, 1.0, 15.0, 99.0),
    // The median of the fleet does not see the slow host: so each host applies the smaller of the shared and its own share.
    ("fleet of 8, one slow", 4.5, 5.0, 16.0, 92.0),
    ("calm at 0.7x", 0.1, 1.5, 1.0, 99.0),
];

const LAW_ARMED: [Bound; 19] = [
    ("crowd 2x", 0.05, 1.0, 15.0, 99.0),
    ("crowd 4x", 0.05, 1.0, 16.0, 98.0),
    ("crowd 10x", 0.5, 1.0, 16.0, 98.0),
    ("ramp to 4x", 0.05, 1.0, 9.0, 99.0),
    ("capacity to 30 %", 0.5, 1.5, 26.0, 98.0),
    ("slow leak", 0.2, 1.5, 30.0, 99.0),
    ("noisy 2x", 0.05, 5.0, 25.0, 99.0),
    ("measure 10 s late", 0.05, 1.5, 24.0, 99.0),
    ("absent in the middle", 0.05, 1.0, 15.0, 99.0),
    ("absent at the start", 0.1, 1.0, 15.0, 99.0),
    ("absent at the end", 0.05, 1.0, 54.0, 99.0),
    ("square 10 s / 10 s", 0.05, 3.0, 15.0, 99.0),
    ("sine 60 s", 0.05, 5.5, 60.0, 99.0),
    ("bursts at 1.2x", 0.1, 7.5, 60.0, 98.0),
    ("retries at 4x", 0.05, 1.0, 16.0, 98.0),
    ("retries at 10x", 0.5, 1.0, 17.0, 92.0),
    ("fleet of 8", 0.05, 1.0, 15.0, 99.0),
    ("fleet of 8, one slow", 0.2, 1.5, 20.0, 98.0),
    ("calm at 0.7x", 0.1, 1.5, 1.0, 99.0),
];

const ARMED: [Bound; 7] = [
    ("crowd 2x", 0.3, 0.0, 1.0, 98.0),
    ("crowd 10x", 0.5, 0.0, 1.0, 98.0),
    ("capacity to 30 %", 0.9, 0.0, 1.0, 98.0),
    ("noisy 2x", 0.3, 0.0, 1.0, 98.0),
    ("absent in the middle", 0.3, 0.0, 1.0, 98.0),
    ("square 10 s / 10 s", 0.2, 0.0, 1.0, 98.0),
    ("calm at 0.7x", 0.1, 0.0, 1.0, 99.0),
];

const LADDER: [Bound; 7] = [
    ("crowd 2x", 0.3, 1.0, 14.0, 99.0),
    ("crowd 10x", 0.4, 1.0, 14.0, 97.0),
    ("capacity to 30 %", 1.8, 1.5, 21.0, 97.0),
    ("noisy 2x", 0.4, 5.0, 30.0, 98.0),
    ("absent in the middle", 0.3, 1.0, 14.0, 99.0),
    // Its levels are at 1, 0.5 and 0, and half of them does not fit twice the load: it walks down and up each time.
    ("square 10 s / 10 s", 1.6, 7.5, 45.0, 97.0),
    ("calm at 0.7x", 0.1, 2.0, 1.0, 99.0),
];

fn wanted(bounds: &[Bound]) -> Vec<Bound> {
    bounds.iter().filter(|bound| seeds() > 1 || ALWAYS.contains(&bound.0)).copied().collect()
}

#[test]
fn feed_forward_with_a_limit_answers_in_time_and_turns_once_a_crowd() {
    check(FOUR, "ff+lim", &wanted(&WITH_LIMIT));
}

#[test]
fn feed_forward_with_armed_consumers_is_the_safest_everywhere() {
    check(FOUR, "ff+armed", &wanted(&LAW_ARMED));
}

#[test]
fn armed_consumers_alone_keep_the_optional_work_and_never_turn() {
    check(FOUR, "armed", &wanted(&ARMED));
    let kept = mean(&scenes()[0], FOUR, "armed").optional;
    assert!(kept > 95.0, "{kept}");
}

#[test]
fn a_ladder_under_the_same_law_walks_down_and_up_once() {
    check(FOUR, "ladder ff+lim", &wanted(&LADDER));
}

#[test]
fn a_small_host_and_a_queue_are_ruled_as_well() {
    check(ONE, "ff+lim", &[("crowd 2x", 1.2, 3.0, 20.0, 97.0), ("crowd 4x", 0.6, 3.0, 20.0, 96.0)]);
    check(QUEUE, "ff+lim", &[("crowd 2x", 0.2, 1.5, 16.0, 98.0), ("crowd 4x", 0.1, 1.0, 16.0, 97.0)]);
    check(QUEUE, "armed", &[("crowd 2x", 0.1, 0.0, 1.0, 98.0)]);
}

#[test]
fn each_host_applies_the_smaller_of_the_shared_share_and_its_own() {
    // Back is when the mean of the hosts is: the slow one is rightly degraded for longer, half the load is all that it can do.
    check(FOUR, "ff+lim own", &[("fleet of 8, one slow", 0.5, 2.0, 120.0, 98.0)]);
}

#[test]
fn the_laws_by_latency_are_there_and_are_worse() {
    let crowd = &scenes()[0];
    let (ours, klein, aimd) = (mean(crowd, FOUR, "ff+lim"), mean(crowd, FOUR, "klein"), mean(crowd, FOUR, "aimd"));
    check(FOUR, "klein", &wanted(&[("crowd 2x", 5.0, 20.0, 220.0, 90.0)]));
    check(FOUR, "aimd", &wanted(&[("crowd 2x", 8.0, 25.0, 220.0, 85.0)]));
    assert!(klein.turns > ours.turns && aimd.turns > ours.turns, "{ours:?} {klein:?} {aimd:?}");
}

#[test]
fn a_share_with_nothing_behind_it_answers_nobody_at_ten_times_the_load() {
    let alone = mean(&scenes()[2], FOUR, "ff");
    assert!(alone.good < 20.0, "{alone:?}");
}
