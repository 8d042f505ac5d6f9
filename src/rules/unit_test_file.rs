//! The file of a rule's unit tests: promtool's grammar (`docs/configuration/unit_testing_rules.md`), strict, and what
//! it has not: tests of switches and of notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use super::query::Query;
use super::spec::RuleSpec;
use crate::model::{FloatHistogram, Labels, Matcher, NAME};
use crate::promql::series_notation::{self, Noted};
use crate::promql::{Kind, SampleValue};
use crate::time::Timestamp;
use crate::yaml::{At, Decode, Fields, Place, Spanned};

/// A file of unit tests.
#[derive(Debug)]
pub(crate) struct UnitTestFile {
    pub rule_files: Vec<Spanned<String>>,
    pub evaluation_interval: Duration,
    pub group_eval_order: Vec<Spanned<String>>,
    pub fuzzy_compare: bool,
    /// A configuration's path, or its text: what tests of switches and notifications run under.
    pub brownout_config: Option<Spanned<String>>,
    pub tests: Vec<UnitTest>,
}

/// One test: data, and what is to come of it.
#[derive(Debug)]
pub(crate) struct UnitTest {
    pub place: Place,
    pub name: Option<String>,
    /// Between two values of the input series. `None`: the evaluation interval.
    pub interval: Option<Duration>,
    pub input_series: Vec<InputSeries>,
    pub alerts: Vec<AlertTest>,
    pub expressions: Vec<ExprTest>,
    pub switches: Vec<SwitchTest>,
    pub notifications: Vec<NotificationTest>,
    pub external_labels: Labels,
    pub external_url: String,
    pub start: Timestamp,
}

/// Values of one series, one an interval from the start.
#[derive(Debug)]
pub(crate) struct InputSeries {
    pub labels: Labels,
    pub values: Vec<Noted>,
}

/// The alerts that are to fire at a time.
#[derive(Debug)]
pub(crate) struct AlertTest {
    pub place: Place,
    pub eval_time: Duration,
    pub alertname: String,
    pub expected: Vec<ExpectedAlert>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct ExpectedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// What an expression is to give at a time.
#[derive(Debug)]
pub(crate) struct ExprTest {
    pub place: Place,
    pub expr: Query,
    pub eval_time: Duration,
    pub expected: Vec<ExpectedSample>,
}

/// One element.
#[derive(Debug)]
pub(crate) struct ExpectedSample {
    pub labels: Labels,
    pub value: f64,
    pub histogram: Option<FloatHistogram>,
}

/// What a switch, or a scale rule, is to have come to at a time.
#[derive(Debug)]
pub(crate) struct SwitchTest {
    pub place: Place,
    pub eval_time: Duration,
    pub expected: SwitchExpected,
}

/// Which, and what.
#[derive(Debug)]
pub(crate) enum SwitchExpected {
    Level { switch: String, level: String },
    Share { switch: String, share: f64 },
    Desired { scale: String, desired: f64 },
}

/// The messages that a receiver is to have got at a time, since the check of it before.
#[derive(Debug)]
pub(crate) struct NotificationTest {
    pub place: Place,
    pub eval_time: Duration,
    pub receiver: Spanned<String>,
    pub expected: Vec<ExpectedMessage>,
}

/// One of them: the labels of its alerts.
#[derive(Debug)]
pub(crate) struct ExpectedMessage {
    pub firing: Vec<BTreeMap<String, String>>,
    pub resolved: Vec<BTreeMap<String, String>>,
}

impl UnitTest {
    /// Whether some expectation names what a rule makes.
    pub fn checks(&self, rule: &RuleSpec) -> bool {
        let name = rule.name();
        match rule {
            RuleSpec::Record(_) => self.expressions.iter().any(|test| selects(&test.expr, NAME, name)),
            RuleSpec::Alert(_) => {
                self.alerts.iter().any(|test| test.alertname == name)
                    || self.expressions.iter().any(|test| selects(&test.expr, "alertname", name))
                    || self.notifications.iter().flat_map(|test| &test.expected).any(|message| {
                        let mut alerts = message.firing.iter().chain(&message.resolved);
                        alerts.any(|labels| labels.get("alertname").is_some_and(|alert| alert == name))
                    })
            }
            _ => self.switches.iter().any(|test| match &test.expected {
                SwitchExpected::Level { switch, .. } | SwitchExpected::Share { switch, .. } => switch == name,
                SwitchExpected::Desired { scale, .. } => scale == name,
            }),
        }
    }
}

/// Whether a selector of the expression asks for this value of a label.
fn selects(query: &Query, label: &str, value: &str) -> bool {
    let mut found = false;
    query.expr.walk(&mut |expr| {
        let matchers = match &expr.kind {
            Kind::Selector(selector) => &selector.matchers,
            Kind::Range(range) => &range.selector.matchers,
            _ => return,
        };
        let asks = |matcher: &Matcher| matcher.listed_values().is_some_and(|values| values.iter().any(|v| v == value));
        found |= matchers.iter().any(|matcher| matcher.name == label && asks(matcher));
    });
    found
}

impl Decode for UnitTestFile {
    fn decode(at: &mut At<'_>) -> Option<UnitTestFile> {
        let mut fields = at.record("a rule test file", "Unit tests of rules, as promtool has them.")?;
        let rule_files = fields.or("rule_files", "[]", "the files under test; patterns, relative to this file");
        let evaluation_interval: Duration =
            fields.or("evaluation_interval", "1m", "how often all groups are evaluated, whatever their own interval");
        let group_eval_order: Vec<Spanned<String>> = fields.or(
            "group_eval_order",
            "[]",
            "groups to evaluate first, in this order; default: the order of the files",
        );
        let fuzzy_compare = fields.or("fuzzy_compare", "false", "let values differ in their last bit");
        let brownout_config = fields.optional(
            "brownout_config",
            "for tests of switches and notifications: a configuration's path, relative to this file, or its text as a block",
        );
        let tests = fields.or("tests", "[]", "the tests");
        for (number, name) in group_eval_order.iter().enumerate() {
            if group_eval_order[..number].contains(name) {
                fields.push(name.place.error(format!("group `{}` is there twice", name.value), None));
            }
        }
        if evaluation_interval.is_zero() {
            fields.problem(
                "evaluation_interval",
                "an evaluation interval cannot be zero",
                Some("leave it out for 1m".into()),
            );
        }
        fields.finish();
        Some(UnitTestFile { rule_files, evaluation_interval, group_eval_order, fuzzy_compare, brownout_config, tests })
    }
}

impl Decode for UnitTest {
    fn decode(at: &mut At<'_>) -> Option<UnitTest> {
        let place = at.place();
        let mut fields = at.record("a rule test", "Data, and what the rules are to make of it.")?;
        let name = fields.optional("name", "for messages");
        let interval: Option<Duration> =
            fields.optional("interval", "between two values of the input series; default: evaluation_interval");
        let input_series = fields.or("input_series", "[]", "the data");
        let alerts = fields.or("alert_rule_test", "[]", "which alerts fire when");
        let expressions = fields.or("promql_expr_test", "[]", "what expressions give when");
        let switches = fields.or("switch_test", "[]", "what switches have come to when");
        let notifications = fields.or("notification_test", "[]", "which messages receivers have got when");
        let external_labels: BTreeMap<String, String> = fields.or("external_labels", "{}", "for templates");
        let external_url = fields.or("external_url", "''", "for templates");
        let start: Start =
            fields.or("start_timestamp", "0", "the time of the first value: RFC 3339 or seconds since 1970");
        fields.finish();
        Some(UnitTest {
            place,
            name,
            interval: interval.filter(|interval| !interval.is_zero()),
            input_series,
            alerts,
            expressions,
            switches,
            notifications,
            external_labels: Labels::from_pairs(external_labels),
            external_url,
            start: start.0,
        })
    }
}

struct Start(Timestamp);

impl Decode for Start {
    fn decode(at: &mut At<'_>) -> Option<Start> {
        at.scalar("a time", |text| {
            let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
            let time = seconds.map(Timestamp::from_secs_f64).or_else(|| Timestamp::from_rfc3339(text));
            time.map(Start).ok_or_else(|| format!("expected RFC 3339 or seconds since 1970, found `{text}`"))
        })
    }
}

impl Decode for InputSeries {
    fn decode(at: &mut At<'_>) -> Option<InputSeries> {
        let mut fields = at.record("an input series", "One series with its values.")?;
        let series: Option<Spanned<String>> = fields.required("series", "its name, for example up{job=\"a\"}");
        let values: Option<Spanned<String>> =
            fields.required("values", "its values, for example 1 2 0+1x10 _ stale: one an interval");
        let labels = series.and_then(|text| whole_metric(&text, &mut fields));
        let values = values.and_then(|text| match series_notation::values(&text) {
            Ok(values) => Some(values),
            Err(error) => {
                fields.push(text.place.error(error.to_string(), None));
                None
            }
        });
        fields.finish();
        Some(InputSeries { labels: labels?, values: values? })
    }
}

/// A metric with nothing behind it.
fn whole_metric(text: &Spanned<String>, fields: &mut Fields<'_>) -> Option<Labels> {
    let read = match series_notation::metric(text) {
        Ok((labels, rest)) if rest.trim().is_empty() => Ok(labels),
        Ok((_, rest)) => Err(format!("unexpected {:?} after the series", rest.trim())),
        Err(error) => Err(error.to_string()),
    };
    read.map_err(|message| fields.push(text.place.error(message, Some("write it as name{label=\"value\"}".into()))))
        .ok()
}

impl Decode for AlertTest {
    fn decode(at: &mut At<'_>) -> Option<AlertTest> {
        let place = at.place();
        let mut fields = at.record("an alert test", "Which alerts of one name fire at a time.")?;
        let eval_time = fields.or("eval_time", "0s", "the time, from the start");
        let alertname = fields.required("alertname", "the name of the alert");
        let expected = fields.or("exp_alerts", "[]", "all alerts that fire; an empty list: none does");
        fields.finish();
        Some(AlertTest { place, eval_time, alertname: alertname?, expected })
    }
}

impl Decode for ExpectedAlert {
    fn decode(at: &mut At<'_>) -> Option<ExpectedAlert> {
        let mut fields = at.record("an expected alert", "All labels and annotations of one alert.")?;
        let labels = fields.or("exp_labels", "{}", "its labels; alertname can be left out");
        let annotations = fields.or("exp_annotations", "{}", "its annotations");
        fields.finish();
        Some(ExpectedAlert { labels, annotations })
    }
}

impl Decode for SwitchTest {
    fn decode(at: &mut At<'_>) -> Option<SwitchTest> {
        let place = at.place();
        let mut fields = at.record("a switch test", "What a switch, or a scale rule, has come to at a time.")?;
        let eval_time = fields.or("eval_time", "0s", "the time, from the start");
        let switch: Option<String> = fields.optional("switch", "the switch's name");
        let level: Option<String> = fields.optional("level", "the level that applications read");
        let share: Option<f64> = fields.optional("share", "of a dimmer or a rollout: the share, 0 to 1");
        let scale: Option<String> = fields.optional("scale", "instead of a switch: what a scale rule scales");
        let desired: Option<f64> = fields.optional("desired", "of a scale rule: the number asked for");
        let expected = match (switch, level, share, scale, desired) {
            (Some(switch), Some(level), None, None, None) => Some(SwitchExpected::Level { switch, level }),
            (Some(switch), None, Some(share), None, None) => Some(SwitchExpected::Share { switch, share }),
            (None, None, None, Some(scale), Some(desired)) => Some(SwitchExpected::Desired { scale, desired }),
            _ => None,
        };
        if expected.is_none() {
            let help = "write {switch: ..., level: ...}, {switch: ..., share: ...} or {scale: ..., desired: ...}";
            fields.push(place.error("it is not clear what is expected of what", Some(help.into())));
        }
        fields.finish();
        Some(SwitchTest { place, eval_time, expected: expected? })
    }
}

impl Decode for NotificationTest {
    fn decode(at: &mut At<'_>) -> Option<NotificationTest> {
        let place = at.place();
        let mut fields =
            at.record("a notification test", "Which messages a receiver got, since the check of it before.")?;
        let eval_time = fields.or("eval_time", "0s", "the time, from the start");
        let receiver = fields.required("receiver", "the receiver's name in the configuration");
        let expected = fields.or("exp_messages", "[]", "all messages, in their order; an empty list: there was none");
        fields.finish();
        Some(NotificationTest { place, eval_time, receiver: receiver?, expected })
    }
}

impl Decode for ExpectedMessage {
    fn decode(at: &mut At<'_>) -> Option<ExpectedMessage> {
        let mut fields = at.record("an expected message", "All alerts of one message by their labels.")?;
        let firing = fields.or("firing", "[]", "the labels of each alert that fires");
        let resolved = fields.or("resolved", "[]", "the labels of each alert that is resolved");
        fields.finish();
        Some(ExpectedMessage { firing, resolved })
    }
}

impl Decode for ExprTest {
    fn decode(at: &mut At<'_>) -> Option<ExprTest> {
        let place = at.place();
        let mut fields = at.record("an expression test", "What an expression gives at a time.")?;
        let expr = fields.required("expr", "PromQL");
        let eval_time = fields.or("eval_time", "0s", "the time, from the start");
        let expected = fields.or("exp_samples", "[]", "all elements of the result");
        fields.finish();
        Some(ExprTest { place, expr: expr?, eval_time, expected })
    }
}

impl Decode for ExpectedSample {
    fn decode(at: &mut At<'_>) -> Option<ExpectedSample> {
        let mut fields = at.record("an expected sample", "One element of a result.")?;
        let labels: Option<Spanned<String>> = fields.optional("labels", "its labels, for example up{job=\"a\"}");
        let value = fields.or("value", "0", "its value");
        let histogram: Option<Spanned<String>> =
            fields.optional("histogram", "instead of a value: a native histogram, for example {{sum:3 count:2}}");
        let labels = match labels {
            None => Some(Labels::empty()),
            Some(text) => whole_metric(&text, &mut fields),
        };
        let histogram = match histogram {
            None => Some(None),
            Some(text) => read_histogram(&text, &mut fields).map(Some),
        };
        fields.finish();
        Some(ExpectedSample { labels: labels?, value, histogram: histogram? })
    }
}

fn read_histogram(text: &Spanned<String>, fields: &mut Fields<'_>) -> Option<FloatHistogram> {
    let read = match series_notation::values(text).as_deref() {
        Ok([Noted { value: Some(SampleValue::Histogram(histogram)), .. }]) => Ok(histogram.as_ref().clone()),
        Ok(_) => Err("expected one histogram".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    read.map_err(|message| fields.push(text.place.error(message, Some("write it as {{sum:3 count:2}}".into())))).ok()
}
