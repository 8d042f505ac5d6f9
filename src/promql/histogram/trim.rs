//! The trim operators `</` and `>/`: a histogram without the observations above or below a value.
//!
//! A bucket that is cut keeps its share by interpolation; the sum is estimated anew from the middles of what is left,
//! unless nothing was cut off.

use super::layout::Bucket;
use crate::model::FloatHistogram;

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

/// What is left of one bucket, and where it lies on average.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rest {
    count: f64,
    middle: f64,
}

/// A copy of the histogram without the observations above `bound` (`upper`) or below it.
pub(crate) fn trimmed(histogram: &FloatHistogram, bound: f64, upper: bool) -> FloatHistogram {
    let keep = if upper { Keep::Below } else { Keep::Above };
    let custom = histogram.uses_custom_buckets();
    let mut out = histogram.clone();
    let (mut count, mut sum, mut cut_off) = (0.0, 0.0, false);
    let mut take = |rest: Rest, place: &mut f64| {
        count += rest.count;
        sum += rest.middle * rest.count;
        cut_off |= *place != rest.count;
        *place = rest.count;
    };
    let (mut has_positive, mut has_negative) = (false, false);
    for (bucket, place) in histogram.positive().zip(&mut out.positive_buckets).filter(|(b, _)| b.count != 0.0) {
        has_positive = true;
        take(rest_of(bucket, bound, keep, true, custom), place);
    }
    for (bucket, place) in histogram.negative().zip(&mut out.negative_buckets).filter(|(b, _)| b.count != 0.0) {
        has_negative = true;
        take(rest_of(bucket, bound, keep, false, custom), place);
    }
    if histogram.zero_count > 0.0 {
        let mut zero = histogram.zero_bucket();
        match (has_negative, has_positive) {
            (true, false) => zero.upper = 0.0,
            (false, true) => zero.lower = 0.0,
            _ => {}
        }
        take(rest_of_zero(zero, bound, keep), &mut out.zero_count);
    }
    if cut_off {
        out.count = count;
        out.sum = sum;
        out.compact();
    }
    out
}

fn rest_of(bucket: Bucket, bound: f64, keep: Keep, positive: bool, custom: bool) -> Rest {
    let (whole, part) = match keep {
        Keep::Below => (bucket.upper <= bound, bucket.lower < bound),
        Keep::Above => (bucket.lower >= bound, bucket.upper > bound),
    };
    if whole {
        return Rest { count: bucket.count, middle: middle(bucket.lower, bucket.upper, positive, custom) };
    }
    if !part {
        return Rest { count: 0.0, middle: 0.0 };
    }
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return rest_of_open(bucket, bound, keep);
    }
    let below = count_below(bucket, bound, positive, custom);
    match keep {
        Keep::Below => Rest { count: below, middle: middle(bucket.lower, bound, positive, custom) },
        Keep::Above => Rest { count: bucket.count - below, middle: middle(bound, bucket.upper, positive, custom) },
    }
}

/// A cut through a bucket with an infinite end: how its observations are spread is not known.
///
/// A lowest bucket with a positive end is taken to begin at 0; what surely lies on the wrong side goes, and what may
/// well lie on the right side stays, at the bound.
fn rest_of_open(bucket: Bucket, bound: f64, keep: Keep) -> Rest {
    let nothing = Rest { count: 0.0, middle: 0.0 };
    let finite_end = bucket.upper != f64::INFINITY;
    if bucket.lower == f64::NEG_INFINITY {
        return match keep {
            Keep::Below if bound > 0.0 && bucket.upper > 0.0 && finite_end => {
                Rest { count: bucket.count * bound / bucket.upper, middle: bound / 2.0 }
            }
            Keep::Below if bucket.upper <= 0.0 => Rest { count: bucket.count, middle: bound },
            Keep::Above if bound >= 0.0 && finite_end => {
                let count = bucket.count * (1.0 - bound / bucket.upper);
                Rest { count, middle: (bound + bucket.upper) / 2.0 }
            }
            _ => nothing,
        };
    }
    match keep {
        Keep::Above => Rest { count: bucket.count, middle: bound },
        Keep::Below => nothing,
    }
}

fn rest_of_zero(zero: Bucket, bound: f64, keep: Keep) -> Rest {
    let kept = match keep {
        Keep::Below => (zero.lower, zero.upper.min(bound)),
        Keep::Above => (zero.lower.max(bound), zero.upper),
    };
    let (lower, upper) = kept;
    if lower == zero.lower && upper == zero.upper {
        return Rest { count: zero.count, middle: (lower + upper) / 2.0 };
    }
    if lower >= upper || bound.is_nan() {
        return Rest { count: 0.0, middle: 0.0 };
    }
    Rest { count: zero.count * (upper - lower) / (zero.upper - zero.lower), middle: (lower + upper) / 2.0 }
}

/// Where observations between two bounds lie on average: the arithmetic mean of custom buckets, the geometric one of
/// others.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) if positive => (lower * upper).abs().sqrt(),
        (false, false) => -(lower * upper).abs().sqrt(),
    }
}

/// The count of a bucket below a bound within it.
fn count_below(bucket: Bucket, bound: f64, positive: bool, linear: bool) -> f64 {
    let share = if linear {
        (bound - bucket.lower) / (bucket.upper - bucket.lower)
    } else {
        let (lower, upper, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), bound.abs().log2());
        if positive { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    };
    bucket.count * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};

    fn check(bounds: &[f64], buckets: &[f64], bound: f64, upper: bool, count: f64, sum: f64) {
        let histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: buckets.iter().sum(),
            sum: 77.0,
            positive_spans: vec![BucketSpan { offset: 0, length: buckets.len() as u32 }],
            positive_buckets: buckets.to_vec(),
            custom_values: bounds.to_vec(),
            ..FloatHistogram::empty()
        };
        let left = trimmed(&histogram, bound, upper);
        assert!((left.count - count).abs() < 1e-9 && (left.sum - sum).abs() < 1e-9, "{bound} {upper}: {left}");
    }

    #[test]
    fn what_is_left_is_counted_and_summed_anew() {
        check(&[5.0, 10.0], &[1.0, 4.0, 2.0], 7.5, true, 3.0, 2.5 + 2.0 * 6.25);
        check(&[5.0, 10.0], &[1.0, 4.0, 2.0], 7.5, false, 4.0, 2.0 * 8.75 + 20.0);
        check(&[5.0, 10.0], &[1.0, 4.0, 2.0], f64::INFINITY, true, 7.0, 77.0);
        check(&[-5.0], &[1.0, 4.0], -10.0, true, 1.0, -10.0);
        check(&[5.0], &[1.0, 4.0], 9.0, false, 4.0, 36.0);
    }
}
