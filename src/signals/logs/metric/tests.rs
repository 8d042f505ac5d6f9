use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn job(format: Format, metrics: Vec<MetricSettings>) -> JobSettings {
    JobSettings { format, metrics, ..JobSettings::named("j", "h") }
}

fn counter(name: &str) -> MetricSettings {
    MetricSettings::named(Kind::Counter, name)
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn build(settings: &JobSettings) -> Metrics {
    Metrics::new(settings, Telemetry::new(), NOW).expect("valid settings")
}

fn text(samples: Vec<(Labels, f64)>) -> Vec<String> {
    let short = |labels: Labels| labels.filtered(|name| name != "job" && name != "instance");
    samples.into_iter().map(|(labels, value)| format!("{} {value}", short(labels))).collect()
}

fn feed(metrics: &mut Metrics, lines: &[&str]) -> Vec<String> {
    for line in lines {
        metrics.line(line.as_bytes(), "/l", NOW);
    }
    text(metrics.changed())
}

#[test]
fn constant_counters_and_histograms_begin_at_zero_with_job_and_instance() {
    let constant =
        MetricSettings { pattern: Some("ERR".into()), labels: labels(&[("level", "error")]), ..counter("e_total") };
    let histogram = MetricSettings {
        value: Some("{{n}}".into()),
        pattern: Some(r"n=(?P<n>\S+)".into()),
        ..MetricSettings::named(Kind::Histogram(vec![1.0, 2.5]), "h")
    };
    let gauge = MetricSettings {
        value: Some("{{n}}".into()),
        pattern: histogram.pattern.clone(),
        ..MetricSettings::named(Kind::Gauge, "g")
    };
    let dynamic =
        MetricSettings { labels: labels(&[("n", "{{n}}")]), pattern: histogram.pattern.clone(), ..counter("d_total") };
    let mut metrics = build(&job(Format::Raw, vec![constant, histogram, gauge, dynamic]));
    let all = metrics.all(NOW);
    assert_eq!(all[0].0.to_string(), r#"e_total{instance="h", job="j", level="error"}"#);
    let zero = [
        "e_total{level=\"error\"} 0",
        "h_bucket{le=\"1.0\"} 0",
        "h_bucket{le=\"2.5\"} 0",
        "h_bucket{le=\"+Inf\"} 0",
        "h_sum 0",
        "h_count 0",
    ];
    assert_eq!(text(all), zero);
    assert_eq!(metrics.new_meta().len(), 4);
    assert!(metrics.new_meta().is_empty());
    let expected = [
        "h_bucket{le=\"1.0\"} 1",
        "h_bucket{le=\"2.5\"} 2",
        "h_bucket{le=\"+Inf\"} 3",
        "h_sum 8.5",
        "h_count 3",
        "g 5",
        "d_total{n=\"1\"} 1",
        "d_total{n=\"2.5\"} 1",
        "d_total{n=\"5\"} 1",
    ];
    assert_eq!(feed(&mut metrics, &["n=1", "n=2.5", "n=5", "n=x y"])[..6], expected[..6]);
    assert!(metrics.changed().is_empty());
    assert_eq!(feed(&mut metrics, &["xERRx"]), ["e_total{level=\"error\"} 1"]);
}

#[test]
fn values_add_up_are_scaled_and_refused() {
    let bytes = MetricSettings {
        value: Some("{{b}}".into()),
        scale: 0.001,
        labels: labels(&[("c", "{{s}}xx")]),
        ..counter("b_total")
    };
    let mut metrics = build(&job(Format::Logfmt, vec![bytes]));
    assert_eq!(
        feed(&mut metrics, &["b=1500 s=4", "b=500 s=4", "b=-1 s=4", "b=x s=4", "s=4", "no pairs"]),
        ["b_total{c=\"4xx\"} 2"]
    );
    metrics.report();
    assert_eq!(metrics.telemetry.get(Metric::LogValuesRefused, &[("log", "j"), ("metric", "b_total")]), Some(3.0));
}

#[test]
fn a_line_without_the_format_counts_only_where_the_format_is_not_needed() {
    let lines = counter("lines_total");
    let matched = MetricSettings { pattern: Some("boom".into()), ..counter("boom_total") };
    let both =
        MetricSettings { pattern: Some("boom".into()), labels: labels(&[("l", "{{level}}")]), ..counter("both_total") };
    let mut metrics = build(&job(Format::Json, vec![lines, matched, both]));
    assert!(!metrics.line(b"plain boom", "/l", NOW).parsed);
    assert_eq!(metrics.line(br#"{"level":"x","m":"boom"}"#, "/l", NOW), Absorbed { parsed: true, hits: 3 });
    assert_eq!(text(metrics.changed()), ["lines_total 1", "boom_total 2", "both_total{l=\"x\"} 1"]);
}

#[test]
fn too_many_label_sets_go_to_other_and_idle_ones_end() {
    let limited = MetricSettings {
        pattern: Some(r"u=(?P<u>\S+)".into()),
        labels: labels(&[("u", "{{u}}"), ("k", "const")]),
        max_series: 2,
        expire: Some(Duration::from_secs(60)),
        ..counter("u_total")
    };
    let mut metrics = build(&job(Format::Raw, vec![limited]));
    let changed = feed(&mut metrics, &["u=a", "u=b", "u=c", "u=d", "u=a"]);
    assert_eq!(
        changed,
        ["u_total{k=\"const\", u=\"a\"} 2", "u_total{k=\"const\", u=\"b\"} 1", "u_total{k=\"const\", u=\"_other\"} 2"]
    );
    metrics.report();
    assert_eq!(metrics.telemetry.get(Metric::LogSeriesLimited, &[("log", "j"), ("metric", "u_total")]), Some(2.0));
    let later = NOW + Duration::from_secs(60);
    metrics.line(b"u=b", "/l", later);
    assert_eq!(text(metrics.all(later)), ["u_total{k=\"const\", u=\"b\"} 2", "u_total{k=\"const\", u=\"_other\"} 2"]);
    assert_eq!(feed(&mut metrics, &["u=e"]), ["u_total{k=\"const\", u=\"e\"} 1"]);
}

#[test]
fn hostile_label_values_are_repaired_and_cut() {
    let any = MetricSettings {
        pattern: Some("(?s-u)v=(?P<v>.*)".into()),
        labels: labels(&[("v", "{{v}}")]),
        ..counter("v_total")
    };
    let mut metrics = build(&job(Format::Raw, vec![any]));
    metrics.line(b"v=a\xffb", "/l", NOW);
    metrics.line(b"v=a\xfeb", "/l", NOW);
    metrics.line(format!("v={}", "é".repeat(2000)).as_bytes(), "/l", NOW);
    metrics.line(b"v=", "/l", NOW);
    let samples = metrics.changed();
    assert_eq!((samples[0].0.value("v"), samples[0].1), ("a\u{fffd}b", 2.0));
    assert_eq!(samples[1].0.value("v").len(), limits::LOG_LABEL_BYTES);
    assert_eq!(samples[2].0.get("v"), None);
}

#[test]
fn many_expressions_and_metrics_of_one_name_share_their_series() {
    let of = |pattern: &str, kind: &str| MetricSettings {
        pattern: Some(pattern.into()),
        labels: labels(&[("kind", kind)]),
        ..counter("e_total")
    };
    let mut metrics = build(&job(
        Format::Raw,
        vec![of("one", "a"), of("two", "b"), of("three", "a"), of("t.*e", "{{x}}")].into_iter().take(3).collect(),
    ));
    assert!(metrics.set.is_some());
    assert_eq!(metrics.all(NOW).len(), 2);
    assert_eq!(feed(&mut metrics, &["no", "one two", "three"]), ["e_total{kind=\"a\"} 2", "e_total{kind=\"b\"} 1"]);
}

#[test]
fn a_checkpoint_brings_the_values_back_as_far_as_they_still_fit() {
    let pattern = Some(r"(?P<u>\w+) (?P<n>\S+)".to_owned());
    let users = MetricSettings { pattern: pattern.clone(), labels: labels(&[("u", "{{u}}")]), ..counter("u_total") };
    let sizes = MetricSettings {
        pattern,
        value: Some("{{n}}".into()),
        ..MetricSettings::named(Kind::Histogram(vec![1.0]), "s")
    };
    let settings = JobSettings { path_label: true, ..job(Format::Raw, vec![users.clone(), sizes.clone()]) };
    let mut before = build(&settings);
    feed(&mut before, &["a 1", "b 2"]);
    let json = serde_json::to_string(&before.state()).expect("JSON");
    let state: Vec<MetricState> = serde_json::from_str(&json).expect("JSON");
    let mut after = build(&settings);
    after.restore(&state);
    assert_eq!(text(after.all(NOW)), text(before.all(NOW)));
    assert_eq!(feed(&mut after, &["a 1"]), feed(&mut before, &["a 1"]));
    // Other buckets, another label: what does not fit any more is left behind.
    let changed = MetricSettings { kind: Kind::Histogram(vec![2.0]), ..sizes };
    let mut other = build(&JobSettings {
        path_label: true,
        ..job(Format::Raw, vec![MetricSettings { labels: labels(&[("x", "{{u}}")]), ..users }, changed])
    });
    other.restore(&state);
    assert!(other.all(NOW).is_empty());
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    let refused = |metric: MetricSettings, expected: &str| {
        let error = Metrics::new(&job(Format::Combined, vec![metric]), Telemetry::new(), NOW).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(counter("1x"), "is no metric name");
    refused(MetricSettings { labels: labels(&[("a-b", "x")]), ..counter("x") }, "is no label name");
    refused(MetricSettings { labels: labels(&[("a", "{{x")]), ..counter("x") }, "is no template");
    refused(MetricSettings { labels: labels(&[("a", "{{nope}}")]), ..counter("x") }, "no field \"nope\"");
    refused(MetricSettings::named(Kind::Gauge, "x"), "need a value");
    refused(
        MetricSettings { value: Some("1".into()), ..MetricSettings::named(Kind::Histogram(vec![2.0, 1.0]), "x") },
        "buckets",
    );
    refused(MetricSettings { scale: -1.0, ..counter("x") }, "scale");
    refused(MetricSettings { pattern: Some("(".into()), ..counter("x") }, "invalid regular expression");
    let twice = job(
        Format::Raw,
        vec![counter("x"), MetricSettings { value: Some("1".into()), ..MetricSettings::named(Kind::Gauge, "x") }],
    );
    assert_eq!(Metrics::new(&twice, Telemetry::new(), NOW).expect_err("conflict"), LogError::Conflict("x".into()));
}
