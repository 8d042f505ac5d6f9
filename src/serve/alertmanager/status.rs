//! `/status` and `/receivers`, and the configuration as Alertmanager would write it.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, json_text, read};
use super::params::{Params, passes};
use crate::alerts::{GroupBy, Route, Settings, TimeEntry};
use crate::model::Matcher;
use crate::serve::Shared;
use crate::time::format_duration;

/// The version of Alertmanager whose API this is: clients look at it to learn what they can rely on.
const VERSION: &str = "0.28.0";

/// `GET /status`.
pub(super) async fn status(State(shared): State<Shared>) -> Answer {
    let uptime = shared.about.borrow().started.to_rfc3339();
    read(&shared, move |alerts, _| {
        json_text(&json!({
            "cluster": { "name": "", "peers": [], "status": "disabled" },
            "config": { "original": original(alerts.settings()) },
            "uptime": uptime,
            "versionInfo": {
                "branch": "brownout",
                "buildDate": "",
                "buildUser": "",
                "goVersion": "",
                "revision": env!("CARGO_PKG_VERSION"),
                "version": VERSION,
            },
        }))
    })
    .await
}

/// `GET /receivers`.
pub(super) async fn receivers(State(shared): State<Shared>, params: Params) -> Answer {
    // Receivers have no labels here.
    let wanted = passes(&params.matchers("receiver_matchers")?, |_| None);
    read(&shared, move |alerts, _| {
        let names = alerts.receivers().iter().filter(|_| wanted);
        json_text(&names.map(|receiver| json!({ "name": receiver.name })).collect::<Vec<_>>())
    })
    .await
}

#[derive(Serialize)]
struct Config<'a> {
    route: RouteText<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inhibit_rules: Vec<InhibitText<'a>>,
    receivers: Vec<NameText<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    time_intervals: Vec<IntervalText<'a>>,
}

#[derive(Serialize)]
struct NameText<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct RouteText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_by: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matchers: Vec<String>,
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    go_on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_wait: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_interval: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    mute_time_intervals: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    active_time_intervals: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteText<'a>>,
}

#[derive(Serialize)]
struct InhibitText<'a> {
    source_matchers: Vec<String>,
    target_matchers: Vec<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    equal: &'a [String],
}

#[derive(Serialize)]
struct IntervalText<'a> {
    name: &'a str,
    time_intervals: Vec<EntryText>,
}

#[derive(Serialize)]
struct EntryText {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    times: Vec<TimesText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weekdays: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    days_of_month: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    months: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    years: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

#[derive(Serialize)]
struct TimesText {
    start_time: String,
    end_time: String,
}

/// The configuration in Alertmanager's own grammar, without what is ours alone and without the receivers' integrations:
/// what amtool needs to test routes.
pub(super) fn original(settings: &Settings) -> String {
    let config = Config {
        route: route(&settings.route),
        inhibit_rules: settings
            .inhibit_rules
            .iter()
            .map(|rule| InhibitText {
                source_matchers: matchers(&rule.source_matchers),
                target_matchers: matchers(&rule.target_matchers),
                equal: &rule.equal,
            })
            .collect(),
        receivers: settings.receivers.iter().map(|receiver| NameText { name: &receiver.name }).collect(),
        time_intervals: settings
            .time_intervals
            .iter()
            .map(|interval| IntervalText {
                name: &interval.name,
                time_intervals: interval.entries.iter().map(entry).collect(),
            })
            .collect(),
    };
    // JSON is YAML, and its quoting is never in doubt.
    serde_json::to_string_pretty(&config).map(|text| text + "\n").unwrap_or_default()
}

fn matchers(list: &[Matcher]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn route(node: &Route) -> RouteText<'_> {
    RouteText {
        receiver: node.receiver.as_deref(),
        group_by: node.group_by.as_ref().map(|by| match by {
            GroupBy::All => vec!["..."],
            GroupBy::Labels(names) => names.iter().map(String::as_str).collect(),
        }),
        matchers: matchers(&node.matchers),
        go_on: node.go_on,
        group_wait: node.group_wait.map(format_duration),
        group_interval: node.group_interval.map(format_duration),
        repeat_interval: node.repeat_interval.map(format_duration),
        mute_time_intervals: &node.mute_time_intervals,
        active_time_intervals: &node.active_time_intervals,
        routes: node.routes.iter().map(route).collect(),
    }
}

fn entry(entry: &TimeEntry) -> EntryText {
    let ranges = |list: &[std::ops::RangeInclusive<i32>]| {
        list.iter().map(|range| format!("{}:{}", range.start(), range.end())).collect::<Vec<_>>()
    };
    let weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    let day = |at: i32| usize::try_from(at).ok().and_then(|at| weekdays.get(at)).copied().unwrap_or("sunday");
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    EntryText {
        times: entry
            .times
            .iter()
            .map(|range| TimesText { start_time: clock(range.start_minute), end_time: clock(range.end_minute) })
            .collect(),
        weekdays: entry.weekdays.iter().map(|range| format!("{}:{}", day(*range.start()), day(*range.end()))).collect(),
        days_of_month: ranges(&entry.days_of_month),
        months: ranges(&entry.months),
        years: ranges(&entry.years),
        location: entry.location.as_ref().map(|location| location.name.clone()),
    }
}
