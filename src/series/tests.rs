//! Tests of the store as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::model::{
    Batch, Completeness, CounterResetHint, FloatHistogram, Labels, MatchOp, Matcher, NAME, Source, stale_nan,
};
use crate::time::Timestamp;

#[test]
fn a_series_and_a_window_over_it_take_little() {
    // A page holds them in place: what is added here costs as many bytes for each of a hundred thousand series.
    let series = size_of::<Option<super::view::Series>>();
    assert!(series <= 120, "{series}");
    assert!(size_of::<Trail>() <= 72, "{}", size_of::<Trail>());
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn labels(name: &str, more: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(more.iter().copied().chain([(NAME, name)]))
}

fn named(name: &str) -> Vec<Matcher> {
    vec![Matcher::equal(NAME, name)]
}

fn everything() -> Vec<Matcher> {
    vec![Matcher::new(MatchOp::NotEqual, NAME, "").expect("a matcher")]
}

fn batch(source: &str, millis: i64, samples: &[(&Labels, f64)]) -> Batch {
    Batch {
        samples: samples.iter().map(|(labels, value)| ((*labels).clone(), *value)).collect(),
        ..Batch::ended(Source::new("test", source), at(millis))
    }
}

fn give(store: &mut Store, batch: &Batch) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    store.append_batch(batch, &mut |_, why| refusals.push(why));
    refusals
}

/// The floats of the one series with that name, a staleness marker as `stale`.
fn shown(view: &View, name: &str) -> String {
    let found = view.select(&named(name), Timestamp::MIN, Timestamp::MAX);
    let text = |point: &Point| match point {
        point if point.is_stale() => format!("{}=stale", point.time().as_millis()),
        Point::Float(at, value) => format!("{}={value}", at.as_millis()),
        Point::Histogram(at, value) => format!("{}=h{}", at.as_millis(), value.count),
    };
    found.iter().flat_map(|series| &series.points).map(text).collect::<Vec<_>>().join(" ")
}

fn histogram(count: f64) -> FloatHistogram {
    FloatHistogram {
        hint: CounterResetHint::Gauge,
        schema: -4,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count,
        sum: -2.5,
        positive_spans: vec![crate::model::BucketSpan { offset: -3, length: 2 }],
        negative_spans: vec![],
        positive_buckets: vec![1.0, f64::NAN],
        negative_buckets: vec![],
        custom_values: vec![0.5],
    }
}

#[test]
fn samples_are_taken_in_order_and_the_same_twice() {
    let mut store = Store::default();
    let a = labels("a", &[]);
    let check = |store: &mut Store, millis: i64, value: f64, expected: Appended| {
        assert_eq!(store.append(&a, at(millis), value), expected, "{millis} {value}");
    };
    check(&mut store, 10, 1.0, Appended::New);
    check(&mut store, 20, 2.0, Appended::Known);
    check(&mut store, 20, 2.0, Appended::Known);
    check(&mut store, 20, 3.0, Appended::Refused(Refusal::OutOfOrder));
    check(&mut store, 15, 3.0, Appended::Refused(Refusal::OutOfOrder));
    check(&mut store, 30, f64::NAN, Appended::Known);
    check(&mut store, 30, f64::NAN, Appended::Known);
    assert_eq!(store.append_histogram(&a, at(30), histogram(1.0)), Appended::Refused(Refusal::OutOfOrder));
    assert_eq!(store.append_histogram(&a, at(40), histogram(1.0)), Appended::Known);
    check(&mut store, 40, 1.0, Appended::Refused(Refusal::OutOfOrder));
    check(&mut store, 50, 5.0, Appended::Known);
    assert_eq!(shown(&store.view(), "a"), "10=1 20=2 30=NaN 40=h1 50=5");
}

#[test]
fn what_passes_a_limit_is_refused_and_the_rest_goes_on() {
    let mut store = Store::new(Settings { max_series: 3, max_series_per_source: 2, ..Settings::default() });
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| labels(name, &[]));
    assert_eq!(
        give(&mut store, &batch("one", 1, &[(&a, 1.0), (&b, 1.0), (&c, 1.0)])),
        [Refusal::TooManySeriesOfSource]
    );
    assert_eq!(give(&mut store, &batch("two", 1, &[(&c, 1.0), (&d, 1.0)])), [Refusal::TooManySeries]);
    assert_eq!(give(&mut store, &batch("one", 2, &[(&a, 2.0), (&b, 2.0)])), []);
    assert_eq!(store.append(&d, at(2), 1.0), Appended::Refused(Refusal::TooManySeries));
    assert_eq!(store.series_count(), 3);
    let mut store = Store::default();
    let long = labels("a", &[("b", &"x".repeat(limits::LABELS_BYTES))]);
    assert_eq!(store.append(&long, at(1), 1.0), Appended::Refused(Refusal::LabelsTooLong));
    assert_eq!(store.series_count(), 0);
}

#[test]
fn a_series_that_a_whole_batch_lacks_goes_stale_once() {
    let mut store = Store::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| labels(name, &[]));
    give(&mut store, &batch("s", 1, &[(&a, 1.0), (&b, 1.0), (&c, 1.0)]));
    let partial = Batch { completeness: Completeness::Partial, ..batch("s", 2, &[(&c, 2.0)]) };
    give(&mut store, &partial);
    give(&mut store, &batch("s", 3, &[(&c, 3.0), (&a, 3.0)]));
    give(&mut store, &batch("s", 4, &[(&a, 4.0)]));
    give(&mut store, &batch("s", 5, &[(&b, 5.0), (&a, 5.0)]));
    give(&mut store, &Batch::ended(Source::new("test", "s"), at(6)));
    give(&mut store, &Batch::ended(Source::new("test", "s"), at(7)));
    let view = store.view();
    assert_eq!(shown(&view, "a"), "1=1 3=3 4=4 5=5 6=stale");
    assert_eq!(shown(&view, "b"), "1=1 3=stale 5=5 6=stale");
    assert_eq!(shown(&view, "c"), "1=1 2=2 3=3 4=stale");
}

#[test]
fn a_refused_sample_is_no_end_and_a_timed_one_gets_no_marker() {
    let mut store = Store::default();
    let [a, b] = ["a", "b"].map(|name| labels(name, &[]));
    give(&mut store, &Batch { timed: vec![(b.clone(), at(2), 7.0)], ..batch("s", 5, &[(&a, 1.0)]) });
    assert_eq!(give(&mut store, &batch("s", 4, &[(&a, 2.0)])), [Refusal::OutOfOrder]);
    give(&mut store, &batch("s", 6, &[(&a, 3.0)]));
    assert_eq!(shown(&store.view(), "a"), "5=1 6=3");
    assert_eq!(shown(&store.view(), "b"), "2=7");
}

#[test]
fn a_series_belongs_to_the_source_that_gave_it_last() {
    let mut store = Store::default();
    let a = labels("a", &[]);
    give(&mut store, &batch("one", 1, &[(&a, 1.0)]));
    give(&mut store, &batch("two", 2, &[(&a, 2.0)]));
    give(&mut store, &Batch::ended(Source::new("test", "one"), at(3)));
    assert_eq!(shown(&store.view(), "a"), "1=1 2=2");
    give(&mut store, &Batch::ended(Source::new("test", "two"), at(4)));
    assert_eq!(shown(&store.view(), "a"), "1=1 2=2 4=stale");
}

#[test]
fn a_view_stays_as_it_was() {
    let mut store = Store::default();
    let a = labels("a", &[]);
    for i in 0..500 {
        store.append(&a, at(i * 1000), i as f64);
    }
    let view = store.view();
    let before = shown(&view, "a");
    let generation = view.generation();
    for i in 500..900 {
        store.append(&a, at(i * 1000), i as f64);
    }
    store.append(&labels("b", &[]), at(1), 1.0);
    store.collect_garbage(at(100_000_000));
    assert_eq!(shown(&view, "a"), before);
    assert_eq!(view.series_count(), 1);
    assert_eq!(view.generation(), generation);
    assert_eq!(store.view().series_count(), 0);
}

#[test]
fn what_is_old_is_dropped_and_its_place_is_used_again() {
    let mut store = Store::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| labels(name, &[]));
    give(&mut store, &batch("s", 0, &[(&a, 1.0)]));
    store.append(&b, at(600_000), 1.0);
    let old = store.view();
    let a_ref = old.resolve(&named("a"))[0];
    store.collect_garbage(at(900_000));
    assert_eq!(store.generation(), old.generation());
    store.collect_garbage(at(900_001));
    assert_eq!(store.series_count(), 1);
    assert_ne!(store.generation(), old.generation());
    store.append(&c, at(900_001), 2.0);
    let view = store.view();
    let c_ref = view.resolve(&named("c"))[0];
    assert_eq!(view.labels(a_ref), None);
    assert_eq!(view.labels(c_ref), Some(&c));
    assert_eq!(old.labels(a_ref), Some(&a));
    assert_eq!(old.labels(c_ref), None);
    assert!(view.resolve(&named("a")).is_empty());
    // The source that ended is forgotten with its series, and takes nothing from the newcomer.
    give(&mut store, &Batch::ended(Source::new("test", "s"), at(900_002)));
    assert_eq!(shown(&store.view(), "c"), "900001=2");
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut store = Store::default();
    for round in 0..200_i64 {
        let fresh: Vec<Labels> = (0..50).map(|i| labels("m", &[("id", &format!("{round}-{i}"))])).collect();
        let samples: Vec<(&Labels, f64)> = fresh.iter().map(|labels| (labels, 1.0)).collect();
        assert_eq!(give(&mut store, &batch("s", round * 60_000, &samples)), []);
        store.collect_garbage(at(round * 60_000));
        assert!(store.series_count() <= 17 * 50, "{}", store.series_count());
    }
    let bytes = store.stats().bytes;
    assert!(bytes < 1 << 20, "{bytes}");
    assert_eq!(store.view().label_values("id").len(), store.series_count());
    store.collect_garbage(at(1 << 40));
    assert_eq!(store.stats(), Stats { series: 0, samples: 0, bytes: store.stats().bytes });
    assert!(store.stats().bytes < 10_000, "{:?}", store.stats());
    assert!(store.view().label_names().is_empty());
}

#[test]
fn selections_narrow_by_every_kind_of_matcher_and_come_sorted() {
    let mut store = Store::default();
    for (name, host) in [("b", "2"), ("a", "2"), ("a", "1"), ("c", "")] {
        store.append(&labels(name, &[("host", host)]), at(1000), 1.0);
    }
    let view = store.view();
    let check = |matchers: &[(MatchOp, &str, &str)], expected: &[&str]| {
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(op, n, v)| Matcher::new(*op, n, v).expect("a matcher")).collect();
        let found: Vec<String> = view.label_sets(&matchers, at(0), at(2000)).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{matchers:?}");
        assert_eq!(view.resolve(&matchers).len(), expected.len());
        assert!(view.label_sets(&matchers, at(1001), at(2000)).is_empty());
    };
    use MatchOp::*;
    check(&[(Equal, NAME, "a")], &["a{host=\"1\"}", "a{host=\"2\"}"]);
    check(&[(Matches, NAME, "a|b"), (Equal, "host", "2")], &["a{host=\"2\"}", "b{host=\"2\"}"]);
    check(&[(Matches, NAME, ".+"), (NotEqual, "host", "2")], &["a{host=\"1\"}", "c"]);
    check(&[(Equal, "host", "")], &["c"]);
    check(&[(NotMatches, NAME, "[ab]")], &["c"]);
    check(&[(Equal, NAME, "none")], &[]);
    assert_eq!(view.label_names(), ["__name__", "host"]);
    assert_eq!(view.label_values("host"), ["1", "2"]);
}

#[test]
fn the_newest_point_before_a_time_is_found_in_every_part() {
    let mut store = Store::default();
    let a = labels("a", &[]);
    for i in 0..1000 {
        store.append(&a, at(i * 1000), i as f64);
    }
    store.append_histogram(&a, at(1_000_500), histogram(9.0));
    let view = store.view();
    let series = view.resolve(&named("a"))[0];
    let check = |millis: i64, lookback: u64, expected: Option<f64>| {
        let found = view.last_before(series, at(millis), Duration::from_millis(lookback));
        let value = found.map(|point| match point {
            Point::Float(_, value) => value,
            Point::Histogram(_, value) => -value.count,
        });
        assert_eq!(value, expected, "{millis} {lookback}");
    };
    for i in 0..1000 {
        check(i * 1000, 1, Some(i as f64));
        check(i * 1000 + 300, 400, Some(i as f64));
        // The window is open on the left.
        check(i * 1000 + 300, 300, None);
    }
    check(-1, 1000, None);
    check(1_000_500, 300_000, Some(-9.0));
    check(1_000_499, 300_000, Some(999.0));
    let mut floats = vec![(at(0), -1.0)];
    assert!(view.floats_into(series, at(995_000), at(997_000), &mut floats));
    assert_eq!(floats, [(at(0), -1.0), (at(995_000), 995.0), (at(996_000), 996.0), (at(997_000), 997.0)]);
    assert!(!view.floats_into(series, at(999_000), at(2_000_000), &mut floats));
    let mut points = Vec::new();
    view.points_into(series, at(998_001), at(2_000_000), &mut points);
    assert_eq!(points.len(), 2);
}

#[test]
fn a_long_window_keeps_its_ends_and_extremes_in_bounded_memory() {
    let mut store = Store::default();
    store.retain(&[Need { matchers: named("long").into(), window: Duration::from_secs(86_400) }]);
    let [long, short] = ["long", "short"].map(|name| labels(name, &[]));
    let (mut total, mut before) = (0.0, 0.0);
    let value = |second: i64| (second % 7000) as f64;
    const SECONDS: i64 = 26 * 3600;
    for second in 0..SECONDS {
        store.append(&long, at(second * 1000), value(second));
        store.append(&short, at(second * 1000), value(second));
        if second % 60 == 0 {
            store.collect_garbage(at(second * 1000));
        }
        if second > SECONDS - 86_400 {
            total += if value(second) < before { value(second) } else { value(second) - before };
        }
        before = value(second);
    }
    let view = store.view();
    let now = (SECONDS - 1) * 1000;
    let floats = |name: &str, from: i64| {
        let mut floats = Vec::new();
        view.floats_into(view.resolve(&named(name))[0], at(from), at(now), &mut floats);
        floats
    };
    let hour: Vec<_> = floats("long", now - 3_600_000).into_iter().map(|(time, v)| (time.as_millis(), v)).collect();
    let expected: Vec<_> = (SECONDS - 3601..SECONDS).map(|s| (s * 1000, value(s))).collect();
    assert_eq!(hour, expected);
    let day = floats("long", now - 86_400_000);
    assert!(day.is_sorted_by(|a, b| a.0 < b.0));
    assert!((4_000..10_000).contains(&day.len()), "{}", day.len());
    assert_eq!(day.iter().map(|(_, v)| *v).fold(0.0, f64::max), 6999.0);
    let increase: f64 = day.windows(2).map(|w| if w[1].1 < w[0].1 { w[1].1 } else { w[1].1 - w[0].1 }).sum();
    assert!((increase - total).abs() <= 400.0, "{increase} {total}");
    assert!(floats("short", 0).len() < 900 + 250, "{}", floats("short", 0).len());
    let stats = store.stats();
    let (back, _) = Store::restore(&store.snapshot(), Settings::default()).expect("a snapshot");
    assert_eq!(shown(&back.view(), "long"), shown(&view, "long"));
    println!("one day at 1 s: {} bytes, {} samples", stats.bytes, stats.samples);
    assert!(stats.bytes < 60_000, "{stats:?}");
}

#[test]
fn histograms_of_a_long_window_are_thinned_to_one_a_step() {
    let mut store = Store::default();
    store.retain(&[Need { matchers: named("h").into(), window: Duration::from_secs(86_400) }]);
    let h = labels("h", &[]);
    for second in (0..6 * 3600).step_by(10) {
        store.append_histogram(&h, at(second * 1000), histogram(second as f64));
        if second % 600 == 0 {
            store.collect_garbage(at(second * 1000));
        }
    }
    let found = store.view().select(&named("h"), Timestamp::MIN, Timestamp::MAX);
    assert!((400..700).contains(&found[0].points.len()), "{}", found[0].points.len());
    assert!(found[0].points.is_sorted_by_key(Point::time));
}

#[test]
fn many_steady_series_take_few_bytes_a_sample() {
    let mut store = Store::default();
    let all: Vec<Labels> = (0..500)
        .map(|i| labels(&format!("node_metric_{}_total", i / 10), &[("instance", "host"), ("device", &i.to_string())]))
        .collect();
    for second in 0..900_i64 {
        let samples: Vec<(&Labels, f64)> = all
            .iter()
            .enumerate()
            .map(|(i, labels)| {
                let value = match i % 4 {
                    0 => 42.0,
                    1 => (second * (i as i64 % 90)) as f64,
                    2 => (second * 4096 + (second * second * 7919) % 100_000) as f64,
                    _ => ((second as f64) * 0.1 + i as f64).sin(),
                };
                (labels, value)
            })
            .collect();
        give(&mut store, &batch("s", 1_700_000_000_000 + second * 1000, &samples));
    }
    println!("size of one series with one sample: {} bytes", bytes_of_new_series());
    let stats = store.stats();
    let each = stats.bytes as f64 / stats.samples as f64;
    println!("{} series, {} samples, {} bytes: {each:.2} bytes a sample", stats.series, stats.samples, stats.bytes);
    assert_eq!(stats.samples, 450_000);
    assert!(each < 6.0, "{each}");
}

fn bytes_of_new_series() -> usize {
    let mut store = Store::default();
    for i in 0..2_000 {
        let name = format!("node_metric_{}_total", i / 10);
        store.append(&labels(&name, &[("instance", "host"), ("device", &i.to_string())]), at(1), 1.0);
    }
    store.stats().bytes / 2_000
}

fn example() -> Store {
    let mut store = Store::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| labels(name, &[("x", "\u{e9}")]));
    for i in 0..300 {
        give(&mut store, &batch("s", i * 1000, &[(&a, i as f64), (&b, 1.0)]));
    }
    give(&mut store, &batch("s", 300_000, &[(&a, 1.0)]));
    store.append_histogram(&c, at(5), histogram(3.0));
    store
}

#[test]
fn a_snapshot_comes_back_whole_with_its_sources() {
    let store = example();
    let bytes = store.snapshot();
    let (mut back, refused) = Store::restore(&bytes, Settings::default()).expect("a snapshot");
    assert_eq!(refused, 0);
    for name in ["a", "b", "c"] {
        assert_eq!(shown(&back.view(), name), shown(&store.view(), name));
    }
    assert_eq!(back.append(&labels("a", &[("x", "\u{e9}")]), at(300_000), 1.0), Appended::Known);
    give(&mut back, &Batch::ended(Source::new("test", "s"), at(301_000)));
    assert!(shown(&back.view(), "a").ends_with("300000=1 301000=stale"));
    assert!(shown(&back.view(), "b").ends_with("300000=stale"));
    let small = Settings { max_series: 1, ..Settings::default() };
    let (back, refused) = Store::restore(&bytes, small).expect("a snapshot");
    assert_eq!((back.series_count(), refused), (1, 2));
}

#[test]
fn a_snapshot_is_taken_in_pieces_while_the_store_goes_on() {
    let mut store = Store::new(Settings { retention: Duration::from_secs(10), ..Settings::default() });
    let name = |number: usize| labels("m", &[("n", &number.to_string())]);
    for number in 0..5 {
        store.append(&name(number), at(1_000 * number as i64), 1.0);
    }
    let (mut run, mut bytes) = store.begin_snapshot();
    assert_eq!(store.snapshot_piece(&mut run, 2, &mut bytes), Progress::More);
    // The first series ends, and begins anew behind the others.
    store.collect_garbage(at(10_500));
    for number in 5..9 {
        store.append(&name(number), at(10_500), 2.0);
    }
    store.append(&name(0), at(11_000), 3.0);
    while store.snapshot_piece(&mut run, 2, &mut bytes) == Progress::More {}
    let mut sum = SnapshotSum::default();
    sum.add(&bytes);
    bytes.extend_from_slice(&sum.bytes());
    let (back, refused) = Store::restore(&bytes, Settings::default()).expect("a snapshot");
    assert_eq!((back.series_count(), refused), (8, 0));
    assert_eq!(back.view().resolve(&[Matcher::equal("n", "0")]).len(), 1, "there once, although it was met twice");
    assert!(shown(&back.view(), "m").contains("11000=3"));

    let (mut run, mut bytes) = store.begin_snapshot();
    store.clock_stepped(3_600_000);
    assert_eq!(store.snapshot_piece(&mut run, 2, &mut bytes), Progress::Void);
}

#[test]
fn broken_snapshots_are_errors() {
    let bytes = example().snapshot();
    let restore = |bytes: &[u8]| Store::restore(bytes, Settings::default()).map(drop);
    for length in 0..bytes.len() {
        assert!(restore(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x10;
        assert!(restore(&broken).is_err(), "{at}");
    }
    let mut newer = bytes;
    newer[16] = 9;
    assert_eq!(restore(&newer), Err(SnapshotError::Version(9)));
    assert_eq!(restore(b"something else"), Err(SnapshotError::NoSnapshot));
}

/// What is done to the store and to the model of it.
#[derive(Clone, Debug)]
enum Step {
    Append { series: u8, value: u8 },
    Run { series: u8, count: u16 },
    Whole { source: u8, series: Vec<u8> },
    Partial { source: u8, series: Vec<u8> },
    Wait { millis: i64 },
    Collect,
    Restart,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let series = || 0..6_u8;
    prop_oneof![
        4 => (series(), any::<u8>()).prop_map(|(series, value)| Step::Append { series, value }),
        2 => (series(), 1..300_u16).prop_map(|(series, count)| Step::Run { series, count }),
        4 => (0..2_u8, prop::collection::vec(series(), 0..5)).prop_map(|(source, series)| Step::Whole { source, series }),
        1 => (0..2_u8, prop::collection::vec(series(), 0..5)).prop_map(|(source, series)| Step::Partial { source, series }),
        3 => (1..200_000_i64).prop_map(|millis| Step::Wait { millis }),
        2 => Just(Step::Collect),
        1 => Just(Step::Restart),
        2 => Just(Step::Look),
    ]
}

/// A plain reading of what the store promises.
#[derive(Clone, Debug, Default)]
struct Model {
    series: BTreeMap<u8, Vec<(i64, u64)>>,
    owner: BTreeMap<u8, u8>,
    now: i64,
    /// Earlier samples may be gone.
    horizon: i64,
}

impl Model {
    fn append(&mut self, series: u8, value: f64) {
        let samples = self.series.entry(series).or_default();
        if samples.last().is_none_or(|(time, _)| *time < self.now) {
            samples.push((self.now, value.to_bits()));
        }
    }

    fn batch(&mut self, source: u8, series: &[u8], whole: bool) {
        for series in series {
            self.append(*series, f64::from(*series));
            self.owner.insert(*series, source);
        }
        let mut ended: Vec<u8> =
            self.owner.iter().filter(|(s, o)| **o == source && !series.contains(s)).map(|(s, _)| *s).collect();
        ended.retain(|_| whole);
        for series in ended {
            self.owner.remove(&series);
            self.append(series, stale_nan());
        }
    }

    fn collect(&mut self) {
        self.horizon = self.now - 900_000;
        let gone = |samples: &Vec<(i64, u64)>| samples.last().is_none_or(|(time, _)| *time < self.horizon);
        let dropped: Vec<u8> = self.series.iter().filter(|(_, samples)| gone(samples)).map(|(s, _)| *s).collect();
        for series in dropped {
            self.series.remove(&series);
            self.owner.remove(&series);
        }
    }

    fn seen(&self, from: i64) -> Vec<(String, Vec<(i64, u64)>)> {
        let within = |samples: &[(i64, u64)]| samples.iter().filter(|(time, _)| *time >= from).copied().collect();
        let all = self.series.iter().map(|(series, samples)| (name_of(*series), within(samples)));
        all.filter(|(_, samples): &(String, Vec<_>)| !samples.is_empty()).collect()
    }
}

fn name_of(series: u8) -> String {
    format!("s{series}")
}

fn seen(view: &View, from: i64) -> Vec<(String, Vec<(i64, u64)>)> {
    let bits = |point: &Point| match point {
        Point::Float(time, value) => (time.as_millis(), value.to_bits()),
        Point::Histogram(time, _) => (time.as_millis(), 0),
    };
    let found = view.select(&everything(), at(from), Timestamp::MAX);
    found.iter().map(|s| (s.labels.name().to_owned(), s.points.iter().map(bits).collect())).collect()
}

fn perform(store: &mut Store, model: &mut Model, step: &Step) {
    match step {
        Step::Append { series, value } => {
            store.append(&labels(&name_of(*series), &[]), at(model.now), f64::from(*value));
            model.append(*series, f64::from(*value));
        }
        Step::Run { series, count } => {
            let labels = labels(&name_of(*series), &[]);
            for value in 0..*count {
                model.now += 1000;
                store.append(&labels, at(model.now), f64::from(value));
                model.append(*series, f64::from(value));
            }
        }
        Step::Whole { source, series } | Step::Partial { source, series } => {
            let whole = matches!(step, Step::Whole { .. });
            let mut once = Vec::new();
            series.iter().for_each(|s| {
                if !once.contains(s) {
                    once.push(*s)
                }
            });
            let names: Vec<Labels> = once.iter().map(|s| labels(&name_of(*s), &[])).collect();
            let samples: Vec<(&Labels, f64)> = names.iter().zip(&once).map(|(n, s)| (n, f64::from(*s))).collect();
            let completeness = if whole { Completeness::Whole } else { Completeness::Partial };
            give(store, &Batch { completeness, ..batch(&source.to_string(), model.now, &samples) });
            model.batch(*source, &once, whole);
        }
        Step::Wait { millis } => model.now += millis,
        Step::Collect => {
            store.collect_garbage(at(model.now));
            model.collect();
        }
        Step::Restart => *store = Store::restore(&store.snapshot(), Settings::default()).expect("a snapshot").0,
        Step::Look => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_a_plain_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let (mut store, mut model) = (Store::default(), Model::default());
        let mut held: Vec<(View, Model)> = Vec::new();
        for step in &steps {
            perform(&mut store, &mut model, step);
            if matches!(step, Step::Look) {
                held.push((store.view(), model.clone()));
            }
        }
        held.push((store.view(), model));
        for (view, model) in &held {
            for from in [model.horizon, model.now - 100_000, model.now - 3_000] {
                let from = from.max(model.horizon);
                prop_assert_eq!(seen(view, from), model.seen(from));
            }
            prop_assert_eq!(view.series_count(), model.series.len());
        }
    }

    #[test]
    fn the_index_finds_what_a_look_at_every_series_finds(
        series in prop::collection::vec(prop::collection::vec((0..3_u8, 0..4_u8), 0..4), 0..40),
        gone in prop::collection::vec(any::<bool>(), 40),
        matchers in prop::collection::vec((0..3_u8, 0..4_u8, 0..10_u8), 1..4),
    ) {
        let mut store = Store::default();
        let sets: Vec<Labels> = series.iter().map(|pairs| {
            Labels::from_pairs(pairs.iter().map(|(name, value)| (format!("l{name}"), value.to_string())))
        }).collect();
        for (labels, gone) in sets.iter().zip(&gone) {
            store.append(labels, at(if *gone { 0 } else { 1_000_000 }), 1.0);
        }
        store.collect_garbage(at(1_000_000));
        let matchers: Vec<Matcher> = matchers.iter().map(|(name, op, value)| {
            let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Matches, MatchOp::NotMatches][usize::from(*op)];
            let value = ["", "0", "1", "2", "0|1", "[12]", ".*", ".+", "1|", "9"][usize::from(*value)];
            Matcher::new(op, &format!("l{name}"), value).expect("a matcher")
        }).collect();
        let fits = |labels: &&Labels| matchers.iter().all(|m| m.matches_labels(labels));
        let mut alive: BTreeMap<&Labels, bool> = BTreeMap::new();
        for (labels, gone) in sets.iter().zip(&gone) {
            *alive.entry(labels).or_default() |= !gone;
        }
        let expected: Vec<Labels> = alive.into_iter().filter(|(_, alive)| *alive).map(|(l, _)| l).filter(fits).cloned().collect();
        prop_assert_eq!(store.view().label_sets(&matchers, Timestamp::MIN, Timestamp::MAX), expected);
    }

    #[test]
    fn a_wrong_snapshot_with_a_right_checksum_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = example().snapshot();
        let end = bytes.len() - 4;
        for (index, byte) in edits {
            let at = 17 + index.index(end - 17);
            bytes[at] = byte;
        }
        let checksum = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        if let Ok((mut store, _)) = Store::restore(&bytes, Settings::default()) {
            // The edits may have given `a` another name.
            store.append(&labels("a", &[("x", "\u{e9}")]), at(400_000), 1.0);
            store.collect_garbage(at(500_000));
            prop_assert!(store.view().select(&everything(), Timestamp::MIN, Timestamp::MAX).len() <= 4);
        }
    }
}

#[test]
fn a_view_can_be_sent_to_another_thread() {
    fn sendable<T: Send + Sync>(_: &T) {}
    sendable(&Store::default().view());
    sendable(&Arc::new(Store::default()));
}
