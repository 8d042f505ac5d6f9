//! What evaluating rules costs: the same expression parsed and evaluated once, and prepared. Compare the ratios.

use std::hint::black_box;
use std::time::Duration;

use brownout::model::{Labels, NAME};
use brownout::promql::{Expr, Options, Prepared, instant, parse, range};
use brownout::series::{Settings, Store};
use brownout::time::Timestamp;
use criterion::{Criterion, criterion_group, criterion_main};

const SECONDS: i64 = 600;

/// 600 series of one sample a second: CPU modes, a latency histogram, requests by status, a gauge.
fn store() -> Store {
    let mut labels = Vec::new();
    let series = |name: &str, pairs: &[(&str, &str)]| {
        let base = [(NAME, name), ("instance", "host:9100"), ("job", "node")];
        Labels::from_pairs(base.iter().chain(pairs).copied())
    };
    for cpu in 0..16 {
        for mode in ["idle", "user", "system", "iowait", "irq", "nice", "softirq", "steal"] {
            labels.push(series("node_cpu_seconds_total", &[("cpu", &cpu.to_string()), ("mode", mode)]));
        }
    }
    for handler in 0..20 {
        let handler = format!("/api/{handler}");
        for le in ["0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
            labels.push(series("http_request_duration_seconds_bucket", &[("handler", &handler), ("le", le)]));
        }
        for status in ["200", "301", "404", "500", "503"] {
            labels.push(series("http_requests_total", &[("handler", &handler), ("status", status)]));
        }
    }
    for device in 0..64 {
        labels.push(series("node_filesystem_avail_bytes", &[("device", &format!("/dev/sd{device}"))]));
        labels.push(series("node_filesystem_size_bytes", &[("device", &format!("/dev/sd{device}"))]));
    }
    let mut store = Store::new(Settings::default());
    for second in 0..=SECONDS {
        for (index, labels) in labels.iter().enumerate() {
            let value = (second * (index as i64 % 13 + 1)) as f64;
            store.append(labels, Timestamp::from_millis(second * 1000), value);
        }
    }
    store
}

const RULES: [(&str, &str); 7] = [
    ("selector", "node_filesystem_avail_bytes > 1e12"),
    ("ratio", "node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1"),
    ("rate", r#"rate(http_requests_total[1m])"#),
    ("sum of rate", r#"sum by (status) (rate(http_requests_total[10s]))"#),
    ("cpu", r#"1 - avg(rate(node_cpu_seconds_total{mode="idle"}[10s]))"#),
    ("p99", "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[10s])))"),
    ("error share", r#"sum(rate(http_requests_total{status=~"5.."}[1m])) / sum(rate(http_requests_total[1m])) > 0.05"#),
];

fn expression(text: &str) -> Expr {
    parse(text).expect("a valid expression")
}

fn rules(criterion: &mut Criterion) {
    let store = store();
    let view = store.view();
    let now = Timestamp::from_millis(SECONDS * 1000);
    let options = Options::default();
    for (name, text) in RULES {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("once", |bench| {
            let expr = expression(text);
            bench.iter(|| black_box(instant(&view, &expr, now, &options)));
        });
        group.bench_function("prepared", |bench| {
            let mut prepared = Prepared::new(expression(text));
            bench.iter(|| black_box(prepared.instant(&view, now, &options)));
        });
        group.finish();
    }
}

fn ranges(criterion: &mut Criterion) {
    let store = store();
    let view = store.view();
    let options = Options::default();
    let (start, end) = (Timestamp::ZERO, Timestamp::from_millis(SECONDS * 1000));
    let mut group = criterion.benchmark_group("range of 300 steps");
    group.sample_size(10);
    for text in ["sum by (status) (rate(http_requests_total[1m]))", "node_filesystem_avail_bytes"] {
        let expr = expression(text);
        group.bench_function(text, |bench| {
            bench.iter(|| black_box(range(&view, &expr, start, end, Duration::from_secs(2), &options)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = rules, ranges
}
criterion_main!(benches);
