//! Forwards alerts to real Alertmanagers by their API v2, as Prometheus does.
//!
//! Each Alertmanager has a queue and a task of its own, so that one that hangs never delays another. What to send and when is
//! decided by [`ForwardQueue`]; here it is posted, with one deadline a try.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::alerts::{AlertIn, ForwardQueue, Forwarded};
use crate::model::{Relabel, relabel};
use crate::net::{self, HttpSettings};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Clock;

/// One Alertmanager.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardTarget {
    /// The whole address, with the path of the API.
    pub url: String,
    pub http: HttpSettings,
    /// `alert_relabel_configs`: an alert that is dropped by them is not sent.
    pub relabel: Arc<Vec<Relabel>>,
}

struct Lane {
    target: ForwardTarget,
    queue: Arc<Mutex<ForwardQueue>>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All Alertmanagers. Cheap to clone; must be used within a runtime.
#[derive(Clone)]
pub struct Forwarder {
    lanes: Arc<Mutex<BTreeMap<String, Lane>>>,
    clock: Clock,
    telemetry: Telemetry,
}

impl Forwarder {
    /// Without an Alertmanager.
    pub fn new(clock: Clock, telemetry: Telemetry) -> Forwarder {
        Forwarder { lanes: Arc::default(), clock, telemetry }
    }

    /// From now on these are the Alertmanagers. Those that stay keep what waits for them.
    pub fn set_targets(&self, targets: Vec<ForwardTarget>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|url, _| targets.iter().any(|target| target.url == *url));
        for target in targets {
            match lanes.get(&target.url) {
                Some(lane) if lane.target == target => {}
                before => {
                    let queue = before.map(|lane| Arc::clone(&lane.queue));
                    let lane = self.lane(target.clone(), queue);
                    lanes.insert(target.url.clone(), lane);
                }
            }
        }
    }

    /// The addresses of the Alertmanagers.
    pub fn addresses(&self) -> Vec<String> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn lane(&self, target: ForwardTarget, queue: Option<Arc<Mutex<ForwardQueue>>>) -> Lane {
        let seed = self.clock.now().as_millis().unsigned_abs();
        let queue = match queue {
            Some(queue) => {
                // Whatever was on its way with the old settings is tried again with the new ones.
                let now = self.clock.now();
                queue.lock().unwrap_or_else(PoisonError::into_inner).done(now, Forwarded::Failed);
                queue
            }
            None => Arc::new(Mutex::new(ForwardQueue::new(seed))),
        };
        let wake = Arc::new(Notify::new());
        let work = work(target.clone(), Arc::clone(&queue), Arc::clone(&wake), self.clock, self.telemetry.clone());
        Lane { target, queue, wake, task: tokio::spawn(work) }
    }

    /// Hands alerts to every Alertmanager's queue.
    pub fn push(&self, alerts: &[AlertIn]) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in lanes.values() {
            let mut queue = lane.queue.lock().unwrap_or_else(PoisonError::into_inner);
            for alert in alerts {
                let mut labels = alert.labels.to_builder();
                if relabel(&lane.target.relabel, &mut labels) {
                    queue.push(AlertIn { labels: labels.build(), ..alert.clone() });
                }
            }
            drop(queue);
            lane.wake.notify_one();
        }
    }
}

async fn work(
    target: ForwardTarget,
    queue: Arc<Mutex<ForwardQueue>>,
    wake: Arc<Notify>,
    clock: Clock,
    telemetry: Telemetry,
) {
    let name = net::origin(&target.url);
    let labels = [("alertmanager", name.as_str())];
    let mut client = None;
    let mut dropped = 0;
    loop {
        let (batch, due) = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            let all = queue.dropped();
            if all > dropped {
                telemetry.add(Metric::ForwardDropped, &labels, (all - dropped) as f64);
                dropped = all;
            }
            (queue.take(clock.now()), queue.next_due())
        };
        let Some(batch) = batch else {
            match due {
                Some(at) => tokio::select! {
                    () = wake.notified() => {}
                    () = tokio::time::sleep_until(clock.instant(at)) => {}
                },
                None => wake.notified().await,
            }
            continue;
        };
        let outcome = match send(&target, &mut client, &batch).await {
            Ok(()) => {
                telemetry.add(Metric::Forwarded, &labels, batch.len() as f64);
                Forwarded::Accepted
            }
            Err((outcome, reason)) => {
                client = None;
                telemetry.count(Metric::ForwardFailed, &labels);
                tracing::warn!(alertmanager = name, alerts = batch.len(), reason, "alerts not forwarded");
                outcome
            }
        };
        queue.lock().unwrap_or_else(PoisonError::into_inner).done(clock.now(), outcome);
    }
}

async fn send(
    target: &ForwardTarget,
    client: &mut Option<net::Client>,
    batch: &[AlertIn],
) -> Result<(), (Forwarded, String)> {
    let failed = |reason: String| (Forwarded::Failed, reason);
    let kept = match client.take() {
        Some(kept) => kept,
        None => {
            // Files with passwords and certificates are read here, so after a failure they are read anew.
            let settings = target.http.clone();
            let built = tokio::task::spawn_blocking(move || net::client(&settings)).await;
            built.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?
        }
    };
    let body = serde_json::to_vec(&batch.iter().map(posted).collect::<Vec<_>>()).unwrap_or_default();
    let sent = kept.send(|client| client.post(&target.url).header("content-type", "application/json").body(body)).await;
    let response = sent.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    if status.is_success() {
        // The body is read so that the connection can be used again; what it says does not matter.
        drop(net::read_capped(response, crate::limits::WEBHOOK_REPLY_BYTES).await);
        *client = Some(kept);
        return Ok(());
    }
    let again = status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408;
    let outcome = if again { Forwarded::Failed } else { Forwarded::Refused };
    Err((outcome, format!("answered {status}")))
}

/// `postableAlert`.
fn posted(alert: &AlertIn) -> Value {
    let labels: BTreeMap<&str, &str> = alert.labels.iter().collect();
    let mut value = json!({ "labels": labels, "annotations": alert.annotations, "generatorURL": alert.generator_url });
    for (name, at) in [("startsAt", alert.starts_at), ("endsAt", alert.ends_at)] {
        if let Some(at) = at {
            value[name] = json!(at.to_rfc3339());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::model::Labels;
    use crate::time::Timestamp;

    /// An Alertmanager that answers each request with the next code; what it was sent comes out of the channel. A code of
    /// 0 is no answer at all.
    async fn peer(codes: Vec<u16>) -> (String, mpsc::UnboundedReceiver<Value>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/api/v2/alerts", listener.local_addr().expect("an address"));
        let (seen, out) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut codes = codes.into_iter();
            let mut held = Vec::new();
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let (mut text, mut part) = (Vec::new(), [0_u8; 4096]);
                let body = loop {
                    let size = stream.read(&mut part).await.unwrap_or(0);
                    text.extend_from_slice(&part[..size]);
                    let shown = String::from_utf8_lossy(&text).into_owned();
                    if let Some((_, body)) = shown.split_once("\r\n\r\n")
                        && let Ok(value) = serde_json::from_str::<Value>(body)
                    {
                        break value;
                    }
                    assert!(size > 0, "the request broke off");
                };
                drop(seen.send(body));
                match codes.next().unwrap_or(200) {
                    0 => held.push(stream),
                    code => {
                        let answer = format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                        drop(stream.write_all(answer.as_bytes()).await);
                    }
                }
            }
        });
        (url, out)
    }

    fn target(url: &str, relabel: Vec<Relabel>) -> ForwardTarget {
        ForwardTarget { url: url.to_owned(), http: HttpSettings::default(), relabel: Arc::new(relabel) }
    }

    fn alert(name: &str) -> AlertIn {
        AlertIn {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: BTreeMap::from([("summary".to_owned(), "s".to_owned())]),
            starts_at: Some(Timestamp::from_millis(1_700_000_000_000)),
            ends_at: Some(Timestamp::from_millis(1_700_000_240_000)),
            generator_url: "http://g".to_owned(),
        }
    }

    async fn next(out: &mut mpsc::UnboundedReceiver<Value>) -> Value {
        tokio::time::timeout(Duration::from_secs(20), out.recv()).await.expect("in time").expect("a request")
    }

    #[tokio::test]
    async fn a_hung_one_does_not_delay_another_and_a_failure_is_tried_again() {
        net::install_crypto();
        let (hung, _held) = peer(vec![0]).await;
        let (sick, mut of_sick) = peer(vec![503, 200]).await;
        let forwarder = Forwarder::new(Clock::start(), Telemetry::new());
        forwarder.set_targets(vec![target(&hung, Vec::new()), target(&sick, Vec::new())]);
        forwarder.push(&[alert("a")]);
        let first = next(&mut of_sick).await;
        assert_eq!(
            first,
            json!([{
                "labels": { "alertname": "a" },
                "annotations": { "summary": "s" },
                "generatorURL": "http://g",
                "startsAt": "2023-11-14T22:13:20.000Z",
                "endsAt": "2023-11-14T22:17:20.000Z",
            }])
        );
        assert_eq!(next(&mut of_sick).await, first, "tried again");
    }

    #[tokio::test]
    async fn alerts_are_relabelled_and_dropped_for_each_alertmanager() {
        net::install_crypto();
        let config = |label: &str, regex: &str, action| crate::model::RelabelConfig {
            source_labels: vec![label.to_owned()],
            regex: regex.to_owned(),
            action,
            ..crate::model::RelabelConfig::default()
        };
        let steps = Relabel::all(&[config("alertname", "noise", crate::model::RelabelAction::Drop)]).expect("steps");
        let (url, mut out) = peer(Vec::new()).await;
        let forwarder = Forwarder::new(Clock::start(), Telemetry::new());
        forwarder.set_targets(vec![target(&url, steps)]);
        forwarder.push(&[alert("noise"), alert("real")]);
        let sent = next(&mut out).await;
        assert_eq!(sent.as_array().map(Vec::len), Some(1));
        assert_eq!(sent[0]["labels"]["alertname"], "real");
    }
}
