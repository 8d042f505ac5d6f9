//! `alertmanager`: Alertmanager's own grammar (its `docs/configuration.md`) with its rules between fields, so that
//! [`decode_alertmanager`] gives Alertmanager's verdict on a whole file. What this version does not do
//! is refused apart from that.

mod check;
mod extras;
mod global;
mod receivers;
mod route;
mod service_values;
mod services;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use extras::{Digest, Flapping, Links, Reminders};
pub use global::{AlertmanagerGlobal, Smtp};
pub use receivers::{Email, Receiver, Webhook};
pub use route::{InhibitRule, NamedIntervals, Route};
pub use service_values::{Given, ServiceConfig, Values};

use super::values::refuse;
use crate::yaml::{At, Decode, Problem, SourceFile, Spanned, decode_text};

/// Reads a file of Alertmanager's: its content when Alertmanager would load it, and every problem.
pub fn decode_alertmanager(file: &Arc<SourceFile>) -> (Option<Alertmanager>, Vec<Problem>) {
    decode_text(file)
}

/// Alertmanager's configuration.
#[derive(Clone, Debug)]
pub struct Alertmanager {
    pub global: Option<AlertmanagerGlobal>,
    pub route: Route,
    pub inhibit_rules: Vec<InhibitRule>,
    pub receivers: Vec<Receiver>,
    pub time_intervals: Vec<NamedIntervals>,
    pub templates: Vec<Spanned<String>>,
    pub resolve_when_muted: bool,
    pub flapping: Option<Flapping>,
    pub links: Option<Links>,
    pub silence_reminders: Option<Reminders>,
    pub digest: Option<Digest>,
    pub tell_alone_after: Spanned<Duration>,
    pub allow_exec: bool,
    pub refused: Vec<Problem>,
}

impl Decode for Alertmanager {
    fn decode(at: &mut At<'_>) -> Option<Alertmanager> {
        let reading = at.node().is_some();
        let doc = "Who is told what, when, and how often: Alertmanager's own configuration, without an Alertmanager.";
        let mut fields = at.record("alertmanager", doc)?;
        let global: Option<AlertmanagerGlobal> = fields.optional("global", "defaults of the receivers");
        let route: Option<Route> = fields.required("route", "the tree that leads alerts to receivers");
        let inhibit_rules = fields.or("inhibit_rules", "[]", "which alerts hide which others");
        let receivers: Vec<Receiver> = fields.or("receivers", "[]", "whom to tell");
        let mut time_intervals: Vec<NamedIntervals> = fields.or("time_intervals", "[]", "names for stretches of time");
        let older: Vec<NamedIntervals> = fields.or("mute_time_intervals", "[]", "older spelling of `time_intervals`");
        time_intervals.extend(older);
        let templates = fields.or("templates", "[]", "files with templates; the last name may have `*`");
        let resolve_when_muted = fields.or(
            "resolve_when_muted",
            "false",
            "not in Alertmanager: the end of an alert that was told is told too while it is silenced, inhibited or muted",
        );
        let flapping = fields.optional("flapping", "not in Alertmanager: alerts that come and go are told less often");
        let links = fields.optional("links", "not in Alertmanager: links in messages that silence or acknowledge");
        let silence_reminders =
            fields.optional("silence_reminders", "not in Alertmanager: alerts about silences that may be forgotten");
        let digest: Option<Digest> =
            fields.optional("digest", "not in Alertmanager: a message about the noisiest rules");
        if let Some(digest) = &digest
            && receivers.iter().all(|receiver| receiver.name.value != digest.receiver.value)
        {
            let message = format!("there is no receiver `{}`", digest.receiver.value);
            fields.push(digest.receiver.place.error(message, Some("write the name of one of `receivers`".to_owned())));
        }
        let tell_alone_after: Spanned<Duration> = fields.or(
            "tell_alone_after",
            "30s",
            "not in Alertmanager: how long a host waits for the fleet to tell the alerts of routes with `scope: fleet`, after \
             their time; then it tells them by itself",
        );
        if !(Duration::from_secs(5)..=Duration::from_secs(3600)).contains(&tell_alone_after.value) {
            fields.push(tell_alone_after.place.error("`tell_alone_after` is from 5s to 1h", None));
        }
        let allow_exec =
            fields.or("allow_exec", "false", "not in Alertmanager: whether `exec_configs` may start programs");
        let mut refused = Vec::new();
        let keys = ["tracing", "event_recorder"];
        refuse(&mut fields, &keys, "`{}` is not supported in this version", "remove it", &mut refused);
        if reading && let Some(route) = &route {
            check::all(&mut fields, global.as_ref(), route, &receivers, &time_intervals);
        }
        fields.finish();
        Some(Alertmanager {
            global,
            route: route?,
            inhibit_rules,
            receivers,
            time_intervals,
            templates,
            resolve_when_muted,
            flapping,
            links,
            silence_reminders,
            digest,
            tell_alone_after,
            allow_exec,
            refused,
        })
    }
}
