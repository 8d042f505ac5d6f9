//! HTTP clients and TLS.

use crate::config::checker::Checker;
use crate::config::client::{Client, SecretField, Tls};
use crate::config::values::http_url;
use crate::net::{Authorization, BasicAuth, HttpSettings, SecretSource, TlsSettings};

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

/// A client that may send no headers to a proxy: any but a probe's.
pub fn client(check: &mut Checker<'_>, client: &Client) -> HttpSettings {
    for (name, _) in &client.proxy_connect_header.0 {
        check.error(&name.place, "`proxy_connect_header` is only supported for probes", "remove it");
    }
    probe_client(check, client)
}

/// A client; its files must be readable.
pub fn probe_client(check: &mut Checker<'_>, client: &Client) -> HttpSettings {
    check.refused(&client.refused);
    if let Some(proxy) = &client.proxy_url
        && let Err(message) = http_url(proxy.value.expose())
    {
        check.error(&proxy.place, message, "write it as http://proxy:3128");
    }
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
