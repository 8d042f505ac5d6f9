//! Files of tests on a disk, and what is said about them.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use super::*;

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("brownout-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        for (name, text) in files {
            std::fs::write(folder.join(name), text).expect("written");
        }
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    test: TestArgs,
}

/// Runs the file `t.yml` of the folder; gives whether it passed and what was said, the folder's name left out.
fn ran(folder: &Folder, options: &[&str]) -> (bool, String) {
    let file = folder.0.join("t.yml").display().to_string();
    let line = <Line as clap::Parser>::try_parse_from([&["test", &file], options].concat()).expect("arguments");
    let written = Written::default();
    let passed = run(&line.test, &mut Out::to(written.clone())).is_ok();
    let text = String::from_utf8(written.0.borrow().clone()).expect("text");
    (passed, text.replace(&format!("{}/", folder.0.display()), ""))
}

const RULES: &str = "\
groups:
- name: shop
  rules:
  - alert: Slow
    expr: latency > 0.5
    for: 1m
    labels: {severity: page}
  - degrade: recommendations
    levels: [{level: cached, when: latency > 0.5}, {level: 'off', when: latency > 0.8, for: 2m}]
    recover: {for: 1m}
    min_hold: 0s
  - scale: shop
    desired: load / 10
    min: 2
    max: 9
    for: 0s
    webhook: scaler
";

const CONFIG: &str = "\
shipped_rules: false
switches: {recommendations: {feature: [full, cached, 'off']}}
actions: {mode: enforce}
webhooks: {scaler: {url: 'https://scaler.internal/'}}
alertmanager:
  route: {receiver: team, group_wait: 30s, group_by: [alertname]}
  receivers: [{name: team, webhook_configs: [{url: 'https://team.internal/'}, {url: 'https://log.internal/'}]}]
";

fn tests(checks: &str) -> String {
    format!(
        "rule_files: [rules.yml]\nbrownout_config: brownout.yaml\nevaluation_interval: 30s\ntests:\n- name: crowd\n  input_series:\n  \
         - {{series: 'latency', values: '0.1 0.6 0.6 0.9 0.9 0.9 0.9 0.9 0.1 0.1 0.1 0.1 0.1 0.1 0.1 0.1x20'}}\n  \
         - {{series: 'load', values: '10 45x40'}}\n{checks}"
    )
}

#[test]
fn switches_and_messages_are_checked_through_the_whole_engine() {
    let checks = "  switch_test:
  - {eval_time: 0s, switch: recommendations, level: full}
  - {eval_time: 30s, switch: recommendations, level: cached}
  - {eval_time: 3m, switch: recommendations, level: cached}
  - {eval_time: 3m30s, switch: recommendations, level: 'off'}
  - {eval_time: 8m, switch: recommendations, level: full}
  - {eval_time: 0s, scale: shop, desired: 2}
  - {eval_time: 1m, scale: shop, desired: 5}
  notification_test:
  - {eval_time: 1m, receiver: team, exp_messages: []}
  - {eval_time: 3m, receiver: team, exp_messages: [{firing: [{alertname: Slow, severity: page}]}]}
  - {eval_time: 8m, receiver: team, exp_messages: [{resolved: [{alertname: Slow, severity: page}]}]}
";
    let folder = Folder::new("engine", &[("rules.yml", RULES), ("brownout.yaml", CONFIG), ("t.yml", &tests(checks))]);
    let (passed, text) = ran(&folder, &[]);
    assert!(passed, "{text}");
    assert_eq!(text, "t.yml: passed, 1 test\n");
}

#[test]
fn what_is_not_as_expected_is_said_with_its_place() {
    let checks = "  switch_test:
  - {eval_time: 30s, switch: recommendations, level: full}
  - {eval_time: 30s, switch: recommendatoins, level: full}
  - {eval_time: 1m, scale: shop, desired: 3}
  notification_test:
  - {eval_time: 3m, receiver: team, exp_messages: [{firing: [{alertname: Slow}]}]}
  alert_rule_test:
  - {eval_time: 3m, alertname: Slow, exp_alerts: [{exp_labels: {severity: ticket}}]}
";
    let folder = Folder::new("missed", &[("rules.yml", RULES), ("brownout.yaml", CONFIG), ("t.yml", &tests(checks))]);
    let (passed, text) = ran(&folder, &[]);
    assert!(!passed);
    insta::assert_snapshot!(text);
    let (_, text) = ran(&folder, &["--match", "subset", "--diff"]);
    assert!(!text.contains("messages to team"), "{text}");
    assert!(text.contains("  - full\n  + cached\n"), "{text}");
}

#[test]
fn rules_that_only_observe_are_told_from_rules_that_do_not_want_it() {
    let checks = "  switch_test: [{eval_time: 30s, switch: recommendations, level: cached}]\n";
    let config = CONFIG.replace("enforce", "observe");
    let folder = Folder::new("observe", &[("rules.yml", RULES), ("brownout.yaml", &config), ("t.yml", &tests(checks))]);
    let (passed, text) = ran(&folder, &[]);
    assert!(!passed && text.contains("but only observes"), "{text}");
}

#[test]
fn a_configuration_may_stand_in_the_test_file_and_must_have_the_switches() {
    let inline = |config: &str, level: &str| {
        let block: String = config.lines().map(|line| format!("  {line}\n")).collect();
        let checks = format!("  switch_test: [{{eval_time: 30s, switch: recommendations, level: {level}}}]\n");
        tests(&checks).replace("brownout_config: brownout.yaml\n", &format!("brownout_config: |\n{block}"))
    };
    let folder = Folder::new("inline", &[("rules.yml", RULES), ("t.yml", &inline(CONFIG, "cached"))]);
    let (passed, text) = ran(&folder, &[]);
    assert!(passed, "{text}");
    let other = CONFIG.replace("recommendations", "recommendation");
    let folder = Folder::new("undeclared", &[("rules.yml", RULES), ("t.yml", &inline(&other, "cached"))]);
    let (passed, text) = ran(&folder, &[]);
    assert!(
        !passed && text.contains("there is no switch `recommendations`") && text.contains("did you mean"),
        "{text}"
    );
    let none = inline(CONFIG, "cached").replace("brownout_config", "# ");
    let none: String = none
        .lines()
        .filter(|line| !line.starts_with("  ") || line.contains("series") || line.contains("switch_test"))
        .map(|line| format!("{line}\n"))
        .collect();
    let folder = Folder::new("none", &[("rules.yml", RULES), ("t.yml", &none)]);
    let (passed, text) = ran(&folder, &[]);
    assert!(!passed && text.contains("need `brownout_config`"), "{text}");
}

#[test]
fn tests_are_chosen_covered_dumped_and_written_as_junit() {
    let checks = "  alert_rule_test: [{eval_time: 30s, alertname: Slow}]\n- name: empty\n- {name: wrong, promql_expr_test: [{expr: vector(2), exp_samples: [{value: 3}]}]}\n";
    let folder = Folder::new("options", &[("rules.yml", RULES), ("brownout.yaml", CONFIG), ("t.yml", &tests(checks))]);
    let junit = folder.0.join("j.xml").display().to_string();
    let (passed, text) = ran(&folder, &["--run", "^crowd", "--run", "emp", "--coverage", "--debug"]);
    assert!(passed, "{text}");
    insta::assert_snapshot!(text);
    let (passed, _) = ran(&folder, &["--junit", &junit]);
    assert!(!passed);
    let xml = std::fs::read_to_string(&junit).expect("written").replace(&format!("{}/", folder.0.display()), "");
    insta::assert_snapshot!(xml);
}

#[test]
fn a_file_that_is_not_there_is_no_success() {
    let folder = Folder::new("nothing", &[]);
    let (passed, text) = ran(&folder, &[]);
    assert!(!passed && text.contains("no such file or directory"), "{text}");
}

#[test]
fn a_field_of_a_newer_version_is_refused_or_only_warned_of() {
    let rules = "groups:\n- name: g\n  rules:\n  - {record: doubled, expr: 2 * load, newer_field: 1}\n";
    let tests = "rule_files: [r.yml]\ntests:\n- interval: 1m\n  input_series: [{series: load, values: '3'}]\n  \
                 promql_expr_test: [{expr: doubled, eval_time: 0m, exp_samples: [{labels: doubled, value: 6}]}]\n";
    let folder = Folder::new("unknown", &[("r.yml", rules), ("t.yml", tests)]);
    let (passed, text) = ran(&folder, &[]);
    assert!(!passed && text.contains("error: unknown field `newer_field`"), "{text}");
    let (passed, text) = ran(&folder, &["--ignore-unknown-fields"]);
    assert!(passed && text.contains("warning: unknown field `newer_field`"), "{text}");
}
