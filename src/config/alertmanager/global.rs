//! Alertmanager's `global`: defaults of its receivers.

use std::time::Duration;

use super::service_values::{self, Values};
use super::services;
use crate::config::client::{Client, SecretField, Tls};
use crate::config::values::HostPort;
use crate::yaml::{At, Decode, Fields, Spanned};

/// `alertmanager.global`.
#[derive(Clone, Debug)]
pub struct AlertmanagerGlobal {
    pub resolve_timeout: Duration,
    pub http_config: Option<Client>,
    pub smtp: Smtp,
    /// What services take where a receiver does not say otherwise.
    pub services: Values,
}

/// How mail is sent: `smtp_*` in `global`, or the same without the prefix in an `email_configs`.
#[derive(Clone, Debug, Default)]
pub struct Smtp {
    pub from: Option<String>,
    pub smarthost: Option<HostPort>,
    pub hello: Option<String>,
    pub auth_username: Option<String>,
    pub auth_password: SecretField,
    pub auth_secret: SecretField,
    pub auth_identity: Option<String>,
    pub require_tls: Option<bool>,
    pub tls_config: Option<Tls>,
    pub force_implicit_tls: Option<bool>,
}

impl Smtp {
    /// This, and where it says nothing, the other.
    pub fn or(&self, other: &Smtp) -> Smtp {
        let text = |a: &Option<String>, b: &Option<String>| a.clone().or_else(|| b.clone());
        Smtp {
            from: text(&self.from, &other.from),
            smarthost: self.smarthost.clone().or_else(|| other.smarthost.clone()),
            hello: text(&self.hello, &other.hello),
            auth_username: text(&self.auth_username, &other.auth_username),
            auth_password: self.auth_password.or(&other.auth_password),
            auth_secret: self.auth_secret.or(&other.auth_secret),
            auth_identity: text(&self.auth_identity, &other.auth_identity),
            require_tls: self.require_tls.or(other.require_tls),
            tls_config: self.tls_config.clone().or_else(|| other.tls_config.clone()),
            force_implicit_tls: self.force_implicit_tls.or(other.force_implicit_tls),
        }
    }
}

/// A text that counts as missing when it is empty.
pub(super) fn text(fields: &mut Fields<'_>, key: &'static str, doc: &'static str) -> Option<String> {
    fields.optional(key, doc).filter(|text: &String| !text.is_empty())
}

/// `host:port`, or nothing when it is empty.
pub(super) fn host_port(fields: &mut Fields<'_>, key: &'static str, doc: &'static str) -> Option<HostPort> {
    let text: Option<Spanned<String>> = fields.optional(key, doc);
    let text = text.filter(|text| !text.value.is_empty())?;
    match HostPort::parse(&text.value) {
        Ok(address) => Some(address),
        Err(message) => {
            fields.push(text.place.error(message, None));
            // Given, if wrongly: nobody needs to hear that it is missing too.
            Some(HostPort { host: String::new(), port: 0 })
        }
    }
}

impl Decode for AlertmanagerGlobal {
    fn decode(at: &mut At<'_>) -> Option<AlertmanagerGlobal> {
        let mut fields = at.record("alertmanager global", "Defaults of the receivers; as in Alertmanager.")?;
        let resolve_timeout =
            fields.or("resolve_timeout", "5m", "when an alert from outside that has no end counts as resolved");
        let http_config = fields.optional("http_config", "how requests are made, if a receiver does not say otherwise");
        let from = text(&mut fields, "smtp_from", "the sender's address");
        let smarthost = host_port(&mut fields, "smtp_smarthost", "the mail server, host:port");
        let hello: String = fields.or("smtp_hello", "localhost", "how we name ourselves to the mail server");
        let auth_username = text(&mut fields, "smtp_auth_username", "the user at the mail server");
        let docs = ["the password at the mail server", "a file that holds it"];
        let auth_password = SecretField::read(&mut fields, "smtp_auth_password", "smtp_auth_password_file", docs);
        let docs = ["the secret for CRAM-MD5", "a file that holds it"];
        let auth_secret = SecretField::read(&mut fields, "smtp_auth_secret", "smtp_auth_secret_file", docs);
        let auth_identity = text(&mut fields, "smtp_auth_identity", "the identity for PLAIN");
        let require_tls = fields.or("smtp_require_tls", "true", "whether mail is sent over TLS only");
        let tls_config = fields.optional("smtp_tls_config", "TLS to the mail server");
        let force_implicit_tls =
            fields.optional("smtp_force_implicit_tls", "true: TLS from the start; if missing, so on port 465");
        let services = service_values::read(&mut fields, &services::GLOBAL);
        let given = service_values::holding(&services);
        for pair in services::GLOBAL_EXCLUSIVE {
            service_values::exclude(&mut fields, &given, pair);
        }
        fields.finish();
        let smtp = Smtp {
            from,
            smarthost,
            hello: Some(hello).filter(|hello| !hello.is_empty()),
            auth_username,
            auth_password,
            auth_secret,
            auth_identity,
            require_tls: Some(require_tls),
            tls_config,
            force_implicit_tls,
        };
        Some(AlertmanagerGlobal { resolve_timeout, http_config, smtp, services })
    }
}
