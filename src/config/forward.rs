//! `alertmanagers` and Prometheus' `alerting`: real Alertmanagers that are told what fires; and `heartbeat`.

use super::client::Client;
use super::scrape::Scheme;
use super::targets::{Discovery, Step};
use super::values::{Interval, SecretUrl, at_most_one};
use crate::yaml::{At, Decode, Problem, Spanned};

/// `api_version`: all Alertmanagers since 0.16 speak the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiV2;

impl Decode for ApiV2 {
    fn decode(at: &mut At<'_>) -> Option<ApiV2> {
        at.one_of(&[("v2", ())]).map(|()| ApiV2)
    }
}

/// One of `alertmanagers`.
#[derive(Clone, Debug)]
pub struct Alertmanagers {
    pub scheme: Scheme,
    pub path_prefix: String,
    pub timeout: Interval,
    pub discovery: Discovery,
    pub alert_relabel_configs: Vec<Step>,
    pub client: Client,
    pub refused: Vec<Problem>,
}

impl Decode for Alertmanagers {
    fn decode(at: &mut At<'_>) -> Option<Alertmanagers> {
        let doc =
            "Alertmanagers that are told what fires here, besides or instead of `alertmanager`. As in Prometheus.";
        let mut fields = at.record("alertmanagers", doc)?;
        let scheme = fields.or("scheme", "http", "how they are spoken to");
        let path_prefix = fields.or("path_prefix", "/", "stands before `/api/v2/alerts`");
        let timeout = fields.or("timeout", "10s", "how long a request may take");
        let _: ApiV2 = fields.or("api_version", "v2", "which of Alertmanager's APIs is spoken");
        let discovery = Discovery::read(&mut fields);
        let alert_relabel_configs =
            fields.or("alert_relabel_configs", "[]", "steps that rename, keep or drop alerts on their way there");
        let client = Client::read(&mut fields);
        let mut refused = Vec::new();
        let help = "let a proxy sign the requests";
        super::values::refuse(&mut fields, &["sigv4"], "`{}` is not supported in this version", help, &mut refused);
        fields.finish();
        Some(Alertmanagers { scheme, path_prefix, timeout, discovery, alert_relabel_configs, client, refused })
    }
}

/// Prometheus' `alerting`.
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    pub alertmanagers: Vec<Alertmanagers>,
    pub alert_relabel_configs: Vec<Step>,
}

impl Decode for Alerting {
    fn decode(at: &mut At<'_>) -> Option<Alerting> {
        let mut fields = at.record("alerting", "Prometheus' own section: the same as `alertmanagers`.")?;
        let alertmanagers = fields.or("alertmanagers", "[]", "who is told what fires here");
        let alert_relabel_configs = fields.or(
            "alert_relabel_configs",
            "[]",
            "steps that rename, keep or drop alerts on their way to all of them",
        );
        fields.finish();
        Some(Alerting { alertmanagers, alert_relabel_configs })
    }
}

/// `heartbeat`.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub url: Option<Spanned<SecretUrl>>,
    pub url_file: Option<Spanned<String>>,
    pub interval: Spanned<Interval>,
    pub http_config: Option<Client>,
}

impl Decode for Heartbeat {
    fn decode(at: &mut At<'_>) -> Option<Heartbeat> {
        let doc = "A sign of life (GET) to an outside dead man's switch, which tells people when it stops coming. It is only sent \
                   while rules are evaluated.";
        let mut fields = at.record("heartbeat", doc)?;
        at_most_one(&mut fields, &["url", "url_file"]);
        let url = fields.optional("url", "where the request goes");
        let url_file = fields.optional("url_file", "a file that holds the address");
        if !fields.has("url") && !fields.has("url_file") {
            let help = Some("add `url: https://host/path`".to_owned());
            fields.problem("url", "a heartbeat needs `url` or `url_file`", help);
        }
        let interval = fields.or("interval", "1m", "time between two signs");
        let http_config = fields.optional("http_config", "how the request is made");
        fields.finish();
        Some(Heartbeat { url, url_file, interval, http_config })
    }
}
