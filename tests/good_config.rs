//! The configuration of the documentation loads, and every room gets what was written.

use std::path::Path;
use std::time::Duration;

use brownout::cli::check;
use brownout::config::{FilesInMemory, load};
use brownout::signals::probes::Prober;
use brownout::yaml::render_problems;

const MAIN: &str = r#"
global:
  scrape_interval: 1s
  evaluation_interval: 1s
  external_labels: {zone: eu-1a, env: prod}
system: {}
modules:
  http_2xx: {prober: http, timeout: 2s, http: {valid_status_codes: [200]}}
probes:
  - job_name: links
    module: http_2xx
    static_configs: [{targets: ["http://payments.internal/healthz"]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: "127.0.0.1:9115"}
logs:
  - job_name: nginx
    paths: [/var/log/nginx/access*.log]
    format: combined
    metrics:
      - {counter: nginx_requests_total, labels: {status: "{{status}}", method: "{{method}}"}}
      - {histogram: nginx_response_bytes, value: "{{body_bytes_sent}}", buckets: [1e3, 1e4, 1e5, 1e6]}
  - job_name: app
    paths: [/var/log/app/*.log]
    metrics:
      - {counter: app_errors_total, match: '(?P<level>ERROR|FATAL)', labels: {level: "{{level}}"}}
scrape_configs:
  - {job_name: checkout, static_configs: [{targets: ["127.0.0.1:8080"]}]}
rule_files: [rules/*.yaml]
switches:
  recommendations: {feature: [full, cached, "off"], description: "personalised recommendations"}
actions: {mode: enforce}
store: {embedded: {}}
alertmanager:
  global: {smtp_smarthost: "mail.example.org:587", smtp_from: brownout@example.org}
  route: {receiver: team, group_by: [alertname], routes: [{matchers: ['severity="critical"'], receiver: pager}]}
  receivers:
    - {name: team, email_configs: [{to: team@example.org}]}
    - {name: pager, webhook_configs: [{url: "http://pager.internal/hook", max_alerts: 10}]}
alertmanagers: []
webhooks:
  asg: {url: "https://scaler.internal/checkout", secret_file: /run/credentials/asg}
serve: {listen: "127.0.0.1:9797"}
"#;

const RULES: &str = r#"
groups:
  - name: checkout
    interval: 1s
    rules:
      - record: checkout:latency_seconds:p99
        expr: histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{job="checkout"}[10s])))
      - alert: CheckoutSlow
        expr: checkout:latency_seconds:p99 > 0.8
        for: 10s
        labels: {severity: critical}
        annotations: {summary: "p99 is {{ $value | humanizeDuration }}"}
      - degrade: recommendations
        levels:
          - {level: cached, when: "checkout:latency_seconds:p99 > 0.5", for: 5s}
          - {level: "off", when: "checkout:latency_seconds:p99 > 0.8", for: 5s}
        recover: {when: "checkout:latency_seconds:p99 < 0.4", for: 60s}
        min_hold: 30s
      - scale: checkout
        desired: "ceil(sum(rate(http_requests_total[1m])) / 200)"
        min: 3
        max: 30
        cooldown: 5m
        webhook: asg
"#;

fn files() -> FilesInMemory {
    FilesInMemory::new([
        ("/etc/brownout/brownout.yaml", MAIN),
        ("/etc/brownout/rules/checkout.yaml", RULES),
        ("/run/credentials/asg", "whsec_x"),
    ])
}

#[test]
fn the_configuration_of_the_documentation_loads() {
    let loaded = load(Some(Path::new("/etc/brownout/brownout.yaml")), &files());
    assert!(loaded.problems.is_empty(), "{}", render_problems(&loaded.problems));
    let checked = loaded.checked.expect("good");
    assert_eq!(checked.external_labels.value("zone"), "eu-1a");
    assert_eq!(checked.system.expect("system").job, "node");
    let probe = &checked.probes[0];
    assert_eq!(probe.targets[0].address, "http://payments.internal/healthz");
    assert_eq!(probe.targets[0].labels.value("instance"), "http://payments.internal/healthz");
    assert_eq!(probe.targets[0].labels.value("job"), "links");
    assert!(matches!(&probe.module.prober, Prober::Http(http) if http.valid_status_codes == [200]));
    assert_eq!((checked.logs.len(), checked.logs[0].metrics.len()), (2, 2));
    let scrape = &checked.scrapes[0];
    assert_eq!((scrape.scrape_interval, scrape.scrape_timeout), (Duration::from_secs(1), Duration::from_secs(1)));
    let feature = checked.switches.values().next().expect("a switch");
    assert_eq!(feature.levels, ["full", "cached", "off"]);
    assert_eq!(checked.actions.mode.as_str(), "enforce");
    assert_eq!(checked.alerts.route.routes[0].receiver.as_deref(), Some("pager"));
    assert_eq!(checked.alerts.receivers[1].integrations[0].max_alerts, 10);
    assert_eq!(checked.receivers[0].integrations[0].name, "email[0]");
    assert_eq!(checked.webhooks["asg"].signing_secrets.len(), 1);
    assert!(!checked.webhooks["asg"].http.follow_redirects && checked.webhooks["asg"].http.refuse_link_local);
    let own = checked.groups.iter().filter(|group| !group.file.starts_with("shipped/"));
    assert_eq!(own.map(|group| group.rules.len()).collect::<Vec<_>>(), [4]);
    let watched: Vec<String> = loaded.watched.iter().map(|path| path.display().to_string()).collect();
    for path in [
        "/etc/brownout/brownout.yaml",
        "/etc/brownout/rules",
        "/etc/brownout/rules/checkout.yaml",
        "/run/credentials/asg",
    ] {
        assert!(watched.iter().any(|watched| watched == path), "{path}: {watched:?}");
    }
}

#[test]
fn check_says_what_it_would_do() {
    let (text, code) = check(&["/etc/brownout/brownout.yaml".into()], &files());
    assert_eq!(code, 0, "{text}");
    insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("check_good", text);
    });
}
