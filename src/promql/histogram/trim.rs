//! The trim operators `</` and `>/`: a histogram without the observations above or below a value.

use super::layout::Bucket;
use crate::model::FloatHistogram;

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

/// A copy of the histogram without the observations above `bound` (`upper`) or below it.
pub(crate) fn trimmed(histogram: &FloatHistogram, bound: f64, upper: bool) -> FloatHistogram {
    let keep = if upper { Keep::Below } else { Keep::Above };
    let custom = histogram.uses_custom_buckets();
    let mut out = histogram.clone();
    let (mut kept, mut removed_sum) = (0.0, 0.0);
    let (mut has_positive, mut has_negative) = (false, false);

    for (at, bucket) in histogram.positive().enumerate().filter(|(_, bucket)| bucket.count != 0.0) {
        if custom {
            has_negative |= bucket.upper <= 0.0 || bucket.lower < 0.0;
            has_positive |= bucket.upper > 0.0;
        } else {
            has_positive = true;
        }
        let part = cut(bucket, bound, keep, true, custom);
        kept += part.kept;
        removed_sum += part.removed_sum;
        out.positive_buckets[at] = part.kept;
    }
    for (at, bucket) in histogram.negative().enumerate().filter(|(_, bucket)| bucket.count != 0.0) {
        has_negative = true;
        let part = cut(bucket, bound, keep, false, custom);
        kept += part.kept;
        removed_sum += part.removed_sum;
        out.negative_buckets[at] = part.kept;
    }
    if histogram.zero_count > 0.0 {
        let below = count_below(histogram.zero_bucket(), bound, true, true);
        out.zero_count = if keep == Keep::Below { below } else { histogram.zero_count - below };
        kept += out.zero_count;
    }
    let mut sum = 0.0;
    if kept != 0.0 {
        sum = histogram.sum - removed_sum;
        if (!has_negative && sum < 0.0) || (!has_positive && sum > 0.0) {
            sum = 0.0;
        }
    }
    out.count = kept;
    out.sum = sum;
    out.compact();
    out
}

/// What is left of one bucket, and the sum that goes with the rest.
struct Part {
    kept: f64,
    removed_sum: f64,
}

fn cut(bucket: Bucket, bound: f64, keep: Keep, positive: bool, custom: bool) -> Part {
    let (whole, partial) = match keep {
        Keep::Below => (bucket.upper <= bound, bucket.lower < bound),
        Keep::Above => (bucket.lower >= bound, bucket.upper > bound),
    };
    if whole {
        return Part { kept: bucket.count, removed_sum: 0.0 };
    }
    let (kept, midpoint) = split(bucket, bound, keep, positive, custom);
    if partial {
        return Part { kept, removed_sum: (bucket.count - kept) * midpoint };
    }
    let midpoint = if positive && custom { midpoint } else { (bucket.lower * bucket.upper).sqrt() };
    Part { kept: 0.0, removed_sum: bucket.count * midpoint }
}

/// How many observations stay, and where the removed ones lie on average.
fn split(bucket: Bucket, bound: f64, keep: Keep, positive: bool, custom: bool) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return split_open(bucket, bound, keep);
    }
    let below = count_below(bucket, bound, positive, custom);
    let (kept, product) = match keep {
        Keep::Below => (below, bucket.lower.abs() * bound.abs()),
        Keep::Above => (bucket.count - below, bound.abs() * bucket.upper.abs()),
    };
    let midpoint = match (custom, positive) {
        (true, _) => (bucket.lower + bucket.upper) / 2.0,
        (false, true) => product.sqrt(),
        (false, false) => -product.sqrt(),
    };
    (kept, midpoint)
}

/// Buckets with an infinite end: what lies how far out is not known, so a cut within removes all of it, except that a
/// lowest bucket with a positive end is taken to begin at 0.
fn split_open(bucket: Bucket, bound: f64, keep: Keep) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY {
        let from_zero = bound >= 0.0 && bucket.upper > bound && bucket.upper != f64::INFINITY;
        return match keep {
            Keep::Below if bound >= bucket.upper => (bucket.count, 0.0),
            Keep::Below if from_zero => (bucket.count * bound / bucket.upper, (bound + bucket.upper) / 2.0),
            Keep::Above if bound <= bucket.lower => (bucket.count, 0.0),
            Keep::Above if from_zero => (bucket.count * (1.0 - bound / bucket.upper), bound / 2.0),
            _ => (0.0, bucket.upper),
        };
    }
    match keep {
        Keep::Above if bound <= bucket.lower => (bucket.count, 0.0),
        _ => (0.0, bucket.lower),
    }
}

fn count_below(bucket: Bucket, bound: f64, positive: bool, linear: bool) -> f64 {
    if bound <= bucket.lower {
        return 0.0;
    }
    if bound >= bucket.upper {
        return bucket.count;
    }
    let share = if linear {
        (bound - bucket.lower) / (bucket.upper - bucket.lower)
    } else {
        let (lower, upper, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), bound.abs().log2());
        if positive { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    };
    bucket.count * share
}
