//! Deliveries to strict servers on loopback.

mod exec;
mod hostile;
mod server;
mod services;
mod smtp;
mod webhook;

use std::collections::BTreeMap;

use crate::alerts::{AlertStatus, DeliveryId, Notification, NotifiedAlert, NotifyReason};
use crate::time::Timestamp;

/// Three alerts of one group: one new, one that still fires, one resolved.
pub(in crate::notify) fn notification() -> Notification {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let start = Timestamp::from_millis(1_700_000_000_000);
    let alert = |instance: &str, status: AlertStatus, is_news: bool| NotifiedAlert {
        status,
        labels: map(&[("alertname", "CheckoutDown"), ("instance", instance), ("severity", "critical")]),
        annotations: map(&[("runbook_url", "https://wiki.test/down"), ("summary", "checkout is down")]),
        starts_at: start,
        ends_at: (status == AlertStatus::Resolved).then(|| start + std::time::Duration::from_secs(300)),
        generator_url: "http://host.test/graph?g0.expr=up".to_owned(),
        fingerprint: "0123456789abcdef".to_owned(),
        is_news,
    };
    Notification {
        id: DeliveryId("d-7/3".to_owned()),
        receiver: "team".to_owned(),
        integration: "email[0]".to_owned(),
        group_key: "{}:{alertname=\"CheckoutDown\"}".to_owned(),
        status: AlertStatus::Firing,
        reason: NotifyReason::NewAlerts,
        group_labels: map(&[("alertname", "CheckoutDown")]),
        common_labels: map(&[("alertname", "CheckoutDown"), ("severity", "critical")]),
        common_annotations: BTreeMap::new(),
        alerts: vec![
            alert("web-1", AlertStatus::Firing, true),
            alert("web-2", AlertStatus::Firing, false),
            alert("web-2", AlertStatus::Resolved, true),
        ],
        truncated_alerts: 0,
        external_url: "http://host.test:9797".to_owned(),
        created_at: start + std::time::Duration::from_secs(330),
        links: BTreeMap::new(),
    }
}

/// Alertmanager's templates over a notification, as the shell brings them.
pub(in crate::notify) fn templates() -> std::sync::Arc<super::Render> {
    use crate::template::{AlertData, NotificationData, NotificationTemplates};
    let (set, none) = (NotificationTemplates::new(), BTreeMap::new());
    std::sync::Arc::new(move |text: &str, it: &Notification, form: super::Form| {
        let alert = |alert: &'_ NotifiedAlert| -> (Timestamp, Option<Timestamp>) { (alert.starts_at, alert.ends_at) };
        let alerts = it.alerts.iter().map(|one| AlertData {
            status: one.status.as_str(),
            labels: &one.labels,
            annotations: &one.annotations,
            starts_at: alert(one).0,
            ends_at: alert(one).1,
            generator_url: &one.generator_url,
            fingerprint: &one.fingerprint,
            is_new: one.is_news,
        });
        let data = NotificationData {
            receiver: &it.receiver,
            status: it.status.as_str(),
            alerts: alerts.collect(),
            reason: "new_alerts",
            group_labels: &it.group_labels,
            common_labels: &it.common_labels,
            common_annotations: &it.common_annotations,
            route_labels: &none,
            external_url: &it.external_url,
            links: &it.links,
        };
        let written = match form {
            super::Form::Text => set.text(text, &data, now()),
            super::Form::Html => set.html(text, &data, now()),
            form => set.escaped(text, &data, now(), form.is_html(), &|value| form.harmless(value)),
        };
        written.map_err(|error| error.to_string())
    })
}

/// The wall time of the deliveries.
fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_331_999)
}
