//! Quantiles and fractions of native histograms.
//!
//! Within an exponential bucket observations are taken to be spread evenly on a logarithmic scale; within a custom
//! bucket, and around zero, on a linear one.

use super::layout::Bucket;
use crate::model::FloatHistogram;

/// What observations of NaN did to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skewed {
    /// The quantile lies among the NaNs.
    ResultNan,
    /// NaNs count as very large.
    Higher,
    /// NaNs are in no fraction.
    Excluded,
}

/// The `q`-quantile; -Inf and +Inf for a `q` outside of 0 to 1.
pub(crate) fn quantile(q: f64, histogram: &FloatHistogram) -> (f64, Option<Skewed>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let custom = histogram.uses_custom_buckets();
    // With NaN observations only the count from below is known.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let mut buckets = histogram.all_buckets();
    if !forward {
        buckets.reverse();
    }
    let mut rank = if forward { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut count = 0.0;
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        bucket = *next;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket = one_sided(bucket, histogram);
    }
    count = count.min(histogram.count);
    if count < rank {
        return if histogram.sum.is_nan() { (f64::NAN, Some(Skewed::ResultNan)) } else { (bucket.upper, None) };
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let mut skewed = None;
    if histogram.sum.is_nan() {
        count += rest.map(|bucket| bucket.count).sum::<f64>();
        skewed = (count < histogram.count).then_some(Skewed::Higher);
    }
    (interpolated(bucket, rank / bucket.count, custom), skewed)
}

fn interpolated(bucket: Bucket, fraction: f64, custom: bool) -> f64 {
    if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * fraction).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - fraction)).exp2()
    }
}

/// The zero bucket ends at 0 where the histogram has buckets on one side only.
fn one_sided(mut bucket: Bucket, histogram: &FloatHistogram) -> Bucket {
    match (histogram.negative_buckets.is_empty(), histogram.positive_buckets.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
    bucket
}

/// The share of observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &FloatHistogram) -> (f64, Option<Skewed>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let custom = histogram.uses_custom_buckets();
    let (mut rank, mut count) = (0.0, 0.0);
    let (mut lower_rank, mut upper_rank) = (None, None);
    let buckets = histogram.all_buckets();
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        let mut bucket = *next;
        count += bucket.count;
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            bucket = one_sided(bucket, histogram);
        }
        let rank_of = |value: f64| rank + bucket.count * share_below(bucket, value, custom || around_zero);
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && bucket.lower >= bound {
                *found = Some(rank);
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && bucket.lower < bound && bucket.upper > bound {
                // An open bucket cannot be divided: all of it counts as below.
                let open = (custom || around_zero) && bucket.lower == f64::NEG_INFINITY;
                *found = Some(if open { bucket.count } else { rank_of(bound) });
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut skewed = None;
    if histogram.sum.is_nan() {
        count += rest.map(|bucket| bucket.count).sum::<f64>();
        skewed = (count < histogram.count).then_some(Skewed::Excluded);
    } else {
        count = histogram.count;
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
    ((capped(upper_rank) - capped(lower_rank)) / histogram.count, skewed)
}

/// Which share of a bucket lies below a value within it.
fn share_below(bucket: Bucket, value: f64, linear: bool) -> f64 {
    if linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), value.abs().log2());
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}
