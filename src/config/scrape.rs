//! `scrape_configs`: Prometheus' grammar.

use super::client::Client;
use super::global::Limits;
use super::targets::{Discovery, Step};
use super::values::{Entries, Interval, pass_over, refuse};
use crate::yaml::{At, Decode, Problem, Spanned};

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl Decode for Scheme {
    fn decode(at: &mut At<'_>) -> Option<Scheme> {
        at.one_of(&[("http", Scheme::Http), ("https", Scheme::Https)])
    }
}

/// One of `scrape_configs`.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub job_name: Spanned<String>,
    pub interval: Option<Spanned<Interval>>,
    pub timeout: Option<Spanned<Interval>>,
    pub scheme: Scheme,
    pub metrics_path: String,
    pub params: Entries<Vec<String>>,
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub discovery: Discovery,
    pub metric_relabel_configs: Vec<Step>,
    pub limits: Limits,
    pub client: Client,
    pub refused: Vec<Problem>,
}

impl Decode for Scrape {
    fn decode(at: &mut At<'_>) -> Option<Scrape> {
        let doc = "One job: endpoints that show their metrics in Prometheus' formats. As in Prometheus.";
        let mut fields = at.record("scrape config", doc)?;
        let job_name: Option<Spanned<String>> = fields.required("job_name", "the label `job`; unique");
        let interval = fields.optional("scrape_interval", "time between two scrapes; if missing the global one");
        let timeout = fields.optional("scrape_timeout", "how long a scrape may take; if missing the global one");
        let scheme = fields.or("scheme", "http", "how targets are spoken to");
        let metrics_path = fields.or("metrics_path", "/metrics", "where targets show their metrics");
        let params = fields.or("params", "{}", "parameters of the URL, each with its values");
        let honor_labels = fields.or("honor_labels", "false", "true: labels of the target win over the job's");
        let honor_timestamps = fields.or("honor_timestamps", "true", "false: times that the target gives are ignored");
        let discovery = Discovery::read(&mut fields);
        let metric_relabel_configs =
            fields.or("metric_relabel_configs", "[]", "steps that rename, keep or drop samples");
        let limits = Limits::read(&mut fields);
        let client = Client::read(&mut fields);
        let mut refused = Vec::new();
        pass_over(&mut fields, &PASSED_OVER);
        let keys = [
            "scrape_failure_log_file",
            "scrape_native_histograms",
            "convert_classic_histograms_to_nhcb",
            "target_limit",
        ];
        refuse(&mut fields, &keys, "`{}` is not supported in this version", "remove it", &mut refused);
        fields.finish();
        Some(Scrape {
            job_name: job_name?,
            interval,
            timeout,
            scheme,
            metrics_path,
            params,
            honor_labels,
            honor_timestamps,
            discovery,
            metric_relabel_configs,
            limits,
            client,
            refused,
        })
    }
}

/// Fields of Prometheus that change nothing here.
const PASSED_OVER: [&str; 12] = [
    "enable_compression",
    "track_timestamps_staleness",
    "scrape_protocols",
    "fallback_scrape_protocol",
    "always_scrape_classic_histograms",
    "scrape_classic_histograms",
    "keep_dropped_targets",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "extra_scrape_metrics",
];
