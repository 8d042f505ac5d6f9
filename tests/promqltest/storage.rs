//! What the tests load: a store, start timestamps, and histograms with the hints that a TSDB would give them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brownout::model::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Labels, LabelsMap, is_stale_nan,
};
use brownout::promql::{SampleValue, StartTimes};
use brownout::series::{Appended, Settings, Store};
use brownout::time::Timestamp;

use super::script::{Load, LoadedSeries};

#[derive(Default)]
pub struct Storage {
    pub store: Store,
    starts: HashMap<Labels, BTreeMap<i64, i64>>,
    /// The newest histogram of each series, if its newest sample is one.
    newest: LabelsMap<Option<FloatHistogram>>,
}

impl StartTimes for Storage {
    fn start_time(&self, series: &Labels, at: Timestamp) -> Option<Timestamp> {
        self.starts.get(series)?.get(&at.as_millis()).map(|start| Timestamp::from_millis(*start))
    }
}

impl Storage {
    pub fn load(&mut self, load: &Load) -> Result<(), String> {
        if self.store.series_count() == 0 {
            self.store = Store::new(Settings::default());
        }
        for series in &load.series {
            for (index, noted) in series.values.iter().enumerate() {
                let at = index as i64 * load.interval;
                if let Some(value) = &noted.value {
                    self.append(&series.labels, at, value)?;
                }
                if let Some(Some(offset)) = series.starts.get(index) {
                    self.starts.entry(series.labels.clone()).or_default().insert(at, at + offset);
                }
            }
        }
        if load.with_nhcb {
            for (labels, histograms) in custom_histograms(&load.series) {
                for (index, classic) in histograms {
                    let at = index as i64 * load.interval;
                    if let Some(histogram) = classic.native() {
                        self.append(&labels, at, &SampleValue::Histogram(Arc::new(histogram)))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, labels: &Labels, at: i64, value: &SampleValue) -> Result<(), String> {
        let at = Timestamp::from_millis(at);
        let appended = match value {
            SampleValue::Float(value) => {
                self.newest.insert(labels.clone(), None);
                self.store.append(labels, at, *value)
            }
            SampleValue::Histogram(histogram) => {
                let mut histogram = histogram.as_ref().clone();
                let previous = self.newest.get(labels).and_then(Option::as_ref);
                let hint = stored_hint(&histogram, previous);
                self.newest.insert(labels.clone(), Some(histogram.clone()));
                histogram.hint = hint;
                self.store.append_histogram(labels, at, histogram)
            }
        };
        match appended {
            Appended::Refused(why) => Err(format!("{labels} at {}: {why:?}", at.as_millis())),
            _ => Ok(()),
        }
    }
}

/// The hint of a histogram when it is read back from a TSDB: within one chunk "no reset", at the beginning of a chunk
/// "unknown". A new chunk begins with a reset and with another layout.
fn stored_hint(histogram: &FloatHistogram, previous: Option<&FloatHistogram>) -> CounterResetHint {
    if histogram.hint == CounterResetHint::Gauge {
        return CounterResetHint::Gauge;
    }
    let continues = previous.is_some_and(|previous| {
        previous.hint != CounterResetHint::Gauge
            && histogram.hint != CounterResetHint::Reset
            && histogram.schema == previous.schema
            && histogram.zero_threshold == previous.zero_threshold
            && histogram.custom_values == previous.custom_values
            && !FloatHistogram { hint: CounterResetHint::Unknown, ..histogram.clone() }.is_reset_after(previous)
    });
    if continues { CounterResetHint::NotReset } else { CounterResetHint::Unknown }
}

/// The buckets, count and sum of one classic histogram at one instant.
#[derive(Default)]
struct Classic {
    /// By the bits of their bounds in order.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    broken: bool,
}

impl Classic {
    fn set_bucket(&mut self, bound: f64, count: f64) {
        let place = self.buckets.partition_point(|(known, _)| *known < bound);
        if self.buckets.get(place).is_some_and(|(known, _)| *known == bound) {
            return;
        }
        let falls = place > 0 && count < self.buckets[place - 1].1;
        let towers = self.buckets.get(place).is_some_and(|(_, next)| count > *next);
        self.broken |= count < 0.0 || falls || towers;
        self.buckets.insert(place, (bound, count));
    }

    fn native(mut self) -> Option<FloatHistogram> {
        let count = self.count.or(self.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.broken |= self.buckets.last().is_some_and(|(_, last)| count < *last);
            self.buckets.push((f64::INFINITY, count));
        }
        if self.broken {
            return None;
        }
        let mut before = 0.0;
        let mut buckets = Vec::new();
        for (_, cumulative) in &self.buckets {
            buckets.push(cumulative - before);
            before = *cumulative;
        }
        let mut histogram = FloatHistogram {
            hint: CounterResetHint::Unknown,
            schema: CUSTOM_BUCKETS_SCHEMA,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count,
            sum: self.sum,
            positive_spans: vec![BucketSpan { offset: 0, length: buckets.len() as u32 }],
            negative_spans: Vec::new(),
            positive_buckets: buckets,
            negative_buckets: Vec::new(),
            custom_values: self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect(),
        };
        histogram.compact();
        Some(histogram)
    }
}

/// Classic histograms by the labels of the native one, and by the index of the sample.
fn custom_histograms(series: &[LoadedSeries]) -> Vec<(Labels, BTreeMap<usize, Classic>)> {
    let mut found: Vec<(Labels, BTreeMap<usize, Classic>)> = Vec::new();
    for one in series {
        let name = one.labels.name();
        let parts = ["_bucket", "_count", "_sum"].into_iter().find_map(|end| Some((name.strip_suffix(end)?, end)));
        let Some((base, part)) = parts else { continue };
        let mut builder = one.labels.to_builder();
        builder.set("__name__", base);
        let mut bound = 0.0;
        if part == "_bucket" {
            match one.labels.value("le").parse::<f64>() {
                Ok(value) if !value.is_nan() => bound = value,
                _ => continue,
            }
            builder.remove("le");
        }
        let labels = builder.build();
        let place = found.iter().position(|(known, _)| *known == labels).unwrap_or_else(|| {
            found.push((labels, BTreeMap::new()));
            found.len() - 1
        });
        for (index, noted) in one.values.iter().enumerate() {
            let Some(value) = noted.value.as_ref().and_then(SampleValue::float).filter(|v| !is_stale_nan(*v)) else {
                continue;
            };
            let classic = found[place].1.entry(index).or_default();
            match part {
                "_bucket" => classic.set_bucket(bound, value),
                "_count" => classic.count = Some(value),
                _ => classic.sum = value,
            }
        }
    }
    found
}
