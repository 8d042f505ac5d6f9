//! The one builder of HTTP clients, and the one way to read an answer's body.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response};

use super::oauth::{OAuth2, Tokens};
use super::{NetError, Resolver, Secret, SecretSource, SendError, TlsSettings, describe, tls};
use crate::limits;

/// How we name ourselves to servers.
pub const USER_AGENT: &str = concat!("brownout/", env!("CARGO_PKG_VERSION"));

/// Prometheus' `basic_auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    pub username: String,
    pub password: Option<SecretSource>,
}

/// Prometheus' `authorization`: `<kind> <credentials>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Usually `Bearer`.
    pub kind: String,
    pub credentials: SecretSource,
}

/// Prometheus' `http_config`. The default trusts the system's authorities, sends no credentials, follows no redirect and
/// uses no proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    pub tls: TlsSettings,
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    /// Instead of the two: tokens of a server.
    pub oauth2: Option<OAuth2>,
    /// Further headers for each request.
    pub headers: Vec<(String, SecretSource)>,
    /// A proxy for all requests; the environment's is never used.
    pub proxy_url: Option<Secret>,
    pub follow_redirects: bool,
    /// Accept link-local destinations only when this is false: metadata services of clouds live there.
    pub refuse_link_local: bool,
    /// The whole request with its answer; [`limits::DELIVERY_TIME`] when `None`.
    pub timeout: Option<Duration>,
}

/// A client by its settings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    plain: reqwest::Client,
    tokens: Option<Arc<Tokens>>,
}

impl Client {
    /// Sends the request that is built, with a token where the settings ask for one.
    ///
    /// # Errors
    /// No token, or no answer. An answer of any status is none.
    pub async fn send(&self, build: impl FnOnce(&reqwest::Client) -> RequestBuilder) -> Result<Response, SendError> {
        let request = build(&self.plain);
        match &self.tokens {
            Some(tokens) => tokens.send(request).await,
            None => Ok(request.send().await?),
        }
    }
}

/// Builds a client: see [`plain_client`]. Files of `oauth2` are read here too, but for the secret itself.
///
/// # Errors
/// A file that cannot be read, or a setting that cannot be used.
pub fn client(settings: &HttpSettings) -> Result<Client, NetError> {
    let tokens = settings.oauth2.as_ref().map(|oauth2| Tokens::new(oauth2, settings.timeout)).transpose()?;
    Ok(Client { plain: plain_client(settings)?, tokens: tokens.map(Arc::new) })
}

/// Builds a client without tokens: connect timeout, total timeout, few idle connections, HTTP/1.1. All files (certificates, passwords)
/// are read here, so a long-lived caller builds anew after a failure. It blocks for some milliseconds.
///
/// # Errors
/// A file that cannot be read, or a setting that cannot be used.
pub fn plain_client(settings: &HttpSettings) -> Result<reqwest::Client, NetError> {
    tls::install_crypto();
    let redirects = match settings.follow_redirects {
        true => redirects(settings.refuse_link_local),
        false => reqwest::redirect::Policy::none(),
    };
    #[expect(clippy::disallowed_methods, reason = "the one place that builds clients")]
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .tls_backend_preconfigured(tls::named_tls_config(&settings.tls)?)
        .redirect(redirects)
        .referer(false)
        .no_proxy()
        .connect_timeout(limits::CONNECT_TIME)
        .timeout(settings.timeout.unwrap_or(limits::DELIVERY_TIME))
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(60))
        .retry(reqwest::retry::never())
        .default_headers(headers(settings)?)
        .dns_resolver(Arc::new(Guarded { resolver: Resolver::new(), refuse: settings.refuse_link_local }));
    if let Some(url) = &settings.proxy_url {
        let proxy = reqwest::Proxy::all(url.expose());
        builder = builder.proxy(proxy.map_err(|_| NetError::Setting("proxy_url is no URL".to_owned()))?);
    }
    builder.build().map_err(|error| NetError::Setting(format!("cannot build the HTTP client: {}", describe(&error))))
}

/// Follows up to ten redirects, and none to a literal link-local address where that is refused: it never is resolved.
fn redirects(refuse_link_local: bool) -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(move |attempt| {
        let host = attempt.url().host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let local = host.parse::<IpAddr>().is_ok_and(is_link_local);
        if local && refuse_link_local {
            return attempt.error("the redirect leads to a link-local address, which is refused");
        }
        if attempt.previous().len() > 10 { attempt.error("more than 10 redirects") } else { attempt.follow() }
    })
}

fn headers(settings: &HttpSettings) -> Result<HeaderMap, NetError> {
    let mut headers = HeaderMap::new();
    let value = |name: &str, text: &str| match HeaderValue::from_str(text) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Ok(value)
        }
        Err(_) => Err(NetError::Setting(format!("the value of the header {name} has characters a header cannot have"))),
    };
    for (name, source) in &settings.headers {
        let bad = |_| NetError::Setting(format!("{name:?} is no name of a header"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(bad)?;
        headers.append(key, value(name, source.read()?.expose())?);
    }
    if let Some(text) = credentials(settings)? {
        headers.insert(AUTHORIZATION, value("Authorization", text.expose())?);
    }
    Ok(headers)
}

/// The value of the header `Authorization`, if the settings ask for one.
pub(crate) fn credentials(settings: &HttpSettings) -> Result<Option<Secret>, NetError> {
    if let Some(basic) = &settings.basic_auth {
        let password = basic.password.as_ref().map(SecretSource::read).transpose()?.unwrap_or_default();
        let pair = STANDARD.encode(format!("{}:{}", basic.username, password.expose()));
        return Ok(Some(Secret::new(format!("Basic {pair}"))));
    }
    let Some(authorization) = &settings.authorization else {
        return Ok(None);
    };
    let credentials = authorization.credentials.read()?;
    Ok(Some(Secret::new(format!("{} {}", authorization.kind, credentials.expose()))))
}

/// True for addresses that only mean something on this very link (169.254.0.0/16, fe80::/10), among them the metadata
/// services of clouds. A literal address in a URL never reaches the resolver: check it with this.
pub fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

struct Guarded {
    resolver: Resolver,
    refuse: bool,
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (refuse, found) = (self.refuse, self.resolver.resolve(name));
        Box::pin(async move {
            let addresses = allowed(found.await?, refuse)?;
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// The addresses that may be connected to. There is no second lookup: what was checked is what is used.
fn allowed(found: reqwest::dns::Addrs, refuse: bool) -> Result<Vec<SocketAddr>, &'static str> {
    let addresses: Vec<_> = found.filter(|at| !refuse || !is_link_local(at.ip())).collect();
    if addresses.is_empty() { Err("the name leads to a link-local address, which is refused") } else { Ok(addresses) }
}

/// Reads a body of at most `limit` bytes (after decompression). The client's own deadline ends a body that drips.
///
/// # Errors
/// When the body is longer or breaks off.
pub async fn read_capped(mut response: reqwest::Response, limit: usize) -> Result<Bytes, NetError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(NetError::TooLarge(limit));
    }
    // A body of known length is taken in one piece: one that grows leaves its smaller selves behind.
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(length.unwrap_or(0).min(limits::BODY_RESERVED));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(NetError::TooLarge(limit)),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(NetError::Body(describe(&error.without_url()))),
        }
    }
}

#[cfg(test)]
mod tests;
