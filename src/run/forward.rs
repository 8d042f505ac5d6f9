//! Which Alertmanagers there are: those that are written down and those of discovery files, relabelled as Prometheus does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::ForwardSettings;
use crate::model::{LabelsBuilder, Relabel, relabel};
use crate::notify::{ForwardTarget, Forwarder};
use crate::signals::scrape::{DiscoveryFiles, TargetGroup};

/// How often discovery files are looked at, at most.
const LONGEST: Duration = Duration::from_secs(300);

/// Keeps the forwarder's targets up to date with the configuration and its discovery files.
pub(super) async fn follow(mut settings: watch::Receiver<Arc<Vec<ForwardSettings>>>, forwarder: Forwarder) {
    let mut files = Vec::new();
    loop {
        let now = Arc::clone(&settings.borrow_and_update());
        files.resize_with(now.len(), DiscoveryFiles::default);
        let (read, held) = (Arc::clone(&now), std::mem::take(&mut files));
        let refreshed = tokio::task::spawn_blocking(move || refresh(&read, held)).await;
        let Ok((targets, held)) = refreshed else { return };
        files = held;
        forwarder.set_targets(targets);
        let intervals = now.iter().flat_map(|one| &one.file_sd_configs).map(|config| config.refresh_interval);
        let wait = intervals.min().map_or(LONGEST, |interval| interval.clamp(Duration::from_secs(1), LONGEST));
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Reads discovery files; gives the targets and the files' state.
fn refresh(settings: &[ForwardSettings], mut files: Vec<DiscoveryFiles>) -> (Vec<ForwardTarget>, Vec<DiscoveryFiles>) {
    let mut targets: Vec<ForwardTarget> = Vec::new();
    for (one, files) in settings.iter().zip(&mut files) {
        if files.refresh(&one.file_sd_configs) {
            for problem in files.problems() {
                tracing::warn!(problem, "a discovery file of Alertmanagers");
            }
        }
        for target in of_section(one, one.static_configs.iter().chain(files.groups())) {
            if targets.iter().all(|known| known.url != target.url) {
                targets.push(target);
            }
        }
    }
    (targets, files)
}

fn of_section<'a>(settings: &ForwardSettings, groups: impl Iterator<Item = &'a TargetGroup>) -> Vec<ForwardTarget> {
    // Both were checked when the configuration was read.
    let steps = Relabel::all(&settings.relabel_configs).unwrap_or_default();
    let alert_steps = Arc::new(Relabel::all(&settings.alert_relabel_configs).unwrap_or_default());
    let mut out = Vec::new();
    for group in groups {
        for address in &group.targets {
            let mut labels = LabelsBuilder::new();
            for (name, value) in &group.labels {
                labels.set(name, value);
            }
            let path = format!("/{}/api/v2/alerts", settings.path_prefix.trim_matches('/')).replace("//", "/");
            labels.set("__address__", address).set("__scheme__", &settings.scheme).set("__alerts_path__", &path);
            if !relabel(&steps, &mut labels) || labels.value("__address__").is_empty() {
                continue;
            }
            let [scheme, host, path] = ["__scheme__", "__address__", "__alerts_path__"].map(|name| labels.value(name));
            let url = format!("{scheme}://{host}{path}");
            out.push(ForwardTarget { url, http: settings.http.clone(), relabel: Arc::clone(&alert_steps) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RelabelConfig;

    #[test]
    fn addresses_are_those_that_prometheus_would_use() {
        let check = |prefix: &str, relabel_configs: Vec<RelabelConfig>, expected: &[&str]| {
            let settings = ForwardSettings {
                scheme: "http".to_owned(),
                path_prefix: prefix.to_owned(),
                static_configs: vec![TargetGroup {
                    targets: vec!["am-1:9093".to_owned(), "am-2:9093".to_owned()],
                    labels: [("zone".to_owned(), "a".to_owned())].into_iter().collect(),
                }],
                relabel_configs,
                ..ForwardSettings::default()
            };
            let (targets, _) = refresh(&[settings], vec![DiscoveryFiles::default()]);
            let urls: Vec<&str> = targets.iter().map(|target| target.url.as_str()).collect();
            assert_eq!(urls, expected, "{prefix:?}");
        };
        let both = ["http://am-1:9093/api/v2/alerts", "http://am-2:9093/api/v2/alerts"];
        check("", Vec::new(), &both);
        check("/", Vec::new(), &both);
        let prefixed = ["http://am-1:9093/alerts/am/api/v2/alerts", "http://am-2:9093/alerts/am/api/v2/alerts"];
        check("/alerts/am/", Vec::new(), &prefixed);
        let keep = RelabelConfig {
            source_labels: vec!["zone".to_owned(), "__address__".to_owned()],
            regex: "a;am-2.*".to_owned(),
            action: crate::model::RelabelAction::Keep,
            ..RelabelConfig::default()
        };
        check("", vec![keep], &both[1..]);
    }
}
