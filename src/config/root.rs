//! The whole file, as it was written.

use super::alertmanager::Alertmanager;
use super::delivery::Projection;
use super::edges::{Log, ScaleWebhook, Serve};
use super::forward::{Alerting, Alertmanagers, Heartbeat};
use super::global::Global;
use super::logs::LogJob;
use super::modules::Module;
use super::probes::Probe;
use super::query_api::QueryApi;
use super::remote_write::RemoteWrite;
use super::scrape::Scrape;
use super::store::Store;
use super::switches::{Actions, Switches};
use super::system::System;
use super::values::{Entries, refuse};
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// `brownout.yaml`.
#[derive(Clone, Debug)]
pub struct Root {
    pub global: Global,
    pub system: System,
    pub modules: Entries<Module>,
    pub probes: Vec<Probe>,
    pub logs: Vec<LogJob>,
    pub scrape_configs: Vec<Scrape>,
    pub rule_files: Vec<Spanned<String>>,
    pub shipped_rules: bool,
    pub switches: Switches,
    pub actions: Actions,
    pub store: Store,
    pub alertmanager: Option<Alertmanager>,
    pub alertmanagers: Vec<Alertmanagers>,
    pub alerting: Option<Alerting>,
    pub heartbeat: Option<Heartbeat>,
    pub webhooks: Entries<ScaleWebhook>,
    pub remote_write: Vec<RemoteWrite>,
    pub query_apis: Vec<QueryApi>,
    pub serve: Serve,
    pub projections: Vec<Projection>,
    pub data_dir: Option<String>,
    pub log: Log,
    pub refused: Vec<Problem>,
}

impl Decode for Root {
    fn decode(at: &mut At<'_>) -> Option<Root> {
        let doc = "The file `brownout.yaml`. Every section may be missing; an empty file watches the host with the shipped rules.";
        let mut fields = at.record("brownout.yaml", doc)?;
        let global = fields.or("global", "{}", "what holds for every job and group that does not say otherwise");
        let system = fields.or("system", "{}", "the host's own metrics");
        let modules = fields.or("modules", "{}", "how probes look at their targets, by name");
        let probes = fields.or("probes", "[]", "what is probed");
        let logs = fields.or("logs", "[]", "which logs are followed, and what is counted in them");
        let scrape_configs = fields.or("scrape_configs", "[]", "which endpoints of this host are scraped");
        let rule_files = fields.or("rule_files", "[]", "files with rules; `*` stands for part of a name");
        let shipped_rules =
            fields.or("shipped_rules", "true", "whether the rules that come with Brownout are used too");
        let switches = fields.or("switches", "{}", "the values that applications obey, by name");
        let actions = fields.or("actions", "{}", "what action rules may do");
        let store = fields.or("store", "{}", "where switches are kept");
        let alertmanager = fields.optional("alertmanager", "who is told; without it alerts are only shown");
        let alertmanagers =
            fields.or("alertmanagers", "[]", "real Alertmanagers that are told what fires, besides or instead of it");
        let alerting = fields.optional("alerting", "Prometheus' own section with the same content");
        let heartbeat = fields.optional("heartbeat", "a sign of life to an outside dead man's switch");
        let webhooks = fields.or("webhooks", "{}", "where scale rules post their wishes, by name");
        let remote_write = fields.or("remote_write", "[]", "programs that get every sample of this host");
        let query_apis = fields.or(
            "query_apis",
            "[]",
            "central Prometheus-compatible APIs that are asked for what one host cannot know; see docs/fleet.md",
        );
        let serve = fields.or("serve", "{}", "the page, the metrics and every API");
        let projections = fields.or("projections", "[]", "switches written out as files");
        let data_dir = fields.optional(
            "data_dir",
            "where this host's own state is kept; if missing $STATE_DIRECTORY, $XDG_STATE_HOME/brownout, \
             ~/.local/state/brownout or /var/lib/brownout, whichever comes first",
        );
        let log = fields.or("log", "{}", "the daemon's own log");
        let mut refused = Vec::new();
        misplaced(&mut fields, &mut refused);
        fields.finish();
        Some(Root {
            global,
            system,
            modules,
            probes,
            logs,
            scrape_configs,
            rule_files,
            shipped_rules,
            switches,
            actions,
            store,
            alertmanager,
            alertmanagers,
            alerting,
            heartbeat,
            webhooks,
            remote_write,
            query_apis,
            serve,
            projections,
            data_dir,
            log,
            refused,
        })
    }
}

/// Sections of other files that people paste to where they do not belong.
fn misplaced(fields: &mut Fields<'_>, refused: &mut Vec<Problem>) {
    let keys = ["route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals", "templates"];
    let help = "write `alertmanager:` and below it, indented, all of Alertmanager's file";
    refuse(fields, &keys, "`{}` belongs under `alertmanager`", help, refused);
    let help = "put the rules in a file of their own and name it in `rule_files`";
    refuse(fields, &["groups"], "`{}` belongs in a rule file", help, refused);
    let help = "remove it: a host keeps only as much history as its rules need";
    let keys = ["remote_read", "storage", "otlp", "tracing"];
    refuse(fields, &keys, "`{}` of Prometheus is not supported", help, refused);
    let help = "write the jobs in `scrape_configs` of this file";
    refuse(fields, &["scrape_config_files"], "`{}` is not supported in this version", help, refused);
}
