//! `webhooks` and `serve`.

use std::collections::BTreeMap;

use regex::Regex;

use super::client;
use crate::config::checker::Checker;
use crate::config::edges::{ScaleWebhook, Serve};
use crate::config::values::{Entries, HostPort, SecretUrl, compile};
use crate::net::{SecretSource, sign};
use crate::notify::WebhookSettings;
use crate::yaml::Spanned;

/// All webhooks by their names.
pub fn webhooks(check: &mut Checker<'_>, webhooks: &Entries<ScaleWebhook>) -> BTreeMap<String, WebhookSettings> {
    let mut all = BTreeMap::new();
    for (name, webhook) in &webhooks.0 {
        let url = address(check, &webhook.url, &webhook.url_file);
        let secret = client::secret(check, &webhook.secret);
        if let Some(key) = &webhook.secret.inline
            && let Err(error) = sign::check_secret(&key.value)
        {
            check.error(&key.place, error.to_string(), "");
        }
        if secret.is_none() {
            let message = format!("requests to `{}` are not signed", name.value);
            check.warning(&name.place, message, "add `secret_file: ...`, so that the receiver can tell who asks");
        }
        let Some(url) = url else { continue };
        let mut settings = WebhookSettings::new(url);
        if let Some(config) = &webhook.http_config {
            let usual = settings.http;
            settings.http = client::client(check, config);
            settings.http.follow_redirects = usual.follow_redirects;
            settings.http.refuse_link_local = usual.refuse_link_local;
        }
        settings.timeout = webhook.timeout.map(|timeout| timeout.0);
        settings.signing_secrets.extend(secret);
        settings.format = webhook.format;
        all.insert(name.value.clone(), settings);
    }
    all
}

/// An address from the configuration or a file. One that is a template is refused: it would let an alert choose where
/// requests go.
pub fn address(
    check: &mut Checker<'_>,
    url: &Option<Spanned<SecretUrl>>,
    file: &Option<Spanned<String>>,
) -> Option<SecretSource> {
    if let Some(file) = file {
        return Some(SecretSource::File(check.file("the file with the address", file)));
    }
    let url = url.as_ref()?;
    if url.value.0.expose().contains("{{") {
        let help = "write the address out; use one receiver for each address";
        check.error(&url.place, "an address cannot be a template here: an alert could choose where it goes", help);
    }
    Some(SecretSource::Inline(url.value.0.clone()))
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    pub listen: HostPort,
    /// How people reach the page, without a slash at its end.
    pub external_url: String,
    /// Further good names in the header `Host`.
    pub allowed_hosts: Vec<String>,
    /// Whose pages may read Prometheus' endpoints; anchored.
    pub cors_origin: Option<Regex>,
}

/// `serve`.
pub fn serve(check: &mut Checker<'_>, serve: &Serve) -> ServeSettings {
    check.refused(&serve.refused);
    let listen = serve.listen.value.clone();
    let local = ["localhost", "127.0.0.1", "::1"].contains(&listen.host.as_str());
    if !local {
        let help = "listen on 127.0.0.1 and put a proxy with TLS and users in front, unless the network is closed";
        let message = "everybody who reaches this address can read all metrics, pin switches and silence alerts";
        check.warning(&serve.listen.place, message, help);
    }
    let host = if listen.host.is_empty() { "127.0.0.1" } else { &listen.host };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let external = serve.external_url.as_ref().map(|url| url.0.trim_end_matches('/').to_owned());
    let external_url = external.unwrap_or_else(|| format!("http://{host}:{}", listen.port));
    let cors_origin = serve.cors_origin.as_ref();
    let cors_origin = cors_origin.and_then(|pattern| compile(&format!("^(?:{})$", pattern.0.as_str())).ok());
    ServeSettings { listen, external_url, allowed_hosts: serve.allowed_hosts.clone(), cors_origin }
}
