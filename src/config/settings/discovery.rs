//! Targets and times of jobs.

use std::time::Duration;

use crate::config::checker::Checker;
use crate::config::global::Global;
use crate::config::targets::Discovery;
use crate::config::values::Interval;
use crate::model::RelabelConfig;
use crate::signals::scrape::{FileDiscovery, TargetGroup};
use crate::time::format_duration;
use crate::yaml::Spanned;

/// Prometheus' default timeout, where the interval is not shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval and timeout of a job.
pub fn times(
    check: &mut Checker<'_>,
    global: &Global,
    interval: &Option<Spanned<Interval>>,
    timeout: &Option<Spanned<Interval>>,
) -> (Duration, Duration) {
    let every = interval.as_ref().map_or(global.scrape_interval.value.0, |interval| interval.value.0);
    if let Some(timeout) = timeout {
        if timeout.value.0 > every {
            let message = format!(
                "the timeout of {} is longer than the interval of {}",
                format_duration(timeout.value.0),
                format_duration(every)
            );
            check.error(&timeout.place, message, "make `scrape_timeout` shorter or `scrape_interval` longer");
        }
        return (every, timeout.value.0);
    }
    let usual = global.scrape_timeout.as_ref().map_or(DEFAULT_TIMEOUT, |timeout| timeout.value.0);
    (every, usual.min(every))
}

/// Reports two jobs of one name within a section.
pub fn unique_jobs<'a>(check: &mut Checker<'_>, section: &str, names: impl Iterator<Item = &'a Spanned<String>>) {
    let mut seen = Vec::new();
    for name in names {
        if name.value.is_empty() {
            check.error(&name.place, "a job needs a name", "write `job_name: ...`");
        } else if seen.contains(&name.value.as_str()) {
            let message = format!("there are two jobs with the name `{}` in `{section}`", name.value);
            check.error(&name.place, message, "give each a name of its own");
        }
        seen.push(name.value.as_str());
    }
}

/// The groups that are written down.
pub fn static_groups(discovery: &Discovery) -> Vec<TargetGroup> {
    let groups = discovery.static_configs.iter();
    groups
        .map(|config| TargetGroup {
            targets: config.targets.iter().map(|target| target.value.clone()).collect(),
            labels: config.labels.0.iter().cloned().collect(),
        })
        .collect()
}

/// The files that other programs write; patterns that find nothing are warned of.
pub fn file_groups(check: &mut Checker<'_>, discovery: &Discovery) -> Vec<FileDiscovery> {
    let mut all = Vec::new();
    for config in &discovery.file_sd_configs {
        let mut files = Vec::new();
        for file in &config.files {
            let path = check.path(&file.value);
            if check.files.glob(&path).is_empty() {
                let message = format!("no file is called {}", path.display());
                check.warning(&file.place, message, "targets appear when it is written");
            }
            files.push(path);
        }
        all.push(FileDiscovery { files, refresh_interval: config.refresh_interval.0 });
    }
    all
}

/// The steps of relabelling, which were checked when they were read.
pub fn steps(steps: &[crate::config::targets::Step]) -> Vec<RelabelConfig> {
    steps.iter().map(|step| step.0.clone()).collect()
}
