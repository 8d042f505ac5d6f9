//! From a checked configuration to everything that the shell runs.

use std::collections::HashMap;
use std::sync::Arc;

use super::jobs::Job;
use super::perform::Receivers;
use super::render::renderer;
use crate::alerts::LinkKey;
use crate::config::{Checked, FleetStore, SwitchSettings};
use crate::engine::{self, ActionSettings};
use crate::notify;
use crate::project::Projections;
use crate::remote;
use crate::rules;
use crate::series;
use crate::serve::Delivery;
use crate::signals::logs::JobSettings;
use crate::switches::{Declaration, FleetSettings, Guards};
use crate::time::Clock;

/// What this host must know of itself to be one of a fleet.
fn fleet_settings(store: &FleetStore) -> FleetSettings {
    let host = fleet_host(store);
    FleetSettings { host, zone: store.zone.clone(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// This host's name in its fleet.
pub(super) fn fleet_host(store: &FleetStore) -> String {
    if store.etcd.host.is_empty() { crate::net::host_name() } else { store.etcd.host.clone() }
}

/// What a configuration leads to.
pub(super) struct Plan {
    pub engine: engine::Settings,
    pub jobs: Vec<Job>,
    pub declarations: Vec<Declaration>,
    /// `observe` or `enforce`.
    pub mode: &'static str,
    pub allowed_hosts: Vec<String>,
    pub exposed_jobs: Vec<String>,
    pub delivery: Delivery,
    pub projections: Projections,
    pub remotes: Vec<remote::Settings>,
}

/// The engine's settings alone: for simulations, which run no jobs.
pub fn engine_settings(checked: &Checked) -> engine::Settings {
    // A simulation sends no links: any key will do.
    plan(checked, &LinkKey([0; 32])).engine
}

/// Puts the settings together.
pub(super) fn plan(checked: &Checked, link_key: &LinkKey) -> Plan {
    let declarations: Vec<Declaration> =
        checked.switches.iter().map(|(name, switch)| declaration(name.clone(), switch)).collect();
    let mode = checked.actions.mode;
    let jobs: Vec<Job> = checked
        .system
        .iter()
        .cloned()
        .map(Job::System)
        .chain(checked.probes.iter().cloned().map(Job::Probe))
        .chain(checked.logs.iter().cloned().map(log_job))
        .chain(checked.scrapes.iter().cloned().map(Job::Scrape))
        .chain(checked.queries.iter().cloned().map(Job::Query))
        .collect();
    let exposed = |job: &Job| match job {
        Job::System(settings) => Some(settings.job.clone()),
        Job::Log(settings) => Some(settings.job_name.clone()),
        Job::Probe(_) | Job::Scrape(_) | Job::Query(_) => None,
    };
    let mut alerts = checked.alerts.clone();
    if let Some(links) = &mut alerts.links {
        links.key = link_key.clone();
    }
    Plan {
        exposed_jobs: jobs.iter().filter_map(exposed).collect(),
        engine: engine::Settings {
            series: series::Settings::default(),
            rules: rules::Settings {
                groups: checked.groups.clone(),
                evaluation_interval: checked.evaluation_interval,
                query_offset: checked.rule_query_offset,
                external_labels: checked.external_labels.clone(),
                external_url: checked.serve.external_url.clone(),
                ..rules::Settings::default()
            },
            alerts,
            actions: ActionSettings {
                declarations: declarations.clone(),
                mode,
                guards: Guards {
                    max_degraded: checked.actions.max_degraded,
                    max_decisions_per_hour: checked.actions.max_decisions_per_hour,
                    max_decisions_per_hour_overall: checked.actions.max_decisions_per_hour_overall,
                },
            },
            fleet: checked.store.as_ref().map(fleet_settings),
            record: !checked.remotes.is_empty(),
        },
        remotes: checked.remotes.clone(),
        jobs,
        declarations,
        mode: mode.as_str(),
        allowed_hosts: checked.serve.allowed_hosts.clone(),
        delivery: checked.delivery.clone(),
        projections: checked.projections.clone(),
    }
}

/// Series of logs carry the host's name where the configuration gives no other.
fn log_job(mut settings: JobSettings) -> Job {
    if settings.instance.is_empty() {
        settings.instance = crate::net::host_name();
    }
    Job::Log(settings)
}

fn declaration(name: crate::model::SwitchName, switch: &SwitchSettings) -> Declaration {
    Declaration {
        name,
        description: switch.description.clone(),
        kind: switch.kind.clone(),
        ladder: switch.levels.clone(),
        on_silence: switch.on_silence,
    }
}

/// Builds the clients of all receivers. It reads certificates and passwords, so it runs on the blocking pool; one that
/// cannot be built is logged, and its messages wait.
pub(super) fn receivers(checked: &Checked, clock: Clock, plots: &Arc<notify::Plots>) -> Receivers {
    let render = renderer(&checked.templates, clock);
    let mut integrations = HashMap::new();
    for receiver in &checked.receivers {
        for integration in &receiver.integrations {
            let key = (receiver.name.clone(), integration.name.clone());
            match notify::Prepared::new(integration.clone(), Some(Arc::clone(&render))) {
                Ok(prepared) => {
                    let prepared = prepared.with_plots(Arc::clone(plots));
                    integrations.insert(key, Arc::new(prepared));
                }
                Err(error) => tracing::error!(receiver = key.0, integration = key.1, %error, "receiver cannot be used"),
            }
        }
    }
    let mut webhooks = HashMap::new();
    for (name, target) in &checked.webhooks {
        match notify::ScaleTarget::new(target) {
            Ok(prepared) => drop(webhooks.insert(name.clone(), Arc::new(prepared))),
            Err(error) => tracing::error!(webhook = %name, %error, "webhook cannot be used"),
        }
    }
    Receivers { integrations, webhooks }
}
