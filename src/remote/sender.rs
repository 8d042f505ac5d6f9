//! One request at a time, oldest first: sent, tried again with growing pauses, or given up.
//!
//! Follows the specification's section on retries: a server's trouble (5xx), "too many requests" (429) and a connection that
//! fails are tried again for ever, with jitter, and not before the time that the receiver names in `Retry-After`; any other
//! refusal drops the request and counts its samples. A refusal of the credentials makes them be read again, once.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};

use super::backlog::{Backlog, Names};
use super::queue::Waiting;
use super::settings::Settings;
use crate::limits;
use crate::net;
use crate::rng::Rng;
use crate::telemetry::{Metric, Telemetry};
use crate::time::Clock;

/// What became of one try.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tried {
    Accepted,
    /// Not now; the receiver may say when.
    Later(String, Option<Duration>),
    /// Never.
    Refused(String),
    /// The credentials are not good, perhaps no longer.
    Unauthorised(String),
}

/// Sends requests to one receiver.
pub(super) struct Sender {
    pub settings: Arc<Settings>,
    pub names: Arc<Names>,
    pub clock: Clock,
    pub telemetry: Telemetry,
    client: Option<net::Client>,
    rng: Rng,
}

impl Sender {
    pub(super) fn new(settings: Arc<Settings>, names: Arc<Names>, clock: Clock, telemetry: Telemetry) -> Sender {
        let seed = clock.now().as_millis().unsigned_abs() ^ u64::from(crc32fast::hash(settings.name.as_bytes()));
        Sender { settings, names, clock, telemetry, client: None, rng: Rng::seeded(seed) }
    }

    /// Sends what is in the backlog, until it is dropped.
    pub(super) async fn run(mut self, backlog: Backlog) {
        loop {
            match backlog.next().await {
                Ok(waiting) => self.deliver(&backlog, waiting).await,
                Err(error) => {
                    tracing::error!(remote = %self.names.name, %error, "the queue cannot be read");
                    tokio::time::sleep(limits::REMOTE_DISK_PAUSE).await;
                }
            }
        }
    }

    async fn deliver(&mut self, backlog: &Backlog, waiting: Waiting) {
        let samples = f64::from(waiting.record.samples);
        let (names, telemetry) = (Arc::clone(&self.names), self.telemetry.clone());
        let mut pause = self.settings.queue.min_backoff;
        let mut read_again = false;
        let mut complained = false;
        loop {
            let limit = self.settings.queue.sample_age_limit;
            if !limit.is_zero() && Backlog::age(&waiting, self.clock.now()) > limit {
                telemetry.add(Metric::RemoteSamplesDropped, &names.labels_for("too_old"), samples);
                break;
            }
            match self.post(&waiting.record.body).await {
                Tried::Accepted => {
                    let labels = names.labels();
                    telemetry.add(Metric::RemoteSamples, &labels, samples);
                    telemetry.add(Metric::RemoteBytes, &labels, waiting.record.body.len() as f64);
                    let newest = waiting.record.newest.as_secs_f64();
                    telemetry.set(Metric::RemoteHighestSentTimestamp, &labels, newest);
                    if complained {
                        tracing::info!(remote = %names.name, "the receiver takes samples again");
                    }
                    break;
                }
                Tried::Unauthorised(reason) if !read_again => {
                    read_again = true;
                    tracing::debug!(remote = %names.name, reason, "the credentials are read again");
                    continue;
                }
                Tried::Refused(reason) | Tried::Unauthorised(reason) => {
                    telemetry.add(Metric::RemoteSamplesFailed, &names.labels(), samples);
                    tracing::error!(remote = %names.name, samples, reason, "the receiver refuses samples; they are dropped");
                    break;
                }
                Tried::Later(reason, after) => {
                    telemetry.add(Metric::RemoteSamplesRetried, &names.labels(), samples);
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(remote = %names.name, reason, "the receiver does not take samples; they wait in the queue");
                    }
                    let wait = wait(pause, after, &mut self.rng);
                    pause = (pause * 2).min(self.settings.queue.max_backoff);
                    tokio::time::sleep(wait).await;
                    if !backlog.has(&waiting) {
                        return;
                    }
                }
            }
        }
        backlog.took(waiting).await;
    }

    /// Posts a body. After a failure the client, and with it files with secrets and certificates, is made anew.
    pub(super) async fn post(&mut self, body: &[u8]) -> Tried {
        let client = match self.client.clone() {
            Some(client) => client,
            None => {
                let settings = Arc::clone(&self.settings);
                let made = tokio::task::spawn_blocking(move || net::client(&settings.http)).await;
                match made {
                    Ok(Ok(client)) => self.client.insert(client).clone(),
                    Ok(Err(error)) => return Tried::Later(error.to_string(), None),
                    Err(error) => return Tried::Later(error.to_string(), None),
                }
            }
        };
        let sent = client.send(|client| {
            let request = client.post(&self.settings.url).header(CONTENT_TYPE, "application/x-protobuf");
            let request = request.header(CONTENT_ENCODING, "snappy");
            request.header("X-Prometheus-Remote-Write-Version", "0.1.0").body(body.to_vec())
        });
        let tried = match sent.await {
            Err(error) => Tried::Later(error.to_string(), None),
            Ok(response) => {
                let code = response.status().as_u16();
                let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let said = match code {
                    200..300 => String::new(),
                    _ => said(response).await,
                };
                judge(code, after, &said, self.settings.queue.retry_on_http_429)
            }
        };
        if tried != Tried::Accepted {
            self.client = None;
        }
        tried
    }
}

/// What a code means.
fn judge(code: u16, after: Option<u64>, said: &str, retry_429: bool) -> Tried {
    let reason = format!("code {code}: {said}");
    match code {
        200..300 => Tried::Accepted,
        500.. => Tried::Later(reason, after.map(Duration::from_secs)),
        429 if retry_429 => Tried::Later(reason, after.map(Duration::from_secs)),
        401 | 403 => Tried::Unauthorised(reason),
        _ => Tried::Refused(reason),
    }
}

/// The beginning of an answer as one line.
async fn said(response: reqwest::Response) -> String {
    let body = net::read_capped(response, limits::WEBHOOK_REPLY_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limits::REPLY_CHARS).collect()
}

/// The pause before the next try: half of it at least, the rest by chance; never less than the receiver asks for.
fn wait(pause: Duration, after: Option<Duration>, rng: &mut Rng) -> Duration {
    let jittered = pause / 2 + (pause / 2).mul_f64(rng.unit());
    after.map_or(jittered, |after| after.min(limits::RETRY_AFTER).max(jittered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_tried_again_and_refusals_are_not() {
        let later = |code, after: Option<u64>| Tried::Later(format!("code {code}: x"), after.map(Duration::from_secs));
        for (code, after, retry_429, expected) in [
            (200, None, true, Tried::Accepted),
            (204, Some(3), true, Tried::Accepted),
            (500, None, true, later(500, None)),
            (503, Some(7), true, later(503, Some(7))),
            (429, Some(2), true, later(429, Some(2))),
            (429, Some(2), false, Tried::Refused("code 429: x".into())),
            (400, None, true, Tried::Refused("code 400: x".into())),
            (404, Some(9), true, Tried::Refused("code 404: x".into())),
            (302, None, true, Tried::Refused("code 302: x".into())),
            (401, None, true, Tried::Unauthorised("code 401: x".into())),
        ] {
            assert_eq!(judge(code, after, "x", retry_429), expected, "{code}");
        }
    }

    #[test]
    fn pauses_have_jitter_and_heed_the_receiver() {
        let mut rng = Rng::seeded(1);
        let second = Duration::from_secs(1);
        for _ in 0..100 {
            let free = wait(second, None, &mut rng);
            assert!(free >= second / 2 && free <= second, "{free:?}");
        }
        assert_eq!(wait(second, Some(9 * second), &mut rng), 9 * second);
        assert!(wait(second, Some(second / 100), &mut rng) >= second / 2);
        assert_eq!(wait(second, Some(Duration::MAX), &mut rng), limits::RETRY_AFTER);
    }
}
