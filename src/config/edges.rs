//! The sections about this daemon itself and its neighbours: `serve`, `webhooks`, `log`.

use super::client::{Client, SecretField};
use super::delivery::{Agent, Limit};
use super::values::{Entries, HostPort, HttpUrl, Interval, Pattern, SecretUrl, at_most_one, refuse};
use crate::notify::CallFormat;
use crate::yaml::{At, Decode, Problem, Spanned};

/// `serve`.
#[derive(Clone, Debug)]
pub struct Serve {
    pub listen: Spanned<HostPort>,
    pub external_url: Option<HttpUrl>,
    pub allowed_hosts: Vec<String>,
    pub haproxy_agents: Vec<Agent>,
    pub limits: Entries<Limit>,
    pub cors_origin: Option<Pattern>,
    pub refused: Vec<Problem>,
}

impl Decode for Serve {
    fn decode(at: &mut At<'_>) -> Option<Serve> {
        let mut fields = at.record("serve", "The page, the metrics and every API.")?;
        let listen = fields.or("listen", "127.0.0.1:9797", "the address to listen on, host:port");
        let external_url = fields
            .optional("external_url", "how people reach the page; used in notifications; if missing from `listen`");
        let allowed_hosts = fields.or(
            "allowed_hosts",
            "[]",
            "further names in the header `Host` under which requests are accepted, besides addresses and localhost",
        );
        let haproxy_agents = fields.or("haproxy_agents", "[]", "ports that answer HAProxy's agent-check");
        let limits = fields.or("limits", "{}", "limits that are enforced here, by name");
        let cors_origin = fields.optional(
            "cors_origin",
            "pages of other sites whose origin matches this expression as a whole may read Prometheus' endpoints; if \
             missing none (Prometheus' flag `--web.cors.origin`, which lets all read)",
        );
        let mut refused = Vec::new();
        let help = "listen on 127.0.0.1 and put a proxy with TLS and users in front";
        let keys =
            ["tls_server_config", "basic_auth_users", "http_server_config", "rate_limit", "tls", "users", "tokens"];
        refuse(&mut fields, &keys, "`{}` is not supported in this version", help, &mut refused);
        fields.finish();
        Some(Serve { listen, external_url, allowed_hosts, haproxy_agents, limits, cors_origin, refused })
    }
}

/// One of `webhooks`: where scale rules post their wishes.
#[derive(Clone, Debug)]
pub struct ScaleWebhook {
    pub url: Option<Spanned<SecretUrl>>,
    pub url_file: Option<Spanned<String>>,
    pub secret: SecretField,
    pub format: CallFormat,
    pub timeout: Option<Interval>,
    pub http_config: Option<Client>,
}

impl Decode for CallFormat {
    fn decode(at: &mut At<'_>) -> Option<CallFormat> {
        at.one_of(&[
            ("json", CallFormat::Json),
            ("cloudevents", CallFormat::CloudEvents),
            ("cloudevents-binary", CallFormat::CloudEventsBinary),
        ])
    }
}

impl Decode for ScaleWebhook {
    fn decode(at: &mut At<'_>) -> Option<ScaleWebhook> {
        let doc = "Where scale rules post their wishes: signed (Standard Webhooks), with an idempotency key.";
        let mut fields = at.record("webhook", doc)?;
        at_most_one(&mut fields, &["url", "url_file"]);
        let url = fields.optional("url", "where the request goes");
        let url_file = fields.optional("url_file", "a file that holds the address");
        if !fields.has("url") && !fields.has("url_file") {
            let help = Some("add `url: https://host/path`".to_owned());
            fields.problem("url", "a webhook needs `url` or `url_file`", help);
        }
        let docs = ["the key that signs the request: `whsec_` and base64", "a file that holds the key"];
        let secret = SecretField::read(&mut fields, "secret", "secret_file", docs);
        let format = fields.or(
            "format",
            "json",
            "`cloudevents`: the wish is the data of a CloudEvent 1.0 in the body; `cloudevents-binary`: its attributes are \
             `ce-` headers; the signature is over the body in each form",
        );
        let timeout = fields.optional("timeout", "how long a request may take; if missing 30s");
        let http_config = fields.optional("http_config", "how the request is made");
        fields.finish();
        Some(ScaleWebhook { url, url_file, secret, format, timeout, http_config })
    }
}

/// `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

impl LogLevel {
    const WORDS: [(&'static str, LogLevel); 4] =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];

    /// The word of the configuration and of `tracing`.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word)
    }
}

impl Decode for LogLevel {
    fn decode(at: &mut At<'_>) -> Option<LogLevel> {
        at.one_of(&LogLevel::WORDS)
    }
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Decode for LogFormat {
    fn decode(at: &mut At<'_>) -> Option<LogFormat> {
        at.one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    }
}

/// `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

impl Decode for Log {
    fn decode(at: &mut At<'_>) -> Option<Log> {
        let mut fields = at.record("log", "The daemon's own log, on the standard error output.")?;
        let level = fields.or("level", "info", "how much is told");
        let format = fields.or("format", "text", "one line of text, or one JSON object, an event");
        fields.finish();
        Some(Log { level, format })
    }
}
