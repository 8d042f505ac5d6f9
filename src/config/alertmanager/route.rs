//! Alertmanager's `route`, `inhibit_rules` and named time intervals.

use std::time::Duration;

use crate::config::values::{Entries, LabelPairs, Pattern, refuse};
use crate::model::is_label_name;
use crate::yaml::{At, Decode, Fields, Place, Problem, Spanned};

/// Matchers in their three spellings: all of them must match.
#[derive(Clone, Debug, Default)]
pub struct Matchers {
    pub equal: LabelPairs,
    pub regex: Entries<Pattern>,
    pub texts: Vec<Spanned<String>>,
}

impl Matchers {
    fn read(fields: &mut Fields<'_>, keys: [&'static str; 3]) -> Matchers {
        let texts = fields.or(keys[0], "[]", "for example `severity=\"page\"` or `job=~\"a|b\"`; all must match");
        let equal = fields.or(keys[1], "{}", "older spelling: labels and their values");
        let regex: Entries<Pattern> = fields.or(keys[2], "{}", "older spelling: labels and expressions, anchored");
        for (name, _) in &regex.0 {
            if !is_label_name(&name.value) {
                fields.push(name.place.error(format!("`{}` is not a label name", name.value), None));
            }
        }
        Matchers { equal, regex, texts }
    }

    /// Nothing to match.
    pub fn is_empty(&self) -> bool {
        self.equal.0.is_empty() && self.regex.0.is_empty() && self.texts.is_empty()
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
        let routes = fields.or("routes", "[]", "the children");
        let mut refused = Vec::new();
        refuse(&mut fields, &["labels"], "`{}` of a route is not supported in this version", "remove it", &mut refused);
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
            mute_time_intervals,
            active_time_intervals,
            routes,
            refused,
        })
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
    pub intervals: Vec<TimeInterval>,
}

impl Decode for NamedIntervals {
    fn decode(at: &mut At<'_>) -> Option<NamedIntervals> {
        let mut fields = at.record("named time interval", "A name for stretches of time; as in Alertmanager.")?;
        let name: Option<Spanned<String>> = fields.required("name", "how routes call it; unique");
        if name.as_ref().is_some_and(|name| name.value.is_empty()) {
            fields.problem("name", "a time interval needs a name", Some("write the name that routes use".into()));
        }
        let intervals = fields.or("time_intervals", "[]", "the stretches; any of them will do");
        fields.finish();
        Some(NamedIntervals { name: name?, intervals })
    }
}

/// A stretch of time: every field that is there must hold.
#[derive(Clone, Debug)]
pub struct TimeInterval {
    pub times: Vec<TimeRange>,
    pub weekdays: Vec<Spanned<String>>,
    pub days_of_month: Vec<Spanned<String>>,
    pub months: Vec<Spanned<String>>,
    pub years: Vec<Spanned<String>>,
    pub location: Option<Spanned<String>>,
}

impl Decode for TimeInterval {
    fn decode(at: &mut At<'_>) -> Option<TimeInterval> {
        let mut fields = at.record("time interval", "A stretch of time: every field that is there must hold.")?;
        let interval = TimeInterval {
            times: fields.or("times", "[]", "times of the day"),
            weekdays: fields.or("weekdays", "[]", "for example `monday:friday`"),
            days_of_month: fields.or("days_of_month", "[]", "for example `1:7`; -1 is the last day"),
            months: fields.or("months", "[]", "for example `january:march` or `12`"),
            years: fields.or("years", "[]", "for example `2026:2028`"),
            location: fields.optional("location", "a time zone, for example Europe/Berlin, or Local; if missing UTC"),
        };
        fields.finish();
        Some(interval)
    }
}

/// From one time of the day to another, which is not part of it.
#[derive(Clone, Debug)]
pub struct TimeRange {
    pub start: Spanned<String>,
    pub end: Spanned<String>,
}

impl Decode for TimeRange {
    fn decode(at: &mut At<'_>) -> Option<TimeRange> {
        let mut fields = at.record("time range", "From one time of the day to another, which is not part of it.")?;
        let start = fields.required("start_time", "HH:MM");
        let end = fields.required("end_time", "HH:MM; 24:00 is the end of the day");
        fields.finish();
        Some(TimeRange { start: start?, end: end? })
    }
}
