//! What messages of one kind share: the order of their alerts, and what their alerts have in common.

use std::collections::BTreeMap;

use super::notification::{AlertStatus, NotifiedAlert};

type Texts = BTreeMap<String, String>;

/// The labels and annotations that all alerts have with the same value.
pub(super) fn common(alerts: &[NotifiedAlert]) -> (Texts, Texts) {
    let shared = |texts: fn(&NotifiedAlert) -> &Texts| {
        let Some((first, rest)) = alerts.split_first() else { return Texts::new() };
        let mut out = texts(first).clone();
        out.retain(|name, value| rest.iter().all(|alert| texts(alert).get(name) == Some(value)));
        out
    };
    (shared(|alert| &alert.labels), shared(|alert| &alert.annotations))
}

/// Firing alerts first, each part in Alertmanager's order: by `job`, by `instance` (those without come last), by the
/// number of labels, and then by the labels.
pub(super) fn sort_firing_first(alerts: &mut [NotifiedAlert]) {
    let place = |alert: &NotifiedAlert, name: &str| match alert.labels.get(name) {
        Some(value) => (false, value.clone()),
        None => (true, String::new()),
    };
    alerts.sort_by_cached_key(|alert| {
        let labels: Vec<_> = alert.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let resolved = alert.status == AlertStatus::Resolved;
        (resolved, place(alert, "job"), place(alert, "instance"), labels.len(), labels)
    });
}
