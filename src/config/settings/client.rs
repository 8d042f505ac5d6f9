//! HTTP clients and TLS.

use crate::config::checker::Checker;
use crate::config::client::{Client, OAuth2 as OAuth2Section, SecretField, Tls};
use crate::config::values::http_url;
use crate::net::{Authorization, BasicAuth, HttpSettings, OAuth2, Secret, SecretSource, TlsSettings};
use crate::yaml::Spanned;

/// A secret's source; a file must be readable.
pub fn secret(check: &mut Checker<'_>, field: &SecretField) -> Option<SecretSource> {
    match (&field.inline, &field.file) {
        (_, Some(file)) => Some(SecretSource::File(check.file("the secret file", file))),
        (Some(secret), None) => Some(SecretSource::Inline(secret.value.clone())),
        (None, None) => None,
    }
}

/// TLS; its files must be readable.
pub fn tls(check: &mut Checker<'_>, tls: &Tls) -> TlsSettings {
    check.refused(&tls.refused);
    let mut file = |what, file: &Option<_>| file.as_ref().map(|file| check.file(what, file));
    TlsSettings {
        ca_file: file("the CA file", &tls.ca_file),
        cert_file: file("the certificate file", &tls.cert_file),
        key_file: file("the key file", &tls.key_file),
        server_name: tls.server_name.clone(),
        insecure_skip_verify: tls.insecure_skip_verify,
        min_version: tls.min_version.map(|word| word.0),
        max_version: tls.max_version.map(|word| word.0),
    }
}

/// A client that may send no headers to a proxy: any but a probe's; and may fetch tokens.
pub fn client(check: &mut Checker<'_>, client: &Client) -> HttpSettings {
    for (name, _) in &client.proxy_connect_header.0 {
        check.error(&name.place, "`proxy_connect_header` is only supported for probes", "remove it");
    }
    let oauth2 = client.oauth2.as_ref().map(|oauth2| tokens(check, &oauth2.value));
    HttpSettings { oauth2, ..probe_or_other(check, client) }
}

/// Where tokens come from; files must be readable.
fn tokens(check: &mut Checker<'_>, oauth2: &OAuth2Section) -> OAuth2 {
    check.refused(&oauth2.refused);
    if let Err(message) = http_url(&oauth2.token_url.value) {
        check.error(&oauth2.token_url.place, message, "write it as https://login.example.org/oauth2/token");
    }
    check_proxy(check, oauth2.proxy_url.as_ref());
    OAuth2 {
        client_id: oauth2.client_id.clone(),
        client_secret: secret(check, &oauth2.client_secret),
        scopes: oauth2.scopes.clone(),
        token_url: oauth2.token_url.value.clone(),
        endpoint_params: oauth2
            .endpoint_params
            .0
            .iter()
            .map(|(name, value)| (name.value.clone(), value.clone()))
            .collect(),
        tls: tls(check, &oauth2.tls),
        proxy_url: oauth2.proxy_url.as_ref().map(|proxy| proxy.value.clone()),
    }
}

fn check_proxy(check: &mut Checker<'_>, proxy: Option<&Spanned<Secret>>) {
    if let Some(proxy) = proxy
        && let Err(message) = http_url(proxy.value.expose())
    {
        check.error(&proxy.place, message, "write it as http://proxy:3128");
    }
}

/// The client of a probe: every request of it is one that is measured, so it fetches no tokens.
pub fn probe_client(check: &mut Checker<'_>, client: &Client) -> HttpSettings {
    if let Some(oauth2) = &client.oauth2 {
        let help =
            "use `authorization` with `credentials_file`, and let something else keep the token in the file fresh";
        check.error(&oauth2.place, "`oauth2` is not supported for probes", help);
    }
    probe_or_other(check, client)
}

/// A client; its files must be readable.
fn probe_or_other(check: &mut Checker<'_>, client: &Client) -> HttpSettings {
    check.refused(&client.refused);
    check_proxy(check, client.proxy_url.as_ref());
    let basic_auth = client
        .basic_auth
        .as_ref()
        .map(|basic| BasicAuth { username: basic.username.clone(), password: secret(check, &basic.password) });
    let authorization = match &client.authorization {
        Some(authorization) => secret(check, &authorization.credentials)
            .map(|credentials| Authorization { kind: authorization.kind.clone(), credentials }),
        None => {
            secret(check, &client.bearer).map(|credentials| Authorization { kind: "Bearer".to_owned(), credentials })
        }
    };
    let mut headers = Vec::new();
    for (name, values) in &client.headers.0 {
        let plain = values.values.iter().map(|value| SecretSource::Inline(value.as_str().into()));
        let hidden = values.secrets.iter().cloned().map(SecretSource::Inline);
        let mut sources: Vec<SecretSource> = plain.chain(hidden).collect();
        sources.extend(values.files.iter().map(|file| SecretSource::File(check.file("the header's file", file))));
        headers.extend(sources.into_iter().map(|source| (name.value.clone(), source)));
    }
    HttpSettings {
        tls: tls(check, &client.tls),
        basic_auth,
        authorization,
        headers,
        proxy_url: client.proxy_url.as_ref().map(|proxy| proxy.value.clone()),
        follow_redirects: client.follow_redirects,
        ..HttpSettings::default()
    }
}
