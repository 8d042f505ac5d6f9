//! Alertmanager's `receivers`: email, webhook and our own exec here, the services by their table.

use std::time::Duration;

use super::global::{Smtp, host_port, text};
use super::service_values::{self, ServiceConfig, Tree};
use crate::config::client::{Client, SecretField};
use crate::config::values::{Entries, GoDuration, SecretUrl, at_most_one, refuse};
use crate::yaml::{At, Decode, Problem, Spanned};

/// One of `receivers`.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub name: Spanned<String>,
    pub email_configs: Vec<Spanned<Email>>,
    pub webhook_configs: Vec<Spanned<Webhook>>,
    pub services: Vec<ServiceConfig>,
    pub exec_configs: Vec<Spanned<Exec>>,
    pub rate_limit: Option<RateLimit>,
    pub refused: Vec<Problem>,
}

impl Decode for Receiver {
    fn decode(at: &mut At<'_>) -> Option<Receiver> {
        let mut fields = at.record("receiver", "Whom to tell, under a name that routes use; as in Alertmanager.")?;
        let name: Option<Spanned<String>> = fields.required("name", "how routes call it; unique");
        if name.as_ref().is_some_and(|name| name.value.is_empty()) {
            fields.problem("name", "a receiver needs a name", Some("write the name that its routes use".into()));
        }
        let email_configs = fields.or("email_configs", "[]", "mail");
        let webhook_configs = fields.or("webhook_configs", "[]", "requests in Alertmanager's webhook format");
        let services = service_values::read_all(&mut fields);
        let exec_configs = fields.or("exec_configs", "[]", "programs of one's own; only with `allow_exec: true`");
        let rate_limit = fields
            .optional("rate_limit", "how often each of its integrations is called at most; if missing at any time");
        let mut refused = Vec::new();
        refuse(
            &mut fields,
            &["labels"],
            "`{}` of a receiver is not supported in this version",
            "remove it",
            &mut refused,
        );
        fields.finish();
        Some(Receiver { name: name?, email_configs, webhook_configs, services, exec_configs, rate_limit, refused })
    }
}

/// `rate_limit`.
#[derive(Clone, Debug)]
pub struct RateLimit {
    pub notifications: Spanned<u64>,
    pub every: Spanned<Duration>,
}

impl Decode for RateLimit {
    fn decode(at: &mut At<'_>) -> Option<RateLimit> {
        let doc = "Not in Alertmanager. How often each integration of a receiver is called at most, tries that fail included. What is \
                   over the limit waits, changes of state before repeats; a newer message of the same group takes the place of one \
                   that waits, so nothing that changed is lost.";
        let mut fields = at.record("rate limit", doc)?;
        let notifications: Option<Spanned<u64>> = fields.required("notifications", "so many within `every`; 1 to 1000");
        let every: Spanned<Duration> = fields.or("every", "1m", "the span of time; any such span has no more of them");
        if let Some(most) = notifications.as_ref().filter(|most| !(1..=1000).contains(&most.value)) {
            fields.push(most.place.error("`notifications` is from 1 to 1000", None));
        }
        if every.value.is_zero() || every.value > Duration::from_secs(86_400) {
            fields.push(every.place.error("`every` is longer than zero and at most a day", None));
        }
        fields.finish();
        Some(RateLimit { notifications: notifications?, every })
    }
}

/// One of `email_configs`.
#[derive(Clone, Debug)]
pub struct Email {
    pub send_resolved: bool,
    pub to: Spanned<String>,
    pub smtp: Smtp,
    pub headers: Entries<Spanned<String>>,
    pub html: Option<Spanned<String>>,
    pub text: Option<Spanned<String>>,
    pub threading: Option<Threads>,
    pub refused: Vec<Problem>,
}

impl Decode for Email {
    fn decode(at: &mut At<'_>) -> Option<Email> {
        let mut fields = at.record("email config", "Mail; what is missing comes from `global.smtp_*`.")?;
        let send_resolved = fields.or("send_resolved", "false", "whether the end of alerts is told too");
        let to: Option<Spanned<String>> = fields.required("to", "the addresses, separated by commas");
        if to.as_ref().is_some_and(|to| to.value.trim().is_empty()) {
            fields.problem("to", "mail needs an address", Some("write `to: someone@example.org`".into()));
        }
        let smtp = Smtp {
            from: text(&mut fields, "from", "the sender's address"),
            smarthost: host_port(&mut fields, "smarthost", "the mail server, host:port"),
            hello: text(&mut fields, "hello", "how we name ourselves to the mail server"),
            auth_username: text(&mut fields, "auth_username", "the user at the mail server"),
            auth_password: SecretField::read(
                &mut fields,
                "auth_password",
                "auth_password_file",
                ["the password at the mail server", "a file that holds it"],
            ),
            auth_secret: SecretField::read(
                &mut fields,
                "auth_secret",
                "auth_secret_file",
                ["the secret for CRAM-MD5", "a file that holds it"],
            ),
            auth_identity: text(&mut fields, "auth_identity", "the identity for PLAIN"),
            require_tls: fields.optional("require_tls", "whether mail is sent over TLS only"),
            tls_config: fields.optional("tls_config", "TLS to the mail server"),
            force_implicit_tls: fields.optional("force_implicit_tls", "true: TLS from the start"),
        };
        let headers: Entries<Spanned<String>> =
            fields.or("headers", "{}", "further headers, and others for `Subject`, `To` or `From`");
        let mut seen: Vec<String> = Vec::new();
        for (name, _) in &headers.0 {
            let lower = name.value.to_ascii_lowercase();
            if seen.contains(&lower) {
                let help = Some("the case of letters does not count: keep one of them".to_owned());
                fields.push(name.place.error(format!("the header `{}` is there twice", name.value), help));
            }
            seen.push(lower);
        }
        let html = fields.optional("html", "the message as HTML, a template; if missing our own, if empty none");
        let text = fields.optional("text", "the message as plain text, a template; if missing our own, if empty none");
        let mut refused = Vec::new();
        let message = "`{}` is not supported in this version";
        let threading = fields.optional("threading", "which mails form a thread; if missing none do");
        refuse(&mut fields, &["attachments"], message, "remove it", &mut refused);
        fields.finish();
        Some(Email { send_resolved, to: to?, smtp, headers, html, text, threading, refused })
    }
}

/// `threading` of a mail.
#[derive(Clone, Debug)]
pub struct Threads {
    pub enabled: bool,
    pub thread_by_date: Spanned<String>,
}

impl Decode for Threads {
    fn decode(at: &mut At<'_>) -> Option<Threads> {
        let doc = "Mails about the same group form a thread in the reader; as in Alertmanager.";
        let mut fields = at.record("email threading", doc)?;
        let enabled = fields.or("enabled", "false", "whether they do");
        let thread_by_date: Spanned<String> =
            fields.or("thread_by_date", "daily", "`daily`: a thread a day (UTC); `none`: one for ever");
        if !matches!(thread_by_date.value.as_str(), "daily" | "none") {
            let help = Some("write `daily` or `none`".to_owned());
            fields.push(thread_by_date.place.error(format!("`{}` is no way to thread", thread_by_date.value), help));
        }
        fields.finish();
        Some(Threads { enabled, thread_by_date })
    }
}

/// One of `webhook_configs`.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub send_resolved: bool,
    pub url: Option<Spanned<SecretUrl>>,
    pub url_file: Option<Spanned<String>>,
    pub secret: SecretField,
    pub http_config: Option<Client>,
    pub max_alerts: u64,
    pub timeout: GoDuration,
    pub payload: Option<serde_json::Value>,
}

impl Decode for Webhook {
    fn decode(at: &mut At<'_>) -> Option<Webhook> {
        let mut fields = at.record("webhook config", "Requests in Alertmanager's webhook format, version 4.")?;
        let send_resolved = fields.or("send_resolved", "true", "whether the end of alerts is told too");
        at_most_one(&mut fields, &["url", "url_file"]);
        let url: Option<Spanned<SecretUrl>> = fields.optional("url", "where the request goes");
        let url_file: Option<Spanned<String>> = fields.optional("url_file", "a file that holds the address");
        if !fields.has("url") && !fields.has("url_file") {
            let help = Some("add `url: https://host/path`".to_owned());
            fields.problem("url", "a webhook needs `url` or `url_file`", help);
        }
        let docs = [
            "not in Alertmanager: signs as Standard Webhooks has it; `whsec_` and 24 to 64 bytes in base64",
            "a file that holds the secret; it is read when it is used",
        ];
        let secret = SecretField::read(&mut fields, "secret", "secret_file", docs);
        let http_config = fields.optional("http_config", "how the request is made");
        let max_alerts = fields.or("max_alerts", "0", "the most alerts in one request, the rest is counted; 0 for all");
        let timeout = fields.or("timeout", "0s", "how long a request may take; 0 for the house's own limit");
        let doc = "the request's body as JSON, in the place of our own; texts are templates, and one that ends in `toJson` gives a \
                   value of its kind";
        let payload = fields.optional::<Tree>("payload", doc).map(|tree| tree.0);
        fields.finish();
        Some(Webhook { send_resolved, url, url_file, secret, http_config, max_alerts, timeout, payload })
    }
}

/// One of `exec_configs`.
#[derive(Clone, Debug)]
pub struct Exec {
    pub send_resolved: bool,
    pub command: Vec<String>,
    pub timeout: GoDuration,
    pub max_alerts: u64,
}

impl Decode for Exec {
    fn decode(at: &mut At<'_>) -> Option<Exec> {
        let doc = "A program that is started for each message, with the webhook's JSON on its standard input. Not in \
                   Alertmanager. It gets no environment but PATH, BROWNOUT_ID, BROWNOUT_STATUS and BROWNOUT_RECEIVER. Exit \
                   status 0 is success; 64 to 78, but for 75, is a refusal; any other is tried again.";
        let mut fields = at.record("exec config", doc)?;
        let send_resolved = fields.or("send_resolved", "true", "whether the end of alerts is told too");
        let command: Option<Spanned<Vec<String>>> =
            fields.required("command", "the program, as an absolute path, and its arguments: no shell, no templates");
        if let Some(command) = &command
            && !command.value.first().is_some_and(|program| program.starts_with('/'))
        {
            let help = Some("write `command: [/usr/local/bin/tell, argument]`".to_owned());
            fields.push(command.place.error("the program must be an absolute path", help));
        }
        let timeout = fields.or("timeout", "0s", "after it the program is killed; 0 for the house's own limit");
        let max_alerts = fields.or("max_alerts", "0", "the most alerts in one message, the rest is counted; 0 for all");
        fields.finish();
        Some(Exec { send_resolved, command: command?.value, timeout, max_alerts })
    }
}
