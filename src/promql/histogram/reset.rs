//! Whether a counter was reset between two histograms.

use super::arithmetic::{common_bounds, rebucketed};
use super::layout::{Entry, coarser, entries, exponential_bound};
use crate::model::{BucketSpan, CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// True when this histogram cannot have grown out of `previous`: a count fell, a populated bucket vanished, the
    /// resolution rose, or the hint says so.
    pub fn is_reset_after(&self, previous: &FloatHistogram) -> bool {
        match self.hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_values != previous.custom_values {
                return self.fell_at_common_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if previous.uses_custom_buckets() != self.uses_custom_buckets() {
            return true;
        }
        let (zero_count, threshold) = previous.zero_count_at(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        self.side_fell(
            (&self.positive_spans, &self.positive_buckets),
            (&previous.positive_spans, &previous.positive_buckets),
            previous.schema,
        ) || self.side_fell(
            (&self.negative_spans, &self.negative_buckets),
            (&previous.negative_spans, &previous.negative_buckets),
            previous.schema,
        )
    }

    fn side_fell(&self, now: (&[BucketSpan], &[f64]), before: (&[BucketSpan], &[f64]), schema_before: i8) -> bool {
        let visible = |list: Vec<Entry>| {
            let outside = move |(index, _): &Entry| {
                self.uses_custom_buckets() || exponential_bound(*index, self.schema) > self.zero_threshold
            };
            list.into_iter().skip_while(move |entry| self.zero_threshold != 0.0 && !outside(entry))
        };
        let before = if self.uses_custom_buckets() {
            entries(before.0, before.1).collect()
        } else {
            coarser(entries(before.0, before.1), schema_before, self.schema)
        };
        let mut now = visible(entries(now.0, now.1).collect()).peekable();
        for (index, count) in visible(before) {
            while now.next_if(|(i, _)| *i < index).is_some() {}
            match now.next_if(|(i, _)| *i == index) {
                Some((_, current)) if current < count => return true,
                Some(_) => {}
                None if count != 0.0 => return true,
                None => {}
            }
        }
        false
    }

    fn fell_at_common_bounds(&self, previous: &FloatHistogram) -> bool {
        let common = common_bounds(&self.custom_values, &previous.custom_values);
        let mut growth = vec![0.0; common.len() + 1];
        for (index, count) in
            rebucketed(entries(&self.positive_spans, &self.positive_buckets), &self.custom_values, &common)
        {
            growth[index] += count;
        }
        let mut before = vec![0.0; common.len() + 1];
        let theirs = entries(&previous.positive_spans, &previous.positive_buckets);
        for (index, count) in rebucketed(theirs, &previous.custom_values, &common) {
            before[index] += count;
        }
        growth.iter().zip(&before).any(|(now, before)| now < before)
    }
}
