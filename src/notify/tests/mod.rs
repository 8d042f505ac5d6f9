//! Deliveries to strict servers on loopback.

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

/// The wall time of the deliveries.
fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_331_999)
}
