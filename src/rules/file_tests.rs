//! Rule files: verdicts, messages, and the files of others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::spec::{Mode, RuleFile, RuleSpec, Scope};
use super::{GroupSpec, parse_file};
use crate::promql::Kind;
use crate::yaml::{Problem, Severity, SourceFile, describe};

fn read(text: &str) -> (Option<Vec<GroupSpec>>, Vec<Problem>) {
    parse_file(&SourceFile::new("r.yaml", text))
}

/// One group with these rules, each in YAML's flow style.
fn rules(rules: &[&str]) -> String {
    let lines: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    format!("groups:\n- name: g\n  rules:\n{lines}")
}

fn check(text: &str, expected: &[&str]) {
    let (groups, problems) = read(text);
    let lines: Vec<String> = problems.iter().map(Problem::one_line).collect();
    assert_eq!(lines, expected, "{text}");
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(groups.is_none(), refused, "{text}");
}

fn check_rule(rule: &str, expected: &[&str]) {
    check(&rules(&[rule]), expected);
}

#[test]
fn a_good_file_is_read_whole() {
    let text = "\
groups:
- name: g
  interval: 5s
  query_offset: 1s
  limit: 3
  labels: {team: a, severity: low}
  rules:
  - {record: a:b, expr: sum(x), labels: {severity: none}}
  - alert: Slow
    expr: a:b > 1
    for: 5m
    keep_firing_for: 1m
    labels: {severity: \"{{ $labels.x }}\"}
    annotations: {summary: \"is {{ $value }}\"}
";
    let (groups, problems) = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    let groups = groups.expect("groups");
    let group = &groups[0];
    assert_eq!((&*group.file, group.name.as_str(), group.limit), ("r.yaml", "g", 3));
    assert_eq!(group.interval, Some(Duration::from_secs(5)));
    assert_eq!(group.query_offset, Some(Duration::from_secs(1)));
    let RuleSpec::Record(record) = &group.rules[0] else { panic!("{:?}", group.rules) };
    let labels: Vec<_> = record.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("severity", "none"), ("team", "a")], "the rule's own label wins");
    let RuleSpec::Alert(alert) = &group.rules[1] else { panic!("{:?}", group.rules) };
    assert_eq!((alert.hold, alert.keep_firing_for), (Duration::from_secs(300), Duration::from_secs(60)));
    assert_eq!(&*alert.labels.get("severity").unwrap().source, "{{ $labels.x }}");
    assert_eq!(&*alert.labels.get("team").unwrap().source, "a");
    assert_eq!(&*alert.annotations.get("summary").unwrap().source, "is {{ $value }}");
}

#[test]
fn what_expressions_have_in_common_is_there_once() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: 'm{job=\"j\"} > 1'}, {record: r, expr: 'rate(m{job=\"j\"}[1m])'}]}]";
    let (groups, problems) = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    let groups = groups.expect("groups");
    let mut words = Vec::new();
    for query in groups[0].rules.iter().flat_map(RuleSpec::queries) {
        query.expr.walk(&mut |node| {
            let matchers = match &node.kind {
                Kind::Selector(selector) => &selector.matchers,
                Kind::Range(range) => &range.selector.matchers,
                _ => return,
            };
            let of = |matcher: &crate::model::Matcher| [matcher.name.as_ptr(), matcher.value.as_ptr()];
            words.push(matchers.iter().flat_map(of).collect::<Vec<_>>());
        });
    }
    assert_eq!((words.len(), words[0].len()), (2, 4));
    assert_eq!(words[0], words[1]);
}

#[test]
fn files_without_groups_or_rules_are_good() {
    for text in ["", "groups:", "groups: []", "{}", "groups: [{name: a}]", "groups: [{name: a, rules: }]"] {
        check(text, &[]);
    }
    let (groups, _) = read("groups: [{name: a, interval: 0s}]");
    assert_eq!(groups.expect("groups")[0].interval, None, "an interval of zero is no interval");
}

#[test]
fn what_is_wrong_with_a_rule_is_said_where_it_is() {
    check_rule(
        "{expr: a}",
        &[
            "r.yaml:4:5: a rule must say what it is (add one of `record`, `alert`, `degrade`, `dim`, `limit`, `scale`, `rollout`)",
        ],
    );
    check_rule(
        "{record: a, alert: b, expr: c}",
        &["r.yaml:4:17: a rule cannot be both `record` and `alert` (make two rules of it)"],
    );
    check_rule("{record: a}", &["r.yaml:4:6: missing field `expr` in this record rule (add `expr: <PromQL>`)"]);
    check_rule("{alert: \"\", expr: c}", &["r.yaml:4:6: the name after `alert` is empty"]);
    check_rule(
        "{record: a, expr: b, for: 1m, annotations: {c: d}}",
        &[
            "r.yaml:4:26: `for` does not belong in a recording rule (remove it: it belongs in an alerting rule or a scale rule)",
            "r.yaml:4:35: `annotations` does not belong in a recording rule (remove it: it belongs in an alerting rule)",
        ],
    );
    check_rule("{record: a, expr: b, for: 0s, keep_firing_for: 0s, annotations: {}}", &[]);
    check_rule(
        "{record: 'a{b=\"c\"}', expr: d}",
        &[
            "r.yaml:4:14: `a{b=\"c\"}` is not the name of a series (write the name alone, and its labels under `labels`)",
        ],
    );
    check_rule(
        "{alert: a, expr: b, annotation: {c: d}}",
        &["r.yaml:4:25: unknown field `annotation` in a rule (did you mean `annotations`?)"],
    );
    check_rule(
        "{record: a, expr: b, labels: {__name__: c}}",
        &["r.yaml:4:35: `__name__` cannot be set as a label (to name the series, use `record`)"],
    );
    check_rule(
        "{record: a, expr: 'b[5m]'}",
        &["r.yaml:4:23: the expression gives a range vector, a rule needs an instant vector or a scalar \
           (take the last value of a range with last_over_time(), or drop the brackets)"],
    );
}

#[test]
fn bad_promql_is_marked_inside_the_scalar() {
    let text = "groups:\n- name: g\n  rules:\n  - record: a\n    expr: |\n      sum(\n        rate(foo)\n      )\n";
    let (_, problems) = read(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(&text[problems[0].span.clone()], "foo", "{}", problems[0].render());
    assert!(problems[0].message.contains("range vector"), "{}", problems[0].message);
}

#[test]
fn bad_templates_are_marked_inside_the_scalar() {
    let text = rules(&["{alert: a, expr: b, annotations: {s: \"x {{ $label.foo }}\"}}"]);
    let (_, problems) = read(&text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(text[problems[0].span.clone()].contains("$label"), "{}", problems[0].render());
    // Of a group's labels too, where an alert uses them.
    let group = |rule: &str| format!("groups: [{{name: g, labels: {{a: '{{{{ $x }}}}'}}, rules: [{rule}]}}]");
    assert_eq!(read(&group("{alert: a, expr: b}")).1.len(), 1);
    check(&group("{record: a, expr: b}"), &[]);
}

#[test]
fn groups_are_unique_and_duplicate_rules_are_warned_of() {
    check(
        "groups:\n- name: a\n- name: a\n",
        &["r.yaml:3:9: group `a` is there twice (rename one of them, or move its rules into the first)"],
    );
    check(
        "groups:\n- interval: 1s\n",
        &["r.yaml:2:3: missing field `name` in a group (add `name: ...`: unique in its file)"],
    );
    check(
        &rules(&["{record: a, expr: b}", "{record: a, expr: c, labels: {d: e}}", "{record: a, expr: f}"]),
        &[
            "r.yaml:6:14: another rule above is also called `a` and has the same labels (give them different names or labels, or their results may clash)",
        ],
    );
}

#[test]
fn a_degrade_rule_is_read_with_its_defaults() {
    let text = rules(&[
        "{degrade: s, levels: [{level: b, when: 'x > 1', for: 5s}, {level: c, when: 'x > 2'}], recover: {when: 'x < 1', for: 10s}, min_hold: 1m, scope: zone, quorum: {share: 30%, at_least: 3}, mode: enforce}",
        "{degrade: t, levels: [{level: b, when: 'x > 1'}]}",
    ]);
    let (groups, problems) = read(&text);
    assert!(problems.is_empty(), "{problems:?}");
    let groups = groups.expect("groups");
    let RuleSpec::Degrade(rule) = &groups[0].rules[0] else { panic!() };
    assert_eq!((rule.switch.as_str(), rule.levels.len(), rule.scope), ("s", 2, Scope::Zone));
    assert_eq!((rule.levels[0].level.as_str(), rule.levels[0].hold), ("b", Duration::from_secs(5)));
    assert_eq!(rule.levels[1].hold, Duration::ZERO);
    assert_eq!(rule.recover.hold, Duration::from_secs(10));
    assert!(rule.recover.when.is_some());
    assert_eq!(rule.min_hold, Duration::from_secs(60));
    let quorum = rule.quorum.as_ref().expect("quorum");
    assert_eq!((quorum.share, quorum.at_least, rule.mode), (Some(0.3), Some(3), Some(Mode::Enforce)));
    let RuleSpec::Degrade(rule) = &groups[0].rules[1] else { panic!() };
    assert_eq!((rule.scope, rule.mode, &rule.quorum), (Scope::Fleet, None, &None));
    assert_eq!((rule.min_hold, rule.recover.hold), (Duration::from_secs(30), Duration::from_secs(60)));
}

#[test]
fn a_level_may_have_a_clear_of_its_own() {
    let text = rules(&[
        "{degrade: s, levels: [{level: b, when: 'x > 1', clear: {when: 'x < 0.5', for: 5m}}, {level: c, when: 'x > 2', clear: {for: 10m}}, {level: d, when: 'x > 3'}], recover: {when: 'y < 1'}}",
    ]);
    let (groups, problems) = read(&text);
    assert!(problems.is_empty(), "{problems:?}");
    let rule = &groups.expect("groups")[0].rules[0];
    let asked: Vec<_> =
        rule.asked().into_iter().map(|(part, query)| format!("{}: {}", part.name(), query.text)).collect();
    assert_eq!(asked, ["b: x > 1", "c: x > 2", "d: x > 3", "clear b: x < 0.5", "recover: y < 1"]);
    let RuleSpec::Degrade(rule) = rule else { panic!() };
    let holds: Vec<_> = rule.levels.iter().map(|level| level.clear.as_ref().map(|clear| clear.hold)).collect();
    assert_eq!(holds, [Some(Some(Duration::from_secs(300))), Some(Some(Duration::from_secs(600))), None]);
}

#[test]
fn what_is_wrong_with_a_clear_is_said_where_it_is() {
    check_rule(
        "{degrade: s, levels: [{level: a, when: x > 1, clear: {}}]}",
        &[
            "r.yaml:4:58: this `clear` says nothing (add `when: <PromQL>`, `for: 5m` or both; or leave `clear` out, and `recover` speaks)",
        ],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x > 1, clear: {when: (x>1)}}]}",
        &[
            "r.yaml:4:65: `clear` is the level's own `when`: it never goes back (write the condition for the way back, with a gap: `when: x > 0.9`, `clear: {when: x < 0.5}`)",
        ],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x > 1, clear: {when: x < bool 1}}]}",
        &["r.yaml:4:65: a comparison with `bool` always gives a result, and any result counts as true, also 0 \
           (write a comparison of a series without `bool`)"],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x > 1, clear: {whn: x < 1}}]}",
        &[
            "r.yaml:4:58: this `clear` says nothing (add `when: <PromQL>`, `for: 5m` or both; or leave `clear` out, and `recover` speaks)",
            "r.yaml:4:59: unknown field `whn` in clear (did you mean `when`?)",
        ],
    );
}

#[test]
fn a_scale_rule_is_read_with_its_defaults() {
    let text = rules(&[
        "{scale: web, desired: 'ceil(sum(x) / 200)', min: 3, max: 30, cooldown: 1m, cooldown_in: 10m, step: 4, for: 20s, webhook: asg, in: true, mode: observe}",
        "{scale: web, desired: '3', max: 30, webhook: asg}",
    ]);
    let (groups, problems) = read(&text);
    assert!(problems.is_empty(), "{problems:?}");
    let groups = groups.expect("groups");
    let RuleSpec::Scale(rule) = &groups[0].rules[0] else { panic!() };
    assert_eq!((rule.name.as_str(), rule.min, rule.max, rule.step), ("web", 3, 30, Some(4)));
    assert_eq!((rule.cooldown_out, rule.cooldown_in), (Duration::from_secs(60), Duration::from_secs(600)));
    assert_eq!((rule.hold, rule.scale_in, rule.mode), (Duration::from_secs(20), true, Some(Mode::Observe)));
    let RuleSpec::Scale(rule) = &groups[0].rules[1] else { panic!() };
    assert_eq!((rule.min, rule.scale_in, rule.step), (1, false, None));
    assert_eq!(rule.cooldown_out, Duration::from_secs(300));
}

#[test]
fn what_is_wrong_with_an_action_is_said_where_it_is() {
    check_rule(
        "{degrade: s}",
        &[
            "r.yaml:4:6: missing field `levels` in this degrade rule (add `levels: [{level: ..., when: ..., for: ...}]`)",
        ],
    );
    check_rule(
        "{degrade: s, levels: []}",
        &["r.yaml:4:18: a degrade rule needs a level (add `- {level: ..., when: ...}`)"],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x > bool 1}]}",
        &["r.yaml:4:44: a comparison with `bool` always gives a result, and any result counts as true, also 0 \
           (write a comparison of a series without `bool`)"],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x}, {level: a, when: y}]}",
        &["r.yaml:4:56: level `a` is there twice (join the two conditions with `or`)"],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x}], quorum: {share: 130%}}",
        &["r.yaml:4:65: expected a share above 0% and up to 100%, found `130%`"],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x}], scope: zon}",
        &["r.yaml:4:56: unknown value `zon` (did you mean `zone`?)"],
    );
    check_rule(
        "{degrade: s, levels: [{level: a, when: x}], expr: y, in: true}",
        &[
            "r.yaml:4:49: `expr` does not belong in a degrade rule (remove it: it belongs in a recording rule or an alerting rule)",
            "r.yaml:4:58: `in` does not belong in a degrade rule (remove it: it belongs in a scale rule)",
        ],
    );
    check_rule(
        "{scale: s, desired: x, max: 1, min: 2, webhook: w}",
        &["r.yaml:4:28: `max` is below `min`, which is 2 (write the larger number as `max`)"],
    );
    check_rule(
        "{scale: ../x, desired: x, max: 1, webhook: w}",
        &[
            "r.yaml:4:13: \"../x\" is not a switch name: use letters, digits, `_`, `-` and `.`, start with a letter, at most 128 characters",
        ],
    );
}

#[test]
fn a_rule_file_describes_itself() {
    let schema = describe::<RuleFile>();
    let names: Vec<_> = schema.records.iter().map(|record| record.name).collect();
    assert_eq!(
        names,
        [
            "a rule file",
            "a group",
            "a rule",
            "a level",
            "clear",
            "recover",
            "quorum",
            "clear of a quorum",
            "service",
            "a step",
            "compare"
        ]
    );
    let rule = &schema.records[2];
    assert!(rule.fields.iter().any(|field| field.key == "keep_firing_for" && field.default == Some("0s")));
}

/// The folder of conformance data, if there is one.
fn conformance(folder: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests find the conformance data by the environment")]
    let root = std::env::var("BROWNOUT_CONFORMANCE").ok();
    if root.is_none() {
        println!("skipped: BROWNOUT_CONFORMANCE is not set");
    }
    let folder = Path::new(&root?).join(folder);
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return None;
    }
    Some(folder)
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml" || e == "yaml"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text"))
        })
        .collect();
    files.sort();
    files
}

fn verdict(name: &str, text: &str) -> Result<Vec<GroupSpec>, String> {
    let (groups, problems) = parse_file(&SourceFile::new(name, text));
    groups.ok_or_else(|| problems.iter().map(Problem::one_line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn upstreams_rule_files_have_upstreams_verdicts() {
    let Some(folder) = conformance("rules/rulefmt") else { return };
    let files = files(&folder);
    assert_eq!(files.len(), 16);
    for (name, text) in files {
        // Bad only under the scheme of names that is no longer the default.
        let good = !name.contains(".bad.") || name.starts_with("legacy_validation");
        let verdict = verdict(&name, &text);
        assert_eq!(verdict.is_ok(), good, "{name}: {verdict:?}");
    }
}

#[test]
fn the_rule_files_of_others_load() {
    let Some(folder) = conformance("rules/awesome") else { return };
    let files = files(&folder);
    assert!(files.len() >= 74, "{}", files.len());
    let mut count = 0;
    for (name, text) in files {
        let groups = verdict(&name, &text).unwrap_or_else(|problems| panic!("{problems}"));
        count += groups.iter().map(|group| group.rules.len()).sum::<usize>();
    }
    assert!(count > 500, "{count} rules");
    let mixin = std::fs::read_to_string(folder.parent().expect("a parent").join("node-mixin.json")).expect("the mixin");
    let groups = verdict("node-mixin.json", &mixin).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(groups.iter().map(|group| group.rules.len()).sum::<usize>() > 10);
}

#[test]
fn promtools_rule_files_have_its_verdicts() {
    let Some(folder) = conformance("promtool") else { return };
    let check = |name: &str, good: bool| {
        let text = std::fs::read_to_string(folder.join(name)).expect("a text");
        let verdict = verdict(name, &text);
        assert_eq!(verdict.is_ok(), good, "{name}: {verdict:?}");
    };
    let good = ["rules.yml", "rules_duplicates.yml", "rules_large.yml", "at-modifier.yml", "negative-offset.yml"];
    good.iter().chain(&["bad-rules-error.yml", "features.yml"]).for_each(|name| check(name, true));
    ["rules-bad.yml", "bad-rules-syntax.yml", "rules_extrafields.yml"].iter().for_each(|name| check(name, false));
}

#[test]
fn a_window_that_no_series_is_kept_for_is_refused_with_the_reason() {
    let check = |expr: &str, expected: Option<&str>| {
        for rule in ["{record: a, expr: E}", "{alert: a, expr: E}", "{degrade: s, levels: [{level: l, when: E}]}"] {
            let text = format!("groups: [{{name: g, rules: [{}]}}]", rule.replace('E', &format!("'{expr}'")));
            let verdict = verdict("r.yaml", &text);
            match (&verdict, expected) {
                (Ok(_), None) => {}
                (Err(message), Some(part)) if message.contains(part) => {}
                _ => panic!("{expr}: {verdict:?}"),
            }
        }
    };
    check("rate(x[4w]) > 0", None);
    check("x offset 30d > 0", None);
    check("rate(x[32d]) > 0", Some("this reads 32d back, and no series is kept for longer than 31d"));
    check("y + rate(x[1w] offset 25d) > 0", Some("this reads 32d back"));
    check("max_over_time(rate(x[1d])[31d:1h]) > 0", Some("this reads 32d back"));
}
