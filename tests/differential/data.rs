//! Random series from a seed: gauges, counters with resets, classic and native histograms; with gaps, NaN, infinities
//! and staleness markers.

use brownout::model::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Labels, LabelsBuilder, stale_nan,
};
use brownout::rng::Rng;
use brownout::time::Timestamp;

/// The first instant that has samples, in milliseconds since the epoch.
pub const START: i64 = 1_700_000_000_000;
/// Time between two samples of a series.
pub const INTERVAL: i64 = 15_000;
/// Samples that a series without gaps has.
pub const SAMPLES: i64 = 160;

pub enum Value {
    Float(f64),
    Histogram(FloatHistogram),
}

pub struct Series {
    pub labels: Labels,
    /// In order of time.
    pub samples: Vec<(Timestamp, Value)>,
}

/// Everything that the expressions are asked about.
pub fn series(seed: u64) -> Vec<Series> {
    let mut rng = Rng::seeded(seed);
    let mut made = Vec::new();
    for job in ["a", "b"] {
        for inst in ["0", "1", "2"] {
            let of = |name: &str, more: &[(&str, &str)]| named(name, &[&[("job", job), ("inst", inst)], more].concat());
            floats(&mut rng, &mut made, of("walk", &[]), &mut walk());
            floats(&mut rng, &mut made, of("few", &[("kind", if inst == "0" { "x" } else { "y" })]), &mut few());
            floats(&mut rng, &mut made, of("wild", &[]), &mut wild());
            floats(&mut rng, &mut made, of("hits_total", &[]), &mut counter());
            classic(&mut rng, &mut made, &|part, more| of(&format!("lat_{part}"), more), inst == "2");
            native(&mut rng, &mut made, of("nh", &[]), Shape::Counter);
            native(&mut rng, &mut made, of("nhg", &[]), Shape::Gauge);
            native(&mut rng, &mut made, of("nhcb", &[]), Shape::Custom);
            let version = ["v1", "v2"][rng.below(2) as usize];
            floats(&mut rng, &mut made, of("build_info", &[("version", version)]), &mut |_, _| 1.0);
        }
    }
    mixed(&mut rng, &mut made);
    // The peer keeps series in the order in which it hears of them, and so settles ties.
    made.sort_by(|a, b| a.labels.cmp(&b.labels));
    made
}

fn named(name: &str, pairs: &[(&str, &str)]) -> Labels {
    let mut builder = LabelsBuilder::new();
    builder.set("__name__", name);
    for (name, value) in pairs {
        builder.set(name, value);
    }
    builder.build()
}

/// When a series has samples: an own phase, now and then a gap, now and then a staleness marker and a longer gap.
fn times(rng: &mut Rng) -> Vec<(Timestamp, bool)> {
    let phase = [0, 0, 1, 7_003][rng.below(4) as usize];
    let holes = rng.below(3);
    let (mut times, mut skip) = (Vec::new(), 0);
    for index in 0..SAMPLES {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        let at = Timestamp::from_millis(START + phase + index * INTERVAL);
        let marker = holes > 0 && rng.below(40) == 0;
        times.push((at, marker));
        if marker {
            skip = rng.below(8);
        } else if holes == 2 && rng.below(25) == 0 {
            skip = rng.below(30);
        }
    }
    times
}

fn floats(rng: &mut Rng, made: &mut Vec<Series>, labels: Labels, next: &mut dyn FnMut(&mut Rng, i64) -> f64) {
    let times = times(rng);
    let sample = |(at, marker): (Timestamp, bool)| {
        let value = next(rng, at.as_millis());
        (at, Value::Float(if marker { stale_nan() } else { value }))
    };
    made.push(Series { labels, samples: times.into_iter().map(sample).collect() });
}

fn walk() -> impl FnMut(&mut Rng, i64) -> f64 {
    let mut at = 50.0;
    move |rng, _| {
        at += (rng.unit() - 0.5) * 10.0;
        at
    }
}

/// Small whole numbers: many ties.
fn few() -> impl FnMut(&mut Rng, i64) -> f64 {
    |rng, _| rng.below(5) as f64 - 1.0
}

/// Everything that a float can be.
fn wild() -> impl FnMut(&mut Rng, i64) -> f64 {
    |rng, _| match rng.below(12) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => -0.0,
        4 => 1e300 * rng.unit(),
        5 => 1e-300 * rng.unit(),
        _ => (rng.unit() - 0.5) * 1e3,
    }
}

fn counter() -> impl FnMut(&mut Rng, i64) -> f64 {
    let mut at = 0.0;
    move |rng, _| {
        at = if rng.below(30) == 0 { rng.below(5) as f64 } else { at + rng.below(40) as f64 };
        at
    }
}

/// `_bucket`, `_sum` and `_count`; `broken` ones fall now and then from one bucket to the next.
fn classic(rng: &mut Rng, made: &mut Vec<Series>, of: &dyn Fn(&str, &[(&str, &str)]) -> Labels, broken: bool) {
    let bounds = ["0.1", "0.5", "1", "2.5", "10", "+Inf"];
    let times = times(rng);
    let (mut counts, mut sum) = ([0.0; 6], 0.0);
    let mut samples: Vec<Vec<(Timestamp, Value)>> = (0..8).map(|_| Vec::new()).collect();
    for (at, marker) in times {
        if rng.below(40) == 0 {
            (counts, sum) = ([0.0; 6], 0.0);
        }
        let mut total = 0.0;
        for count in &mut counts {
            total += rng.below(6) as f64;
            *count += total;
        }
        sum += total * rng.unit();
        let mut shown: Vec<f64> = counts.to_vec();
        if broken && rng.below(3) == 0 {
            shown[2] = (shown[2] - 8.0).max(0.0);
        }
        shown.extend([sum, counts[5]]);
        for (part, value) in shown.into_iter().enumerate() {
            samples[part].push((at, Value::Float(if marker { stale_nan() } else { value })));
        }
    }
    for (part, samples) in samples.into_iter().enumerate() {
        let labels = match part {
            6 => of("sum", &[]),
            7 => of("count", &[]),
            part => of("bucket", &[("le", bounds[part])]),
        };
        made.push(Series { labels, samples });
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Counter,
    Gauge,
    Custom,
}

fn native(rng: &mut Rng, made: &mut Vec<Series>, labels: Labels, shape: Shape) {
    let schema = match shape {
        Shape::Custom => CUSTOM_BUCKETS_SCHEMA,
        _ => rng.below(4) as i8 - 1,
    };
    let mut current = empty(rng, schema, shape);
    let mut samples = Vec::new();
    for (at, marker) in times(rng) {
        if shape == Shape::Gauge || rng.below(30) == 0 {
            current = empty(rng, schema, shape);
        }
        grow(rng, &mut current);
        samples.push((at, if marker { Value::Float(stale_nan()) } else { Value::Histogram(current.clone()) }));
    }
    made.push(Series { labels, samples });
}

fn empty(rng: &mut Rng, schema: i8, shape: Shape) -> FloatHistogram {
    let custom = shape == Shape::Custom;
    let lengths = if custom { [4, 0] } else { [6, 3] };
    let spans = |length: u32, offset| match length {
        0 => Vec::new(),
        length => vec![BucketSpan { offset, length: length - 1 }, BucketSpan { offset: 0, length: 1 }],
    };
    let offset = if custom { 0 } else { rng.below(3) as i32 - 1 };
    FloatHistogram {
        hint: if shape == Shape::Gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
        schema,
        zero_threshold: if custom { 0.0 } else { 0.001 },
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive_spans: spans(lengths[0], offset),
        negative_spans: spans(lengths[1], 0),
        positive_buckets: vec![0.0; lengths[0] as usize],
        negative_buckets: vec![0.0; lengths[1] as usize],
        custom_values: if custom { vec![0.5, 1.0, 5.0] } else { Vec::new() },
    }
}

fn grow(rng: &mut Rng, histogram: &mut FloatHistogram) {
    let mut added = 0.0;
    let mut more = |count: &mut f64, rng: &mut Rng| {
        let step = rng.below(5) as f64;
        *count += step;
        added += step;
    };
    histogram.positive_buckets.iter_mut().for_each(|count| more(count, rng));
    histogram.negative_buckets.iter_mut().for_each(|count| more(count, rng));
    if histogram.zero_threshold > 0.0 {
        more(&mut histogram.zero_count, rng);
    }
    histogram.count += added;
    histogram.sum += added * (rng.unit() - 0.2);
}

/// Series that turn from floats into histograms and back.
fn mixed(rng: &mut Rng, made: &mut Vec<Series>) {
    for inst in ["0", "1"] {
        let labels = named("mixed", &[("inst", inst)]);
        let mut histogram = empty(rng, 0, Shape::Counter);
        let mut samples = Vec::new();
        for (at, _) in times(rng) {
            grow(rng, &mut histogram);
            let float = (at.as_millis() - START) / (INTERVAL * 20) % 2 == 0;
            let value = if float { Value::Float(rng.below(9) as f64) } else { Value::Histogram(histogram.clone()) };
            samples.push((at, value));
        }
        made.push(Series { labels, samples });
    }
}
