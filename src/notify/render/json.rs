//! Alertmanager's webhook body, version 4
//! (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alerts::{Notification, NotifiedAlert, NotifyReason};

/// Go's zero time: what Alertmanager writes for an alert that has not ended.
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<Alert<'a>>,
    group_labels: &'a BTreeMap<String, String>,
    common_labels: &'a BTreeMap<String, String>,
    common_annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u64,
    #[serde(rename = "notification_reason")]
    reason: NotifyReason,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: &'a str,
}

/// The body for a webhook.
pub fn webhook_json(notification: &Notification) -> Vec<u8> {
    versioned_json(notification, "4")
}

/// The same body, of another version.
pub(in crate::notify) fn versioned_json(notification: &Notification, version: &'static str) -> Vec<u8> {
    let alert = |alert: &'_ NotifiedAlert| -> (String, String) {
        (alert.starts_at.to_rfc3339(), alert.ends_at.map_or_else(|| NOT_ENDED.to_owned(), |at| at.to_rfc3339()))
    };
    let alerts = notification.alerts.iter().map(|it| {
        let (starts_at, ends_at) = alert(it);
        Alert {
            status: it.status.as_str(),
            labels: &it.labels,
            annotations: &it.annotations,
            starts_at,
            ends_at,
            generator_url: &it.generator_url,
            fingerprint: &it.fingerprint,
        }
    });
    let message = Message {
        receiver: &notification.receiver,
        status: notification.status.as_str(),
        alerts: alerts.collect(),
        group_labels: &notification.group_labels,
        common_labels: &notification.common_labels,
        common_annotations: &notification.common_annotations,
        external_url: &notification.external_url,
        version,
        group_key: &notification.group_key,
        truncated_alerts: notification.truncated_alerts,
        reason: notification.reason,
    };
    // Texts and numbers always have a JSON form.
    serde_json::to_vec(&message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::notification;

    #[test]
    fn the_body_is_alertmanagers_version_4() {
        let mut notification = notification();
        notification.alerts.truncate(1);
        notification.truncated_alerts = 2;
        let expected = concat!(
            r#"{"receiver":"team","status":"firing","alerts":[{"status":"firing","#,
            r#""labels":{"alertname":"CheckoutDown","instance":"web-1","severity":"critical"},"#,
            r#""annotations":{"runbook_url":"https://wiki.test/down","summary":"checkout is down"},"#,
            r#""startsAt":"2023-11-14T22:13:20.000Z","endsAt":"0001-01-01T00:00:00Z","#,
            r#""generatorURL":"http://host.test/graph?g0.expr=up","fingerprint":"0123456789abcdef"}],"#,
            r#""groupLabels":{"alertname":"CheckoutDown"},"#,
            r#""commonLabels":{"alertname":"CheckoutDown","severity":"critical"},"commonAnnotations":{},"#,
            r#""externalURL":"http://host.test:9797","version":"4","groupKey":"{}:{alertname=\"CheckoutDown\"}","#,
            r#""truncatedAlerts":2,"notification_reason":"new_alerts"}"#,
        );
        assert_eq!(String::from_utf8(webhook_json(&notification)).unwrap(), expected);
    }

    #[test]
    fn a_resolved_alert_has_its_end_and_hostile_text_stays_text() {
        let mut notification = notification();
        let nasty = "a\"\r\n\u{1b}[31m\u{202e}</script>";
        notification.alerts[2].labels.insert("path".to_owned(), nasty.to_owned());
        let value: serde_json::Value = serde_json::from_slice(&webhook_json(&notification)).unwrap();
        assert_eq!(value["alerts"][2]["endsAt"], "2023-11-14T22:18:20.000Z");
        assert_eq!(value["alerts"][2]["labels"]["path"], nasty);
    }
}
