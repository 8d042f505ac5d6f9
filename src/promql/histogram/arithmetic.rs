//! Sums, differences and multiples of histograms; compaction.
//!
//! Two histograms with exponential buckets meet at the coarser schema and the wider zero bucket; two with custom
//! bounds meet at the bounds that both have. A mix of both kinds is refused.

use super::layout::{Entry, coarser, entries, exponential_bound, spans_of};
use crate::model::{CounterResetHint, FloatHistogram};

/// Exponential and custom buckets do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IncompatibleSchema;

/// What had to be glossed over when two histograms were combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Combined {
    /// One side said "counter reset" and the other "no counter reset".
    pub reset_collision: bool,
    /// The custom bounds differed; only the common ones are left.
    pub bounds_reconciled: bool,
}

impl FloatHistogram {
    /// Multiplies every count and the sum.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.map_counts(|value| value * factor);
        if factor < 0.0 {
            self.hint = CounterResetHint::Gauge;
        }
    }

    /// Divides every count and the sum; a division by zero leaves no buckets.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.map_counts(|value| value / divisor);
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.positive_buckets.clear();
            self.negative_spans.clear();
            self.negative_buckets.clear();
        } else if divisor < 0.0 {
            self.hint = CounterResetHint::Gauge;
        }
    }

    fn map_counts(&mut self, change: impl Fn(f64) -> f64) {
        self.zero_count = change(self.zero_count);
        self.count = change(self.count);
        self.sum = change(self.sum);
        for bucket in self.positive_buckets.iter_mut().chain(&mut self.negative_buckets) {
            *bucket = change(*bucket);
        }
    }

    /// Adds another histogram to this one.
    pub(crate) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleSchema> {
        self.combine(other, 1.0)
    }

    /// Subtracts another histogram from this one.
    pub(crate) fn subtract(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleSchema> {
        self.combine(other, -1.0)
    }

    fn combine(&mut self, other: &FloatHistogram, sign: f64) -> Result<Combined, IncompatibleSchema> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchema);
        }
        let mut combined = Combined { reset_collision: self.merge_hint(other), bounds_reconciled: false };
        if !self.uses_custom_buckets() {
            self.zero_count += sign * self.reconcile_zero(other);
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        if self.same_layout(other) {
            add_counts(&mut self.positive_buckets, &other.positive_buckets, sign);
            add_counts(&mut self.negative_buckets, &other.negative_buckets, sign);
        } else if self.uses_custom_buckets() {
            combined.bounds_reconciled = self.custom_values != other.custom_values;
            self.combine_custom(other, sign);
        } else {
            self.combine_exponential(other, sign);
        }
        Ok(combined)
    }

    fn same_layout(&self, other: &FloatHistogram) -> bool {
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.custom_values == other.custom_values
            && self.positive_buckets.len() == other.positive_buckets.len()
            && self.negative_buckets.len() == other.negative_buckets.len()
    }

    fn combine_exponential(&mut self, other: &FloatHistogram, sign: f64) {
        let schema = self.schema.min(other.schema);
        let side = |mine: Vec<Entry>, theirs: Vec<Entry>| {
            let threshold = self.zero_threshold;
            let theirs = theirs.into_iter().skip_while(|(index, _)| exponential_bound(*index, schema) <= threshold);
            spans_of(merged(&mine, theirs.map(|(index, count)| (index, sign * count))))
        };
        let positive = side(
            coarser(entries(&self.positive_spans, &self.positive_buckets), self.schema, schema),
            coarser(entries(&other.positive_spans, &other.positive_buckets), other.schema, schema),
        );
        let negative = side(
            coarser(entries(&self.negative_spans, &self.negative_buckets), self.schema, schema),
            coarser(entries(&other.negative_spans, &other.negative_buckets), other.schema, schema),
        );
        (self.positive_spans, self.positive_buckets) = positive;
        (self.negative_spans, self.negative_buckets) = negative;
        self.schema = schema;
    }

    fn combine_custom(&mut self, other: &FloatHistogram, sign: f64) {
        let theirs =
            entries(&other.positive_spans, &other.positive_buckets).map(|(index, count)| (index, sign * count));
        if self.custom_values == other.custom_values {
            let mine: Vec<Entry> = entries(&self.positive_spans, &self.positive_buckets).collect();
            (self.positive_spans, self.positive_buckets) = spans_of(merged(&mine, theirs));
            return;
        }
        let common = common_bounds(&self.custom_values, &other.custom_values);
        let mut counts = vec![0.0; common.len() + 1];
        let mine = entries(&self.positive_spans, &self.positive_buckets);
        for (index, count) in rebucketed(mine, &self.custom_values, &common) {
            counts[index] += count;
        }
        for (index, count) in rebucketed(theirs, &other.custom_values, &common) {
            counts[index] += count;
        }
        let filled = counts.iter().enumerate().filter(|(_, count)| **count != 0.0);
        (self.positive_spans, self.positive_buckets) = spans_of(filled.map(|(index, count)| (index as i32, *count)));
        self.custom_values = common;
    }

    /// Takes over what both hints have in common; true for a direct contradiction.
    pub(super) fn merge_hint(&mut self, other: &FloatHistogram) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        match (self.hint, other.hint) {
            (mine, theirs) if mine == theirs => false,
            (Gauge, _) | (_, Gauge) => {
                self.hint = Gauge;
                false
            }
            (Unknown, _) | (_, Unknown) => {
                self.hint = Unknown;
                false
            }
            _ => {
                self.hint = Unknown;
                true
            }
        }
    }

    /// Widens the zero bucket until it fits both; gives the other's zero count at that width.
    pub(super) fn reconcile_zero(&mut self, other: &FloatHistogram) -> f64 {
        let (mut their_count, mut their_threshold) = (other.zero_count, other.zero_threshold);
        while their_threshold != self.zero_threshold {
            if self.zero_threshold > their_threshold {
                (their_count, their_threshold) = other.zero_count_at(self.zero_threshold);
            }
            if their_threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_count_at(their_threshold);
                self.drop_buckets_in_zero();
            } else if self.zero_threshold.is_nan() || their_threshold.is_nan() {
                break;
            }
        }
        their_count
    }

    /// The zero count under a larger threshold; a threshold within a populated bucket moves to that bucket's far end.
    pub(super) fn zero_count_at(&self, threshold: f64) -> (f64, f64) {
        if threshold == self.zero_threshold {
            return (self.zero_count, threshold);
        }
        let mut threshold = threshold;
        loop {
            let mut count = self.zero_count;
            for bucket in self.positive().take_while(|bucket| bucket.lower < threshold) {
                count += bucket.count;
                if bucket.upper > threshold {
                    threshold = if bucket.count == 0.0 { threshold } else { bucket.upper };
                    break;
                }
            }
            let mut again = false;
            for bucket in self.negative().take_while(|bucket| bucket.upper > -threshold) {
                count += bucket.count;
                if bucket.lower < -threshold {
                    again = bucket.count != 0.0;
                    threshold = if again { -bucket.lower } else { threshold };
                    break;
                }
            }
            if !again {
                return (count, threshold);
            }
        }
    }

    fn drop_buckets_in_zero(&mut self) {
        let inside = self.positive().take_while(|bucket| bucket.lower < self.zero_threshold).count();
        self.positive_buckets[..inside].fill(0.0);
        let inside = self.negative().take_while(|bucket| bucket.upper > -self.zero_threshold).count();
        self.negative_buckets[..inside].fill(0.0);
        self.compact();
    }

    /// Drops empty buckets and joins adjacent spans.
    pub fn compact(&mut self) {
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let tidy = buckets.iter().all(|count| *count != 0.0)
                && spans.iter().all(|span| span.length > 0)
                && spans.iter().skip(1).all(|span| span.offset != 0);
            if !tidy {
                let filled: Vec<Entry> = entries(spans, buckets).filter(|(_, count)| *count != 0.0).collect();
                (*spans, *buckets) = spans_of(filled);
            }
        }
    }

    /// This histogram with the buckets of a coarser (or the same) exponential schema.
    pub(crate) fn at_schema(&self, schema: i8) -> FloatHistogram {
        if schema == self.schema || self.uses_custom_buckets() {
            return self.clone();
        }
        let (positive_spans, positive_buckets) =
            spans_of(coarser(entries(&self.positive_spans, &self.positive_buckets), self.schema, schema));
        let (negative_spans, negative_buckets) =
            spans_of(coarser(entries(&self.negative_spans, &self.negative_buckets), self.schema, schema));
        FloatHistogram {
            hint: CounterResetHint::Unknown,
            schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: Vec::new(),
        }
    }

    /// Equality of data: the same buckets (empty ones count) and bit-equal numbers; the hint does not matter.
    pub(crate) fn same_data(&self, other: &FloatHistogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let side = |a: &mut dyn Iterator<Item = Entry>, b: &mut dyn Iterator<Item = Entry>| {
            a.map(|(index, count)| (index, count.to_bits())).eq(b.map(|(index, count)| (index, count.to_bits())))
        };
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && self.custom_values == other.custom_values
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && side(
                &mut entries(&self.negative_spans, &self.negative_buckets),
                &mut entries(&other.negative_spans, &other.negative_buckets),
            )
            && side(
                &mut entries(&self.positive_spans, &self.positive_buckets),
                &mut entries(&other.positive_spans, &other.positive_buckets),
            )
    }
}

fn add_counts(mine: &mut [f64], theirs: &[f64], sign: f64) {
    for (count, other) in mine.iter_mut().zip(theirs) {
        *count += sign * other;
    }
}

/// Two ascending lists as one; counts of equal indices are added.
fn merged(mine: &[Entry], theirs: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut out = Vec::with_capacity(mine.len());
    let mut mine = mine.iter().copied().peekable();
    for (index, count) in theirs {
        while let Some(entry) = mine.next_if(|(i, _)| *i < index) {
            out.push(entry);
        }
        match mine.next_if(|(i, _)| *i == index) {
            Some((_, own)) => out.push((index, own + count)),
            None => out.push((index, count)),
        }
    }
    out.extend(mine);
    out
}

/// The bounds that both ascending lists have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.contains(bound)).collect()
}

/// Maps custom buckets to the buckets of a subset of their bounds.
pub(super) fn rebucketed(
    list: impl Iterator<Item = Entry>,
    bounds: &[f64],
    common: &[f64],
) -> impl Iterator<Item = (usize, f64)> {
    list.map(|(index, count)| {
        let target = usize::try_from(index)
            .ok()
            .and_then(|index| bounds.get(index))
            .map_or(common.len(), |bound| common.partition_point(|c| c < bound));
        (target, count)
    })
}
