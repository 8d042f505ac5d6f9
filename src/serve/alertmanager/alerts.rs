//! `/alerts` and `/alerts/groups`.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;

use super::answer::{Answer, ApiError, json_text, read};
use super::body;
use super::params::{Params, passes};
use crate::alerts::{AlertState, AlertView, Alerts};
use crate::engine::{Command, Reply};
use crate::model::{Labels, Matcher};
use crate::serve::Shared;
use crate::time::Timestamp;

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

/// `gettableAlert`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    annotations: &'a BTreeMap<String, String>,
    ends_at: String,
    fingerprint: &'a str,
    receivers: Vec<Name<'a>>,
    starts_at: String,
    status: Status<'a>,
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    inhibited_by: &'a [String],
    muted_by: &'a [String],
    silenced_by: &'a [String],
    state: &'static str,
}

/// `alertGroup`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    alerts: Vec<Alert<'a>>,
    labels: BTreeMap<&'a str, &'a str>,
    receiver: Name<'a>,
    route_labels: &'a BTreeMap<String, String>,
}

fn pairs(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().collect()
}

fn alert(view: &AlertView) -> Alert<'_> {
    Alert {
        annotations: &view.annotations,
        ends_at: view.ends_at.to_rfc3339(),
        fingerprint: &view.fingerprint,
        receivers: view.receivers.iter().map(|name| Name { name }).collect(),
        starts_at: view.starts_at.to_rfc3339(),
        status: Status {
            inhibited_by: &view.inhibited_by,
            muted_by: &view.muted_by,
            silenced_by: &view.silenced_by,
            state: state(view),
        },
        updated_at: view.updated_at.to_rfc3339(),
        generator_url: &view.generator_url,
        labels: pairs(&view.labels),
    }
}

/// Alertmanager judges an alert when it is asked for, so that none is ever shown as `unprocessed`; amtool, which leaves
/// those out, relies on that.
fn state(view: &AlertView) -> &'static str {
    match view.state {
        AlertState::Unprocessed => AlertState::Active.as_str(),
        state => state.as_str(),
    }
}

/// Which alerts are wanted.
pub(super) struct Wanted {
    active: bool,
    silenced: bool,
    inhibited: bool,
    filter: Vec<Matcher>,
    receiver: Option<Matcher>,
    /// Receivers have no labels here, so only matchers that hold without one can hold.
    receivers: bool,
}

impl Wanted {
    pub(super) fn read(params: &Params) -> Result<Wanted, ApiError> {
        params.flag("unprocessed", true)?;
        Ok(Wanted {
            active: params.flag("active", true)?,
            silenced: params.flag("silenced", true)?,
            inhibited: params.flag("inhibited", true)?,
            filter: params.matchers("filter")?,
            receiver: params.receiver()?,
            receivers: passes(&params.matchers("receiver_matchers")?, |_| None),
        })
    }

    fn has(&self, view: &AlertView) -> bool {
        (self.active || view.state == AlertState::Suppressed)
            && (self.silenced || view.silenced_by.is_empty())
            && (self.inhibited || view.inhibited_by.is_empty())
            && passes(&self.filter, |name| view.labels.get(name))
    }

    fn receiver(&self, name: &str) -> bool {
        self.receivers && self.receiver.as_ref().is_none_or(|matcher| matcher.matches(name))
    }
}

/// `GET /alerts`.
pub(super) async fn list(State(shared): State<Shared>, params: Params) -> Answer {
    let wanted = Wanted::read(&params)?;
    read(&shared, move |alerts, now| listed(alerts, now, &wanted)).await
}

/// The alerts that are wanted, by fingerprint.
pub(super) fn listed(alerts: &Alerts, now: Timestamp, wanted: &Wanted) -> Result<String, ApiError> {
    let mut views = alerts.alerts(now);
    views.retain(|view| wanted.has(view) && view.receivers.iter().any(|name| wanted.receiver(name)));
    views.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    json_text(&views.iter().map(alert).collect::<Vec<_>>())
}

/// `GET /alerts/groups`.
pub(super) async fn groups(State(shared): State<Shared>, params: Params) -> Answer {
    let (wanted, muted) = (Wanted::read(&params)?, params.flag("muted", true)?);
    read(&shared, move |alerts, now| grouped(alerts, now, &wanted, muted)).await
}

/// The groups that are wanted; those without an alert are left out, and without `muted` also those of which every alert
/// is suppressed.
pub(super) fn grouped(alerts: &Alerts, now: Timestamp, wanted: &Wanted, muted: bool) -> Result<String, ApiError> {
    let mut groups = alerts.groups(now);
    groups.retain_mut(|group| {
        let quiet = group.alerts.iter().all(|view| view.state == AlertState::Suppressed);
        group.alerts.retain(|view| wanted.has(view));
        wanted.receiver(&group.receiver) && !group.alerts.is_empty() && (muted || !quiet)
    });
    let groups = groups.iter().map(|group| Group {
        alerts: group.alerts.iter().map(alert).collect(),
        labels: pairs(&group.labels),
        receiver: Name { name: &group.receiver },
        route_labels: &group.route_labels,
    });
    json_text(&groups.collect::<Vec<_>>())
}

/// `POST /alerts`: valid alerts are taken, even when others are not.
pub(super) async fn post(State(shared): State<Shared>, body: Bytes) -> Answer {
    let body::PostedAlerts { good, mut refused } = body::alerts(&body)?;
    if !good.is_empty() {
        match shared.command(Command::PutAlerts(good)).await {
            Some(Reply::Done | Reply::Made(_) | Reply::Said(_)) => {}
            Some(Reply::Refused(message) | Reply::NotFound(message)) => refused.push(message),
            Some(Reply::Unsaved) => refused.push("not saved".to_owned()),
            None => return Err(ApiError::Closing),
        }
    }
    if refused.is_empty() { Ok(StatusCode::OK.into_response()) } else { Err(ApiError::Bad(refused.join("; "))) }
}
