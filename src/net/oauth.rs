//! OAuth 2.0's client credentials (RFC 6749, 4.4), as in Prometheus' `oauth2`: a token is fetched when a request needs one,
//! sent with every request until shortly before its end, and fetched anew when it is not taken any more.
//!
//! The client says who it is in the header `Authorization`; to a server that does not take this, in the body. What
//! worked is remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{HttpSettings, NetError, Secret, SecretSource, SendError, TlsSettings, describe, http, origin};
use crate::limits;
use crate::time::Stopwatch;

/// A token is not used so shortly before its end.
const SPARE: Duration = Duration::from_secs(10);

/// Prometheus' `oauth2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    pub client_id: String,
    pub client_secret: Option<SecretSource>,
    pub scopes: Vec<String>,
    pub token_url: String,
    /// Further fields of the form that asks for a token.
    pub endpoint_params: BTreeMap<String, String>,
    pub tls: TlsSettings,
    pub proxy_url: Option<Secret>,
}

/// Where the tokens of one client come from.
#[derive(Debug)]
pub(super) struct Tokens {
    settings: OAuth2,
    client: reqwest::Client,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Token>,
    /// The server wants the client's name and secret in the body.
    in_body: bool,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    fetched: Stopwatch,
    /// How long it may be used; `None` until it is refused.
    good_for: Option<Duration>,
}

/// RFC 6749, 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: String,
    expires_in: Option<serde_json::Value>,
}

/// RFC 6749, 5.2.
#[derive(Default, Deserialize)]
struct Denied {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    /// Builds the client for the token's server; certificates are read here.
    pub(super) fn new(settings: &OAuth2, timeout: Option<Duration>) -> Result<Tokens, NetError> {
        let http = HttpSettings {
            tls: settings.tls.clone(),
            proxy_url: settings.proxy_url.clone(),
            follow_redirects: true,
            timeout,
            ..HttpSettings::default()
        };
        let client = http::plain_client(&http)?;
        Ok(Tokens { settings: settings.clone(), client, state: Mutex::default() })
    }

    /// The value of the header `Authorization`, and whether it was fetched just now. Of requests at one time one fetches
    /// and the others wait for it.
    async fn header(&self) -> Result<(HeaderValue, bool), NetError> {
        let mut state = self.state.lock().await;
        let good = |token: &&Token| token.good_for.is_none_or(|span| token.fetched.elapsed() < span);
        if let Some(token) = state.kept.as_ref().filter(good) {
            return Ok((token.header.clone(), false));
        }
        let token = self.fetch(&mut state).await.map_err(|problem| {
            NetError::Setting(format!("no oauth2 token from {}: {problem}", origin(&self.settings.token_url)))
        })?;
        Ok((state.kept.insert(token).header.clone(), true))
    }

    /// Sends a request with a token. A token that is not taken any more is fetched anew, once.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, SendError> {
        let again = request.try_clone();
        let (header, fresh) = self.header().await?;
        let response = request.header(AUTHORIZATION, header.clone()).send().await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.state.lock().await.kept.take_if(|kept| kept.header == header);
        match again.filter(|_| !fresh) {
            Some(again) => Ok(again.header(AUTHORIZATION, self.header().await?.0).send().await?),
            None => Ok(response),
        }
    }

    async fn fetch(&self, state: &mut State) -> Result<Token, String> {
        let secret = self.settings.client_secret.as_ref().map(SecretSource::read).transpose();
        let secret = secret.map_err(|error| error.to_string())?.unwrap_or_default();
        match self.ask(&secret, state.in_body).await {
            Ok(token) => Ok(token),
            // Some servers look only into the body, others only at the header.
            Err((true, why)) => match self.ask(&secret, !state.in_body).await {
                Ok(token) => {
                    state.in_body = !state.in_body;
                    Ok(token)
                }
                Err(_) => Err(why),
            },
            Err((false, why)) => Err(why),
        }
    }

    /// One question; on an error also whether the server answered and denied it.
    async fn ask(&self, secret: &Secret, in_body: bool) -> Result<Token, (bool, String)> {
        let OAuth2 { client_id, scopes, token_url, endpoint_params, .. } = &self.settings;
        let scopes = scopes.join(" ");
        let mut form = vec![("grant_type", "client_credentials")];
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        form.extend(endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if in_body {
            form.push(("client_id", client_id));
            if !secret.expose().is_empty() {
                form.push(("client_secret", secret.expose()));
            }
        }
        let mut request = self.client.post(token_url).header(ACCEPT, "application/json").form(&form);
        if !in_body {
            // RFC 6749, 2.3.1: both are form-encoded first.
            request = request.basic_auth(form_encoded(client_id), Some(form_encoded(secret.expose())));
        }
        let fetched = Stopwatch::start();
        let sent = request.send().await.map_err(|error| (false, describe(&error.without_url())))?;
        let status = sent.status();
        let body = super::read_capped(sent, limits::WEBHOOK_REPLY_BYTES).await;
        let body = body.map_err(|error| (false, error.to_string()))?;
        if !status.is_success() {
            let denied: Denied = serde_json::from_slice(&body).unwrap_or_default();
            let said =
                [denied.error, denied.error_description].map(|text| text.chars().take(limits::REPLY_CHARS).collect());
            let said: Vec<String> = said.into_iter().filter(|text: &String| !text.is_empty()).collect();
            let why = if said.is_empty() { String::new() } else { format!(": {}", said.join(": ")) };
            let denied = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            return Err((denied, format!("answered {status}{why}")));
        }
        let granted: Granted = serde_json::from_slice(&body)
            .map_err(|_| (true, "the answer is no JSON with an `access_token`".to_owned()))?;
        token(&granted, fetched).map_err(|why| (false, why))
    }
}

fn form_encoded(text: &str) -> String {
    let url = reqwest::Url::parse_with_params("http://host/", [(text, "")]);
    let query = url.ok().and_then(|url| Some(url.query()?.strip_suffix('=')?.to_owned()));
    query.unwrap_or_default()
}

fn token(granted: &Granted, fetched: Stopwatch) -> Result<Token, String> {
    if granted.access_token.is_empty() {
        return Err("the `access_token` is empty".to_owned());
    }
    let kind = match granted.token_type.as_str() {
        kind if kind.is_empty() || kind.eq_ignore_ascii_case("bearer") => "Bearer",
        kind => kind,
    };
    let text = format!("{kind} {}", granted.access_token);
    let mut header = HeaderValue::from_str(&text).map_err(|_| "the token has characters a header cannot have")?;
    header.set_sensitive(true);
    let seconds = granted.expires_in.as_ref().and_then(|span| span.as_f64().or_else(|| span.as_str()?.parse().ok()));
    let span = seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { header, fetched, good_for: span.map(|span| span.saturating_sub(SPARE)) })
}

#[cfg(test)]
mod tests;
