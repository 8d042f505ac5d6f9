//! Where targets come from and how they are renamed: Prometheus' `static_configs`, `file_sd_configs` and
//! `relabel_configs`, for scrapes and probes alike.

use super::values::{Interval, LabelPairs, refuse};
use crate::model::{Relabel, RelabelAction, RelabelConfig, RelabelError};
use crate::yaml::{At, Decode, Fields, Problem, Spanned};

/// One of `static_configs`.
#[derive(Clone, Debug)]
pub struct StaticConfig {
    pub targets: Vec<Spanned<String>>,
    pub labels: LabelPairs,
}

impl Decode for StaticConfig {
    fn decode(at: &mut At<'_>) -> Option<StaticConfig> {
        let mut fields = at.record("static config", "Targets that are written down, with labels that they share.")?;
        let targets = fields.or("targets", "[]", "host:port of a scrape, or what a probe looks at");
        let labels = fields.or("labels", "{}", "labels of these targets");
        fields.finish();
        Some(StaticConfig { targets, labels })
    }
}

/// One of `file_sd_configs`.
#[derive(Clone, Debug)]
pub struct FileSdConfig {
    pub files: Vec<Spanned<String>>,
    pub refresh_interval: Interval,
}

impl Decode for FileSdConfig {
    fn decode(at: &mut At<'_>) -> Option<FileSdConfig> {
        let mut fields = at.record("file sd config", "Targets from files (JSON or YAML) that other programs write.")?;
        let files: Option<Vec<Spanned<String>>> =
            fields.required("files", "paths that end in .json, .yml or .yaml; the last name may have `*`");
        let refresh_interval = fields.or("refresh_interval", "5m", "time between two readings of the files");
        fields.finish();
        let files = files?;
        for file in &files {
            let name = file.value.rsplit('/').next().unwrap_or_default();
            if ![".json", ".yml", ".yaml"].iter().any(|end| name.ends_with(end)) {
                let help = Some("name files that end in .json, .yml or .yaml".to_owned());
                at.push(file.place.error(format!("`{}` has no known ending", file.value), help));
            }
        }
        Some(FileSdConfig { files, refresh_interval })
    }
}

/// One of `relabel_configs` or `metric_relabel_configs`.
#[derive(Clone, Debug)]
pub struct Step(pub RelabelConfig);

#[derive(Clone, Copy, PartialEq)]
struct Action(RelabelAction);

impl Decode for Action {
    fn decode(at: &mut At<'_>) -> Option<Action> {
        at.one_of(&RelabelAction::WORDS).map(Action)
    }
}

impl Decode for Step {
    fn decode(at: &mut At<'_>) -> Option<Step> {
        let reading = at.node().is_some();
        let mut fields = at.record("relabel config", "One step that renames, keeps or drops; as in Prometheus.")?;
        let source_labels = fields.or("source_labels", "[]", "the labels whose values are joined and looked at");
        let separator = fields.or("separator", ";", "stands between the joined values");
        let regex = fields.or("regex", "(.*)", "looked for in the joined values; anchored at both ends");
        let modulus: Option<u64> = fields.optional("modulus", "for `hashmod`: the number of buckets");
        let target_label: Option<String> = fields.optional("target_label", "the label that is written or compared");
        let replacement = fields.or("replacement", "$1", "what is written; `$1` or `${1}` is the first group");
        let action: Action = fields.or("action", "replace", "what is done");
        let config = RelabelConfig {
            source_labels,
            separator,
            target_label: target_label.unwrap_or_default(),
            regex,
            modulus: modulus.unwrap_or_default(),
            replacement,
            action: action.0,
        };
        if reading && let Err(error) = Relabel::new(&config) {
            let key = match &error {
                RelabelError::Regex { .. } => "regex",
                RelabelError::BadTarget { .. } => "target_label",
                _ => "action",
            };
            fields.problem(key, error.to_string(), None);
        }
        fields.finish();
        Some(Step(config))
    }
}

/// All the ways of one job to its targets.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    pub static_configs: Vec<StaticConfig>,
    pub file_sd_configs: Vec<FileSdConfig>,
    pub relabel_configs: Vec<Step>,
    pub refused: Vec<Problem>,
}

/// Prometheus' other ways to find targets.
const OTHER_DISCOVERY: [&str; 30] = [
    "aws_sd_configs",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dns_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "ecs_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "http_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

impl Discovery {
    /// Reads the fields among the others of a job.
    pub fn read(fields: &mut Fields<'_>) -> Discovery {
        let static_configs = fields.or("static_configs", "[]", "targets that are written down");
        let file_sd_configs = fields.or("file_sd_configs", "[]", "targets from files");
        let relabel_configs = fields.or("relabel_configs", "[]", "steps that rename, keep or drop targets");
        let mut refused = Vec::new();
        let help = "list this host's targets in `static_configs`, or let a program write them for `file_sd_configs`";
        refuse(
            fields,
            &OTHER_DISCOVERY,
            "`{}` is not supported: targets come from the host itself",
            help,
            &mut refused,
        );
        Discovery { static_configs, file_sd_configs, relabel_configs, refused }
    }

    /// True when no target can ever come of it.
    pub fn is_empty(&self) -> bool {
        self.static_configs.iter().all(|config| config.targets.is_empty()) && self.file_sd_configs.is_empty()
    }
}
