//! Posts a body to a webhook, with the headers of Standard Webhooks.
//!
//! `webhook-id` is the same over all tries of one delivery, so that a receiver can drop a repetition. A 2xx counts as
//! soon as its head is there; what follows is not waited for.

use reqwest::Method;

use super::exchange::{Exchange, Request};
use super::outcome::Outcome;
use super::render;
use super::settings::WebhookSettings;
use crate::net::{self, SecretSource, sign};
use crate::time::Timestamp;

/// A destination that can be posted to.
#[derive(Debug)]
pub(super) struct Poster {
    url: SecretSource,
    secrets: Vec<SecretSource>,
    exchange: Exchange,
}

impl Poster {
    pub fn new(settings: &WebhookSettings) -> Poster {
        Poster {
            url: settings.url.clone(),
            secrets: settings.signing_secrets.clone(),
            exchange: Exchange::new(&settings.http, settings.timeout),
        }
    }

    /// One try with a JSON body.
    pub async fn post(&self, id: &str, body: Vec<u8>, now: Timestamp) -> Outcome {
        self.post_as("application/json", id, body, &[], now).await
    }

    /// One try.
    pub async fn post_as(
        &self,
        content_type: &str,
        id: &str,
        body: Vec<u8>,
        extra: &[(&'static str, &str)],
        now: Timestamp,
    ) -> Outcome {
        let request = match self.request(content_type, id, body, extra, now) {
            Ok(request) => request,
            Err(error) => return Outcome::retry(error.to_string()),
        };
        match self.exchange.post(request, now).await {
            Ok(()) => Outcome::Accepted,
            Err(outcome) => outcome,
        }
    }

    fn request(
        &self,
        content_type: &str,
        id: &str,
        body: Vec<u8>,
        extra: &[(&'static str, &str)],
        now: Timestamp,
    ) -> Result<Request, net::NetError> {
        let (id, seconds) = (render::one_line(id), now.as_millis().div_euclid(1_000));
        let mut headers = vec![
            ("content-type", content_type.to_owned()),
            ("webhook-id", id.clone()),
            ("webhook-timestamp", seconds.to_string()),
        ];
        if !self.secrets.is_empty() {
            let secrets = self.secrets.iter().map(SecretSource::read).collect::<Result<Vec<_>, _>>()?;
            headers.push(("webhook-signature", sign::standard_webhook(&secrets, &id, seconds, &body)?));
        }
        headers.extend(extra.iter().map(|(name, value)| (*name, render::one_line(value))));
        Ok(Request { method: Method::POST, url: self.url.read()?.expose().to_owned(), headers, body, later: &[] })
    }
}
