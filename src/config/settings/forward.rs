//! `alertmanagers`, `alerting` and `heartbeat`.

use std::time::Duration;

use super::edges::address;
use super::{client, discovery};
use crate::config::checker::Checker;
use crate::config::forward::{Alerting, Alertmanagers, Heartbeat};
use crate::config::targets::Step;
use crate::model::RelabelConfig;
use crate::net::HttpSettings;
use crate::notify::HeartbeatSettings;
use crate::signals::scrape::{FileDiscovery, TargetGroup};

/// A group of Alertmanagers that are found and spoken to in the same way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForwardSettings {
    /// `http` or `https`.
    pub scheme: String,
    pub path_prefix: String,
    /// With the timeout of one request.
    pub http: HttpSettings,
    pub static_configs: Vec<TargetGroup>,
    pub file_sd_configs: Vec<FileDiscovery>,
    /// Of the Alertmanagers themselves.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Of the alerts.
    pub alert_relabel_configs: Vec<RelabelConfig>,
}

/// All groups: those of `alertmanagers`, then those of `alerting`.
pub fn forwarding(check: &mut Checker<'_>, own: &[Alertmanagers], alerting: Option<&Alerting>) -> Vec<ForwardSettings> {
    let mut all: Vec<ForwardSettings> = own.iter().map(|section| one(check, section, &[])).collect();
    if let Some(alerting) = alerting {
        let steps = &alerting.alert_relabel_configs;
        all.extend(alerting.alertmanagers.iter().map(|section| one(check, section, steps)));
    }
    all
}

fn one(check: &mut Checker<'_>, section: &Alertmanagers, before: &[Step]) -> ForwardSettings {
    check.refused(&section.refused);
    check.refused(&section.discovery.refused);
    for target in section.discovery.static_configs.iter().flat_map(|config| &config.targets) {
        if target.value.contains('/') {
            let help = "write host:port; the path goes into `path_prefix`, and `https` into `scheme`";
            check.error(&target.place, format!("`{}` is not host:port", target.value), help);
        }
    }
    let mut http = client::client(check, &section.client);
    http.timeout = Some(section.timeout.0);
    let mut alert_steps = discovery::steps(before);
    alert_steps.extend(discovery::steps(&section.alert_relabel_configs));
    ForwardSettings {
        scheme: section.scheme.as_str().to_owned(),
        path_prefix: section.path_prefix.clone(),
        http,
        static_configs: discovery::static_groups(&section.discovery),
        file_sd_configs: discovery::file_groups(check, &section.discovery),
        relabel_configs: discovery::steps(&section.discovery.relabel_configs),
        alert_relabel_configs: alert_steps,
    }
}

/// Where signs of life go, if anywhere.
pub fn heartbeat(check: &mut Checker<'_>, section: Option<&Heartbeat>) -> Option<HeartbeatSettings> {
    let section = section?;
    let interval = section.interval.value.0;
    if interval < Duration::from_secs(1) {
        check.error(&section.interval.place, "the interval is shorter than a second", "write 1m");
    }
    let url = address(check, &section.url, &section.url_file)?;
    let http = section.http_config.as_ref().map(|config| client::client(check, config)).unwrap_or_default();
    Some(HeartbeatSettings { url, interval, http: HttpSettings { timeout: Some(Duration::from_secs(10)), ..http } })
}
