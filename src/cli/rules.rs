//! `brownout rules`: which rules there are and how each of them does.

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::count;
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Group, Groups, Rule};

/// Show the rules with their state, group by group
#[derive(Clone, Debug, clap::Args)]
pub struct RulesArgs {
    /// Only rules that fail
    #[arg(long)]
    failing: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn rules(args: &RulesArgs, out: &mut Out) -> Result<(), Failure> {
    let mut found: Groups = Daemon::of(&args.server)?.data(&["api", "v1", "rules"], &[]).await?;
    if args.failing {
        for group in &mut found.groups {
            group.rules.retain(|rule| rule.health == "err");
        }
        found.groups.retain(|group| !group.rules.is_empty());
    }
    if found.groups.is_empty() {
        return out.line(if args.failing { "no rule fails" } else { "there are no rules" });
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
    fn rules_show_their_state_and_their_error() {
        let lines = lines(&overview().groups, 120);
        insta::assert_snapshot!(lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n"));
    }
}
