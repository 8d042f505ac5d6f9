//! The state machine of alerts, as tables: one line an evaluation.

use std::sync::Arc;
use std::time::Duration;

use super::alerting::{AlertContext, AlertRule};
use super::evaluate::Reading;
use super::expand::Expanded;
use super::id::{RuleId, RuleType};
use super::outcome::AlertState;
use super::query::Query;
use super::spec::{AlertSpec, OnUnknown};
use super::text::{TemplateText, Texts};
use super::witness::Witness;
use crate::model::{Labels, NAME};
use crate::promql::SampleValue;
use crate::time::Timestamp;
use crate::yaml::{Place, SourceFile, Spanned};

fn rule(hold: u64, keep_firing_for: u64) -> AlertRule {
    let place = Place { file: SourceFile::new("t", "A"), span: 0..1 };
    AlertRule::new(Arc::new(AlertSpec {
        alert: Spanned { value: "A".to_owned(), place },
        expr: query("up"),
        hold: Duration::from_secs(hold),
        keep_firing_for: Duration::from_secs(keep_firing_for),
        resolve_when: None,
        labels: Texts::default(),
        annotations: Texts::default(),
        on_unknown: OnUnknown::Resolve,
        unknown_for: Duration::from_secs(100),
    }))
}

fn query(text: &str) -> Query {
    let place = Place { file: SourceFile::new("t", text), span: 0..text.len() };
    Query::of(text, crate::promql::parse(text).expect("an expression"), place)
}

/// What the rule's file says, to change it.
fn spec(rule: &mut AlertRule) -> &mut AlertSpec {
    Arc::make_mut(&mut rule.spec)
}

fn text(source: &str) -> TemplateText {
    let place = Place { file: SourceFile::new("t", source), span: 0..source.len() };
    TemplateText::parse(source, &place).expect("a template")
}

fn texts(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(name, source)| ((*name).to_owned(), text(source))).collect()
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs as i64 * 1_000)
}

/// Says of which letters nothing is known.
#[derive(Default)]
struct Blind(Vec<String>);

impl Witness for Blind {
    fn fresh(&self, _alert: &Labels, _since: Timestamp) -> bool {
        true
    }

    fn known(&self, alert: &Labels) -> bool {
        !self.0.iter().any(|letter| alert.value("l") == letter)
    }

    fn missing(&self) -> bool {
        self.0.iter().any(|letter| letter == "*")
    }
}

fn evaluate(
    rule: &mut AlertRule,
    result: &[Reading],
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(Labels, f64)>, String> {
    judge(rule, result, now, limit, &Blind::default(), &[])
}

fn judge(
    rule: &mut AlertRule,
    result: &[Reading],
    now: Timestamp,
    limit: usize,
    witness: &Blind,
    resolving: &[Reading],
) -> Result<Vec<(Labels, f64)>, String> {
    let external = Labels::from_pairs([("zone", "z1")]);
    let query = |asked: &str| Ok(vec![(Labels::from_pairs([("asked", asked)]), 7.0)]);
    let context = AlertContext {
        external_labels: &external,
        external_url: "http://b",
        query: &query,
        limit,
        witness,
        settle: Duration::ZERO,
        resolving,
    };
    rule.evaluate(result, now, &context)
}

fn reading(letter: &str, value: f64) -> Reading {
    Reading { labels: Labels::from_pairs([(NAME, "m"), ("l", letter)]), value: SampleValue::Float(value) }
}

fn id() -> RuleId {
    RuleId {
        file: "f".into(),
        group: "g".into(),
        kind: RuleType::Alerting,
        name: "A".into(),
        labels: "".into(),
        nth: 0,
    }
}

/// Each line: seconds, the elements of the result (`-` for none), `->` the alerts with their states, `|` who is told what.
/// `for N` changes the rule in between, as a reload does.
fn check(hold: u64, keep_firing_for: u64, table: &str) {
    let mut rule = rule(hold, keep_firing_for);
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(hold) = line.strip_prefix("for ") {
            spec(&mut rule).hold = Duration::from_secs(hold.parse().expect("seconds"));
            continue;
        }
        let (input, expected) = line.split_once("->").expect("an arrow");
        let mut words = input.split_whitespace();
        let now = at(words.next().expect("a time").parse().expect("seconds"));
        let result: Vec<Reading> = words.filter(|word| *word != "-").map(|word| reading(word, 1.0)).collect();
        let samples = evaluate(&mut rule, &result, now, 0).expect("a result");
        let mut states: Vec<String> =
            rule.active.values().map(|alert| format!("{}:{}", alert.labels.value("l"), alert.state.as_str())).collect();
        states.sort();
        let events = rule.take_events(&id(), now, Duration::from_secs(60), Duration::from_secs(1), &Labels::empty());
        let told: Vec<String> =
            events.iter().map(|event| format!("{}:{}", event.labels.value("l"), event.state.as_str())).collect();
        let actual = format!("{} | {}", states.join(" "), told.join(" "));
        assert_eq!(actual.trim(), expected.trim(), "at {line}");
        let shown = rule.active.values().filter(|alert| alert.state != AlertState::Inactive).count();
        assert_eq!(samples.len(), 2 * shown, "at {line}");
    }
}

#[test]
fn an_alert_goes_from_pending_to_firing_to_resolved() {
    check(
        5,
        0,
        "0 a -> a:pending |
         4 a -> a:pending |
         5 a -> a:firing | a:firing
         6 a -> a:firing |
         7 - -> a:inactive | a:inactive
         8 - -> a:inactive |",
    );
}

#[test]
fn without_for_it_fires_in_the_same_evaluation() {
    check(0, 0, "0 a -> a:firing | a:firing");
}

#[test]
fn a_pending_alert_that_goes_is_forgotten_and_starts_again() {
    check(
        5,
        0,
        "0 a -> a:pending |
         4 - -> |
         5 a -> a:pending |
         9 a -> a:pending |
         10 a -> a:firing | a:firing",
    );
}

#[test]
fn keep_firing_for_bridges_gaps_and_starts_again_with_each() {
    check(
        0,
        10,
        "0 a -> a:firing | a:firing
         1 - -> a:firing |
         10 - -> a:firing |
         10 a -> a:firing |
         11 - -> a:firing |
         20 - -> a:firing |
         21 - -> a:inactive | a:inactive",
    );
}

#[test]
fn what_fires_or_resolved_is_told_again_after_the_resend_delay() {
    check(
        0,
        0,
        "0 a -> a:firing | a:firing
         60 a -> a:firing |
         61 a -> a:firing | a:firing
         62 - -> a:inactive | a:inactive
         122 - -> a:inactive |
         123 - -> a:inactive | a:inactive
         962 - -> a:inactive | a:inactive
         963 - -> |",
    );
}

#[test]
fn a_resolved_alert_that_comes_back_is_a_new_one() {
    check(
        2,
        0,
        "0 a -> a:pending |
         2 a -> a:firing | a:firing
         3 - -> a:inactive | a:inactive
         4 a -> a:pending |
         6 a -> a:firing | a:firing",
    );
}

#[test]
fn a_longer_for_after_a_reload_makes_it_pending_again() {
    check(
        2,
        0,
        "0 a -> a:pending |
         2 a -> a:firing | a:firing
         for 10
         3 a -> a:pending |
         10 a -> a:firing | a:firing",
    );
}

#[test]
fn alerts_of_one_rule_go_their_own_ways() {
    check(
        2,
        0,
        "0 a b -> a:pending b:pending |
         1 a -> a:pending |
         2 a b -> a:firing b:pending | a:firing
         4 a b -> a:firing b:firing | b:firing
         5 b -> a:inactive b:firing | a:inactive",
    );
}

#[test]
fn labels_and_annotations_are_templates() {
    let mut rule = rule(0, 0);
    spec(&mut rule).labels =
        texts(&[("where", "{{ $externalLabels.zone }}/{{ $labels.l }}"), ("l", ""), ("alertname", "no")]);
    spec(&mut rule).annotations = texts(&[
        ("value", "{{ $value }} {{ .ExternalURL }}"),
        ("asked", "{{ (query \"up\" | first).Value }}"),
        ("bad", "{{ template \"x\" }}"),
        ("worse", "{{ query \"x\" | first | humanize }}"),
    ]);
    let samples = evaluate(&mut rule, &[reading("a", 2.0)], at(1), 0).expect("samples");
    let alert = rule.active.values().next().expect("an alert");
    assert_eq!(alert.labels.to_string(), r#"{alertname="A", where="z1/a"}"#);
    assert_eq!(alert.annotations.get("value").unwrap(), "2 http://b");
    assert_eq!(alert.annotations.get("asked").unwrap(), "7");
    assert!(
        alert.annotations.get("bad").unwrap().starts_with("<error expanding template: "),
        "{:?}",
        alert.annotations
    );
    assert!(
        alert.annotations.get("worse").unwrap().starts_with("<error expanding template: "),
        "{:?}",
        alert.annotations
    );
    let names: Vec<String> = samples.iter().map(|(labels, value)| format!("{labels} {value}")).collect();
    assert_eq!(
        names,
        [
            r#"ALERTS{alertname="A", alertstate="firing", where="z1/a"} 1"#,
            r#"ALERTS_FOR_STATE{alertname="A", where="z1/a"} 1"#,
        ]
    );
    evaluate(&mut rule, &[reading("a", 3.0)], at(2), 0).expect("samples");
    let alert = rule.active.values().next().expect("an alert");
    assert_eq!(
        (alert.annotations.get("value").unwrap().as_str(), alert.value),
        ("3 http://b", 3.0),
        "taken over from each result"
    );
}

#[test]
fn the_value_of_a_native_histogram_is_its_text() {
    let mut rule = rule(0, 0);
    spec(&mut rule).annotations = texts(&[("value", "{{ $value }}")]);
    let histogram = crate::model::FloatHistogram { count: 2.0, sum: 3.0, ..crate::model::FloatHistogram::empty() };
    let value = SampleValue::Histogram(std::sync::Arc::new(histogram));
    evaluate(&mut rule, &[Reading { labels: Labels::empty(), value }], at(1), 0).expect("samples");
    let alert = rule.active.values().next().expect("an alert");
    assert_eq!((alert.annotations.get("value").unwrap().as_str(), alert.value), ("{count:2, sum:3}", 0.0));
}

#[test]
fn two_elements_that_become_one_alert_are_an_error_and_change_nothing() {
    let mut rule = rule(0, 0);
    evaluate(&mut rule, &[reading("a", 1.0)], at(0), 0).expect("samples");
    let before = rule.active.clone();
    spec(&mut rule).labels = texts(&[("l", "same")]);
    // Other texts come with a reload, and a reload makes a new rule.
    rule.expanded = Expanded::default();
    let error = evaluate(&mut rule, &[reading("a", 1.0), reading("b", 1.0)], at(1), 0).expect_err("an error");
    assert_eq!(error, "vector contains metrics with the same labelset after applying alert labels");
    assert_eq!(rule.active, before);
}

#[test]
fn past_the_limit_the_rule_fails_and_loses_its_alerts() {
    let mut rule = rule(0, 0);
    evaluate(&mut rule, &[reading("a", 1.0)], at(0), 1).expect("samples");
    let error = evaluate(&mut rule, &[reading("a", 1.0), reading("b", 1.0)], at(1), 1).expect_err("an error");
    assert_eq!(error, "exceeded limit of 1 with 2 alerts");
    assert!(rule.active.is_empty());
    assert_eq!(rule.gone.len(), 2);
}

#[test]
fn an_event_says_what_an_alertmanager_needs() {
    let mut rule = rule(2, 0);
    spec(&mut rule).labels = texts(&[("zone", "own")]);
    evaluate(&mut rule, &[reading("a", 1.0)], at(10), 0).expect("samples");
    evaluate(&mut rule, &[reading("a", 5.0)], at(12), 0).expect("samples");
    let external = Labels::from_pairs([("zone", "z1"), ("env", "prod")]);
    let events = rule.take_events(&id(), at(12), Duration::from_secs(60), Duration::from_secs(300), &external);
    let event = &events[0];
    assert_eq!(event.labels.to_string(), r#"{alertname="A", env="prod", l="a", zone="own"}"#);
    assert_eq!((event.active_at, event.starts_at, event.resolved_at), (at(10), at(12), None));
    assert_eq!((event.valid_until, event.value), (at(12 + 4 * 300), 5.0));
}

/// Each line: seconds, the elements of the result, `?` those whose inputs are unknown, `!` what `resolve_when` gives,
/// `->` the alerts with their states.
fn check_beyond(rule: &mut AlertRule, table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("->").expect("an arrow");
        let mut words = input.split_whitespace();
        let now = at(words.next().expect("a time").parse().expect("seconds"));
        let (mut result, mut blind, mut resolving) = (Vec::new(), Blind::default(), Vec::new());
        for word in words {
            match (word.strip_prefix('?'), word.strip_prefix('!')) {
                (Some(letter), _) => blind.0.push(letter.to_owned()),
                (_, Some("all")) => {
                    resolving.push(Reading { labels: Labels::empty(), value: SampleValue::Float(0.0) });
                }
                (_, Some(letter)) => resolving.push(reading(letter, 0.0)),
                _ => result.push(reading(word, 1.0)),
            }
        }
        judge(rule, &result, now, 0, &blind, &resolving).expect("a result");
        let shown = |alert: &super::active::Active| {
            let (name, letter) = (alert.labels.value("alertname"), alert.labels.value("l"));
            let mark = if alert.unknown_since.is_some() { "?" } else { "" };
            format!("{name}{letter}:{}{mark}", alert.state.as_str())
        };
        let mut states: Vec<String> =
            rule.active.values().filter(|alert| alert.state != AlertState::Inactive).map(shown).collect();
        states.sort();
        assert_eq!(states.join(" "), expected.trim(), "at {line}");
    }
}

#[test]
fn an_alert_whose_inputs_are_unknown_resolves_as_in_prometheus_unless_its_rule_says_otherwise() {
    let mut plain = rule(0, 0);
    check_beyond(&mut plain, "0 a b -> Aa:firing Ab:firing\n 1 b ?a -> Ab:firing");
    assert_eq!(std::mem::take(&mut plain.unknown_count), 1);
    let mut holding = rule(5, 0);
    spec(&mut holding).on_unknown = OnUnknown::Hold;
    check_beyond(
        &mut holding,
        "0 a b -> Aa:pending Ab:pending
         5 a b -> Aa:firing Ab:firing
         6 ?a ?b -> Aa:firing? Ab:firing?
         50 ?a b -> Aa:firing? Ab:firing
         51 ?a -> Aa:firing?
         105 ?a -> Aa:firing?
         106 ?a ->
         107 c -> Ac:pending
         110 ?c -> Ac:pending?
         112 c -> Ac:firing
         113 -> ",
    );
    assert_eq!(holding.unknown_count, 3, "a, b and c; the end of a is not counted again");
}

#[test]
fn a_companion_tells_of_what_is_not_known() {
    let mut telling = rule(2, 0);
    spec(&mut telling).on_unknown = OnUnknown::Alert;
    spec(&mut telling).labels = texts(&[("severity", "page"), ("what", "{{ $value }}")]);
    check_beyond(
        &mut telling,
        "0 ?* ->
         1 a -> Aa:pending
         3 a -> Aa:firing
         4 ?a -> AUnknowna:pending Aa:firing?
         6 ?a -> AUnknowna:firing Aa:firing?
         7 a -> Aa:firing
         8 ->
         9 ?* -> AUnknown:pending
         11 ?* -> AUnknown:firing
         12 -> ",
    );
    let summary = |alert: &super::active::Active| alert.annotations.get("summary").cloned().unwrap_or_default();
    let told: Vec<String> =
        telling.active.values().filter(|a| a.labels.value("alertname") == "AUnknown").map(summary).collect();
    assert!(!told.is_empty() && told.iter().all(|text| text.contains("cannot be judged")), "{told:?}");
}

#[test]
fn a_firing_alert_goes_on_until_its_resolve_expression_holds_for_its_labels() {
    let mut rule = rule(2, 0);
    spec(&mut rule).resolve_when = Some(query("down"));
    spec(&mut rule).labels = texts(&[("severity", "page")]);
    check_beyond(
        &mut rule,
        "0 a b -> Aa:pending Ab:pending
         1 a -> Aa:pending
         2 a b -> Aa:firing Ab:pending
         4 b -> Aa:firing Ab:firing
         5 !b -> Aa:firing
         6 a !a -> Aa:firing
         7 -> Aa:firing
         8 !b -> Aa:firing
         9 !all ->
         10 a -> Aa:pending
         12 a -> Aa:firing
         13 ?a ->",
    );
}

#[test]
fn keep_firing_for_begins_when_the_resolve_expression_holds() {
    let mut rule = rule(0, 10);
    spec(&mut rule).resolve_when = Some(query("down"));
    check_beyond(
        &mut rule,
        "0 a -> Aa:firing
         20 -> Aa:firing
         21 !a -> Aa:firing
         30 !a -> Aa:firing
         31 !a ->",
    );
}

#[test]
fn a_stepped_clock_moves_every_time_of_an_alert_along() {
    let mut rule = rule(5, 0);
    let step =
        |rule: &mut AlertRule, by: i64| rule.active.values_mut().for_each(|alert| alert.clock_stepped(by * 1_000));
    check_beyond(&mut rule, "10000 a -> Aa:pending\n 10003 a -> Aa:pending");
    step(&mut rule, -3_600);
    check_beyond(&mut rule, "6404 a -> Aa:pending\n 6405 a -> Aa:firing");
    step(&mut rule, 3_600);
    check_beyond(&mut rule, "10006 a -> Aa:firing\n 10007 ->");
}
