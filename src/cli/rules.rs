//! `brownout rules`: which rules there are and how each of them does, and what the last evaluations of one gave.

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::{Zone, count};
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Element, Evaluation, Group, Groups, Histories, History, Rule};
use crate::time::{Clock, Timestamp};

/// Show the rules with their state, group by group
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RulesArgs {
    /// Only rules that fail
    #[arg(long)]
    failing: bool,
    /// Only rules with a selector that matches no series
    #[arg(long)]
    findings: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Option<RulesCommand>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum RulesCommand {
    History(HistoryArgs),
}

/// Show the last evaluations of a rule, newest first: when, how long, and what came out
#[derive(Clone, Debug, clap::Args)]
struct HistoryArgs {
    /// The rule's name: its alert, its recorded series, or what it acts on
    name: String,
    /// Only in the group of this name
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn rules(args: &RulesArgs, out: &mut Out) -> Result<(), Failure> {
    match &args.command {
        Some(RulesCommand::History(args)) => history(args, out).await,
        None => list(args, out).await,
    }
}

async fn history(args: &HistoryArgs, out: &mut Out) -> Result<(), Failure> {
    let mut parameters = vec![("rule", args.name.clone())];
    parameters.extend(args.group.clone().map(|group| ("group", group)));
    let path = ["api", "v1", "rules", "evaluations"];
    let found: Histories = Daemon::of(&args.server)?.data(&path, &parameters).await?;
    out.lines(&history_lines(&found.rules, Clock::start().now(), &Zone::system(), out.edge()))
}

fn history_lines(rules: &[History], now: Timestamp, zone: &Zone, edge: usize) -> Vec<Text> {
    let mut lines = Vec::new();
    for rule in rules {
        if !lines.is_empty() {
            lines.push(Text::new());
        }
        let about = format!("  {} rule of group {}, {}", rule.kind, rule.group, rule.file);
        lines.push(Text::styled(Style::Bold, rule.name.as_str()).and(Style::Dim, about).cut(edge));
        if rule.evaluations.is_empty() {
            lines.push(Text::styled(Style::Dim, "not evaluated yet"));
            continue;
        }
        let mut table = Table::new(["  WHEN", "TOOK>", "SAMPLES>", "ALERTS>", "RESULT"]);
        for evaluation in &rule.evaluations {
            let result = match &evaluation.error {
                Some(error) => Text::styled(Style::Bad, one_line(error)),
                None => Text::from(result(evaluation)),
            };
            let when = evaluation.time.map(|at| zone.near(now, at)).unwrap_or_default();
            let when = format!("  {when}{}", if evaluation.urgent { " at once" } else { "" });
            let numbers = [millis(evaluation.seconds), evaluation.samples.to_string(), evaluation.alerts.to_string()];
            let [took, samples, alerts] = numbers.map(Text::from);
            table.row(vec![when.into(), took, samples, alerts, result]);
        }
        lines.extend(table.render(edge));
    }
    lines
}

fn millis(seconds: f64) -> String {
    format!("{:.2}ms", seconds * 1_000.0)
}

/// The first elements of a result: their labels without the name, and their values.
fn result(evaluation: &Evaluation) -> String {
    let element = |element: &Element| {
        let labels = element.labels.iter().filter(|(name, _)| *name != "__name__");
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
        let value = element.value.parse::<f64>().map_or_else(|_| element.value.clone(), |value| value.to_string());
        if labels.is_empty() { value } else { format!("{{{}}} {value}", labels.join(", ")) }
    };
    let mut all: Vec<String> = evaluation.values.iter().map(element).collect();
    let rest = evaluation.samples.saturating_sub(evaluation.values.len() as u64);
    all.extend((rest > 0).then(|| format!("and {rest} more")));
    all.join("; ")
}

async fn list(args: &RulesArgs, out: &mut Out) -> Result<(), Failure> {
    let mut found: Groups = Daemon::of(&args.server)?.data(&["api", "v1", "rules"], &[]).await?;
    if args.failing {
        for group in &mut found.groups {
            group.rules.retain(|rule| rule.health == "err");
        }
    }
    if args.findings {
        found.groups.iter_mut().for_each(|group| group.rules.retain(|rule| !rule.findings.is_empty()));
    }
    if args.failing || args.findings {
        found.groups.retain(|group| !group.rules.is_empty());
    }
    if found.groups.is_empty() {
        return out.line(match (args.failing, args.findings) {
            (true, _) => "no rule fails",
            (_, true) => "every selector matches something",
            _ => "there are no rules",
        });
    }
    out.lines(&lines(&found.groups, out.edge()))
}

fn lines(groups: &[Group], edge: usize) -> Vec<Text> {
    let mut lines = Vec::new();
    for group in groups {
        if !lines.is_empty() {
            lines.push(Text::new());
        }
        let rules = count(group.rules.len(), "rule", "rules");
        let about = format!("  {rules} every {}s, {}", group.interval, group.file);
        lines.push(Text::styled(Style::Bold, group.name.as_str()).and(Style::Dim, about).cut(edge));
        let mut table = Table::new(["  STATE", "TYPE", "NAME", "EXPRESSION"]);
        for rule in &group.rules {
            let expression = match rule.last_error.is_empty() {
                true => Text::styled(Style::Dim, expression(rule)),
                false => Text::styled(Style::Bad, one_line(&rule.last_error)),
            };
            let mut state_cell = Text::from("  ");
            state_cell.append(state(rule));
            table.row(vec![state_cell, rule.kind.as_str().into(), rule.name.as_str().into(), expression]);
        }
        lines.extend(table.render(edge));
        for (rule, finding) in group.rules.iter().flat_map(|rule| rule.findings.iter().map(move |f| (rule, f))) {
            let text = format!("  {}, line {}: {}", rule.name, finding.line, one_line(&finding.message));
            lines.push(Text::styled(Style::Warn, text).cut(edge));
        }
    }
    lines
}

/// The expression; of an action rule each condition's, with what it decides.
fn expression(rule: &Rule) -> String {
    if rule.conditions.is_empty() {
        return one_line(&rule.query);
    }
    let each =
        rule.conditions.iter().map(|condition| format!("{}: {}", condition.part, one_line(&condition.expression)));
    each.collect::<Vec<_>>().join("; ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn state(rule: &Rule) -> Text {
    if rule.health == "err" {
        return Text::styled(Style::Bad, "error");
    }
    // An action rule's state is that of the worst of its conditions.
    if rule.conditions.iter().any(|condition| !matches!(condition.truth.as_str(), "true" | "false")) {
        return Text::styled(Style::Warn, "no data");
    }
    match rule.state.as_str() {
        _ if rule.unknown_alerts > 0 => Text::styled(Style::Warn, "unknown"),
        "firing" => Text::styled(Style::Bad, "firing"),
        "pending" => Text::styled(Style::Warn, "pending"),
        "" => Text::from(rule.health.as_str()),
        other => Text::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::overview;
    use super::*;

    #[test]
    fn a_history_shows_what_each_evaluation_gave() {
        let json = r#"{"rules":[{"name":"A","type":"alerting","group":"g","file":"r.yaml","evaluations":[
            {"time":"2026-01-01T00:00:02.000Z","seconds":0.00012,"urgent":true,"samples":7,"alerts":1,
             "values":[{"labels":{"__name__":"x","l":"a"},"value":"1.5e+00"},{"labels":{},"value":"NaN"}],"error":null},
            {"time":"2026-01-01T00:00:01.000Z","seconds":0.0001,"samples":0,"alerts":0,"values":[],"error":"broken\nquery"},
            {"time":"2026-01-01T00:00:00.000Z","seconds":0.0001,"samples":0,"alerts":0,"values":[]}]},
            {"name":"A","type":"alerting","group":"h","file":"r.yaml","evaluations":[]}]}"#;
        let found: Histories = serde_json::from_str(json).expect("histories");
        let now = Timestamp::from_rfc3339("2026-01-01T00:00:10Z").expect("a time");
        let lines = history_lines(&found.rules, now, &Zone::utc(), 120);
        insta::assert_snapshot!(lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn rules_show_their_state_and_their_error() {
        let lines = lines(&overview().groups, 120);
        insta::assert_snapshot!(lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n"));
    }
}
