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

use super::evaluate::{Evaluate, Reading};
use super::outcome::AlertState;
use super::promql_evaluate::PromQl;
use super::rule::{Body, Health};
use super::ruler::{Rules, Settings};
use super::spec::GroupSpec;
use super::unit_test_file::{AlertTest, ExpectedSample, ExprTest, UnitTest, UnitTestFile};
use crate::limits;
use crate::model::{CounterResetHint, FloatHistogram, Labels};
use crate::promql::SampleValue;
use crate::series::{self, Store};
use crate::time::{Timestamp, format_duration, millis};
use crate::yaml::{Place, Problem, Severity, SourceFile, decode_text};

/// Finds the files that a pattern of `rule_files` names, seen from the test file.
pub type Loader<'a> = dyn Fn(&str) -> Result<Vec<Arc<SourceFile>>, String> + 'a;

/// What came of a file of unit tests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong with the test file or the rule files; with an error no test ran.
    pub problems: Vec<Problem>,
    /// One for each test that ran.
    pub tests: Vec<TestReport>,
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Its name, or its number from 1.
    pub name: String,
    pub failures: Vec<Failure>,
}

/// Something was not as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where the expectation stands.
    pub place: Place,
    /// What was expected and what was found, several lines.
    pub message: String,
}

impl Report {
    /// True when there was no error and nothing was other than expected.
    pub fn passed(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity != Severity::Error)
            && self.tests.iter().all(|test| test.failures.is_empty())
    }
}

/// Runs the tests of a file whose name `select` accepts (a test without a name is `""`).
pub fn run_unit_tests(file: &Arc<SourceFile>, select: &dyn Fn(&str) -> bool, load: &Loader<'_>) -> Report {
    let (tests, mut problems) = decode_text::<UnitTestFile>(file);
    let Some(tests) = tests else { return Report { problems, tests: Vec::new() } };
    let groups = load_groups(&tests, load, &mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Report { problems, tests: Vec::new() };
    }
    let mut reports = Vec::new();
    for (number, test) in tests.tests.iter().enumerate() {
        if select(test.name.as_deref().unwrap_or_default()) {
            let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
            reports.push(TestReport { name, failures: run(&tests, test, &groups) });
        }
    }
    Report { problems, tests: reports }
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
    failures: Vec<Failure>,
}

fn run(file: &UnitTestFile, test: &UnitTest, groups: &[GroupSpec]) -> Vec<Failure> {
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
    let mut run = Run { file, test, rules, store, loaded: 0, failures: Vec::new() };
    if run.evaluate_all() {
        for expected in &test.expressions {
            run.check_expression(expected);
        }
    }
    run.failures
}

impl Run<'_> {
    /// Evaluates to the end, and checks alerts on the way. False when a rule failed.
    fn evaluate_all(&mut self) -> bool {
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
        self.failures.push(Failure { place: place.clone(), message });
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
            Health::Failed(message) => Some((rule.id.name.clone(), message.clone())),
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
                && *alerts.name == *test.alertname
            {
                let firing = alerts.active.values().filter(|alert| alert.state == AlertState::Firing);
                found.extend(firing.map(|alert| (alert.labels.clone(), alert.annotations.clone())));
            }
        }
        expected.sort();
        found.sort();
        if expected != found {
            let show = |(labels, annotations): &(Labels, BTreeMap<String, String>)| format!("{labels} {annotations:?}");
            let what = format!("alert {} at {}", test.alertname, format_duration(test.eval_time));
            self.fail(&test.place, difference(&what, expected.iter().map(show), found.iter().map(show)));
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
        let same = |(expected, found): (&&ExpectedSample, &Reading)| {
            expected.labels == found.labels && self.same_value(expected, &found.value)
        };
        if expected.len() != found.len() || !expected.iter().zip(&found).all(same) {
            let expected = expected.iter().map(|sample| match &sample.histogram {
                Some(histogram) => format!("{} {histogram}", sample.labels),
                None => format!("{} {}", sample.labels, sample.value),
            });
            let found = found.iter().map(|reading| match &reading.value {
                SampleValue::Float(value) => format!("{} {value}", reading.labels),
                SampleValue::Histogram(histogram) => format!("{} {histogram}", reading.labels),
            });
            let message = difference(&what, expected, found);
            self.fail(&test.place, message);
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
    what: &str,
    expected: impl Iterator<Item = impl Display>,
    found: impl Iterator<Item = impl Display>,
) -> String {
    format!("{what}\n  expected:{}\n  found:{}", list(expected), list(found))
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    let lines: String = items.map(|item| format!("\n    {item}")).collect();
    if lines.is_empty() { " nothing".into() } else { lines }
}
