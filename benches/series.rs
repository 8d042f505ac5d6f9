//! What the store of series costs, beside a plain `Vec::push` in the same run: compare the ratios, not the times.

use std::hint::black_box;
use std::time::Duration;

use brownout::model::{Batch, Completeness, Labels, Matcher, NAME, Source};
use brownout::series::{Settings, Store};
use brownout::time::Timestamp;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const SERIES: usize = 2_000;

fn label_sets() -> Vec<Labels> {
    let one = |i: usize| {
        let name = format!("metric_{}_total", i / 20);
        Labels::from_pairs([(NAME, name.as_str()), ("instance", "host:9100"), ("device", &i.to_string())])
    };
    (0..SERIES).map(one).collect()
}

fn batch(labels: &[Labels], second: i64) -> Batch {
    Batch {
        samples: labels.iter().enumerate().map(|(i, l)| (l.clone(), (second * (i as i64 % 9)) as f64)).collect(),
        completeness: Completeness::Whole,
        ..Batch::ended(Source::new("bench", "one"), Timestamp::from_millis(second * 1000))
    }
}

fn filled(labels: &[Labels], seconds: i64) -> Store {
    let mut store = Store::new(Settings::default());
    for second in 0..seconds {
        store.append_batch(&batch(labels, second), &mut |_, _| {});
    }
    store
}

fn appending(criterion: &mut Criterion) {
    let labels = label_sets();
    let mut group = criterion.benchmark_group("append 2000 samples");
    group.throughput(criterion::Throughput::Elements(SERIES as u64));
    group.bench_function("plain Vec::push", |bench| {
        let mut plain: Vec<Vec<(i64, f64)>> = vec![Vec::new(); SERIES];
        let mut second = 0;
        bench.iter(|| {
            second += 1000;
            for series in &mut plain {
                if series.len() >= 900 {
                    series.clear();
                }
                series.push(black_box((second, 1.0)));
            }
        });
    });
    group.bench_function("one by one", |bench| {
        let mut store = filled(&labels, 300);
        let mut second = 300;
        bench.iter(|| {
            second += 1;
            for (i, labels) in labels.iter().enumerate() {
                black_box(store.append(labels, Timestamp::from_millis(second * 1000), (second * i as i64 % 9) as f64));
            }
            if second % 60 == 0 {
                store.collect_garbage(Timestamp::from_millis(second * 1000));
            }
        });
    });
    for held in [false, true] {
        let name = if held { "batch, a view of before is held" } else { "batch" };
        group.bench_function(name, |bench| {
            let mut store = filled(&labels, 300);
            let mut second = 300;
            let mut view = None;
            bench.iter_batched(
                || {
                    second += 1;
                    batch(&labels, second)
                },
                |batch| {
                    view = held.then(|| store.view());
                    store.append_batch(&batch, &mut |_, _| {});
                    if batch.at.as_millis() % 60_000 == 0 {
                        store.collect_garbage(batch.at);
                    }
                },
                BatchSize::SmallInput,
            );
            drop(view.take());
        });
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let labels = label_sets();
    let store = filled(&labels, 900);
    let view = store.view();
    let matchers = [Matcher::equal(NAME, "metric_7_total")];
    let now = Timestamp::from_millis(899_000);
    let found = view.resolve(&matchers);
    let mut group = criterion.benchmark_group("read 20 series");
    group.bench_function("resolve", |bench| bench.iter(|| black_box(view.resolve(&matchers))));
    group.bench_function("newest value", |bench| {
        bench.iter(|| {
            for series in &found {
                black_box(view.last_before(*series, now, Duration::from_secs(300)));
            }
        });
    });
    for seconds in [10, 300] {
        group.bench_function(format!("{seconds} s of samples"), |bench| {
            let mut floats = Vec::new();
            bench.iter(|| {
                for series in &found {
                    floats.clear();
                    view.floats_into(*series, now - Duration::from_secs(seconds), now, &mut floats);
                    black_box(&floats);
                }
            });
        });
    }
    group.bench_function("make a view of 2000 series", |bench| bench.iter(|| black_box(store.view())));
    group.finish();
}

criterion_group!(benches, appending, reading);
criterion_main!(benches);
