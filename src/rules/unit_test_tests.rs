//! Unit tests of unit tests: promtool's own fixtures, and what each of them is about.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Report, UnitTestOptions, run_unit_tests};
use crate::yaml::{Problem, SourceFile};

const RULES: &str = "\
groups:
- name: g
  rules:
  - {record: b, expr: a * 2}
  - alert: High
    expr: b > 5
    for: 2m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.l }} is {{ $value }} in {{ $externalLabels.zone }}'}
";

fn run(tests: &str) -> Report {
    let load = |name: &str| match name {
        "rules.yml" => Ok(vec![SourceFile::new(name, RULES)]),
        "failing.yml" => Ok(vec![SourceFile::new(name, "groups: [{name: f, rules: [{record: x, expr: a + on() b}]}]")]),
        "nothing*.yml" => Ok(Vec::new()),
        _ => Err(format!("cannot read {name}")),
    };
    run_unit_tests(&SourceFile::new("t.yml", tests), &UnitTestOptions::default(), &load)
}

/// One test with this data under the rules above.
fn test(checks: &str) -> String {
    format!(
        "rule_files: [rules.yml]\ntests:\n- name: n\n  external_labels: {{zone: z}}\n  \
         input_series: [{{series: 'a{{l=\"x\"}}', values: '1 2 3 4 5 6 7'}}]\n{checks}"
    )
}

fn check(tests: &str, expected: &[&str]) {
    let report = run(tests);
    let problems = report.problems.iter().map(Problem::one_line);
    let failures = report.tests.iter().flat_map(|test| &test.failures).map(|failure| failure.message());
    let found: Vec<String> = problems.chain(failures).collect();
    assert_eq!(found, expected, "{tests}");
    assert_eq!(report.passed(), expected.is_empty());
}

#[test]
fn expressions_are_asked_after_the_rules_ran() {
    check(
        &test("  promql_expr_test:\n  - {expr: b, eval_time: 2m, exp_samples: [{labels: 'b{l=\"x\"}', value: 6}]}\n"),
        &[],
    );
    check(
        &test("  promql_expr_test:\n  - {expr: b, eval_time: 2m, exp_samples: [{labels: 'b{l=\"y\"}', value: 6}]}\n"),
        &["b at 2m\n  expected:\n    b{l=\"y\"} 6\n  found:\n    b{l=\"x\"} 6"],
    );
    check(
        &test("  promql_expr_test:\n  - {expr: nothing, eval_time: 2m, exp_samples: [{value: 6}]}\n"),
        &["nothing at 2m\n  expected:\n    {} 6\n  found: nothing"],
    );
}

#[test]
fn alerts_are_compared_with_the_evaluation_before_exactly() {
    let expected = "{exp_labels: {l: x, severity: page}, exp_annotations: {summary: x is 12 in z}}";
    let at = |time: &str, expected: &str| {
        test(&format!("  alert_rule_test:\n  - {{alertname: High, eval_time: {time}, exp_alerts: [{expected}]}}\n"))
    };
    check(&at("3m", ""), &[]);
    check(&at("5m", expected), &[]);
    check(&at("5m59s", expected), &[]);
    check(
        &at("5m", "{exp_labels: {l: x}}"),
        &["alert High at 5m\n  expected:\n    {alertname=\"High\", l=\"x\"} {}\n  found:\n    \
           {alertname=\"High\", l=\"x\", severity=\"page\"} {\"summary\": \"x is 12 in z\"}"],
    );
    assert!(!run(&at("5m59s", "")).passed(), "between two evaluations the one before counts");
    let report = run(&at("4m", expected));
    assert!(!report.passed(), "the value is another one minute before");
}

#[test]
fn samples_come_into_being_as_time_goes_on() {
    let text = "tests:\n- interval: 10s\n  input_series: [{series: a, values: '0 1 2 3 4 5 6'}]\n  promql_expr_test:\n";
    check(&format!("{text}  - {{expr: a, eval_time: 55s, exp_samples: [{{labels: a, value: 0}}]}}\n"), &[]);
    check(&format!("{text}  - {{expr: a, eval_time: 60s, exp_samples: [{{labels: a, value: 6}}]}}\n"), &[]);
}

#[test]
fn the_start_can_be_any_time() {
    let text = "tests:\n- start_timestamp: 2023-11-14T22:13:20Z\n  input_series: [{series: a, values: '1 2'}]\n  promql_expr_test:\n  - {expr: timestamp(a), eval_time: 1m, exp_samples: [{value: 1700000060}]}\n";
    check(text, &[]);
    check(&text.replace("2023-11-14T22:13:20Z", "1700000000"), &[]);
}

#[test]
fn nan_equals_nothing_and_the_last_bit_only_if_asked() {
    let test = |fuzzy: bool, value: &str, expr: &str| {
        format!(
            "fuzzy_compare: {fuzzy}\ntests:\n- promql_expr_test:\n  - {{expr: '{expr}', exp_samples: [{{value: {value}}}]}}\n"
        )
    };
    assert!(!run(&test(true, ".nan", "vector(NaN)")).passed());
    assert!(!run(&test(false, "0.3", "vector(0.1 + 0.2)")).passed());
    assert!(run(&test(true, "0.3", "vector(0.1 + 0.2)")).passed());
    assert!(!run(&test(true, "0.3001", "vector(0.1 + 0.2)")).passed());
}

#[test]
fn groups_run_in_the_order_that_is_asked_for() {
    let rules = "groups:\n- {name: one, rules: [{record: c, expr: b}]}\n- {name: two, rules: [{record: b, expr: a}]}\n";
    let run = |order: &str| {
        let tests = format!(
            "rule_files: [r]\ngroup_eval_order: [{order}]\ntests:\n- input_series: [{{series: a, values: '1'}}]\n  promql_expr_test:\n  - {{expr: c, exp_samples: [{{labels: c, value: 1}}]}}\n"
        );
        let load = |_: &str| Ok(vec![SourceFile::new("r", rules)]);
        run_unit_tests(&SourceFile::new("t", tests), &UnitTestOptions::default(), &load).passed()
    };
    assert!(!run(""));
    assert!(!run("one"));
    assert!(run("two, one"));
    assert!(run("two"));
    assert!(!run("two, two"));
}

#[test]
fn what_is_wrong_is_said() {
    check("tests: [{}]\nrule_files: [missing.yml]\n", &["t.yml:2:14: cannot read missing.yml"]);
    check(
        "tests:\n- alert_rule_test: [{eval_time: 1m}]\n",
        &["t.yml:2:21: missing field `alertname` in an alert test (add `alertname: ...`: the name of the alert)"],
    );
    check(
        "tests:\n- input_series: [{series: 'a{', values: 1}]\n",
        &["t.yml:2:27: expected `label=\"value\"` in \"\" (write it as name{label=\"value\"})"],
    );
    check("tests:\n- input_series: [{series: a, values: 1 b}]\n", &["t.yml:2:38: expected a number in \"b\""]);
    check(
        "rule_files: [failing.yml]\ntests:\n- input_series: [{series: 'a', values: 1}, {series: 'b{l=\"1\"}', values: 1}, {series: 'b{l=\"2\"}', values: 1}]\n",
        &[
            "rule x failed at 0s: found duplicate series for the match group {} on the right hand-side of the operation: \
           [{__name__=\"b\", l=\"2\"}, {__name__=\"b\", l=\"1\"}];many-to-many matching not allowed: matching labels must be unique on one side",
        ],
    );
    let report = run("rule_files: ['nothing*.yml']\ntests: [{}]\n");
    assert!(report.passed() && report.problems.len() == 1, "a pattern without files is a warning");
}

#[test]
fn only_selected_tests_run() {
    let tests = "tests: [{name: a}, {name: b}, {}]\n";
    let load = |_: &str| Ok(Vec::new());
    let names = |select: &dyn Fn(&str) -> bool| -> Vec<String> {
        let options = UnitTestOptions { select: Some(select), ..UnitTestOptions::default() };
        run_unit_tests(&SourceFile::new("t", tests), &options, &load).tests.into_iter().map(|test| test.name).collect()
    };
    assert_eq!(names(&|_| true), ["a", "b", "test 3"]);
    assert_eq!(names(&|name| name == "b"), ["b"]);
}

#[test]
fn promtools_fixtures_have_its_verdicts() {
    #[expect(clippy::disallowed_methods, reason = "tests find the conformance data by the environment")]
    let Ok(root) = std::env::var("BROWNOUT_CONFORMANCE") else {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
        return;
    };
    let folder = PathBuf::from(root).join("promtool");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return;
    }
    let read = |name: &str| -> Result<Arc<SourceFile>, String> {
        let text = std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())?;
        Ok(SourceFile::new(name, text))
    };
    let check = |name: &str, good: bool| {
        let report = run_unit_tests(&read(name).expect(name), &UnitTestOptions::default(), &|name| {
            read(name).map(|file| vec![file])
        });
        assert_eq!(report.passed(), good, "{name}: {report:#?}");
    };
    for good in [
        "unittest.yml",
        "long-period.yml",
        "no-test-group-interval.yml",
        "at-modifier-test.yml",
        "negative-offset-test.yml",
    ] {
        check(good, true);
    }
    for bad in [
        "failing.yml",
        "bad-input-series.yml",
        "bad-promql.yml",
        "bad-rules-error-test.yml",
        "bad-rules-syntax-test.yml",
    ] {
        check(bad, false);
    }
}

#[test]
fn expectations_may_be_a_part_of_what_is_found_if_that_is_asked_for() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: a, annotations: {s: x, t: y}}]}]";
    let passed = |expected: &str, subset: bool| {
        let tests = format!(
            "rule_files: [r]\ntests:\n- input_series: [{{series: 'a{{l=\"1\",m=\"1\"}}', values: 1}}, {{series: 'a{{l=\"2\",m=\"1\"}}', values: 2}}]\n{expected}"
        );
        let options = UnitTestOptions { subset, ..UnitTestOptions::default() };
        run_unit_tests(&SourceFile::new("t", tests), &options, &|_| Ok(vec![SourceFile::new("r", rules)])).passed()
    };
    let alerts = |list: &str| format!("  alert_rule_test: [{{alertname: A, exp_alerts: [{list}]}}]\n");
    let whole = "{exp_labels: {l: 1, m: 1}, exp_annotations: {s: x, t: y}}, {exp_labels: {l: 2, m: 1}, exp_annotations: {s: x, t: y}}";
    // The first fits both: it must leave the second its own.
    let part = "{exp_labels: {m: 1}}, {exp_labels: {l: 1}, exp_annotations: {t: y}}";
    for (list, exact, subset) in [
        (whole, true, true),
        (part, false, true),
        ("{exp_labels: {l: 1}}", false, false),
        ("{exp_labels: {l: 1}}, {exp_labels: {l: 1}}", false, false),
        ("{exp_labels: {l: 1}}, {exp_annotations: {s: z}}", false, false),
    ] {
        assert_eq!((passed(&alerts(list), false), passed(&alerts(list), true)), (exact, subset), "{list}");
    }
    let samples = "  promql_expr_test: [{expr: a, exp_samples: [{value: 1}, {labels: '{l=\"2\"}', value: 2}]}]\n";
    assert!(!passed(samples, false) && passed(samples, true));
}

#[test]
fn what_the_tests_never_saw_is_told() {
    let report = run(&test("  promql_expr_test:\n  - {expr: b, exp_samples: [{labels: 'b{l=\"x\"}', value: 2}]}\n"));
    let seen: Vec<_> = report.coverage.iter().map(|c| (&*c.rule.name, c.evaluated, c.fired, c.checked)).collect();
    assert_eq!(seen, [("b", true, false, true), ("High", false, false, false)]);
    let report = run(&test("  alert_rule_test: [{alertname: High, eval_time: 6m}]\n"));
    let seen: Vec<_> = report.coverage.iter().map(|c| (&*c.rule.name, c.evaluated, c.fired, c.checked)).collect();
    assert_eq!(seen, [("b", true, false, false), ("High", true, true, true)]);
}

#[test]
fn what_is_expected_of_a_switch_must_be_clear() {
    check(
        "tests:\n- switch_test: [{switch: a, desired: 3}]\n",
        &[
            "t.yml:2:17: it is not clear what is expected of what (write {switch: ..., level: ...}, {switch: ..., share: ...} or {scale: ..., desired: ...})",
        ],
    );
}
