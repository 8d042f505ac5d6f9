//! `brownout alerts`: what is pending and firing, and which rules make the most noise.

use serde::Deserialize;

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::{ago, number};
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Alert, Alerts};
use crate::time::{Clock, Timestamp};

/// Show the alerts that are firing or pending
#[derive(Clone, Debug, clap::Args)]
pub struct AlertsArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Show the rules that made the most noise in the last seven days
    Noisy(NoisyArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct NoisyArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, Deserialize)]
struct Noise {
    rules: Vec<NoisyRule>,
}

#[derive(Clone, Debug, Deserialize)]
struct NoisyRule {
    alertname: String,
    messages: u64,
    starts: u64,
}

async fn noisy(args: &NoisyArgs, out: &mut Out) -> Result<(), Failure> {
    let found: Noise = Daemon::of(&args.server)?.data(&["api", "v1", "alerts", "noisy"], &[]).await?;
    if found.rules.is_empty() {
        return out.line("no rule made noise in the last seven days");
    }
    let mut table = Table::new(["MESSAGES>", "STARTS>", "ALERT"]);
    for rule in &found.rules {
        let name = Text::styled(Style::Bold, rule.alertname.as_str());
        table.row(vec![rule.messages.to_string().into(), rule.starts.to_string().into(), name]);
    }
    out.lines(&table.render(out.edge()))
}

pub(super) async fn alerts(args: &AlertsArgs, out: &mut Out) -> Result<(), Failure> {
    if let Some(What::Noisy(args)) = &args.what {
        return noisy(args, out).await;
    }
    let found: Alerts = Daemon::of(&args.server)?.data(&["api", "v1", "alerts"], &[]).await?;
    if found.alerts.is_empty() {
        return out.line("no alert is pending or firing");
    }
    out.lines(&table(&found.alerts, Clock::start().now(), out.edge()))
}

/// Firing ones first, the longest first.
pub(super) fn table(alerts: &[Alert], now: Timestamp, edge: usize) -> Vec<Text> {
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    sorted.sort_by_key(|alert| (alert.state != "firing", alert.active_at, alert.name().to_owned()));
    let mut table = Table::new(["STATE", "FOR>", "ALERT", "SEVERITY", "VALUE>", "SUMMARY", "LABELS"]);
    for alert in sorted {
        let style = if alert.state == "firing" { Style::Bad } else { Style::Warn };
        let others = alert.labels.iter().filter(|(label, _)| !matches!(label.as_str(), "alertname" | "severity"));
        let labels: Vec<String> = others.map(|(label, value)| format!("{label}={value}")).collect();
        table.row(vec![
            Text::styled(style, alert.state.as_str()),
            alert.active_at.map(|at| ago(now, at)).unwrap_or_default().into(),
            Text::styled(Style::Bold, alert.name()),
            alert.labels.get("severity").map_or("", String::as_str).into(),
            alert.value.parse().map_or_else(|_| alert.value.clone(), number).into(),
            alert.summary().into(),
            Text::styled(Style::Dim, labels.join(" ")),
        ]);
    }
    table.render(edge)
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::overview;
    use super::*;

    #[test]
    fn firing_alerts_come_first_with_their_summary() {
        let overview = overview();
        let lines = table(&overview.alerts, overview.now, 120);
        insta::assert_snapshot!(lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n"), @r"
        STATE    FOR  ALERT         SEVERITY  VALUE  SUMMARY      LABELS
        firing   50s  CheckoutSlow  critical    1.2  p99 is 1.2s  job=checkout
        pending   5s  DiskFillsUp              0.95               device=/dev/sda1
        ");
    }
}
