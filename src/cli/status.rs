//! `brownout status`: how things are, on one screen. Exit code 0 when all is well, 1 otherwise.

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::human::{ago, count, number};
use super::out::Out;
use super::switch::ladder_text;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Overview, Rule, Switch};
use super::{alerts, human};

/// Show how things are on one screen; exit code 0 when all is well, 1 when not
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn status(args: &StatusArgs, out: &mut Out) -> Result<(), Failure> {
    let overview = Daemon::of(&args.server)?.overview().await?;
    out.lines(&screen(&overview, out.edge()))?;
    if troubles(&overview).is_empty() { Ok(()) } else { Err(Failure::BadNews) }
}

/// What is not well, in words; empty when all is.
fn troubles(overview: &Overview) -> Vec<String> {
    let firing = overview.alerts.iter().filter(|alert| alert.state == "firing").count();
    let degraded = unhealthy(overview).count();
    let failing = failing(overview).count();
    let mut words = Vec::new();
    if firing > 0 {
        words.push(format!("{} firing", count(firing, "alert", "alerts")));
    }
    if degraded > 0 {
        words.push(format!("{} degraded", count(degraded, "switch", "switches")));
    }
    if failing > 0 {
        words.push(format!("{} failing", count(failing, "rule", "rules")));
    }
    if !overview.config.ok {
        words.push("the configuration on disk is broken".to_owned());
    }
    if !overview.ready {
        words.push("the daemon is starting".to_owned());
    }
    words
}

fn unhealthy(overview: &Overview) -> impl Iterator<Item = &Switch> {
    overview.switches.iter().filter(|switch| switch.depth > 0)
}

fn failing(overview: &Overview) -> impl Iterator<Item = &Rule> {
    overview.groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.health == "err")
}

/// The whole screen.
fn screen(overview: &Overview, edge: usize) -> Vec<Text> {
    let troubles = troubles(overview);
    let verdict = match troubles.is_empty() {
        true => Text::styled(Style::Good, "all is well"),
        false => Text::styled(Style::Bad, troubles.join(", ")),
    };
    let mut title = Text::styled(Style::Bold, overview.host.as_str()).then(": ");
    title.append(verdict);
    let mut lines = vec![title.cut(edge), facts(overview).cut(edge)];
    lines.extend(remarks(overview));
    if !overview.alerts.is_empty() {
        section(&mut lines, "ALERTS");
        lines.extend(alerts::table(&overview.alerts, overview.now, edge.saturating_sub(2)).into_iter().map(indented));
    }
    if overview.switches.iter().any(|switch| switch.depth > 0 || switch.pin.is_some()) {
        section(&mut lines, "SWITCHES that are degraded or pinned");
        lines.extend(switches(overview, edge.saturating_sub(2)).into_iter().map(indented));
    }
    if failing(overview).next().is_some() {
        section(&mut lines, "RULES that fail");
        for rule in failing(overview) {
            lines.push(indented(format!("{}: {}", rule.name, rule.last_error).into()).cut(edge));
        }
    }
    if !overview.losses.is_empty() {
        section(&mut lines, "LOSSES since the start: what was dropped, cut, refused or failed");
        let mut table = Table::new(["  COUNT>", "METRIC", "WHAT"]);
        for loss in &overview.losses {
            table.row(vec![
                number(loss.total).into(),
                loss.metric.as_str().into(),
                Text::styled(Style::Dim, loss.help.as_str()),
            ]);
        }
        lines.extend(table.render(edge));
    }
    lines
}

fn section(lines: &mut Vec<Text>, title: &str) {
    lines.push(Text::new());
    lines.push(Text::styled(Style::Bold, title));
}

fn indented(line: Text) -> Text {
    let mut text = Text::from("  ");
    text.append(line);
    text
}

fn facts(overview: &Overview) -> Text {
    let rules: usize = overview.groups.iter().map(|group| group.rules.len()).sum();
    let mut facts = vec![
        format!("brownout {}", overview.version),
        format!("up {}", ago(overview.now, overview.started)),
        count(usize::try_from(overview.series).unwrap_or(usize::MAX), "series", "series"),
        count(rules, "rule", "rules"),
        count(overview.switches.len(), "switch", "switches"),
        format!("actions: {}", overview.mode),
    ];
    if !overview.config.file.is_empty() {
        facts.push(overview.config.file.clone());
    }
    Text::styled(Style::Dim, facts.join(", "))
}

/// What an operator should know, though it may be as it should.
fn remarks(overview: &Overview) -> Vec<Text> {
    let mut lines = Vec::new();
    let mut say = |style, text: String| lines.push(Text::styled(style, text));
    if !overview.config.ok {
        say(Style::Bad, "The configuration on disk was not taken; the one before stays in use:".to_owned());
        for line in overview.config.problem.as_deref().unwrap_or_default().lines() {
            say(Style::Plain, format!("  {line}"));
        }
    }
    if overview.mode == "observe" && !overview.switches.is_empty() {
        say(
            Style::Warn,
            "Rules only observe: they say what they would do and move no switch (actions.mode: enforce).".to_owned(),
        );
    }
    if overview.outbox.waiting > 0 || overview.outbox.dropped > 0 {
        let waiting = usize::try_from(overview.outbox.waiting).unwrap_or(usize::MAX);
        let dropped = match overview.outbox.dropped {
            0 => String::new(),
            dropped => format!("; {dropped} repeats were dropped"),
        };
        let waiting = count(waiting, "notification waits", "notifications wait");
        say(Style::Warn, format!("{waiting} to be delivered{dropped}."));
    }
    for scale in overview.scales.iter().filter(|scale| scale.failures > 0) {
        let wish = scale.desired.map_or(String::new(), |desired| format!(" for {}", human::number(desired)));
        let failures = count(usize::try_from(scale.failures).unwrap_or(usize::MAX), "call", "calls");
        say(Style::Bad, format!("Scaling {} ({}): {failures}{wish} failed in a row.", scale.target, scale.mode));
    }
    lines
}

fn switches(overview: &Overview, edge: usize) -> Vec<Text> {
    let mut table = Table::new(["SWITCH", "LADDER", "FOR>", "WHY"]);
    for switch in overview.switches.iter().filter(|switch| switch.depth > 0 || switch.pin.is_some()) {
        let why = match &switch.pin {
            Some(pin) => Text::styled(Style::Warn, format!("pinned by {}: {}", pin.by, pin.reason)),
            None => Text::from(switch.why.as_str()),
        };
        let since = switch.since.map(|since| ago(overview.now, since)).unwrap_or_default();
        table.row(vec![Text::styled(Style::Bold, switch.name.as_str()), ladder_text(switch), since.into(), why]);
    }
    table.render(edge)
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::overview;
    use super::*;

    fn shown(overview: &Overview) -> String {
        screen(overview, 120).iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_host_in_trouble_shows_all_of_it_on_one_screen() {
        let text = shown(&overview());
        assert!(text.lines().count() <= 24, "one screen");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_healthy_host_is_two_lines() {
        let mut healthy = overview();
        (healthy.alerts, healthy.losses, healthy.scales) = (Vec::new(), Vec::new(), Vec::new());
        healthy.outbox.waiting = 0;
        healthy.groups[0].rules.pop();
        for switch in &mut healthy.switches {
            (switch.depth, switch.pin) = (0, None);
        }
        insta::assert_snapshot!(shown(&healthy), @r"
        web-7: all is well
        brownout 0.1.0, up 2h 48m, 1234 series, 3 rules, 2 switches, actions: enforce, /etc/brownout/brownout.yaml
        ");
        assert_eq!(troubles(&healthy), Vec::<String>::new());
    }

    #[test]
    fn a_broken_configuration_is_shown_whole() {
        let mut broken = overview();
        broken.config.ok = false;
        broken.config.problem = Some("brownout.yaml:3:1: unknown key `probe`\n\x1b[2Jsecond".into());
        let text = shown(&broken);
        assert!(text.contains("\n  brownout.yaml:3:1: unknown key `probe`\n  \\u{1b}[2Jsecond\n"), "{text}");
        assert!(text.lines().next().is_some_and(|line| line.contains("configuration on disk is broken")));
    }
}
