//! Receivers as settings: plain data, Alertmanager's words and defaults
//! (<https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings>).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::net::{HttpSettings, SecretSource, TlsSettings};

/// Whom to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    pub name: String,
    pub integrations: Vec<Integration>,
}

/// One way to tell a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Integration {
    /// Its kind and its place among those of that kind: `email[0]`.
    pub name: String,
    pub send_resolved: bool,
    pub kind: Kind,
}

/// The kinds of integrations.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Email(Box<EmailSettings>),
    Webhook(Box<WebhookSettings>),
    Service(Box<ServiceSettings>),
    Exec(Box<ExecSettings>),
}

/// Host and port of a mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smarthost {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

impl Smarthost {
    /// Reads `host:port`.
    ///
    /// # Errors
    /// When host or port are missing.
    pub fn parse(text: &str) -> Result<Smarthost, SettingsError> {
        let wrong =
            || SettingsError("smarthost", format!("{text:?}: write host:port, for example mail.example.org:587"));
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() { Err(wrong()) } else { Ok(Smarthost { host: host.to_owned(), port }) }
    }
}

impl fmt::Display for Smarthost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A setting that cannot work: its field, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {1}")]
pub struct SettingsError(pub &'static str, pub String);

/// `email_config`. Texts may be templates (`{{ ... }}`) where Alertmanager's may.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailSettings {
    /// Addresses, separated by commas. A template.
    pub to: String,
    /// A template.
    pub from: String,
    pub smarthost: Smarthost,
    /// The name that we greet with.
    pub hello: String,
    pub auth_username: Option<String>,
    /// For AUTH PLAIN and LOGIN.
    pub auth_password: Option<SecretSource>,
    /// For AUTH CRAM-MD5, which is tried first.
    pub auth_secret: Option<SecretSource>,
    /// The identity to act as, for AUTH PLAIN; usually empty.
    pub auth_identity: String,
    /// Refuse to go on without STARTTLS.
    pub require_tls: bool,
    /// TLS from the first byte; `None` means on port 465 only.
    pub force_implicit_tls: Option<bool>,
    pub tls: TlsSettings,
    /// Further headers; `Subject`, `From` and `To` among them replace ours. Values are templates.
    pub headers: BTreeMap<String, String>,
    /// The HTML part, a template; `None` is our own, the empty text is none.
    pub html: Option<String>,
    /// The plain part, a template; `None` is our own, the empty text is none.
    pub text: Option<String>,
    /// `None`: each mail stands by itself.
    pub threading: Option<Threading>,
}

/// Which mails form a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// All about a group.
    Group,
    /// All about a group on one day (UTC).
    GroupAndDay,
}

impl EmailSettings {
    /// Alertmanager's defaults.
    pub fn new(to: &str, from: &str, smarthost: Smarthost) -> EmailSettings {
        EmailSettings {
            to: to.to_owned(),
            from: from.to_owned(),
            smarthost,
            hello: "localhost".to_owned(),
            auth_username: None,
            auth_password: None,
            auth_secret: None,
            auth_identity: String::new(),
            require_tls: true,
            force_implicit_tls: None,
            tls: TlsSettings::default(),
            headers: BTreeMap::new(),
            html: None,
            text: None,
            threading: None,
        }
    }

    /// Whether TLS comes before the first byte.
    pub fn implicit_tls(&self) -> bool {
        self.force_implicit_tls.unwrap_or(self.smarthost.port == 465)
    }
}

/// The form of a scale call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallFormat {
    /// The call as it is.
    #[default]
    Json,
    /// A CloudEvent in the body (structured mode).
    CloudEvents,
    /// A CloudEvent whose attributes are headers (binary mode).
    CloudEventsBinary,
}

/// `webhook_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookSettings {
    /// The whole URL counts as a secret: messages show its origin only.
    pub url: SecretSource,
    pub http: HttpSettings,
    /// The most alerts in one message; 0 means all.
    pub max_alerts: u64,
    /// For one try; never more than [`crate::limits::DELIVERY_TIME`].
    pub timeout: Option<Duration>,
    /// Secrets of Standard Webhooks (`whsec_...`): each one signs. Usually none or one.
    pub signing_secrets: Vec<SecretSource>,
    /// The body, in the place of our own; texts in it are templates.
    pub payload: Option<serde_json::Value>,
    /// Of scale calls alone: alerts go in Alertmanager's form.
    pub format: CallFormat,
}

impl WebhookSettings {
    /// Alertmanager's defaults, but redirects are not followed and link-local destinations are refused.
    pub fn new(url: SecretSource) -> WebhookSettings {
        let http = HttpSettings { refuse_link_local: true, ..HttpSettings::default() };
        let (timeout, signing_secrets, payload, format) = (None, Vec::new(), None, CallFormat::Json);
        WebhookSettings { url, http, max_alerts: 0, timeout, signing_secrets, payload, format }
    }
}

/// The services that have a protocol of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    DingTalk,
    Discord,
    Feishu,
    IncidentIo,
    Jira,
    Mattermost,
    MsTeams,
    MsTeamsV2,
    Ntfy,
    OpsGenie,
    PagerDuty,
    Pushover,
    RocketChat,
    Slack,
    Sns,
    Telegram,
    VictorOps,
    WebEx,
    WeChat,
    WeCom,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 20] = [
        Service::DingTalk,
        Service::Discord,
        Service::Feishu,
        Service::IncidentIo,
        Service::Jira,
        Service::Mattermost,
        Service::MsTeams,
        Service::MsTeamsV2,
        Service::Ntfy,
        Service::OpsGenie,
        Service::PagerDuty,
        Service::Pushover,
        Service::RocketChat,
        Service::Slack,
        Service::Sns,
        Service::Telegram,
        Service::VictorOps,
        Service::WebEx,
        Service::WeChat,
        Service::WeCom,
    ];

    /// Its word in the configuration: what stands before `_configs`.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::DingTalk => "dingtalk",
            Service::Discord => "discord",
            Service::Feishu => "feishu",
            Service::IncidentIo => "incidentio",
            Service::Jira => "jira",
            Service::Mattermost => "mattermost",
            Service::MsTeams => "msteams",
            Service::MsTeamsV2 => "msteamsv2",
            Service::Ntfy => "ntfy",
            Service::OpsGenie => "opsgenie",
            Service::PagerDuty => "pagerduty",
            Service::Pushover => "pushover",
            Service::RocketChat => "rocketchat",
            Service::Slack => "slack",
            Service::Sns => "sns",
            Service::Telegram => "telegram",
            Service::VictorOps => "victorops",
            Service::WebEx => "webex",
            Service::WeChat => "wechat",
            Service::WeCom => "wecom",
        }
    }

    /// Whether the end of alerts is told where the configuration does not say: as in Alertmanager.
    pub fn sends_resolved(self) -> bool {
        !matches!(self, Service::Slack | Service::RocketChat | Service::WeChat)
    }
}

/// What stands in a field of a service.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Usually a template.
    Text(String),
    Secret(SecretSource),
    Flag(bool),
    Number(i64),
    Span(Duration),
    Texts(Vec<String>),
    /// Lists and mappings; texts in them are templates.
    Tree(serde_json::Value),
}

/// A service's settings: Alertmanager's fields by their names, those of `global` filled in. `x_file` stands under `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    pub service: Service,
    pub http: HttpSettings,
    pub fields: BTreeMap<&'static str, FieldValue>,
}

impl ServiceSettings {
    /// A service without any field. Redirects are not followed and link-local destinations are refused.
    pub fn new(service: Service) -> ServiceSettings {
        let http = HttpSettings { refuse_link_local: true, ..HttpSettings::default() };
        ServiceSettings { service, http, fields: BTreeMap::new() }
    }

    /// For one try; `None` is [`crate::limits::DELIVERY_TIME`].
    pub fn timeout(&self) -> Option<Duration> {
        match self.fields.get("timeout") {
            Some(FieldValue::Span(span)) => Some(*span),
            _ => None,
        }
    }

    /// The most alerts in one message; 0 means all.
    pub fn max_alerts(&self) -> u64 {
        match self.fields.get("max_alerts") {
            Some(FieldValue::Number(most)) => u64::try_from(*most).unwrap_or(0),
            _ => 0,
        }
    }
}

/// `exec_config`: a program of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSettings {
    /// The program and its arguments, as they are: no shell, no template.
    pub command: Vec<String>,
    /// After it the program and its children are killed; never more than [`crate::limits::DELIVERY_TIME`].
    pub timeout: Option<Duration>,
    /// The most alerts in one message; 0 means all.
    pub max_alerts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smarthost_is_a_host_and_a_port() {
        let check = |text: &str, host: &str, port: u16| {
            let expected = Smarthost { host: host.to_owned(), port };
            assert_eq!(Smarthost::parse(text), Ok(expected.clone()));
            assert_eq!(expected.to_string(), text);
        };
        check("mail.test:587", "mail.test", 587);
        check("[::1]:25", "::1", 25);
        for wrong in ["mail.test", ":25", "mail.test:smtp", ""] {
            assert!(Smarthost::parse(wrong).unwrap_err().to_string().starts_with("smarthost"), "{wrong}");
        }
    }
}
