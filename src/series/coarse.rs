//! Old samples, thinned out: what a window of a day or a week keeps beyond the last hour.
//!
//! Time is cut into steps, and of each step stay the first, the last, the smallest and the largest sample, and the
//! last staleness marker. So over the thinned part
//!
//! * `min_over_time`, `max_over_time`, `first_over_time`, `last_over_time`, `present_over_time` and `offset` to the
//!   precision of a step are right;
//! * `increase`, `rate`, `delta` and `resets` are right as long as a counter starts anew at most once in a step;
//! * `count_over_time` and `sum_over_time` are too small, and `avg_over_time`, `stddev_over_time` and
//!   `quantile_over_time` see the extremes too often.
//!
//! A histogram series keeps the last histogram of each step.

use super::chunk::Sample;
use crate::model::is_stale_nan;

/// Younger samples stay as they are, in milliseconds.
pub(super) const EXACT_MILLIS: i64 = 3_600_000;
/// Steps in a whole window; each has up to five samples.
const STEPS: i64 = 500;

/// The step for a series that is kept for so long, in milliseconds; `None` when everything stays.
pub(super) fn step(keep: i64) -> Option<u32> {
    (keep > EXACT_MILLIS).then(|| u32::try_from(keep / STEPS).unwrap_or(u32::MAX).max(1))
}

/// The samples that stay, in order of time.
pub(super) fn thin(samples: &[Sample], step: u32) -> Vec<Sample> {
    let mut kept = Vec::new();
    for bucket in samples.chunk_by(|a, b| bucket(a.0, step) == bucket(b.0, step)) {
        thin_bucket(bucket, &mut kept);
    }
    kept
}

/// The step in which a time lies.
pub(super) fn bucket(at: i64, step: u32) -> i64 {
    at.div_euclid(i64::from(step.max(1)))
}

fn thin_bucket(bucket: &[Sample], kept: &mut Vec<Sample>) {
    let real = |at: &usize| !is_stale_nan(bucket[*at].1);
    let numbers = || (0..bucket.len()).filter(|at| !bucket[*at].1.is_nan());
    let mut picks = [
        (0..bucket.len()).find(real),
        (0..bucket.len()).rfind(real),
        numbers().min_by(|a, b| bucket[*a].1.total_cmp(&bucket[*b].1)),
        // Of several largest the last: it is the one before a counter starts anew.
        numbers().max_by(|a, b| bucket[*a].1.total_cmp(&bucket[*b].1)),
        (0..bucket.len()).rfind(|at| !real(at)),
    ];
    picks.sort_unstable();
    let mut before = None;
    for at in picks.into_iter().flatten() {
        if before != Some(at) {
            kept.push(bucket[at]);
        }
        before = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_nan;

    #[test]
    fn each_step_keeps_its_ends_and_its_extremes() {
        let check = |values: &[f64], expected: &[(i64, f64)]| {
            let samples: Vec<Sample> = values.iter().enumerate().map(|(i, v)| (i as i64 * 1000, *v)).collect();
            assert_eq!(thin(&samples, 10_000), expected, "{values:?}");
        };
        check(&[], &[]);
        check(&[1.0], &[(0, 1.0)]);
        check(&[5.0; 10], &[(0, 5.0), (9000, 5.0)]);
        check(&[3.0, 9.0, 1.0, 4.0], &[(0, 3.0), (1000, 9.0), (2000, 1.0), (3000, 4.0)]);
        // A counter that starts anew: the value before and the value after stay.
        check(&[5.0, 6.0, 7.0, 0.0, 1.0, 2.0], &[(0, 5.0), (2000, 7.0), (3000, 0.0), (5000, 2.0)]);
        let long: Vec<f64> = (0..20).map(f64::from).collect();
        check(&long, &[(0, 0.0), (9000, 9.0), (10_000, 10.0), (19_000, 19.0)]);
    }

    #[test]
    fn a_staleness_marker_stays() {
        let kept = thin(&[(0, 1.0), (1, 1.0), (2, stale_nan()), (3, f64::NAN)], 10);
        let times: Vec<i64> = kept.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 1, 2, 3]);
        assert!(is_stale_nan(kept[2].1));
    }

    #[test]
    fn an_hour_stays_whole_and_a_week_is_two_thousand_samples() {
        assert_eq!(step(EXACT_MILLIS), None);
        assert_eq!(step(7 * 24 * 3_600_000), Some(1_209_600));
    }
}
