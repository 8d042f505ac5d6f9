//! The configuration that the demo's daemon runs with: what a person would write, with shorter times.

use std::net::SocketAddr;
use std::path::Path;

/// The switch that the service obeys.
pub(super) const SWITCH: &str = "recommendations";
/// The alert.
pub(super) const ALERT: &str = "ShopSlow";
/// What an answer may take, in seconds, before it counts as slow.
pub(super) const SLOW: f64 = 0.3;
/// The 99th percentile of the answers' time, as the daemon works it out.
pub(super) const LATENCY: &str = "shop:latency_seconds:p99";
/// Requests a second, as the daemon works it out.
pub(super) const RATE: &str = "shop:requests:rate";
/// What the daemon counted in the access log.
pub(super) const LOGGED: &str = "sum by (status) (shop_answers_logged_total)";

/// `brownout.yaml`.
pub(super) fn config(shop: SocketAddr, log: &Path) -> String {
    // A text in double quotes is the same in JSON and in YAML.
    let log = serde_json::json!(log.display().to_string());
    format!(
        r#"# What `brownout demo` runs with. In real life the intervals are 1 s and the times longer.
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
shipped_rules: false
rule_files: [rules.yaml]

scrape_configs:
  - {{job_name: shop, static_configs: [{{targets: ["{shop}"]}}]}}

logs:
  - job_name: shop
    paths: [{log}]
    metrics:
      - {{counter: shop_answers_logged_total, match: '" (?P<status>\d+) ', labels: {{status: "{{{{status}}}}"}}}}

switches:
  {SWITCH}: {{feature: [full, cached, "off"], description: "personalised recommendations"}}
actions: {{mode: enforce}}

alertmanager:
  route: {{receiver: demo, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
  receivers:
    - {{name: demo, webhook_configs: [{{url: "http://{shop}/hook"}}]}}
"#
    )
}

/// `rules.yaml`.
pub(super) fn rules() -> String {
    format!(
        r#"groups:
  - name: shop
    rules:
      - record: {LATENCY}
        expr: histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{{job="shop"}}[3s])))
      - record: {RATE}
        expr: sum(rate(http_requests_total{{job="shop"}}[3s]))

      - alert: {ALERT}
        expr: {LATENCY} > {SLOW}
        for: 2s
        labels: {{severity: critical}}
        annotations: {{summary: "the shop answers in {{{{ $value | humanizeDuration }}}}"}}

      - degrade: {SWITCH}
        levels:
          - {{level: cached, when: "{LATENCY} > {SLOW}", for: 2s}}
          - {{level: "off", when: "{LATENCY} > {SLOW} and {RATE} > 220", for: 2s}}
        recover: {{when: "{RATE} < 50", for: 5s}}   # the load decides, not the latency
        min_hold: 5s
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FilesInMemory, load};

    #[test]
    fn the_configuration_is_good_and_enforces() {
        let shop = "127.0.0.1:1234".parse().expect("an address");
        let log = Path::new("/tmp/brownout demo/\"access\".log");
        let files = [("demo/brownout.yaml", config(shop, log)), ("demo/rules.yaml", rules())];
        let files = FilesInMemory::new(files.iter().map(|(name, text)| (*name, text.as_str())));
        let loaded = load(Some(Path::new("demo/brownout.yaml")), &files);
        assert!(loaded.problems.is_empty(), "{}", crate::yaml::render_problems(&loaded.problems));
        let checked = loaded.checked.expect("good");
        assert_eq!(checked.actions.mode.as_str(), "enforce");
        assert_eq!(checked.groups.len(), 1, "no shipped rules");
        assert_eq!((checked.scrapes.len(), checked.logs.len(), checked.receivers.len()), (1, 1, 1));
    }

    #[test]
    fn the_rules_are_rules_and_their_expressions_are_promql() {
        let text = rules();
        for expr in [LATENCY, RATE, LOGGED] {
            assert!(crate::promql::parse(expr).is_ok(), "{expr}");
        }
        let quoted = text.split("when: \"").skip(1).filter_map(|rest| rest.split('"').next());
        let plain = text.split("expr: ").skip(1).filter_map(|rest| rest.lines().next());
        let all: Vec<&str> = quoted.chain(plain).collect();
        assert_eq!(all.len(), 6);
        for expr in all {
            assert!(crate::promql::parse(expr).is_ok(), "{expr}");
        }
    }
}
