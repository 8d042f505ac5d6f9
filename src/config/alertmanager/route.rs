//! Alertmanager's `route`, `inhibit_rules` and named time intervals.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::alerts::{
    Location, TimeEntry, TimeRange, parse_days_of_month, parse_matchers, parse_months, parse_times, parse_weekdays,
    parse_years,
};
use crate::config::values::{Entries, LabelPairs, refuse};
use crate::model::{MatchOp, Matcher, is_label_name};
use crate::yaml::{At, Decode, Fields, Place, Problem, Spanned};

/// Matchers in any of their three spellings: all of them must match.
#[derive(Clone, Debug, Default)]
pub struct Matchers(pub Vec<Matcher>);

impl Matchers {
    fn read(fields: &mut Fields<'_>, keys: [&'static str; 3]) -> Matchers {
        let texts: Vec<Spanned<String>> =
            fields.or(keys[0], "[]", "for example `severity=\"page\"` or `job=~\"a|b\"`; all must match");
        let equal: LabelPairs = fields.or(keys[1], "{}", "older spelling: labels and their values");
        let regex: Entries<Spanned<String>> =
            fields.or(keys[2], "{}", "older spelling: labels and expressions, anchored");
        let mut all: Vec<Matcher> = equal.0.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        for text in &texts {
            match parse_matchers(&text.value) {
                Ok(found) => all.extend(found),
                Err(error) => fields.push(text.place.within(&text.value, error.range).error(error.message, None)),
            }
        }
        for (name, pattern) in &regex.0 {
            if !is_label_name(&name.value) {
                fields.push(name.place.error(format!("`{}` is not a label name", name.value), None));
            }
            match Matcher::new(MatchOp::Matches, &name.value, &pattern.value) {
                Ok(matcher) => all.push(matcher),
                Err(error) => fields.push(pattern.place.error(error.to_string(), None)),
            }
        }
        Matchers(all)
    }
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub struct Route {
    pub place: Place,
    pub receiver: Option<Spanned<String>>,
    pub group_by: Option<Vec<Spanned<String>>>,
    pub matchers: Matchers,
    pub go_on: bool,
    pub group_wait: Option<Duration>,
    pub group_interval: Option<Spanned<Duration>>,
    pub repeat_interval: Option<Spanned<Duration>>,
    pub resolve_wait: Option<Duration>,
    pub severity_ladder: Option<Vec<Spanned<String>>>,
    /// `fleet`, or `host`.
    pub fleet: Option<bool>,
    pub labels: LabelPairs,
    pub mute_time_intervals: Vec<Spanned<String>>,
    pub active_time_intervals: Vec<Spanned<String>>,
    pub routes: Vec<Route>,
    pub refused: Vec<Problem>,
}

impl Decode for Route {
    fn decode(at: &mut At<'_>) -> Option<Route> {
        let place = at.place();
        let doc =
            "A node of the tree: an alert goes to the first child that matches, or stays here; as in Alertmanager.";
        let mut fields = at.record("route", doc)?;
        let receiver: Option<Spanned<String>> = fields.optional("receiver", "whom to tell; if missing the parent's");
        let group_by: Option<Vec<Spanned<String>>> = fields.optional(
            "group_by",
            "alerts with the same values of these labels are told together; `[...]` for each its own",
        );
        check_group_by(&mut fields, group_by.as_deref().unwrap_or_default());
        let matchers = Matchers::read(&mut fields, ["matchers", "match", "match_re"]);
        let go_on = fields.or("continue", "false", "true: later siblings are tried too");
        let group_wait = fields.optional("group_wait", "how long a new group waits for more alerts; at the root 30s");
        let group_interval: Option<Spanned<Duration>> =
            fields.optional("group_interval", "time between two messages about a group; at the root 5m");
        let repeat_interval: Option<Spanned<Duration>> =
            fields.optional("repeat_interval", "when a message is repeated though nothing changed; at the root 4h");
        for (key, span) in [("group_interval", &group_interval), ("repeat_interval", &repeat_interval)] {
            if let Some(span) = span.as_ref().filter(|span| span.value.is_zero()) {
                fields.push(span.place.error(format!("`{key}` must be longer than zero"), None));
            }
        }
        let mute_time_intervals = fields.or("mute_time_intervals", "[]", "nothing is told within these, by name");
        let active_time_intervals = fields.or("active_time_intervals", "[]", "something is told only within these");
        let resolve_wait = fields.optional(
            "resolve_wait",
            "not in Alertmanager: how soon the end of an alert is told, where that is before the next `group_interval`",
        );
        let severity_ladder: Option<Vec<Spanned<String>>> = fields.optional(
            "severity_ladder",
            "not in Alertmanager: values of `severity`, mildest first: an alert is not told while the same one fires with a \
             higher severity; inherited, `[]` ends it",
        );
        check_ladder(&mut fields, severity_ladder.as_deref().unwrap_or_default());
        let scope: Option<RouteScope> = fields.optional(
            "scope",
            "not in Alertmanager: `fleet`: the alerts of all hosts of a fleet are told together, by the host that counts; \
             `host`: each host tells its own; inherited, at the root `host`",
        );
        let labels: LabelPairs = fields.or("labels", "{}", "labels of the route itself, shown with its groups");
        let routes = fields.or("routes", "[]", "the children");
        let mut refused = Vec::new();
        if labels.0.iter().any(|(_, value)| value.contains("{{")) {
            let help = Some("write the values out".to_owned());
            let place = fields.place_of("labels");
            refused.push(place.error("templates in `labels` of a route are not supported in this version", help));
        }
        fields.finish();
        Some(Route {
            place,
            receiver: receiver.filter(|name| !name.value.is_empty()),
            group_by,
            matchers,
            go_on,
            group_wait,
            group_interval,
            repeat_interval,
            resolve_wait,
            severity_ladder,
            fleet: scope.map(|scope| scope.0),
            labels,
            mute_time_intervals,
            active_time_intervals,
            routes,
            refused,
        })
    }
}

/// Whether a route is told for the whole fleet.
struct RouteScope(bool);

impl Decode for RouteScope {
    fn decode(at: &mut At<'_>) -> Option<RouteScope> {
        at.one_of(&[("host", false), ("fleet", true)]).map(RouteScope)
    }
}

fn check_ladder(fields: &mut Fields<'_>, ladder: &[Spanned<String>]) {
    for (index, rung) in ladder.iter().enumerate() {
        if ladder[..index].contains(rung) {
            fields.push(rung.place.error(format!("`{}` is there twice", rung.value), Some("remove one".into())));
        } else if rung.value.is_empty() {
            fields.push(rung.place.error("a rung is empty", Some("write a value of the label `severity`".into())));
        }
    }
    if let [only] = ladder {
        let help = Some("write the milder severities before it, for example [info, warning, critical]".to_owned());
        fields.push(only.place.error("a ladder needs two rungs or more", help));
    }
}

fn check_group_by(fields: &mut Fields<'_>, labels: &[Spanned<String>]) {
    for (index, label) in labels.iter().enumerate() {
        if labels[..index].contains(label) {
            fields.push(label.place.error(format!("`{}` is there twice", label.value), Some("remove one".into())));
        } else if label.value == "..." && labels.len() > 1 {
            let help = Some("`...` stands for all labels: keep it alone, or remove it".to_owned());
            fields.push(label.place.error("`...` beside other labels", help));
        } else if label.value != "..." && !is_label_name(&label.value) {
            fields.push(label.place.error(format!("`{}` is not a label name", label.value), None));
        }
    }
}

/// One of `inhibit_rules`.
#[derive(Clone, Debug)]
pub struct InhibitRule {
    pub name: Option<String>,
    pub source: Matchers,
    pub target: Matchers,
    pub equal: Vec<Spanned<String>>,
    pub refused: Vec<Problem>,
}

impl Decode for InhibitRule {
    fn decode(at: &mut At<'_>) -> Option<InhibitRule> {
        let doc = "While an alert that matches the source fires, nothing is told of alerts that match the target.";
        let mut fields = at.record("inhibit rule", doc)?;
        let name = fields.optional("name", "for messages");
        let source = Matchers::read(&mut fields, ["source_matchers", "source_match", "source_match_re"]);
        let target = Matchers::read(&mut fields, ["target_matchers", "target_match", "target_match_re"]);
        let equal: Vec<Spanned<String>> = fields.or("equal", "[]", "labels that both must have with the same value");
        for label in equal.iter().filter(|label| !is_label_name(&label.value)) {
            fields.push(label.place.error(format!("`{}` is not a label name", label.value), None));
        }
        let mut refused = Vec::new();
        refuse(
            &mut fields,
            &["sources"],
            "`{}` is not supported in this version",
            "use `source_matchers`",
            &mut refused,
        );
        fields.finish();
        Some(InhibitRule { name, source, target, equal, refused })
    }
}

/// One of `time_intervals`: a name for stretches of time.
#[derive(Clone, Debug)]
pub struct NamedIntervals {
    pub name: Spanned<String>,
    pub entries: Vec<TimeEntry>,
}

impl Decode for NamedIntervals {
    fn decode(at: &mut At<'_>) -> Option<NamedIntervals> {
        let mut fields = at.record("named time interval", "A name for stretches of time; as in Alertmanager.")?;
        let name: Option<Spanned<String>> = fields.required("name", "how routes call it; unique");
        if name.as_ref().is_some_and(|name| name.value.is_empty()) {
            fields.problem("name", "a time interval needs a name", Some("write the name that routes use".into()));
        }
        let entries: Vec<Entry> = fields.or("time_intervals", "[]", "the stretches; any of them will do");
        fields.finish();
        Some(NamedIntervals { name: name?, entries: entries.into_iter().map(|entry| entry.0).collect() })
    }
}

/// A stretch of time.
struct Entry(TimeEntry);

impl Decode for Entry {
    fn decode(at: &mut At<'_>) -> Option<Entry> {
        let mut fields = at.record("time interval", "A stretch of time: every field that is there must hold.")?;
        let times: Vec<Times> = fields.or("times", "[]", "times of the day");
        let weekdays = ranges(&mut fields, "weekdays", "for example `monday:friday`", parse_weekdays);
        let days_of_month =
            ranges(&mut fields, "days_of_month", "for example `1:7`; -1 is the last day", parse_days_of_month);
        let months = ranges(&mut fields, "months", "for example `january:march` or `12`", parse_months);
        let years = ranges(&mut fields, "years", "for example `2026:2028`", parse_years);
        let doc = "a time zone, for example Europe/Berlin, or Local; if missing UTC";
        let location: Option<Spanned<String>> = fields.optional("location", doc);
        let location = location.and_then(|name| match Location::parse(&name.value) {
            Ok(location) => Some(location),
            Err(message) => {
                fields.push(name.place.error(message, None));
                None
            }
        });
        fields.finish();
        let times = times.into_iter().map(|times| times.0).collect();
        Some(Entry(TimeEntry { times, weekdays, days_of_month, months, years, location }))
    }
}

fn ranges(
    fields: &mut Fields<'_>,
    key: &'static str,
    doc: &'static str,
    read: fn(&str) -> Result<RangeInclusive<i32>, String>,
) -> Vec<RangeInclusive<i32>> {
    let texts: Vec<Spanned<String>> = fields.or(key, "[]", doc);
    let mut all = Vec::new();
    for text in texts {
        match read(&text.value) {
            Ok(range) => all.push(range),
            Err(message) => fields.push(text.place.error(message, None)),
        }
    }
    all
}

/// From one time of the day to another, which is not part of it.
struct Times(TimeRange);

impl Decode for Times {
    fn decode(at: &mut At<'_>) -> Option<Times> {
        let mut fields = at.record("time range", "From one time of the day to another, which is not part of it.")?;
        let start: Option<Spanned<String>> = fields.required("start_time", "HH:MM");
        let end: Option<Spanned<String>> = fields.required("end_time", "HH:MM; 24:00 is the end of the day");
        let range = match (&start, &end) {
            (Some(start), Some(end)) => match parse_times(&start.value, &end.value) {
                Ok(range) => Some(range),
                Err(message) => {
                    let of_end = message.starts_with(&format!("{:?}", end.value));
                    let place = if of_end { &end.place } else { &start.place };
                    fields.push(place.error(message, None));
                    None
                }
            },
            _ => None,
        };
        fields.finish();
        range.map(Times)
    }
}
