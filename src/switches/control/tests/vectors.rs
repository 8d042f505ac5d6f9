//! The test vectors of the laws, digit for digit: intervals of 1 s, samples of age 0, all defaults.

use super::super::*;

const fn sample(arrivals: f64, full: f64, degraded: f64, slow: f64, utilisation: f64, in_flight: f64) -> Sample {
    Sample { arrivals, full, degraded, slow, utilisation, in_flight, age: 0.0, latency: None }
}

const CALM: Sample = sample(40.0, 40.0, 0.0, 0.0, 0.5, 2.0);
const CROWD: Sample = sample(160.0, 80.0, 0.0, 0.25, 1.0, 60.0);
const DRAIN: Sample = sample(160.0, 5.0, 150.0, 0.05, 0.7, 5.0);
const PLATEAU: Sample = sample(160.0, 30.0, 130.0, 0.01, 0.7, 4.0);
const BACK: Sample = sample(40.0, 6.0, 34.0, 0.0, 0.15, 1.0);
const TENFOLD_FIRST: Sample = sample(800.0, 80.0, 0.0, 0.9, 1.0, 90.0);
const TENFOLD: Sample = sample(800.0, 0.0, 390.0, 0.02, 1.0, 60.0);

fn times(parts: &[(Option<Sample>, usize)]) -> Vec<Option<Sample>> {
    parts.iter().flat_map(|(sample, times)| std::iter::repeat_n(*sample, *times)).collect()
}

struct Run {
    published: Vec<Published>,
    views: Vec<ControlView>,
}

fn run(settings: ControlSettings, parts: &[(Option<Sample>, usize)]) -> Run {
    let mut law = Controller::new(settings);
    let mut run = Run { published: Vec::new(), views: Vec::new() };
    for sample in times(parts) {
        run.published.push(law.step(1.0, sample.as_ref()));
        run.views.push(law.view());
    }
    run
}

impl Run {
    /// The share from one interval to another, both from 1 and included.
    fn share(&self, from: usize, to: usize, expected: f64) {
        for (at, published) in self.published.iter().enumerate().take(to).skip(from - 1) {
            assert!((published.share - expected).abs() < 5e-5, "#{}: {} is not {expected}", at + 1, published.share);
        }
    }

    fn limit(&self, at: usize, expected: &str) {
        assert_eq!(self.published[at - 1].limit.map(|limit| format!("{limit:.2}")).as_deref(), Some(expected), "#{at}");
    }

    fn threshold(&self, at: usize, expected: &str) {
        let threshold = self.published[at - 1].threshold;
        assert_eq!(threshold.map(|threshold| format!("{threshold:.2}")).as_deref(), Some(expected), "#{at}");
    }
}

fn with_limit() -> ControlSettings {
    ControlSettings::new(Law::WithLimit, 1.0)
}

#[test]
fn vector_1_a_cold_start_in_calm() {
    let run = run(with_limit(), &[(Some(CALM), 3)]);
    run.share(1, 3, 1.0);
    for at in 1..=3 {
        run.limit(at, "64.00");
        let view = run.views[at - 1];
        assert_eq!(view.cost.map(|cost| format!("{cost:.4}")).as_deref(), Some("0.0125"));
        assert_eq!(format!("{:.2}", view.target / 0.75), format!("{:.2}", 1.0 + 0.01 * at as f64));
    }
}

#[test]
fn vector_2_a_crowd_and_its_plateau() {
    let run = run(with_limit(), &[(Some(CALM), 5), (Some(CROWD), 2), (Some(DRAIN), 2), (Some(PLATEAU), 34)]);
    run.share(1, 5, 1.0);
    run.share(6, 27, 0.0);
    run.share(28, 43, 0.1503);
    for (at, limit) in [
        (5, "64.00"),
        (6, "213.33"),
        (7, "213.33"),
        (8, "209.29"),
        (9, "206.21"),
        (10, "214.88"),
        (27, "257.01"),
        (28, "190.72"),
        (43, "193.78"),
    ] {
        run.limit(at, limit);
    }
}

#[test]
fn vector_3_no_data_in_the_crowd_freezes_everything() {
    let run = run(with_limit(), &[(Some(CALM), 5), (Some(CROWD), 1), (None, 3), (Some(DRAIN), 2)]);
    run.share(1, 5, 1.0);
    run.share(6, 11, 0.0);
    for at in 6..=9 {
        run.limit(at, "213.33");
    }
    run.limit(10, "208.48");
    run.limit(11, "205.06");
    assert_eq!(format!("{:.3} {:.3}", run.views[9].slow, run.views[10].slow), "0.025 0.034");
}

#[test]
fn vector_4_the_end_of_a_crowd() {
    let parts = [(Some(CALM), 5), (Some(CROWD), 2), (Some(DRAIN), 3), (Some(BACK), 17)];
    let run_of_dimmer = run(with_limit(), &parts);
    run_of_dimmer.share(6, 19, 0.0);
    for (at, share) in [(20, 0.2), (21, 0.4), (22, 0.6), (23, 0.8), (24, 1.0)] {
        run_of_dimmer.share(at, at, share);
    }
    run_of_dimmer.share(24, 27, 1.0);
    run_of_dimmer.limit(19, "231.99");
    run_of_dimmer.limit(20, "160.31");
    run_of_dimmer.limit(24, "74.10");
    let ladder = run(ControlSettings { levels: vec![1.0, 0.5, 0.0], ..with_limit() }, &parts);
    ladder.share(6, 19, 0.0);
    ladder.share(20, 21, 0.5);
    ladder.share(22, 27, 1.0);
    let levels: Vec<usize> = ladder.published.iter().map(|published| published.level).collect();
    assert_eq!(levels[18..23], [2, 1, 1, 0, 0]);
}

#[test]
fn vector_5_ten_times_the_load_tightens_the_limit() {
    let run = run(with_limit(), &[(Some(CALM), 5), (Some(TENFOLD_FIRST), 1), (Some(TENFOLD), 4)]);
    run.share(1, 5, 1.0);
    run.share(6, 10, 0.0);
    for (at, limit) in [(6, "40.00"), (7, "45.14"), (8, "48.28"), (9, "50.39"), (10, "51.89")] {
        run.limit(at, limit);
    }
    assert!(run.views[9].tight);
}

#[test]
fn the_armed_law_keeps_the_share_and_moves_threshold_and_limit() {
    let armed = ControlSettings::new(Law::Armed, 1.0);
    let run = run(armed, &[(Some(CALM), 5), (Some(CROWD), 2), (Some(DRAIN), 3)]);
    run.share(1, 10, 1.0);
    for at in 1..=6 {
        run.threshold(at, "12.00");
    }
    for (at, threshold) in [(7, "11.19"), (8, "8.78"), (9, "7.45"), (10, "6.64")] {
        run.threshold(at, threshold);
    }
    for at in 1..=7 {
        run.limit(at, "213.33");
    }
    for (at, limit) in [(8, "209.29"), (9, "206.21"), (10, "203.80")] {
        run.limit(at, limit);
    }
}

#[test]
fn feed_forward_with_arming_dims_and_keeps_the_threshold_uncorrected() {
    let settings = ControlSettings::new(Law::FeedForwardArmed, 1.0);
    let run = run(settings, &[(Some(CALM), 5), (Some(CROWD), 2), (Some(DRAIN), 2)]);
    run.share(1, 5, 1.0);
    run.share(6, 9, 0.0);
    run.threshold(5, "12.00");
    run.limit(6, "213.33");
}

#[test]
fn feed_forward_alone_publishes_no_limit() {
    let run = run(ControlSettings::new(Law::FeedForward, 1.0), &[(Some(CALM), 5), (Some(CROWD), 1)]);
    assert!(run.published.iter().all(|published| published.limit.is_none() && published.threshold.is_none()));
    run.share(6, 6, 0.0);
}

#[test]
fn without_a_sample_only_the_hosts_own_pressure_moves_a_share_and_only_down() {
    let mut law = Controller::new(with_limit());
    for _ in 0..5 {
        law.step(1.0, Some(&CALM));
    }
    let limit = law.step(1.0, None).limit;
    for _ in 0..100 {
        assert_eq!(law.step(1.0, None), Published { share: 1.0, level: 0, threshold: None, limit });
    }
    let shares: Vec<f64> = (0..9).map(|_| law.blind(1.0, 1.0).share).collect();
    assert_eq!(
        shares,
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0],
        "after 5 s of full pressure it falls in two steps"
    );
    assert_eq!(law.blind(1.0, 0.0).share, 0.0, "and nothing brings it back but samples");
    let mut armed = Controller::new(ControlSettings::new(Law::Armed, 1.0));
    armed.step(1.0, Some(&CALM));
    assert!((0..60).all(|_| armed.blind(1.0, 1.0).share == 1.0));
}

#[test]
fn a_restart_keeps_the_share_and_the_cost_and_climbs_only_after_a_whole_hold() {
    let mut law = Controller::new(with_limit());
    for sample in times(&[(Some(CALM), 5), (Some(CROWD), 2), (Some(DRAIN), 3), (Some(BACK), 9)]).iter().flatten() {
        law.step(1.0, Some(sample));
    }
    let before = law.step(1.0, None);
    let mut law = Controller::restored(with_limit(), law.memory());
    let after = law.step(1.0, None);
    assert_eq!(after.share, before.share);
    assert!((after.limit.unwrap_or_default() / before.limit.unwrap_or_default() - 1.0).abs() < 1e-9);
    let shares: Vec<f64> = (0..11).map(|_| law.step(1.0, Some(&BACK)).share).collect();
    assert_eq!(shares[..9], [0.0; 9]);
    assert!(shares[9] > 0.0, "{shares:?}");
}

#[test]
fn klein_and_aimd_move_by_the_latency_and_stay_in_their_bounds() {
    for law in [Law::Klein, Law::Aimd] {
        let mut law = Controller::new(ControlSettings { floor: 0.1, ..ControlSettings::new(law, 1.0) });
        let slow = Sample { latency: Some(3.0), ..CROWD };
        let quick = Sample { latency: Some(0.05), ..CALM };
        let fallen = (0..60).map(|_| law.step(1.0, Some(&slow)).share).fold(1.0, f64::min);
        assert_eq!(fallen, 0.1);
        let frozen = law.step(1.0, Some(&Sample { latency: None, ..CALM })).share;
        assert_eq!(frozen, 0.1, "no latency, no move");
        let back = (0..300).map(|_| law.step(1.0, Some(&quick)).share).fold(0.0, f64::max);
        assert!(back > 0.999, "{back}");
        assert!(law.step(1.0, Some(&quick)).limit.is_some(), "a limit stands behind it");
    }
}

#[test]
fn a_law_that_is_wrong_about_the_ratio_is_not_stuck_for_ever() {
    // In truth a degraded answer costs 0.8 of a full one, the law believes 0.3: it thinks full service costs too much.
    let mut law = Controller::new(with_limit());
    for sample in times(&[(Some(CALM), 5), (Some(CROWD), 2)]).iter().flatten() {
        law.step(1.0, Some(sample));
    }
    assert_eq!(law.memory().share, 0.0);
    let degraded = Sample { full: 0.0, degraded: 40.0, utilisation: 0.4, ..CALM };
    let stuck = (0..299).map(|_| law.step(1.0, Some(&degraded)).share).fold(0.0, f64::max);
    assert!(stuck < 0.95, "{stuck}");
    let climbed = (0..2_000).map(|_| law.step(1.0, Some(&degraded)).share).fold(0.0, f64::max);
    assert_eq!(climbed, 1.0);
}
