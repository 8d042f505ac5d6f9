use super::*;
use crate::model::{RelabelAction, RelabelConfig};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn ingest(change: impl FnOnce(&mut Settings)) -> Ingest {
    let mut settings = Settings::named("j");
    change(&mut settings);
    let steps = Relabel::all(&settings.metric_relabel_configs).expect("valid steps");
    let target = Labels::from_pairs([("job", "j"), ("instance", "i")]);
    Ingest::new(Arc::new(settings), Arc::new(steps), target)
}

fn read(ingest: &mut Ingest, body: &str) -> Ingested {
    ingest.read(Format::Text, body.as_bytes(), NOW)
}

fn series(ingested: &Ingested) -> Vec<String> {
    ingested.samples.iter().map(|(labels, value)| format!("{labels} {value}")).collect()
}

#[test]
fn a_cached_series_takes_little() {
    // There is one for each series of each target.
    assert!(size_of::<Slot>() <= 16, "{}", size_of::<Slot>());
}

#[test]
fn labels_of_the_target_win_unless_the_job_honours_the_series_own() {
    let body = "a{job=\"own\",exported_job=\"x\"} 1\n";
    let mut plain = ingest(|_| {});
    let expected = r#"a{exported_exported_job="own", exported_job="x", instance="i", job="j"} 1"#;
    assert_eq!(series(&read(&mut plain, body)), [expected]);
    let mut honoured = ingest(|settings| settings.honor_labels = true);
    assert_eq!(series(&read(&mut honoured, body)), [r#"a{exported_job="x", instance="i", job="own"} 1"#]);
}

#[test]
fn counts_are_those_of_prometheus_over_changing_bodies() {
    let mut ingest = ingest(|_| {});
    let mut check = |body: &str, [scraped, kept, added, duplicates]: [usize; 4]| {
        let got = read(&mut ingest, body);
        assert_eq!([got.scraped, got.kept, got.added, got.duplicates], [scraped, kept, added, duplicates], "{body}");
        got.samples.len()
    };
    check("a 1\nb 2\n", [2, 2, 2, 0]);
    check("a 1\nb 2\n", [2, 2, 0, 0]);
    check("b 1\na 2\n", [2, 2, 0, 0]);
    check("c 0\na 1\n", [2, 2, 1, 0]);
    // b was away: it is new again.
    check("a 1\nb 2\nc 3\n", [3, 3, 1, 0]);
    // Another order of labels is another text, but the same series.
    assert_eq!(check("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na 1\na 3\n", [4, 4, 1, 2]), 2);
}

#[test]
fn an_unchanged_body_keeps_its_label_sets() {
    let mut ingest = ingest(|_| {});
    let first = read(&mut ingest, "a{b=\"1\"} 1\nc 2\n").samples;
    let second = read(&mut ingest, "a{b=\"1\"} 5\nc 6\n").samples;
    assert_eq!(first.iter().map(|(l, _)| l).collect::<Vec<_>>(), second.iter().map(|(l, _)| l).collect::<Vec<_>>());
    assert_eq!((ingest.slots.len(), ingest.spellings.len(), ingest.order.len()), (2, 2, 2));
    // What went away leaves nothing behind.
    read(&mut ingest, "d 1\n");
    let listed = ingest.by_labels.as_ref().map(HashTable::len);
    assert_eq!((ingest.spellings.len(), listed, ingest.order.len()), (1, Some(1), 1));
    read(&mut ingest, "e 1\nf 1\n");
    assert!(ingest.slots.len() <= 3, "slots are used again");
}

#[test]
fn a_series_is_known_by_its_labels_after_long_quiet() {
    let mut ingest = ingest(|_| {});
    for _ in 0..SETTLED + 2 {
        read(&mut ingest, "a{x=\"1\",y=\"2\"} 1\nb 1\n");
    }
    assert!(ingest.by_labels.is_none(), "the table was given back");
    let got = read(&mut ingest, "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\nb 1\n");
    assert_eq!([got.kept, got.added, got.duplicates], [3, 0, 1]);
    assert_eq!(ingest.by_labels.as_ref().map(HashTable::len), Some(2));
}

#[test]
fn a_malformed_line_leaves_no_sample_and_says_how_far_it_came() {
    let mut ingest = ingest(|_| {});
    let got = read(&mut ingest, "a 1\nb{ 2\n");
    assert!(got.samples.is_empty() && got.scraped == 1);
    assert_eq!(
        got.error.expect("an error").to_string(),
        "the exposition is malformed: line 2: the } is missing: \"b{ 2\""
    );
}

#[test]
fn relabelling_drops_series_and_may_not_take_names() {
    let step = |source: &str, regex: &str, target: &str, replacement: &str, action| RelabelConfig {
        source_labels: vec![source.into()],
        regex: regex.into(),
        target_label: target.into(),
        replacement: replacement.into(),
        action,
        ..RelabelConfig::default()
    };
    let mut dropping = ingest(|settings| {
        settings.metric_relabel_configs = vec![step("__name__", "go_.*", "", "$1", RelabelAction::Drop)];
    });
    let got = read(&mut dropping, "go_x 1\na 2\n");
    assert_eq!((got.scraped, got.kept, got.samples.len()), (2, 1, 1));
    assert_eq!(read(&mut dropping, "go_x 1\na 2\n").kept, 1);
    let mut nameless = ingest(|settings| {
        settings.metric_relabel_configs = vec![step("job", "(.*)", "__name__", "", RelabelAction::Replace)];
    });
    assert!(matches!(read(&mut nameless, "a 1\n").error, Some(IngestError::NameLost(_))));
}

#[test]
fn limits_refuse_the_whole_body() {
    let check = |change: fn(&mut Settings), good: &str, bad: &str| {
        let mut ingest = ingest(change);
        assert_eq!(read(&mut ingest, good).error, None, "{good}");
        let got = read(&mut ingest, bad);
        assert!(got.error.is_some() && got.samples.is_empty(), "{bad}");
    };
    check(|s| s.sample_limit = 2, "a 1\nb 1\n", "a 1\nb 1\nc 1\n");
    check(|s| s.label_limit = 4, "a{b=\"1\"} 1\n", "a{b=\"1\",c=\"2\"} 1\n");
    check(|s| s.label_name_length_limit = 8, "a{b=\"1\"} 1\n", "a{bbbbbbbbb=\"1\"} 1\n");
    check(|s| s.label_value_length_limit = 3, "a{b=\"123\"} 1\n", "a{b=\"1234\"} 1\n");
}

#[test]
fn own_times_are_kept_apart_or_ignored() {
    let body = "a 1 1699999999000\nb 2\nc 3 1800000000000\n";
    let mut honoured = ingest(|_| {});
    let got = read(&mut honoured, body);
    assert_eq!((got.samples.len(), got.timed.len(), got.ahead), (1, 1, 1));
    assert_eq!(got.timed[0].1, Timestamp::from_millis(1_699_999_999_000));
    let mut ignored = ingest(|settings| settings.honor_timestamps = false);
    assert_eq!(read(&mut ignored, body).samples.len(), 3);
}

#[test]
fn families_are_told_once_and_when_they_change() {
    let mut ingest = ingest(|_| {});
    let meta = |got: Ingested| {
        got.meta.iter().map(|m| format!("{} {} {}", m.family, m.kind.as_str(), m.help)).collect::<Vec<_>>()
    };
    let body = "# HELP a one\n# TYPE a gauge\na 1\n# TYPE b counter\nb 1\n";
    assert_eq!(meta(read(&mut ingest, body)), ["a gauge one", "b counter "]);
    assert!(meta(read(&mut ingest, body)).is_empty());
    assert_eq!(meta(read(&mut ingest, "# HELP a two\n# TYPE a gauge\na 1\n")), ["a gauge two"]);
    let open = b"# TYPE r counter\n# HELP r x\nr_total 1\n# EOF\n";
    assert_eq!(meta(ingest.read(Format::OpenMetrics, open, NOW)), ["r_total counter x"]);
}

#[test]
fn bodies_that_always_fail_do_not_fill_the_memory() {
    let mut ingest = ingest(|_| {});
    for round in 0..40 {
        let body: String = (0..100).map(|n| format!("a{{x=\"{round}_{n}\"}} 1\n")).collect();
        read(&mut ingest, &(body + "broken\n"));
    }
    assert!(ingest.spellings.len() <= SPARE + 100, "{}", ingest.spellings.len());
}
