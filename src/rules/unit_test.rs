//! Unit tests of rules: promtool's `test rules` as a pure function.
//!
//! All groups are evaluated every `evaluation_interval` from the start to the latest time that a test asks about, in the
//! order of the files; their own interval is ignored. Samples come into being as time goes on. A rule that fails ends its
//! test. An alert test compares with the evaluation at or before its time: with the firing alerts of that name alone,
//! labels and annotations exactly, in any order. An expression test is asked after all evaluations; values are equal to
//! the last bit (`fuzzy_compare`: but one), and NaN equals nothing.
//!
//! Native histograms are compared without their counter reset hints, which depend on how a database stores them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use super::action::ActionPart;
use super::evaluate::{Evaluate, Reading};
use super::id::RuleId;
use super::outcome::{AlertState, Truth};
use super::promql_evaluate::PromQl;
use super::rule::{Body, Health};
use super::ruler::{Rules, Settings};
use super::spec::GroupSpec;
use super::unit_test_file::{AlertTest, ExpectedSample, ExprTest, UnitTest, UnitTestFile};
use crate::limits;
use crate::model::{CounterResetHint, FloatHistogram, Labels};
use crate::promql::SampleValue;
use crate::series::{self, Store, View};
use crate::time::{Timestamp, format_duration, millis};
use crate::yaml::{Place, Problem, Severity, SourceFile, decode_text};

/// Finds the files that a pattern of `rule_files` names, seen from the test file.
pub type Loader<'a> = dyn Fn(&str) -> Result<Vec<Arc<SourceFile>>, String> + 'a;

/// How tests are run. The default: all of them, as promtool does.
#[derive(Clone, Copy, Default)]
pub struct UnitTestOptions<'a> {
    /// Which tests, by their names (a test without a name is `""`).
    pub select: Option<&'a dyn Fn(&str) -> bool>,
    /// Labels and annotations that are expected may be a part of those found.
    pub subset: bool,
}

/// What came of a file of unit tests.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong with the test file or the rule files; with an error no test ran.
    pub problems: Vec<Problem>,
    /// One for each test that ran.
    pub tests: Vec<TestReport>,
    /// Every rule of the rule files, and what the tests made of it.
    pub coverage: Vec<Covered>,
    /// The tests themselves and the rules: for what only an engine can check.
    pub(crate) suite: Option<Suite>,
}

/// A test file that was read, with its rules.
#[derive(Debug)]
pub(crate) struct Suite {
    pub file: UnitTestFile,
    /// In the order of their evaluation.
    pub groups: Vec<GroupSpec>,
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Its place in the file, from 0.
    pub number: usize,
    /// Its name, or its number from 1.
    pub name: String,
    pub failures: Vec<Failure>,
    /// Every series as it was at the end.
    pub data: View,
}

/// Something was not as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where the expectation stands.
    pub place: Place,
    /// What was asked and when; or, with nothing expected and found, what went wrong.
    pub what: String,
    /// One line each.
    pub expected: Vec<String>,
    pub found: Vec<String>,
}

impl Failure {
    /// That something could not be asked.
    pub fn plain(place: &Place, what: impl Into<String>) -> Failure {
        Failure { place: place.clone(), what: what.into(), expected: Vec::new(), found: Vec::new() }
    }

    /// What was expected and what was found, several lines.
    pub fn message(&self) -> String {
        if self.expected.is_empty() && self.found.is_empty() {
            return self.what.clone();
        }
        format!("{}\n  expected:{}\n  found:{}", self.what, list(&self.expected), list(&self.found))
    }
}

fn list(lines: &[String]) -> String {
    let text: String = lines.iter().map(|line| format!("\n    {line}")).collect();
    if text.is_empty() { " nothing".into() } else { text }
}

/// What the tests made of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    pub rule: RuleId,
    /// Some evaluation gave a result that was not empty.
    pub evaluated: bool,
    /// Of an alert: it fired.
    pub fired: bool,
    /// Some expectation names it.
    pub checked: bool,
}

impl Report {
    /// True when there was no error and nothing was other than expected.
    pub fn passed(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity != Severity::Error)
            && self.tests.iter().all(|test| test.failures.is_empty())
    }
}

/// Runs the tests of a file. Tests of switches and notifications are only read.
pub fn run_unit_tests(file: &Arc<SourceFile>, options: &UnitTestOptions<'_>, load: &Loader<'_>) -> Report {
    let (tests, mut problems) = decode_text::<UnitTestFile>(file);
    let Some(tests) = tests else { return Report { problems, ..Report::default() } };
    let groups = load_groups(&tests, load, &mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Report { problems, ..Report::default() };
    }
    let mut reports = Vec::new();
    let mut coverage = BTreeMap::new();
    for (number, test) in tests.tests.iter().enumerate() {
        if options.select.is_none_or(|select| select(test.name.as_deref().unwrap_or_default())) {
            let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
            let (failures, data) = run(&tests, test, &groups, options, &mut coverage);
            reports.push(TestReport { number, name, failures, data });
        }
    }
    let coverage = coverage.into_values().collect();
    Report { problems, tests: reports, coverage, suite: Some(Suite { file: tests, groups }) }
}

fn load_groups(tests: &UnitTestFile, load: &Loader<'_>, problems: &mut Vec<Problem>) -> Vec<GroupSpec> {
    let mut groups = Vec::new();
    for pattern in &tests.rule_files {
        match load(pattern) {
            Err(message) => problems.push(pattern.place.error(message, None)),
            Ok(files) if files.is_empty() => {
                let help = "the pattern is seen from the folder of the test file".to_owned();
                problems.push(pattern.place.warning(format!("no file is called `{}`", pattern.value), Some(help)));
            }
            Ok(files) => {
                for file in files {
                    let (read, mut found) = super::parse_file(&file);
                    problems.append(&mut found);
                    groups.extend(read.unwrap_or_default());
                }
            }
        }
    }
    let order = &tests.group_eval_order;
    groups.sort_by_key(|group| order.iter().position(|name| *name == group.name).unwrap_or(order.len()));
    groups
}

/// One test on its way.
struct Run<'a> {
    file: &'a UnitTestFile,
    test: &'a UnitTest,
    rules: Rules,
    store: Store,
    /// How many values of the input series are in the store.
    loaded: usize,
    subset: bool,
    failures: Vec<Failure>,
}

fn run(
    file: &UnitTestFile,
    test: &UnitTest,
    groups: &[GroupSpec],
    options: &UnitTestOptions<'_>,
    coverage: &mut BTreeMap<RuleId, Covered>,
) -> (Vec<Failure>, View) {
    let settings = Settings {
        groups: groups.to_vec(),
        evaluation_interval: file.evaluation_interval,
        external_labels: test.external_labels.clone(),
        external_url: test.external_url.clone(),
        ..Settings::default()
    };
    let forever = Duration::from_secs(1 << 40);
    let store = Store::new(series::Settings { retention: forever, ..series::Settings::default() });
    let rules = Rules::new(settings, test.start);
    let mut run = Run { file, test, rules, store, loaded: 0, subset: options.subset, failures: Vec::new() };
    if run.evaluate_all(coverage) {
        for expected in &test.expressions {
            run.check_expression(expected);
        }
    }
    (run.failures, run.store.view())
}

impl Run<'_> {
    /// Evaluates to the end, and checks alerts on the way. False when a rule failed.
    fn evaluate_all(&mut self, coverage: &mut BTreeMap<RuleId, Covered>) -> bool {
        let test = self.test;
        let times = test.alerts.iter().map(|alert| alert.eval_time);
        let end = times.chain(test.expressions.iter().map(|expr| expr.eval_time)).max().unwrap_or_default();
        let step = self.file.evaluation_interval;
        if end.as_millis() / step.as_millis().max(1) > limits::UNIT_TEST_STEPS {
            let message = format!("the test takes more than {} evaluations", limits::UNIT_TEST_STEPS);
            self.fail(&test.place, message);
            return false;
        }
        let mut alerts: Vec<&AlertTest> = test.alerts.iter().collect();
        alerts.sort_by_key(|alert| alert.eval_time);
        let mut alerts = alerts.into_iter().peekable();
        let mut elapsed = Duration::ZERO;
        while elapsed <= end {
            let now = test.start + elapsed;
            self.load_until(now);
            self.rules.evaluate_all(now, &mut self.store);
            self.cover(coverage);
            if self.rules_failed(elapsed) {
                return false;
            }
            while let Some(alert) = alerts.next_if(|alert| alert.eval_time < elapsed + step) {
                self.check_alert(alert);
            }
            elapsed += step;
        }
        true
    }

    fn fail(&mut self, place: &Place, message: String) {
        self.failures.push(Failure::plain(place, message));
    }

    fn cover(&self, coverage: &mut BTreeMap<RuleId, Covered>) {
        for rule in self.rules.groups().iter().flat_map(|group| &group.rules) {
            let covered = coverage.entry(rule.id.clone()).or_insert_with(|| Covered {
                rule: rule.id.clone(),
                evaluated: false,
                fired: false,
                checked: false,
            });
            covered.checked = covered.checked || self.test.checks(&rule.spec);
            match &rule.body {
                Body::Record(_) => covered.evaluated |= rule.outputs().next().is_some(),
                Body::Alert(alerts) => {
                    covered.evaluated |= !alerts.active.is_empty();
                    covered.fired |= alerts.active.values().any(|alert| alert.state == AlertState::Firing);
                }
                Body::Action(action) => {
                    let said = |part: &ActionPart| part.last.as_ref().is_some_and(|(c, _)| c.truth == Truth::True);
                    covered.evaluated |= action.parts.iter().any(said);
                }
            }
        }
    }

    fn load_until(&mut self, now: Timestamp) {
        let interval = self.test.interval.unwrap_or(self.file.evaluation_interval);
        let longest = self.test.input_series.iter().map(|series| series.values.len()).max().unwrap_or(0);
        while self.loaded < longest {
            let at = self.test.start.as_millis().saturating_add(millis(interval).saturating_mul(self.loaded as i64));
            let at = Timestamp::from_millis(at);
            if at > now {
                break;
            }
            for series in &self.test.input_series {
                match series.values.get(self.loaded).and_then(|noted| noted.value.as_ref()) {
                    None => {}
                    Some(SampleValue::Float(value)) => drop(self.store.append(&series.labels, at, *value)),
                    Some(SampleValue::Histogram(value)) => {
                        self.store.append_histogram(&series.labels, at, FloatHistogram::clone(value));
                    }
                }
            }
            self.loaded += 1;
        }
    }

    fn rules_failed(&mut self, elapsed: Duration) -> bool {
        let rules = self.rules.groups().iter().flat_map(|group| &group.rules);
        let failed = rules.filter_map(|rule| match &rule.health {
            Health::Failed(message) => Some((rule.id.name.clone(), message.to_string())),
            Health::Unknown | Health::Ok => None,
        });
        let failed: Vec<_> = failed.collect();
        for (name, message) in &failed {
            let message = format!("rule {name} failed at {}: {message}", format_duration(elapsed));
            self.fail(&self.test.place, message);
        }
        !failed.is_empty()
    }

    fn check_alert(&mut self, test: &AlertTest) {
        let mut expected: Vec<(Labels, BTreeMap<String, String>)> = Vec::new();
        for alert in &test.expected {
            let labels = Labels::from_pairs(&alert.labels).with("alertname", &test.alertname);
            expected.push((labels, alert.annotations.clone()));
        }
        let mut found: Vec<(Labels, BTreeMap<String, String>)> = Vec::new();
        for rule in self.rules.groups().iter().flat_map(|group| &group.rules) {
            if let Body::Alert(alerts) = &rule.body
                && *alerts.spec.alert == *test.alertname
            {
                let firing = alerts.active.values().filter(|alert| alert.state == AlertState::Firing);
                found.extend(firing.map(|alert| (alert.labels.clone(), alert.annotations.to_map())));
            }
        }
        expected.sort();
        found.sort();
        let same = match self.subset {
            true => pair_up(&expected, &found, &|expected, found| {
                is_part(expected.0.iter(), |name| found.0.get(name))
                    && is_part(expected.1.iter().map(|(n, v)| (n.as_str(), v.as_str())), |name| {
                        found.1.get(name).map(String::as_str)
                    })
            }),
            false => expected == found,
        };
        if !same {
            let show = |(labels, annotations): &(Labels, BTreeMap<String, String>)| format!("{labels} {annotations:?}");
            let what = format!("alert {} at {}", test.alertname, format_duration(test.eval_time));
            self.failures.push(difference(&test.place, what, expected.iter().map(show), found.iter().map(show)));
        }
    }

    fn check_expression(&mut self, test: &ExprTest) {
        let mut evaluator = PromQl::default();
        evaluator.configure(Settings::default().lookback, self.file.evaluation_interval);
        let asked = evaluator.instant(&self.store.view(), &test.expr.expr, self.test.start + test.eval_time);
        let what = format!("{} at {}", test.expr.text, format_duration(test.eval_time));
        let mut found = match asked {
            Ok(found) => found,
            Err(message) => return self.fail(&test.place, format!("{what}: {message}")),
        };
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut expected: Vec<&ExpectedSample> = test.expected.iter().collect();
        expected.sort_by(|a, b| a.labels.cmp(&b.labels));
        let same = |expected: &&ExpectedSample, found: &Reading| {
            let labels = match self.subset {
                true => is_part(expected.labels.iter(), |name| found.labels.get(name)),
                false => expected.labels == found.labels,
            };
            labels && self.same_value(expected, &found.value)
        };
        let all = match self.subset {
            true => pair_up(&expected, &found, &same),
            false => expected.len() == found.len() && expected.iter().zip(&found).all(|(e, f)| same(e, f)),
        };
        if !all {
            let expected = expected.iter().map(|sample| match &sample.histogram {
                Some(histogram) => format!("{} {histogram}", sample.labels),
                None => format!("{} {}", sample.labels, sample.value),
            });
            let found = found.iter().map(|reading| match &reading.value {
                SampleValue::Float(value) => format!("{} {value}", reading.labels),
                SampleValue::Histogram(histogram) => format!("{} {histogram}", reading.labels),
            });
            self.failures.push(difference(&test.place, what, expected, found));
        }
    }

    fn same_value(&self, expected: &ExpectedSample, found: &SampleValue) -> bool {
        match (&expected.histogram, found) {
            (None, SampleValue::Float(found)) => {
                let wanted = expected.value;
                wanted == *found
                    || (self.file.fuzzy_compare && (wanted.next_up() == *found || wanted.next_down() == *found))
            }
            (Some(expected), SampleValue::Histogram(found)) => plain(expected) == plain(found),
            _ => false,
        }
    }
}

/// A histogram without what does not count when two are compared.
fn plain(histogram: &FloatHistogram) -> FloatHistogram {
    let mut plain = FloatHistogram { hint: CounterResetHint::Unknown, ..histogram.clone() };
    plain.compact();
    plain
}

fn difference(
    place: &Place,
    what: String,
    expected: impl Iterator<Item = impl Display>,
    found: impl Iterator<Item = impl Display>,
) -> Failure {
    let lines = |items: &mut dyn Iterator<Item = String>| items.collect();
    let expected = lines(&mut expected.map(|item| item.to_string()));
    Failure { place: place.clone(), what, expected, found: lines(&mut found.map(|item| item.to_string())) }
}

/// Whether every pair is among those that `get` knows.
pub(crate) fn is_part<'a>(
    mut pairs: impl Iterator<Item = (&'a str, &'a str)>,
    get: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    pairs.all(|(name, value)| get(name) == Some(value))
}

/// Whether each of one list can have one of the other that fits it, and none is left over.
pub(crate) fn pair_up<A, B>(all: &[A], others: &[B], fits: &dyn Fn(&A, &B) -> bool) -> bool {
    if all.len() != others.len() {
        return false;
    }
    let mut taken: Vec<Option<usize>> = vec![None; others.len()];
    (0..all.len()).all(|at| {
        let mut seen = vec![false; others.len()];
        augment(at, &|a, b| fits(&all[a], &others[b]), &mut taken, &mut seen)
    })
}

/// Finds a partner, moving those who have one where that helps.
fn augment(at: usize, fits: &dyn Fn(usize, usize) -> bool, taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for other in 0..taken.len() {
        if seen[other] || !fits(at, other) {
            continue;
        }
        seen[other] = true;
        if taken[other].is_none_or(|holder| augment(holder, fits, taken, seen)) {
            taken[other] = Some(at);
            return true;
        }
    }
    false
}
