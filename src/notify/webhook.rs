//! Posts a body to a webhook, with the headers of Standard Webhooks.
//!
//! `webhook-id` is the same over all tries of one delivery, so that a receiver can drop a repetition. A 2xx counts as
//! soon as its head is there; what follows is not waited for.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::outcome::Outcome;
use super::render;
use super::settings::WebhookSettings;
use crate::limits;
use crate::net::{self, HttpSettings, SecretSource, sign};
use crate::time::Timestamp;

/// How long an error's body is waited for: it only makes the message better.
const BODY_TIME: Duration = Duration::from_secs(2);

/// A destination that can be posted to.
#[derive(Debug)]
pub(super) struct Poster {
    url: SecretSource,
    http: HttpSettings,
    secrets: Vec<SecretSource>,
    /// Kept after success; after a failure it is built anew, so that changed files are read.
    client: Mutex<Option<Client>>,
}

impl Poster {
    pub fn new(settings: &WebhookSettings) -> Poster {
        let mut http = settings.http.clone();
        let most = settings.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(limits::DELIVERY_TIME);
        http.timeout = Some(most.min(limits::DELIVERY_TIME));
        Poster { url: settings.url.clone(), http, secrets: settings.signing_secrets.clone(), client: Mutex::new(None) }
    }

    /// One try.
    pub async fn post(&self, id: &str, body: Vec<u8>, extra: &[(&'static str, &str)], now: Timestamp) -> Outcome {
        let outcome = match self.send(id, body, extra, now).await {
            Ok(response) => judge(response, now).await,
            Err(outcome) => outcome,
        };
        if outcome != Outcome::Accepted {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome
    }

    async fn send(
        &self,
        id: &str,
        body: Vec<u8>,
        extra: &[(&'static str, &str)],
        now: Timestamp,
    ) -> Result<Response, Outcome> {
        let setting = |error: net::NetError| Outcome::retry(error.to_string());
        let text = self.url.read().map_err(setting)?;
        let url = self.destination(text.expose())?;
        let seconds = now.as_millis().div_euclid(1_000);
        let mut request = self
            .client()
            .await
            .map_err(setting)?
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", render::one_line(id))
            .header("webhook-timestamp", seconds.to_string());
        if !self.secrets.is_empty() {
            let secrets: Result<Vec<_>, _> = self.secrets.iter().map(SecretSource::read).collect();
            let id = render::one_line(id);
            let signature = sign::standard_webhook(&secrets.map_err(setting)?, &id, seconds, &body).map_err(setting)?;
            request = request.header("webhook-signature", signature);
        }
        for (name, value) in extra {
            request = request.header(*name, render::one_line(value));
        }
        let sent = request.body(body).send().await;
        sent.map_err(|error| {
            let problem = net::describe(&error.without_url());
            Outcome::retry(format!("post to {}: {problem}", net::origin(text.expose())))
        })
    }

    fn destination(&self, text: &str) -> Result<Url, Outcome> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url =
            url.ok_or_else(|| Outcome::retry("the webhook's URL is none: write http:// or https:// and a host"))?;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let local = host.parse::<IpAddr>().is_ok_and(net::is_link_local);
        if local && self.http.refuse_link_local {
            return Err(Outcome::refused(format!("{host} is a link-local address, which is refused")));
        }
        Ok(url)
    }

    async fn client(&self) -> Result<Client, net::NetError> {
        let kept = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = kept {
            return Ok(client);
        }
        let settings = self.http.clone();
        let built = tokio::task::spawn_blocking(move || net::client(&settings)).await;
        let client = built.map_err(|_| net::NetError::Setting("the HTTP client's set-up broke off".to_owned()))??;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

async fn judge(response: Response, now: Timestamp) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Accepted;
    }
    let after = retry_after(response.headers(), now);
    let body = tokio::time::timeout(BODY_TIME, net::read_capped(response, limits::WEBHOOK_REPLY_BYTES)).await;
    let said = match body {
        Ok(Ok(bytes)) => render::shortened(&render::one_line(&String::from_utf8_lossy(&bytes)), limits::REPLY_CHARS),
        _ => String::new(),
    };
    let reason = if said.is_empty() { format!("answered {status}") } else { format!("answered {status}: {said}") };
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || later.contains(&status) {
        return Outcome::retry_code(reason, status.as_u16(), after);
    }
    if status.is_redirection() {
        return Outcome::refused(format!("{reason} (redirects are not followed: write the final URL)"));
    }
    Outcome::refused(reason)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()).since(now))
}
