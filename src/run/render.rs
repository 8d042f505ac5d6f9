//! Templates of notifications, plugged into the receivers: `notify` knows no templates, `template` no notifications.

use std::sync::Arc;

use crate::alerts::{Notification, NotifiedAlert, NotifyReason};
use crate::config::Template;
use crate::notify::{Form, Render};
use crate::template::{AlertData, NotificationData, NotificationTemplates};
use crate::time::Clock;

/// The renderer for these templates. A file that cannot be parsed was refused with the configuration.
pub(super) fn renderer(templates: &[Template], clock: Clock) -> Arc<Render> {
    let mut set = NotificationTemplates::new();
    for template in templates {
        if let Err(error) = set.add(&template.text) {
            tracing::error!(path = %template.path.display(), %error, "template file is left out");
        }
    }
    Arc::new(move |text: &str, notification: &Notification, form: Form| {
        let (data, now) = (data(notification), clock.now());
        let written = match form {
            Form::Text => set.text(text, &data, now),
            Form::Html => set.html(text, &data, now),
            form => set.escaped(text, &data, now, form.is_html(), &|value| form.harmless(value)),
        };
        written.map_err(|error| error.to_string())
    })
}

/// Labels of routes are not part of a message yet decided.
static NO_LABELS: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();

/// Alertmanager's `notification_reason`.
fn reason_words(reason: NotifyReason) -> &'static str {
    match reason {
        NotifyReason::FirstNotification => "first_notification",
        NotifyReason::NewAlerts => "new_alerts",
        NotifyReason::SomeResolved => "some_resolved",
        NotifyReason::AllResolved => "all_resolved",
        NotifyReason::RepeatInterval => "repeat_interval",
    }
}

fn data(notification: &Notification) -> NotificationData<'_> {
    fn alert(alert: &NotifiedAlert) -> AlertData<'_> {
        AlertData {
            status: alert.status.as_str(),
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            generator_url: &alert.generator_url,
            fingerprint: &alert.fingerprint,
            is_new: alert.is_news,
        }
    }
    NotificationData {
        receiver: &notification.receiver,
        status: notification.status.as_str(),
        alerts: notification.alerts.iter().map(alert).collect(),
        reason: reason_words(notification.reason),
        group_labels: &notification.group_labels,
        common_labels: &notification.common_labels,
        common_annotations: &notification.common_annotations,
        route_labels: &NO_LABELS,
        external_url: &notification.external_url,
        links: &notification.links,
    }
}
