//! `brownout fleet`: who is there, who counts, and how the votes stand.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::fleet_config::{Config, ConfigArgs, config};
use super::human::{ago, number};
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::instant;
use crate::time::{Clock, Timestamp};

/// Hosts of a limit that are shown.
const PARTS_SHOWN: usize = 20;

/// Show the fleet: hosts, votes, what they led to, and who counts
///
/// Any host of the fleet can be asked; each knows the same.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FleetArgs {
    #[command(subcommand)]
    command: Option<FleetCommand>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum FleetCommand {
    Config(ConfigArgs),
}

#[derive(Clone, Debug, Deserialize)]
struct Fleet {
    host: String,
    zone: String,
    #[serde(default)]
    counter: Option<String>,
    #[serde(default, deserialize_with = "instant")]
    stale_since: Option<Timestamp>,
    #[serde(default)]
    own_clock_ahead_seconds: Option<f64>,
    hosts: Vec<Host>,
    rules: Vec<Rule>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    limits: Vec<Limit>,
}

/// A limit that is shared out.
#[derive(Clone, Debug, Deserialize)]
struct Limit {
    switch: String,
    total: Option<f64>,
    hosts: Vec<Part>,
}

#[derive(Clone, Debug, Deserialize)]
struct Part {
    name: String,
    demand: f64,
    share: f64,
    part: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Host {
    name: String,
    zone: String,
    version: String,
    #[serde(default, deserialize_with = "instant")]
    since: Option<Timestamp>,
    #[serde(default, deserialize_with = "instant")]
    gone_since: Option<Timestamp>,
    #[serde(default)]
    clock_ahead_seconds: Option<f64>,
    #[serde(default)]
    votes: Vec<Vote>,
}

#[derive(Clone, Debug, Deserialize)]
struct Vote {
    switch: String,
    level: String,
    counts: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Rule {
    rule: String,
    switch: String,
    scope: String,
    known: f64,
    votes: u64,
    needed: u64,
    asks: BTreeMap<String, String>,
}

pub(super) async fn fleet(args: &FleetArgs, out: &mut Out) -> Result<(), Failure> {
    if let Some(FleetCommand::Config(args)) = &args.command {
        return config(args, out).await;
    }
    let fleet: Option<Fleet> = Daemon::of(&args.server)?.data(&["api", "v1", "fleet"], &[]).await?;
    let lines = match fleet {
        Some(fleet) => lines(&fleet, Clock::start().now(), out.edge()),
        None => vec!["this host is in no fleet: its store is its own (`store:` in brownout.yaml)".into()],
    };
    out.lines(&lines)
}

fn lines(fleet: &Fleet, now: Timestamp, edge: usize) -> Vec<Text> {
    let there = fleet.hosts.iter().filter(|host| host.gone_since.is_none()).count();
    let mut head = Text::from(format!("{there} hosts; "));
    match &fleet.counter {
        Some(counter) => head.push(Style::Bold, format!("{counter} counts")),
        None => head.push(Style::Bad, "nobody counts"),
    }
    head.push(Style::Dim, format!("  (seen from {} in zone {})", fleet.host, fleet.zone));
    let mut lines = vec![head];
    if let Some(since) = fleet.stale_since {
        let text =
            format!("the store has been out of reach for {}: everything here is as it was then", ago(now, since));
        lines.push(Text::styled(Style::Bad, text));
    }
    if let Some(ahead) = fleet.own_clock_ahead_seconds {
        let text = format!("this host's clock is {} s ahead of most others'", number(ahead));
        lines.push(Text::styled(Style::Warn, text));
    }
    if let Some(config) = fleet.config.as_ref().filter(|config| config.last > 0) {
        lines.extend(config.summary(now));
    }
    lines.push(Text::new());
    lines.extend(rules(&fleet.rules, edge));
    for limit in &fleet.limits {
        lines.push(Text::new());
        lines.extend(parts(limit, edge));
    }
    lines.push(Text::new());
    lines.extend(hosts(&fleet.hosts, now, edge));
    lines
}

fn rules(rules: &[Rule], edge: usize) -> Vec<Text> {
    if rules.is_empty() {
        return vec!["no enforcing rule here speaks for a zone or the fleet".into()];
    }
    let mut table = Table::new(["RULE", "SWITCH", "SCOPE", "VOTES>", "NEEDED>", "HOSTS>", "LED TO"]);
    for rule in rules {
        let led = |(place, level): (&String, &String)| match rule.scope.as_str() {
            "fleet" => level.clone(),
            _ => format!("{place}: {level}"),
        };
        let led: Vec<String> = rule.asks.iter().map(led).collect();
        let style = if led.is_empty() { Style::Dim } else { Style::Bad };
        let led = if led.is_empty() { "nothing".to_owned() } else { led.join(", ") };
        table.row(vec![
            Text::styled(Style::Bold, rule.rule.as_str()),
            rule.switch.as_str().into(),
            rule.scope.as_str().into(),
            rule.votes.to_string().into(),
            rule.needed.to_string().into(),
            number(rule.known).into(),
            Text::styled(style, led),
        ]);
    }
    table.render(edge)
}

/// The parts of a limit; those who ask for most come first.
fn parts(limit: &Limit, edge: usize) -> Vec<Text> {
    let total = limit.total.map_or_else(|| "none yet".to_owned(), number);
    let mut head = Text::styled(Style::Bold, limit.switch.as_str());
    head.push(Style::Plain, format!(" is a limit for the whole fleet: {total}"));
    let mut hosts: Vec<&Part> = limit.hosts.iter().collect();
    hosts.sort_by(|a, b| b.demand.total_cmp(&a.demand).then_with(|| a.name.cmp(&b.name)));
    let mut table = Table::new(["HOST", "ASKED/S>", "SHARE>", "PART>"]);
    for host in hosts.iter().take(PARTS_SHOWN) {
        table.row(vec![
            Text::styled(Style::Bold, host.name.as_str()),
            number(host.demand).into(),
            format!("{}%", number(100.0 * host.share)).into(),
            host.part.map(number).unwrap_or_default().into(),
        ]);
    }
    let mut lines = vec![head];
    if !table.is_empty() {
        lines.extend(table.render(edge));
    }
    if let Some(more) = hosts.len().checked_sub(PARTS_SHOWN).filter(|more| *more > 0) {
        lines.push(Text::styled(Style::Dim, format!("and {more} more")));
    }
    lines
}

fn hosts(hosts: &[Host], now: Timestamp, edge: usize) -> Vec<Text> {
    let mut table = Table::new(["HOST", "ZONE", "VERSION", "UP>", "STATE", "VOTES"]);
    for host in hosts {
        let state = match (host.gone_since, host.clock_ahead_seconds) {
            (Some(gone), _) => Text::styled(Style::Bad, format!("vanished {} ago", ago(now, gone))),
            (None, Some(ahead)) => Text::styled(Style::Warn, format!("its clock is {} s ahead", number(ahead))),
            (None, None) => Text::styled(Style::Good, "there"),
        };
        let vote = |vote: &Vote| {
            let void = if vote.counts { "" } else { " (does not count)" };
            format!("{}: {}{void}", vote.switch, vote.level)
        };
        table.row(vec![
            Text::styled(Style::Bold, host.name.as_str()),
            host.zone.as_str().into(),
            host.version.as_str().into(),
            host.since.map(|since| ago(now, since)).unwrap_or_default().into(),
            state,
            host.votes.iter().map(vote).collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    table.render(edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_shown_with_its_votes_its_lost_hosts_and_who_counts() {
        let fleet: Fleet = serde_json::from_str(
            r#"{"host":"h1","zone":"eu","counter":"h2","counting":false,"term":7,"revision":40,"stale_since":null,
                "own_clock_ahead_seconds":null,
                "hosts":[
                  {"name":"h1","zone":"eu","version":"1","since":"2023-11-14T22:00:00Z","gone_since":null,"clock_ahead_seconds":null,
                   "votes":[{"rule":"g/recs","switch":"recs","level":"off","counts":true}]},
                  {"name":"h2","zone":"us","version":"1","since":"2023-11-14T21:00:00Z","gone_since":null,"clock_ahead_seconds":-300.0,"votes":[]},
                  {"name":"h3","zone":"us","version":"1","since":"2023-11-14T21:00:00Z","gone_since":"2023-11-14T22:10:00Z","clock_ahead_seconds":null,
                   "votes":[{"rule":"g/recs","switch":"recs","level":"off","counts":false}]}],
                "rules":[{"rule":"g/recs","switch":"recs","scope":"fleet","known":2.9,"live":2,"votes":1,"needed":2,"asks":{}}]}"#,
        )
        .expect("a fleet");
        let now = Timestamp::from_rfc3339("2023-11-14T22:15:00Z").expect("a time");
        let text: Vec<String> = lines(&fleet, now, 120).iter().map(|line| line.render(false)).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
