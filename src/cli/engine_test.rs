//! Unit tests of switches and of notifications: the whole engine over a test's data, in simulated time.
//!
//! All groups are evaluated every `evaluation_interval`, at its multiples, as in the other tests of the same file. Switches,
//! routes and receivers are those of `brownout_config`; the rules are those of the test's `rule_files`, or the
//! configuration's own when it names none. What a rule only observes changes no switch, as in life.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::happened::alert_name;
use super::simulation::{Happening, Simulation};
use crate::alerts::{AlertStatus, Notification};
use crate::config::{Checked, Files, load};
use crate::limits;
use crate::model::{Batch, Completeness, Labels, Source};
use crate::promql::SampleValue;
use crate::rules::{
    ExpectedMessage, Failure, NotificationTest, RuleSpec, Suite, SwitchExpected, SwitchTest, UnitTest, is_part, pair_up,
};
use crate::run::{DiskFiles, engine_settings};
use crate::switches::{Mode, SwitchValue};
use crate::time::{format_duration, millis};
use crate::yaml::{Problem, Severity, Spanned, nearest};

/// Whether a test has anything that only an engine can check.
pub(super) fn has_checks(test: &UnitTest) -> bool {
    !test.switches.is_empty() || !test.notifications.is_empty()
}

/// The configuration of a test file.
///
/// # Errors
/// What is wrong with it, or with the rules under it.
pub(super) fn configuration(suite: &Suite, path: &Path) -> Result<Box<Checked>, Vec<Problem>> {
    let needing = suite.file.tests.iter().find(|test| has_checks(test));
    let Some(given) = &suite.file.brownout_config else {
        let help = "name a configuration with the switches, routes and receivers, or write it here as a block";
        let place = needing.map(|test| test.place.clone());
        let missing = |place: crate::yaml::Place| {
            place.error("tests of switches and notifications need `brownout_config`", Some(help.into()))
        };
        return Err(place.map(missing).into_iter().collect());
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let overlay = Overlay::of(given, folder, path);
    let loaded = load(Some(&overlay.main), &overlay);
    let Some(mut checked) = loaded.checked else { return Err(loaded.problems) };
    if !suite.file.rule_files.is_empty() {
        checked.groups.clone_from(&suite.groups);
    }
    let problems = undeclared(&checked);
    if problems.is_empty() { Ok(checked) } else { Err(problems) }
}

/// The disk, and on it the configuration that stands in the test file.
struct Overlay {
    main: PathBuf,
    text: Option<String>,
}

impl Overlay {
    fn of(given: &Spanned<String>, folder: &Path, test_file: &Path) -> Overlay {
        let inline = given.value.contains('\n') || given.value.trim_start().starts_with('{');
        match inline {
            true => Overlay {
                main: folder.join(format!("{} (brownout_config)", test_file.file_name().unwrap_or_default().display())),
                text: Some(given.value.clone()),
            },
            false => Overlay { main: folder.join(&given.value), text: None },
        }
    }
}

impl Files for Overlay {
    fn read(&self, path: &Path) -> Result<String, String> {
        match &self.text {
            Some(text) if path == self.main => Ok(text.clone()),
            _ => DiskFiles.read(path),
        }
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        DiskFiles.glob(pattern)
    }

    fn env(&self, name: &str) -> Option<String> {
        DiskFiles.env(name)
    }
}

/// Action rules that name switches or levels which the configuration has not: the engine would leave them out.
fn undeclared(checked: &Checked) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in checked.groups.iter().flat_map(|group| &group.rules) {
        let RuleSpec::Degrade(rule) = rule else { continue };
        let Some(switch) = checked.switches.get(&rule.switch.value) else {
            let names: Vec<&str> = checked.switches.keys().map(|name| name.as_str()).collect();
            let help = nearest(rule.switch.value.as_str(), names).map(|name| format!("did you mean `{name}`?"));
            let help = help.unwrap_or_else(|| "declare it in `switches` of `brownout_config`".into());
            let message = format!("there is no switch `{}` in brownout_config", rule.switch.value);
            problems.push(rule.switch.place.error(message, Some(help)));
            continue;
        };
        for level in rule.levels.iter().filter(|level| !switch.levels.contains(&level.level.value)) {
            let message = format!("the switch `{}` has no level `{}`", rule.switch.value, level.level.value);
            let help = format!("its levels: {}", switch.levels.join(", "));
            problems.push(level.level.place.error(message, Some(help)));
        }
    }
    problems.retain(|problem| problem.severity == Severity::Error);
    problems
}

/// What is asked at a time.
enum Check<'a> {
    Switch(&'a SwitchTest),
    Notification(&'a NotificationTest),
}

impl Check<'_> {
    fn time(&self) -> Duration {
        match self {
            Check::Switch(test) => test.eval_time,
            Check::Notification(test) => test.eval_time,
        }
    }
}

/// Runs one test.
pub(super) fn run(suite: &Suite, test: &UnitTest, checked: &Checked, subset: bool) -> Vec<Failure> {
    let step = suite.file.evaluation_interval;
    let mut settings = engine_settings(checked);
    settings.series.retention = Duration::from_secs(1 << 40);
    settings.rules.aligned = true;
    settings.rules.evaluation_interval = step;
    settings.rules.groups.iter_mut().for_each(|group| group.interval = Some(step));
    if !test.external_labels.is_empty() {
        settings.rules.external_labels = test.external_labels.clone();
    }
    let mut checks: Vec<Check<'_>> = test.switches.iter().map(Check::Switch).collect();
    checks.extend(test.notifications.iter().map(Check::Notification));
    checks.sort_by_key(Check::time);
    let end = checks.last().map(Check::time).unwrap_or_default();
    if end.as_millis() / step.as_millis().max(1) > limits::UNIT_TEST_STEPS {
        let message = format!("the test takes more than {} evaluations", limits::UNIT_TEST_STEPS);
        return vec![Failure::plain(&test.place, message)];
    }
    let mut running = Running {
        simulation: Simulation::start(test.start - Duration::from_millis(1), settings),
        test,
        interval: test.interval.unwrap_or(step),
        fed: 0,
        sent: Vec::new(),
        failures: Vec::new(),
        subset,
    };
    for check in checks {
        running.go_on(check.time());
        match check {
            Check::Switch(test) => running.check_switch(test),
            Check::Notification(test) => running.check_messages(test),
        }
    }
    running.failures
}

struct Running<'a> {
    simulation: Simulation,
    test: &'a UnitTest,
    interval: Duration,
    /// How many values of the input series were taken.
    fed: usize,
    /// Messages that no check has looked at yet.
    sent: Vec<Notification>,
    failures: Vec<Failure>,
    subset: bool,
}

impl Running<'_> {
    fn go_on(&mut self, elapsed: Duration) {
        let until = self.test.start + elapsed;
        let longest = self.test.input_series.iter().map(|series| series.values.len()).max().unwrap_or(0);
        while self.fed < longest {
            let at = self.test.start.as_millis().saturating_add(millis(self.interval).saturating_mul(self.fed as i64));
            let at = crate::time::Timestamp::from_millis(at);
            if at > until {
                break;
            }
            let mut timed = Vec::new();
            for series in &self.test.input_series {
                match series.values.get(self.fed).and_then(|noted| noted.value.as_ref()) {
                    Some(SampleValue::Float(value)) => timed.push((series.labels.clone(), at, *value)),
                    Some(SampleValue::Histogram(_)) if self.fed == 0 => self.failures.push(Failure::plain(
                        &self.test.place,
                        format!("{}: native histograms cannot be fed to switches and notifications", series.labels),
                    )),
                    Some(SampleValue::Histogram(_)) | None => {}
                }
            }
            self.fed += 1;
            self.simulation.feed(batch(at, timed));
        }
        self.simulation.run_until(until);
        let sent = self.simulation.take().into_iter().filter_map(|happened| match happened.what {
            Happening::Sent(sent) => Some(*sent),
            _ => None,
        });
        self.sent.extend(sent);
    }

    fn check_switch(&mut self, check: &SwitchTest) {
        let at = format_duration(check.eval_time);
        let (what, expected, found) = match &check.expected {
            SwitchExpected::Level { switch, level } => {
                (format!("switch {switch} at {at}"), level.clone(), self.level(switch, level))
            }
            SwitchExpected::Share { switch, share } => {
                let found = self.share(switch);
                let near = found.as_ref().is_ok_and(|found| (found - share).abs() <= 1e-9);
                let found = found.map(|found| if near { share.to_string() } else { found.to_string() });
                (format!("the share of switch {switch} at {at}"), share.to_string(), found)
            }
            SwitchExpected::Desired { scale, desired } => {
                (format!("what is asked for {scale} at {at}"), desired.to_string(), self.desired(scale))
            }
        };
        match found {
            Ok(found) if found == expected => {}
            Ok(found) => {
                let (expected, found) = (vec![expected], vec![found]);
                self.failures.push(Failure { place: check.place.clone(), what, expected, found });
            }
            Err(message) => self.failures.push(Failure::plain(&check.place, format!("{what}: {message}"))),
        }
    }

    fn level(&self, switch: &str, expected: &str) -> Result<String, String> {
        let switches = self.simulation.engine().switches();
        let known = switches.declarations().find(|declared| declared.name.as_str() == switch);
        let Some(declared) = known else {
            let names: Vec<&str> = switches.declarations().map(|declared| declared.name.as_str()).collect();
            return Err(format!("there is no such switch in brownout_config; there is: {}", names.join(", ")));
        };
        if declared.depth(expected).is_none() {
            return Err(format!("it has no level {expected}; its levels: {}", declared.ladder.join(", ")));
        }
        let record = switches.records().find(|(name, _)| name.as_str() == switch);
        let found = declared.value(record.map(|(_, record)| record)).text();
        let observed = switches.ladders().find(|(rule, ladder)| {
            let wish = declared.ladder.get(ladder.memory().depth);
            rule.switch.as_str() == switch && rule.mode == Mode::Observe && wish.is_some_and(|wish| wish == expected)
        });
        match observed {
            Some((rule, _)) if found != expected => Ok(format!(
                "{found} (the rule {} asks for {expected} but only observes: `actions: {{mode: enforce}}` lets it act)",
                rule.title
            )),
            _ => Ok(found),
        }
    }

    fn share(&self, switch: &str) -> Result<f64, String> {
        let switches = self.simulation.engine().switches();
        let declared = switches.declarations().find(|declared| declared.name.as_str() == switch);
        let declared = declared.ok_or("there is no such switch in brownout_config")?;
        let record = switches.records().find(|(name, _)| name.as_str() == switch);
        match declared.value(record.map(|(_, record)| record)) {
            SwitchValue::Dimmer { share, .. } | SwitchValue::Rollout { share, .. } => Ok(share),
            SwitchValue::Feature { .. } | SwitchValue::Limit { .. } => Err("this switch has no share".to_owned()),
        }
    }

    fn desired(&self, scale: &str) -> Result<String, String> {
        let rule = self.simulation.engine().switches().scales().find(|rule| rule.settings().target == scale);
        let rule = rule.ok_or("there is no such scale rule")?;
        Ok((rule.memory().desired.unwrap_or(rule.settings().min) as f64).to_string())
    }

    fn check_messages(&mut self, check: &NotificationTest) {
        let receiver = &check.receiver.value;
        let (mine, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sent).into_iter().partition(|sent| sent.receiver == *receiver);
        self.sent = rest;
        // A receiver with several integrations gets each message as often.
        let first = mine.first().map(|sent| sent.integration.clone());
        let found: Vec<Notification> =
            mine.into_iter().filter(|sent| Some(&sent.integration) == first.as_ref()).collect();
        let same = found.len() == check.expected.len()
            && found.iter().zip(&check.expected).all(|(found, expected)| self.same_message(expected, found));
        if !same {
            let what = format!("messages to {receiver} at {}", format_duration(check.eval_time));
            let expected = check.expected.iter().map(expected_line).collect();
            let found = found.iter().map(|sent| found_line(sent, self.test.start)).collect();
            self.failures.push(Failure { place: check.place.clone(), what, expected, found });
        }
    }

    fn same_message(&self, expected: &ExpectedMessage, found: &Notification) -> bool {
        let of = |status: AlertStatus| -> Vec<&BTreeMap<String, String>> {
            found.alerts.iter().filter(|alert| alert.status == status).map(|alert| &alert.labels).collect()
        };
        let fits = |expected: &BTreeMap<String, String>, found: &&BTreeMap<String, String>| match self.subset {
            true => is_part(expected.iter().map(|(n, v)| (n.as_str(), v.as_str())), |name| {
                found.get(name).map(String::as_str)
            }),
            false => expected == *found,
        };
        pair_up(&expected.firing, &of(AlertStatus::Firing), &fits)
            && pair_up(&expected.resolved, &of(AlertStatus::Resolved), &fits)
    }
}

fn batch(at: crate::time::Timestamp, timed: Vec<(Labels, crate::time::Timestamp, f64)>) -> Batch {
    Batch {
        source: Source::new("test", "input_series"),
        at,
        samples: Vec::new(),
        timed,
        completeness: Completeness::Partial,
        meta: Vec::new(),
        urgent: false,
    }
}

fn names<'a>(alerts: impl Iterator<Item = &'a BTreeMap<String, String>>) -> String {
    let mut names: Vec<String> = alerts.map(|labels| alert_name(&Labels::from_pairs(labels))).collect();
    names.sort();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn expected_line(message: &ExpectedMessage) -> String {
    format!("firing: {}; resolved: {}", names(message.firing.iter()), names(message.resolved.iter()))
}

fn found_line(sent: &Notification, start: crate::time::Timestamp) -> String {
    let of = |status| names(sent.alerts.iter().filter(|alert| alert.status == status).map(|alert| &alert.labels));
    let at = format_duration(sent.created_at.since(start));
    format!("firing: {}; resolved: {}  (sent at {at})", of(AlertStatus::Firing), of(AlertStatus::Resolved))
}
