//! Where the buckets of a histogram lie: bounds, spans, and lists of `(index, count)`.

use crate::model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, FloatHistogram};

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

/// A bucket as its index within the schema and its count.
pub(super) type Entry = (i32, f64);

impl FloatHistogram {
    /// True for custom bucket bounds (NHCB).
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// An empty histogram with the same kind of buckets.
    pub(crate) fn empty_like(other: &FloatHistogram) -> FloatHistogram {
        FloatHistogram { schema: other.schema, custom_values: other.custom_values.clone(), ..FloatHistogram::empty() }
    }

    /// A histogram of schema 0 without observations.
    pub(crate) fn empty() -> FloatHistogram {
        FloatHistogram {
            hint: Default::default(),
            schema: 0,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            positive_buckets: Vec::new(),
            negative_buckets: Vec::new(),
            custom_values: Vec::new(),
        }
    }

    /// The positive buckets in ascending order, empty ones included.
    pub(crate) fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries(&self.positive_spans, &self.positive_buckets).map(|entry| self.bucket(entry, true))
    }

    /// The negative buckets, nearest to zero first, empty ones included.
    pub(crate) fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries(&self.negative_spans, &self.negative_buckets).map(|entry| self.bucket(entry, false))
    }

    /// The bucket around zero.
    pub(crate) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets in ascending order; those that overlap the zero bucket are cut at its threshold.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut all: Vec<Bucket> = self.negative().collect();
        all.reverse();
        for bucket in &mut all {
            if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            }
        }
        if self.zero_count > 0.0 {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive().map(|mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
            bucket
        }));
        all
    }

    fn bucket(&self, (index, count): Entry, positive: bool) -> Bucket {
        if self.uses_custom_buckets() {
            return Bucket {
                lower: custom_bound(&self.custom_values, index - 1),
                upper: custom_bound(&self.custom_values, index),
                lower_inclusive: index == 0,
                upper_inclusive: true,
                count,
            };
        }
        let (near, far) = (exponential_bound(index - 1, self.schema), exponential_bound(index, self.schema));
        let (lower, upper) = if positive { (near, far) } else { (-far, -near) };
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
    }
}

/// The buckets of some spans as `(index, count)`, ascending.
pub(super) fn entries<'a>(spans: &'a [BucketSpan], buckets: &'a [f64]) -> impl Iterator<Item = Entry> + 'a {
    let mut next = 0_i32;
    let indices = spans.iter().flat_map(move |span| {
        let start = next.saturating_add(span.offset);
        next = start.saturating_add_unsigned(span.length);
        start..next
    });
    indices.zip(buckets.iter().copied())
}

/// The inverse of [`entries`]: the entries must ascend.
pub(super) fn spans_of(entries: impl IntoIterator<Item = Entry>) -> (Vec<BucketSpan>, Vec<f64>) {
    let (mut spans, mut buckets): (Vec<BucketSpan>, Vec<f64>) = Default::default();
    let mut next = 0_i32;
    for (index, count) in entries {
        match spans.last_mut() {
            Some(last) if index == next => last.length += 1,
            _ => spans.push(BucketSpan { offset: index.saturating_sub(next), length: 1 }),
        }
        buckets.push(count);
        next = index.saturating_add(1);
    }
    (spans, buckets)
}

/// Merges exponential buckets into those of a coarser schema.
pub(super) fn coarser(entries: impl Iterator<Item = Entry>, from: i8, to: i8) -> Vec<Entry> {
    let shift = u32::from((i16::from(from) - i16::from(to)).max(0).unsigned_abs()).min(31);
    let mut merged: Vec<Entry> = Vec::new();
    for (index, count) in entries {
        let target = (index.saturating_sub(1) >> shift) + 1;
        match merged.last_mut() {
            Some(last) if last.0 == target => last.1 += count,
            _ => merged.push((target, count)),
        }
    }
    merged
}

/// The upper bound of an exponential bucket by its absolute value: `2^(index * 2^-schema)`.
pub(super) fn exponential_bound(index: i32, schema: i8) -> f64 {
    if schema <= 0 {
        let exponent = i64::from(index) << u32::from(schema.unsigned_abs()).min(30);
        // The last bucket that holds finite numbers ends at the largest of them.
        return if exponent == 1024 { f64::MAX } else { scaled(1.0, exponent) };
    }
    let shift = u32::from(schema.unsigned_abs());
    let part = index & ((1 << shift) - 1);
    let exponent = i64::from(index >> shift);
    if part == 0 && exponent == 1024 {
        return f64::MAX;
    }
    scaled((f64::from(part) / f64::from(1_i32 << shift)).exp2(), exponent)
}

/// `value * 2^exponent` without an intermediate overflow.
fn scaled(value: f64, exponent: i64) -> f64 {
    let mut left = exponent.clamp(-3000, 3000) as i32;
    let mut value = value;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        value *= f64::from(2).powi(step);
        left -= step;
    }
    value
}

fn custom_bound(bounds: &[f64], index: i32) -> f64 {
    if index < 0 {
        return f64::NEG_INFINITY;
    }
    bounds.get(index as usize).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_exponential_buckets_are_powers_of_two_roots() {
        let check = |index, schema, expected: f64| {
            let bound = exponential_bound(index, schema);
            assert!((bound - expected).abs() <= expected * 1e-15, "{index} {schema}: {bound}");
        };
        check(0, 0, 1.0);
        check(3, 0, 8.0);
        check(-1, 0, 0.5);
        check(1, 1, std::f64::consts::SQRT_2);
        check(-1, 1, std::f64::consts::FRAC_1_SQRT_2);
        check(1, -2, 16.0);
        check(1024, 0, f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
    }

    #[test]
    fn spans_and_entries_are_each_others_inverse() {
        let list = vec![(-3, 1.0), (-2, 0.0), (4, 2.0)];
        let (spans, buckets) = spans_of(list.clone());
        assert_eq!(spans, [BucketSpan { offset: -3, length: 2 }, BucketSpan { offset: 5, length: 1 }]);
        assert_eq!(entries(&spans, &buckets).collect::<Vec<_>>(), list);
    }
}
