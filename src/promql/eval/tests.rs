//! What Prometheus' own suite leaves open: eager name removal, limits, interrupts, preparation, retention.

use std::cell::Cell;
use std::time::Duration;

use super::{
    EvalErrorKind, Interrupt, MatrixSeries, Options, Prepared, SampleValue, Value, VectorSample, instant, range,
    windows,
};
use crate::promql::{parse, series_notation};
use crate::series::{Point, Settings, Store};
use crate::time::Timestamp;

/// A store with series in the notation of rule unit tests, a sample every ten seconds.
fn store(lines: &[&str]) -> Store {
    let mut store = Store::new(Settings::default());
    for line in lines {
        let (labels, values) = series_notation::series(line).expect(line);
        for (index, noted) in values.into_iter().enumerate() {
            let at = Timestamp::from_millis(index as i64 * 10_000);
            match noted.value {
                Some(SampleValue::Float(value)) => drop(store.append(&labels, at, value)),
                Some(SampleValue::Histogram(value)) => drop(store.append_histogram(&labels, at, (*value).clone())),
                None => {}
            }
        }
    }
    store
}

fn shown_value(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    }
}

fn shown(value: &Value) -> String {
    let sample = |s: &VectorSample| format!("{} {}", s.labels, shown_value(&s.value));
    let point = |p: &Point| match p {
        Point::Float(at, value) => format!("{value}@{}", at.as_millis() / 1000),
        Point::Histogram(at, value) => format!("{value}@{}", at.as_millis() / 1000),
    };
    let series = |s: &MatrixSeries| {
        let points: Vec<String> = s.points.iter().map(point).collect();
        format!("{} {}", s.labels, points.join(" "))
    };
    match value {
        Value::Scalar(value) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Vector(vector) => {
            let mut lines: Vec<String> = vector.iter().map(sample).collect();
            lines.sort();
            lines.join("; ")
        }
        Value::Matrix(matrix) => matrix.iter().map(series).collect::<Vec<_>>().join("; "),
    }
}

fn at_50s(store: &Store, text: &str, options: &Options<'_>) -> String {
    let expr = parse(text).expect(text);
    match instant(&store.view(), &expr, Timestamp::from_millis(50_000), options) {
        Ok(outcome) => shown(&outcome.value),
        Err(error) => format!("{:?}: {error}", error.kind),
    }
}

const TWO: [&str; 2] = [r#"a_total{i="1"} 0+1x10"#, r#"b_total{i="1"} 0+2x10"#];

#[test]
fn names_go_at_once_by_default_and_at_the_end_on_demand() {
    let store = store(&TWO);
    let check = |text: &str, eager: &str, delayed: &str| {
        assert_eq!(at_50s(&store, text, &Options::default()), eager, "{text}");
        let options = Options { delayed_name_removal: true, ..Options::default() };
        assert_eq!(at_50s(&store, text, &options), delayed, "{text}");
    };
    let twice = "Execution: vector cannot contain metrics with the same labelset";
    check("abs(a_total)", r#"{i="1"} 5"#, r#"{i="1"} 5"#);
    check(r#"abs({i="1"})"#, twice, twice);
    check(r#"sum(abs({i="1"}))"#, twice, "{} 15");
    check("sum by (__name__) (abs(a_total))", "{} 5", "{} 5");
    check(
        r#"label_replace(abs(a_total), "__name__", "$1", "__name__", "(.+)")"#,
        r#"{i="1"} 5"#,
        r#"a_total{i="1"} 5"#,
    );
    check("-a_total", r#"{i="1"} -5"#, r#"{i="1"} -5"#);
    check("a_total > 1", r#"a_total{i="1"} 5"#, r#"a_total{i="1"} 5"#);
    check("last_over_time(a_total[20s])", r#"a_total{i="1"} 5"#, r#"a_total{i="1"} 5"#);
}

#[test]
fn ranges_are_open_on_the_left_and_so_is_the_lookback() {
    let store = store(&[r#"a 0+1x3"#, "gone 1 2 3 stale"]);
    let check = |text: &str, expected: &str| assert_eq!(at_50s(&store, text, &Options::default()), expected, "{text}");
    check("a[30s]", "a 3@30");
    check("a[30s1ms]", "a 2@20 3@30");
    check("a offset 50s", "a 0");
    check("gone", "");
    check("gone offset 21s", "gone 3");
    check("gone[1m]", "gone 1@0 2@10 3@20");
    let short = Options { lookback: Duration::from_secs(20), ..Options::default() };
    assert_eq!(at_50s(&store, "a", &short), "");
    assert_eq!(at_50s(&store, "a offset 1ms", &short), "a 3");
}

#[test]
fn limits_and_interrupts_end_an_evaluation() {
    let store = store(&TWO);
    let few = Options { max_samples: 5, ..Options::default() };
    assert_eq!(
        at_50s(&store, "sum(rate(a_total[1m]))", &few),
        "TooManySamples: query processing would load too many samples into memory in query execution"
    );
    let expr = parse("sum_over_time(a_total[1m:1ms])").expect("valid");
    let asked = Cell::new(0);
    let interrupt = || {
        asked.set(asked.get() + 1);
        (asked.get() > 3).then_some(Interrupt::Timeout)
    };
    let options = Options { interrupt: Some(&interrupt), ..Options::default() };
    let error = instant(&store.view(), &expr, Timestamp::from_millis(50_000), &options).expect_err("interrupted");
    assert_eq!((error.kind, asked.get()), (EvalErrorKind::Timeout, 4));
}

#[test]
fn a_prepared_expression_sees_what_comes_and_goes() {
    let mut store = store(&TWO);
    let mut prepared = Prepared::new(parse("sum by (i) (rate(a_total[20s])) or vector(7)").expect("valid"));
    let mut check = |store: &Store, second: i64, expected: &str| {
        let at = Timestamp::from_millis(second * 1000);
        let outcome = prepared.instant(&store.view(), at, &Options::default()).expect("evaluates");
        assert_eq!(shown(&outcome.value), expected, "{second}");
        let once = instant(&store.view(), prepared.expr(), at, &Options::default()).expect("evaluates");
        assert_eq!(shown(&once.value), expected, "{second}");
    };
    check(&store, 50, r#"{i="1"} 0.1; {} 7"#);
    let (labels, _) = series_notation::metric(r#"a_total{i="2"}"#).expect("a metric");
    for second in [60, 70] {
        store.append(&labels, Timestamp::from_millis(second * 1000), second as f64);
    }
    check(&store, 70, r#"{i="1"} 0.1; {i="2"} 1; {} 7"#);
    check(&store, 500, "{} 7");
}

#[test]
fn range_queries_step_through() {
    let store = store(&TWO);
    let check = |text: &str, expected: &str| {
        let expr = parse(text).expect(text);
        let (start, end) = (Timestamp::from_millis(10_000), Timestamp::from_millis(50_000));
        let outcome = range(&store.view(), &expr, start, end, Duration::from_secs(20), &Options::default());
        let text_of = outcome.map_or_else(|error| error.to_string(), |outcome| shown(&outcome.value));
        assert_eq!(text_of, expected, "{text}");
    };
    check("a_total", r#"a_total{i="1"} 1@10 3@30 5@50"#);
    check("a_total @ end()", r#"a_total{i="1"} 5@10 5@30 5@50"#);
    check("time() - start()", "{} 0@10 20@30 40@50");
    check("max_over_time(b_total[20s:10s])", r#"{i="1"} 2@10 6@30 10@50"#);
    check("topk(1, {i=\"1\"})", r#"b_total{i="1"} 2@10 6@30 10@50"#);
    check("a_total[1m]", "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector");
}

#[test]
fn annotations_say_where() {
    let store = store(&["a 0+1x10", "a_bucket{le=\"x\"} 1+0x10"]);
    let check = |text: &str, options: &Options<'_>, expected: &[&str]| {
        let expr = parse(text).expect(text);
        let outcome = instant(&store.view(), &expr, Timestamp::from_millis(50_000), options).expect("evaluates");
        let texts: Vec<String> = outcome.annotations.iter().map(|annotation| annotation.text(text)).collect();
        assert_eq!(texts, expected, "{text}");
    };
    let counter = "PromQL info: metric might not be a counter,";
    let by_name = format!("{counter} name does not end in _total/_sum/_count/_bucket: \"a\" (2:7)");
    check("sum(\n rate(a[1m]))", &Options::default(), &[by_name.as_str()]);
    let by_type = format!("{counter} __type__ label is not set to \"counter\" or \"histogram\", got \"\": \"a\" (1:6)");
    let typed = Options { type_and_unit_labels: true, ..Options::default() };
    check("rate(a[1m])", &typed, &[by_type.as_str()]);
    check(
        "histogram_quantile(2, a_bucket)",
        &Options::default(),
        &[
            "PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" (1:23)",
        ],
    );
}

#[test]
fn windows_reach_as_far_back_as_the_expression_reads() {
    let check = |text: &str, expected: &[(&str, u64)]| {
        let expr = parse(text).expect(text);
        let found = windows(&expr, Timestamp::from_millis(1_000_000), &Options::default());
        let found: Vec<(String, u64)> =
            found.into_iter().map(|(matchers, window)| (matchers[0].value.to_string(), window.as_secs())).collect();
        let expected: Vec<(String, u64)> = expected.iter().map(|(name, secs)| ((*name).to_owned(), *secs)).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("a", &[("a", 300)]);
    check("rate(a[1m] offset 5m) / b", &[("a", 360), ("b", 300)]);
    check("max_over_time(rate(a[1m])[10m:1m] offset 1m)", &[("a", 720)]);
    check("a @ 500", &[("a", 800)]);
    check("a offset -10m", &[("a", 0)]);
    check("rate(a[1m] smoothed)", &[("a", 360)]);
    check("info(rate(a[1m]))", &[("a", 60), ("target_info", 360)]);
}
