//! `remote_write`.

use super::client;
use crate::config::checker::Checker;
use crate::config::remote_write::RemoteWrite;
use crate::model::Labels;
use crate::net::{HttpSettings, SecretSource, origin};
use crate::remote::{QueueSettings, Settings};

/// The least that a queue may hold, in bytes.
const LEAST_DISK: u64 = 1 << 20;

/// All receivers.
pub fn settings(check: &mut Checker<'_>, external_labels: &Labels, remotes: &[RemoteWrite]) -> Vec<Settings> {
    let mut all: Vec<Settings> = Vec::new();
    for remote in remotes {
        let settings = one(check, external_labels, remote);
        if all.iter().any(|other| other.name == settings.name) {
            let place = remote.name.as_ref().map_or(&remote.url.place, |name| &name.place);
            let help = "give each a `name` of its own";
            check.error(place, format!("two of `remote_write` are named `{}`", settings.name), help);
        }
        all.push(settings);
    }
    all
}

fn one(check: &mut Checker<'_>, external_labels: &Labels, remote: &RemoteWrite) -> Settings {
    check.refused(&remote.refused);
    let url = remote.url.value.0.expose().to_owned();
    let mut http = HttpSettings { timeout: Some(remote.remote_timeout.0), ..client::client(check, &remote.client) };
    for (name, value) in &remote.headers.0 {
        // Prometheus refuses those that the protocol itself sets.
        let own = ["content-encoding", "content-type", "x-prometheus-remote-write-version", "authorization", "host"];
        if own.contains(&name.value.to_lowercase().as_str()) {
            let help = "remove it; credentials belong in `authorization` or `basic_auth`";
            check.error(&name.place, format!("the header `{}` is set by remote write itself", name.value), help);
        }
        http.headers.push((name.value.clone(), SecretSource::Inline(value.clone())));
    }
    let queue = &remote.queue;
    if queue.max_disk_usage.0 < LEAST_DISK {
        let help = "give `max_disk_usage` at least 1MB";
        check.error(&remote.url.place, "the queue of this receiver has no room on the disk", help);
    }
    if queue.min_backoff > queue.max_backoff {
        let help = "make `min_backoff` shorter or `max_backoff` longer";
        check.error(&remote.url.place, "the shortest pause is longer than the longest", help);
    }
    let metadata = &remote.metadata;
    Settings {
        name: remote.name.as_ref().map_or_else(|| origin(&url), |name| name.value.clone()),
        url,
        http,
        external_labels: external_labels.clone(),
        write_relabel_configs: super::discovery::steps(&remote.write_relabel_configs),
        queue: QueueSettings {
            max_samples_per_send: queue.max_samples_per_send.0,
            batch_send_deadline: queue.batch_send_deadline.0,
            min_backoff: queue.min_backoff.0,
            max_backoff: queue.max_backoff.0,
            retry_on_http_429: queue.retry_on_http_429,
            sample_age_limit: queue.sample_age_limit,
            max_disk_usage: queue.max_disk_usage.0,
        },
        metadata_interval: metadata.send.then_some(metadata.send_interval.0),
        metadata_families: metadata.max_samples_per_send.0,
    }
}
