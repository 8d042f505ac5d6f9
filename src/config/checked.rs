//! The whole configuration, checked: what the shell builds everything from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::central::Central;
use super::checker::Checker;
use super::edges::Log;
use super::files::{Files, FilesInMemory};
use super::load::load;
use super::root::Root;
use super::settings::alertmanager::Template;
use super::settings::edges::ServeSettings;
use super::settings::forward::{self, ForwardSettings};
use super::settings::store::FleetStore;
use super::settings::switches::SwitchSettings;
use super::settings::{
    alertmanager, delivery, edges, logs, probes, query_api, remote_write, rules, scrape as scrapes, store, switches,
    system as host,
};
use super::switches::Actions;
use crate::alerts;
use crate::model::{Labels, SwitchName};
use crate::notify::{HeartbeatSettings, Receiver, WebhookSettings};
use crate::project::Projections;
use crate::remote;
use crate::rules::GroupSpec;
use crate::serve::Delivery;
use crate::signals::logs::JobSettings;
use crate::signals::probes::ProbeJob;
use crate::signals::{scrape, system};

/// Everything that can be configured, ready for the rooms. [`Checked::default`] is what an empty file gives.
#[derive(Clone, Debug)]
pub struct Checked {
    pub evaluation_interval: Duration,
    pub rule_query_offset: Duration,
    pub external_labels: Labels,
    /// `None` when the host's own metrics are switched off.
    pub system: Option<system::Settings>,
    pub scrapes: Vec<scrape::Settings>,
    pub probes: Vec<ProbeJob>,
    /// Their `instance` is empty for the host's name.
    pub logs: Vec<JobSettings>,
    /// The groups of all rule files, the shipped ones first.
    pub groups: Vec<GroupSpec>,
    /// What is declared; the rules that move it are among the groups.
    pub switches: BTreeMap<SwitchName, SwitchSettings>,
    pub actions: Actions,
    /// Without the section `alertmanager`: one route without a receiver, and nobody is told.
    pub alerts: alerts::Settings,
    pub receivers: Vec<Receiver>,
    /// Texts with templates that receivers may use.
    pub templates: Vec<Template>,
    /// Where scale rules post their wishes.
    pub webhooks: BTreeMap<String, WebhookSettings>,
    /// Who gets every sample.
    /// Central query APIs.
    pub queries: Vec<crate::signals::query::Settings>,
    pub remotes: Vec<remote::Settings>,
    /// Real Alertmanagers that are told what fires.
    pub forwarding: Vec<ForwardSettings>,
    /// Where signs of life go.
    pub heartbeat: Option<HeartbeatSettings>,
    pub serve: ServeSettings,
    /// Protocols with settings of their own.
    pub delivery: Delivery,
    pub projections: Projections,
    /// The fleet's store; `None`: switches are kept on this host.
    pub store: Option<FleetStore>,
    /// What of the fleet's configuration this host's own files have, too: theirs goes first.
    pub left_out: Vec<String>,
    /// `None`: [`default_data_dir`].
    pub data_dir: Option<PathBuf>,
    pub log: Log,
}

impl Default for Checked {
    /// # Panics
    /// Never: a test loads the empty file.
    fn default() -> Checked {
        let loaded = load(None, &FilesInMemory::default());
        loaded
            .checked
            .map(|checked| *checked)
            .unwrap_or_else(|| panic!("the empty configuration is good: {:?}", loaded.problems))
    }
}

impl Checked {
    /// Builds all settings; the checker holds what is wrong with them.
    pub(super) fn build(check: &mut Checker<'_>, root: &Root, groups: Vec<GroupSpec>, central: &Central) -> Checked {
        check.refused(&root.refused);
        check.refused(&root.global.refused);
        global_times(check, root);
        let switches = switches::settings(check, &central.with(&root.switches));
        let webhooks = edges::webhooks(check, &root.webhooks);
        let webhook_names: Vec<&str> = root.webhooks.keys().collect();
        rules::cross_check(check, &groups, &switches, &webhook_names);
        let serve = edges::serve(check, &root.serve);
        let delivery = delivery::delivery(check, &root.serve, &switches);
        let mut told = alertmanager::settings(check, &serve.external_url, root.alertmanager.as_ref());
        let forwarding = forward::forwarding(check, &root.alertmanagers, root.alerting.as_ref());
        told.alerts.forward = !forwarding.is_empty();
        let external_labels = Labels::from_pairs(root.global.external_labels.0.iter().map(|(n, v)| (n, v)));
        let store = store::settings(check, &external_labels, &root.store);
        let prefix = store.as_ref().map(|store| store.etcd.prefix.as_str());
        let projections = delivery::projections(check, &root.projections, &switches, prefix);
        let remotes = remote_write::settings(check, &external_labels, &root.remote_write);
        let queries = query_api::settings(check, &root.query_apis);
        Checked {
            queries,
            evaluation_interval: root.global.evaluation_interval.value.0,
            rule_query_offset: root.global.rule_query_offset,
            external_labels,
            system: host::settings(check, &root.global, &root.system),
            scrapes: scrapes::settings(check, &root.global, &root.scrape_configs),
            probes: probes::settings(check, &root.global, &root.modules, &root.probes),
            logs: logs::settings(check, &root.global, root.system.instance.as_deref().unwrap_or_default(), &root.logs),
            groups,
            switches,
            actions: root.actions,
            alerts: told.alerts,
            receivers: told.receivers,
            templates: told.templates,
            webhooks,
            remotes,
            forwarding,
            heartbeat: forward::heartbeat(check, root.heartbeat.as_ref()),
            serve,
            delivery,
            projections,
            store,
            left_out: central.left_out.clone(),
            data_dir: root.data_dir.as_ref().map(|text| check.path(text)),
            log: root.log,
        }
    }
}

fn global_times(check: &mut Checker<'_>, root: &Root) {
    let global = &root.global;
    if let Some(timeout) = &global.scrape_timeout
        && timeout.value > global.scrape_interval.value
    {
        let help = "make `scrape_timeout` shorter or `scrape_interval` longer";
        check.error(&timeout.place, "the timeout is longer than the interval", help);
    }
}

/// Where state is kept when the configuration does not say: systemd's `$STATE_DIRECTORY`, then
/// `$XDG_STATE_HOME/brownout`, then `~/.local/state/brownout`; without any of them `/var/lib/brownout`.
pub fn default_data_dir(files: &dyn Files) -> PathBuf {
    let set = |name| files.env(name).filter(|value| value.starts_with('/'));
    if let Some(state) = set("STATE_DIRECTORY") {
        // systemd separates several by colons.
        return PathBuf::from(state.split(':').next().unwrap_or_default());
    }
    if let Some(state) = set("XDG_STATE_HOME") {
        return Path::new(&state).join("brownout");
    }
    match set("HOME").filter(|home| home != "/" && home != "/root") {
        Some(home) => Path::new(&home).join(".local/state/brownout"),
        None => PathBuf::from("/var/lib/brownout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::Mode;

    #[test]
    fn without_a_file_the_host_is_watched_and_nothing_is_changed() {
        let checked = Checked::default();
        let system = checked.system.expect("system is on");
        assert_eq!((system.job.as_str(), system.interval), ("node", Duration::from_secs(1)));
        assert_eq!(system, crate::signals::system::Settings::default());
        assert_eq!(checked.actions.mode, Mode::Observe);
        assert_eq!(checked.serve.external_url, "http://127.0.0.1:9797");
        assert_eq!(checked.data_dir, None);
        assert!(checked.scrapes.is_empty() && checked.switches.is_empty());
    }

    #[test]
    fn the_data_directory_follows_the_environment() {
        let check = |env: &[(&str, &str)], expected: &str| {
            let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let files = FilesInMemory { env, ..FilesInMemory::default() };
            assert_eq!(default_data_dir(&files), Path::new(expected));
        };
        check(&[("STATE_DIRECTORY", "/s/a:/s/b"), ("HOME", "/home/x")], "/s/a");
        check(&[("XDG_STATE_HOME", "/x"), ("HOME", "/home/x")], "/x/brownout");
        check(&[("HOME", "/home/x")], "/home/x/.local/state/brownout");
        check(&[("HOME", "/root")], "/var/lib/brownout");
        check(&[], "/var/lib/brownout");
    }
}
