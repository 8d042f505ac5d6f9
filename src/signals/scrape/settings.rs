//! What one scrape job needs to know: Prometheus' `scrape_config`, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::RelabelConfig;
use crate::net::HttpSettings;

/// One scrape job. [`Settings::named`] has Prometheus' defaults, except for the interval of 1 s.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub job_name: String,
    pub scrape_interval: Duration,
    /// At most the interval.
    pub scrape_timeout: Duration,
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Query parameters; several values a name.
    pub params: BTreeMap<String, Vec<String>>,
    /// True: the target's own `job`, `instance` and so on win over ours.
    pub honor_labels: bool,
    /// True: samples that carry a time keep it.
    pub honor_timestamps: bool,
    /// Credentials, TLS, redirects, proxy.
    pub http: HttpSettings,
    /// Bytes of a body, uncompressed; 0 means [`crate::limits::SCRAPE_BODY_BYTES`], which also bounds it.
    pub body_size_limit: usize,
    /// Samples of one scrape after relabelling; 0 means no limit.
    pub sample_limit: usize,
    /// Labels of one sample; 0 means no limit.
    pub label_limit: usize,
    /// Bytes of a label's name; 0 means no limit.
    pub label_name_length_limit: usize,
    /// Bytes of a label's value; 0 means no limit.
    pub label_value_length_limit: usize,
    pub static_configs: Vec<TargetGroup>,
    pub file_sd_configs: Vec<FileDiscovery>,
    pub relabel_configs: Vec<RelabelConfig>,
    pub metric_relabel_configs: Vec<RelabelConfig>,
}

impl Settings {
    /// A job with the defaults and no targets.
    pub fn named(job_name: &str) -> Settings {
        Settings {
            job_name: job_name.to_owned(),
            scrape_interval: Duration::from_secs(1),
            scrape_timeout: Duration::from_secs(1),
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            http: HttpSettings { follow_redirects: true, ..HttpSettings::default() },
            body_size_limit: 0,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
        }
    }
}

/// Targets that share labels: one entry of `static_configs` or of a discovery file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// `host:port` each.
    pub targets: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

/// Prometheus' `file_sd_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Paths that end in `.json`, `.yml` or `.yaml`; `*` may stand in them.
    pub files: Vec<PathBuf>,
    /// How often the files are looked at; a change is seen at the latest after this.
    pub refresh_interval: Duration,
}
