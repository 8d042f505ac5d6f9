//! Classic histograms: counters with an `le` label, grouped into buckets again.

/// One cumulative bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassicBucket {
    pub upper: f64,
    pub count: f64,
}

/// What had to be bent to make the counts rise with their bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bent {
    pub min_bucket: f64,
    pub max_bucket: f64,
    pub max_diff: f64,
}

/// Differences below this, relative to the counts, are noise.
const SMALL_DELTA: f64 = 1e-12;

/// The number in an `le` label.
pub(super) fn le_bound(label: &str) -> Option<f64> {
    label.parse().ok()
}

/// The `q`-quantile of cumulative buckets, spread evenly within each.
pub(super) fn quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Bent>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !tidy(buckets) {
        return (f64::NAN, None);
    }
    let bent = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, bent);
    }
    let mut rank = q * observations;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan());
    if at == last {
        return (buckets[last - 1].upper, bent);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, bent);
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (buckets[at].upper - start) * (rank / count), bent)
}

/// The share of observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !tidy(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets.iter() {
        let end = bucket.upper;
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && start >= bound {
                *found = Some(rank);
            } else if found.is_none() && start < bound && end > bound {
                *found = Some(if start == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (bound - start) / (end - start)
                });
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank = bucket.count;
        start = end;
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
    (capped(upper_rank) - capped(lower_rank)) / count
}

/// Sorts and merges equal bounds; false without a `+Inf` bucket.
fn tidy(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.partial_cmp(&b.upper).unwrap_or(std::cmp::Ordering::Equal));
    buckets.dedup_by(|later, kept| {
        let same = later.upper == kept.upper;
        if same {
            kept.count += later.count;
        }
        same
    });
    buckets.last().is_some_and(|last| last.upper == f64::INFINITY)
}

fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<Bent> {
    let mut bent: Option<Bent> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let current = bucket.count;
        if current == previous {
            continue;
        }
        let noise = nearly_equal(previous, current);
        if noise || current < previous {
            bucket.count = previous;
        } else {
            previous = current;
        }
        if !noise && current < previous {
            let known =
                bent.get_or_insert(Bent { min_bucket: f64::INFINITY, max_bucket: f64::NEG_INFINITY, max_diff: 0.0 });
            known.min_bucket = known.min_bucket.min(bucket.upper);
            known.max_bucket = known.max_bucket.max(bucket.upper);
            known.max_diff = known.max_diff.max(previous - current);
        }
    }
    bent
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < SMALL_DELTA
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(list: &[(f64, f64)]) -> Vec<ClassicBucket> {
        list.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_interpolate_within_buckets() {
        let check = |q: f64, list: &[(f64, f64)], expected: f64| {
            let (value, _) = quantile(q, &mut buckets(list));
            assert!(value == expected || (value.is_nan() && expected.is_nan()), "{q} {list:?}: {value}");
        };
        let inf = f64::INFINITY;
        check(0.5, &[(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.0);
        check(0.75, &[(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.5);
        check(0.99, &[(1.0, 2.0), (inf, 4.0)], 1.0);
        check(0.5, &[(1.0, 2.0), (2.0, 4.0)], f64::NAN);
        check(1.5, &[(inf, 4.0)], inf);
        check(0.5, &[(-1.0, 4.0), (inf, 4.0)], -1.0);
    }

    #[test]
    fn falling_counts_are_lifted_and_reported() {
        let mut list = buckets(&[(1.0, 5.0), (2.0, 3.0), (f64::INFINITY, 6.0)]);
        let bent = quantile(0.5, &mut list).1.expect("not monotonic");
        assert_eq!(bent, Bent { min_bucket: 2.0, max_bucket: 2.0, max_diff: 2.0 });
    }
}
