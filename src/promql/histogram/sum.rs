//! Sums of many histograms with Kahan's compensation for every number in them.

use super::arithmetic::{Combined, IncompatibleSchema, common_bounds, rebucketed};
use super::layout::{coarser, entries, exponential_bound, spans_of};
use crate::model::{BucketSpan, FloatHistogram};
use crate::promql::numbers::Kahan;

type KahanEntry = (i32, Kahan);

/// A running sum. Its result differs from repeated addition only in rounding.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSum {
    /// Hint, schema, zero threshold and bounds; its numbers are unused.
    frame: FloatHistogram,
    zero_count: Kahan,
    count: Kahan,
    sum: Kahan,
    positive: Vec<KahanEntry>,
    negative: Vec<KahanEntry>,
}

impl HistogramSum {
    /// A sum that starts with one histogram.
    pub(crate) fn new(first: &FloatHistogram) -> HistogramSum {
        let side = |spans: &[BucketSpan], buckets: &[f64]| -> Vec<KahanEntry> {
            entries(spans, buckets).map(|(index, count)| (index, Kahan::new(count))).collect()
        };
        HistogramSum {
            frame: FloatHistogram {
                hint: first.hint,
                zero_threshold: first.zero_threshold,
                ..FloatHistogram::empty_like(first)
            },
            zero_count: Kahan::new(first.zero_count),
            count: Kahan::new(first.count),
            sum: Kahan::new(first.sum),
            positive: side(&first.positive_spans, &first.positive_buckets),
            negative: side(&first.negative_spans, &first.negative_buckets),
        }
    }

    /// Adds one more.
    pub(crate) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleSchema> {
        if self.frame.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchema);
        }
        let mut combined = Combined { reset_collision: self.frame.merge_hint(other), bounds_reconciled: false };
        if self.frame.uses_custom_buckets() {
            combined.bounds_reconciled = self.add_custom(other);
        } else {
            self.add_exponential(other);
        }
        self.count.add(other.count);
        self.sum.add(other.sum);
        Ok(combined)
    }

    fn add_exponential(&mut self, other: &FloatHistogram) {
        if self.frame.zero_threshold != other.zero_threshold {
            // Rare: fold the compensation in and let plain arithmetic widen the zero bucket.
            let mut plain = self.clone().finish();
            let zero_count = plain.reconcile_zero(other);
            let (hint, count, sum) = (self.frame.hint, self.count, self.sum);
            *self = HistogramSum::new(&plain);
            (self.frame.hint, self.count, self.sum) = (hint, count, sum);
            self.zero_count.add(zero_count);
        } else {
            self.zero_count.add(other.zero_count);
        }
        let schema = self.frame.schema.min(other.schema);
        if schema < self.frame.schema {
            self.positive = coarser_sums(&self.positive, self.frame.schema, schema);
            self.negative = coarser_sums(&self.negative, self.frame.schema, schema);
            self.frame.schema = schema;
        }
        let threshold = self.frame.zero_threshold;
        let outside = |spans: &[BucketSpan], buckets: &[f64]| -> Vec<(i32, f64)> {
            let list = coarser(entries(spans, buckets), other.schema, schema);
            list.into_iter().skip_while(|(index, _)| exponential_bound(*index, schema) <= threshold).collect()
        };
        add_entries(&mut self.positive, outside(&other.positive_spans, &other.positive_buckets));
        add_entries(&mut self.negative, outside(&other.negative_spans, &other.negative_buckets));
    }

    /// True when bounds had to be dropped.
    fn add_custom(&mut self, other: &FloatHistogram) -> bool {
        let theirs = entries(&other.positive_spans, &other.positive_buckets);
        if self.frame.custom_values == other.custom_values {
            add_entries(&mut self.positive, theirs);
            return false;
        }
        let common = common_bounds(&self.frame.custom_values, &other.custom_values);
        let mut counts = vec![Kahan::default(); common.len() + 1];
        let mine = self.positive.iter().map(|(index, kahan)| (*index, kahan.sum));
        for (index, count) in rebucketed(mine, &self.frame.custom_values, &common) {
            counts[index].add(count);
        }
        let compensations = self.positive.iter().map(|(index, kahan)| (*index, kahan.compensation));
        for (index, count) in rebucketed(compensations, &self.frame.custom_values, &common) {
            counts[index].add(count);
        }
        for (index, count) in rebucketed(theirs, &other.custom_values, &common) {
            counts[index].add(count);
        }
        let filled = counts.into_iter().enumerate().filter(|(_, kahan)| kahan.value() != 0.0);
        self.positive = filled.map(|(index, kahan)| (index as i32, kahan)).collect();
        self.frame.custom_values = common;
        true
    }

    /// True when a number has left the range of floats.
    pub(crate) fn has_overflow(&self) -> bool {
        let infinite = |kahan: &Kahan| kahan.sum.is_infinite();
        [&self.zero_count, &self.count, &self.sum].into_iter().any(infinite)
            || self.positive.iter().chain(&self.negative).any(|(_, kahan)| infinite(kahan))
    }

    /// Multiplies everything, for means.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.each(|kahan| kahan.scale(factor));
    }

    /// Divides everything, for means.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.each(|kahan| kahan.divide(divisor));
    }

    fn each(&mut self, mut change: impl FnMut(&mut Kahan)) {
        for kahan in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            change(kahan);
        }
        for (_, kahan) in self.positive.iter_mut().chain(&mut self.negative) {
            change(kahan);
        }
    }

    /// The sum.
    pub(crate) fn finish(self) -> FloatHistogram {
        let side = |list: Vec<KahanEntry>| spans_of(list.into_iter().map(|(index, kahan)| (index, kahan.value())));
        let (positive_spans, positive_buckets) = side(self.positive);
        let (negative_spans, negative_buckets) = side(self.negative);
        FloatHistogram {
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            ..self.frame
        }
    }
}

fn add_entries(mine: &mut Vec<KahanEntry>, theirs: impl IntoIterator<Item = (i32, f64)>) {
    let mut at = 0;
    for (index, count) in theirs {
        while mine.get(at).is_some_and(|(i, _)| *i < index) {
            at += 1;
        }
        match mine.get_mut(at) {
            Some((i, kahan)) if *i == index => kahan.add(count),
            _ => mine.insert(at, (index, Kahan::new(count))),
        }
    }
}

fn coarser_sums(list: &[KahanEntry], from: i8, to: i8) -> Vec<KahanEntry> {
    let sums = coarser(list.iter().map(|(index, kahan)| (*index, kahan.sum)), from, to);
    let compensations = coarser(list.iter().map(|(index, kahan)| (*index, kahan.compensation)), from, to);
    let pairs = sums.into_iter().zip(compensations);
    pairs.map(|((index, sum), (_, compensation))| (index, Kahan { sum, compensation })).collect()
}
