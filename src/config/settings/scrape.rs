//! `scrape_configs`.

use super::{client, discovery};
use crate::config::checker::Checker;
use crate::config::global::Global;
use crate::config::scrape::Scrape;
use crate::signals::scrape::Settings;
use crate::yaml::Spanned;

/// All jobs.
pub fn settings(check: &mut Checker<'_>, global: &Global, jobs: &[Scrape]) -> Vec<Settings> {
    discovery::unique_jobs(check, "scrape_configs", jobs.iter().map(|job| &job.job_name));
    jobs.iter().map(|job| one(check, global, job)).collect()
}

fn one(check: &mut Checker<'_>, global: &Global, job: &Scrape) -> Settings {
    check.refused(&job.refused);
    check.refused(&job.discovery.refused);
    let (scrape_interval, scrape_timeout) = discovery::times(check, global, &job.interval, &job.timeout);
    if job.discovery.is_empty() && job.discovery.refused.is_empty() {
        let help = "add `static_configs: [{targets: [\"127.0.0.1:8080\"]}]`";
        check.warning(&job.job_name.place, format!("the job `{}` has no targets", job.job_name.value), help);
    }
    for target in job.discovery.static_configs.iter().flat_map(|config| &config.targets) {
        address(check, target);
    }
    let limits = job.limits.or(&global.limits);
    let count = |limit: Option<u64>| limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Settings {
        job_name: job.job_name.value.clone(),
        scrape_interval,
        scrape_timeout,
        metrics_path: job.metrics_path.clone(),
        scheme: job.scheme.as_str().to_owned(),
        params: job.params.0.iter().map(|(name, values)| (name.value.clone(), values.clone())).collect(),
        honor_labels: job.honor_labels,
        honor_timestamps: job.honor_timestamps,
        http: client::client(check, &job.client),
        body_size_limit: count(limits.body_size.map(|bytes| bytes.0)),
        sample_limit: count(limits.samples),
        label_limit: count(limits.labels),
        label_name_length_limit: count(limits.label_name_length),
        label_value_length_limit: count(limits.label_value_length),
        static_configs: discovery::static_groups(&job.discovery),
        file_sd_configs: discovery::file_groups(check, &job.discovery),
        relabel_configs: discovery::steps(&job.discovery.relabel_configs),
        metric_relabel_configs: discovery::steps(&job.metric_relabel_configs),
    }
}

/// The mistake that people make: a URL where host and port belong.
fn address(check: &mut Checker<'_>, target: &Spanned<String>) {
    if target.value.contains('/') {
        let message = format!("`{}` is not host:port", target.value);
        let help = "write host:port; the path goes into `metrics_path`, and `https` into `scheme`";
        check.error(&target.place, message, help);
    }
}
