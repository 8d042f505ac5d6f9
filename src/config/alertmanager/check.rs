//! Alertmanager's rules between its sections: names that must exist, names that must be unique, what a receiver needs.

use std::collections::BTreeSet;

use super::global::{AlertmanagerGlobal, Smtp};
use super::receivers::Receiver;
use super::route::{NamedIntervals, Route};
use super::service_values::holding;
use crate::yaml::{Fields, Spanned, nearest};

pub(super) fn all(
    fields: &mut Fields<'_>,
    global: Option<&AlertmanagerGlobal>,
    route: &Route,
    receivers: &[Receiver],
    intervals: &[NamedIntervals],
) {
    let names: Vec<&Spanned<String>> = receivers.iter().map(|receiver| &receiver.name).collect();
    let interval_names: Vec<&Spanned<String>> = intervals.iter().map(|interval| &interval.name).collect();
    unique(fields, "receiver", &names);
    unique(fields, "time interval", &interval_names);
    root(fields, route);
    let known = |names: &[&Spanned<String>]| names.iter().map(|name| name.value.clone()).collect::<Vec<_>>();
    routes(fields, route, &known(&names), &known(&interval_names));
    for receiver in receivers {
        needs(fields, receiver, global);
    }
}

fn unique(fields: &mut Fields<'_>, what: &str, names: &[&Spanned<String>]) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.value.as_str()) {
            let help = Some("give each a name of its own".to_owned());
            fields.push(name.place.error(format!("there are two {what}s with the name `{}`", name.value), help));
        }
    }
}

/// The root takes every alert.
fn root(fields: &mut Fields<'_>, route: &Route) {
    let mut refuse = |wrong: bool, message: &str, help: &str| {
        if wrong {
            fields.problem("route", message, Some(help.to_owned()));
        }
    };
    let child = "the first route takes every alert: put this in one of its `routes`";
    refuse(
        route.receiver.is_none(),
        "the first route has no receiver",
        "add `receiver: ...`: whom to tell of the rest",
    );
    refuse(!route.matchers.0.is_empty(), "the first route has matchers", child);
    refuse(!route.mute_time_intervals.is_empty(), "the first route has `mute_time_intervals`", child);
    refuse(!route.active_time_intervals.is_empty(), "the first route has `active_time_intervals`", child);
    refuse(route.go_on, "the first route has `continue: true`", "remove it: there is no other route to go on to");
}

fn routes(fields: &mut Fields<'_>, route: &Route, receivers: &[String], intervals: &[String]) {
    if let Some(receiver) = &route.receiver {
        exists(fields, "receiver", receiver, receivers);
    }
    for interval in route.mute_time_intervals.iter().chain(&route.active_time_intervals) {
        exists(fields, "time interval", interval, intervals);
    }
    for child in &route.routes {
        routes(fields, child, receivers, intervals);
    }
}

fn exists(fields: &mut Fields<'_>, what: &str, name: &Spanned<String>, known: &[String]) {
    if known.contains(&name.value) {
        return;
    }
    let help = match (nearest(&name.value, known.iter().map(String::as_str)), known) {
        (Some(word), _) => format!("did you mean `{word}`?"),
        (None, []) => format!("add it under `{}s`", what.replace(' ', "_")),
        (None, known) => format!("known {what}s: {}", known.join(", ")),
    };
    fields.push(name.place.error(format!("there is no {what} `{}`", name.value), Some(help)));
}

fn needs(fields: &mut Fields<'_>, receiver: &Receiver, global: Option<&AlertmanagerGlobal>) {
    let none = Smtp::default();
    let smtp = global.map_or(&none, |global| &global.smtp);
    for email in &receiver.email_configs {
        if email.smtp.smarthost.is_none() && smtp.smarthost.is_none() {
            let help = Some("add `smarthost: host:port` here, or `smtp_smarthost` under `global`".to_owned());
            fields.push(email.to.place.error("there is no mail server for this", help));
        }
        if email.smtp.from.is_none() && smtp.from.is_none() {
            let help = Some("add `from: ...` here, or `smtp_from` under `global`".to_owned());
            fields.push(email.to.place.error("there is no sender's address for this", help));
        }
    }
    let given = global.map(|global| holding(&global.services)).unwrap_or_default();
    for other in &receiver.services {
        for (here, there) in other.missing(&given) {
            let list = |keys: &[&str]| keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ");
            let beside = if there.is_empty() { String::new() } else { format!(", or {} under `global`", list(there)) };
            let message = format!("an entry of `{}` lacks {}", other.key, list(here));
            fields.push(other.place.error(message, Some(format!("add {}{beside}", list(here)))));
        }
    }
}
