//! `brownout switch explain`: why a switch is where it is, and what would move it.

use std::time::Duration;

use super::explain_dial;
use super::human::{Zone, ago, number, span};
use super::switch::{ladder_text, level_text};
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Condition, LadderRule, Switch};
use crate::time::Timestamp;

/// One switch in full.
pub(super) fn explain(switch: &Switch, now: Timestamp, zone: &Zone, edge: usize) -> Vec<Text> {
    let mut lines = head(switch, now, zone);
    if switch.rules.is_empty() && switch.dials.is_empty() && switch.rollouts.is_empty() {
        let kind = match switch.value.kind.as_str() {
            "dimmer" => "dim",
            "limit" => "limit",
            "rollout" => "rollout",
            _ => "degrade",
        };
        lines.push(Text::new());
        lines.push(format!("No rule moves it: only a pin does. A `{kind}` rule in a rule file would.").into());
    }
    for dial in &switch.dials {
        lines.push(Text::new());
        lines.extend(explain_dial::dial(dial, now));
    }
    for rollout in &switch.rollouts {
        lines.push(Text::new());
        lines.extend(explain_dial::rollout(rollout, now, zone));
    }
    for rule in &switch.rules {
        lines.push(Text::new());
        lines.extend(rule_lines(switch, rule, now, zone));
    }
    lines.into_iter().map(|line| line.cut(edge)).collect()
}

fn head(switch: &Switch, now: Timestamp, zone: &Zone) -> Vec<Text> {
    let mut title = Text::styled(Style::Bold, switch.name.as_str());
    if !switch.description.is_empty() {
        title.push(Style::Dim, format!("  {}", switch.description));
    }
    let mut level = field("level").then("");
    level.append(level_text(&switch.level, switch.depth));
    if let Some(since) = switch.since {
        level.push(Style::Plain, format!(" for {}, since {}", ago(now, since), zone.near(now, since)));
    }
    level.push(Style::Dim, format!(" (revision {})", switch.revision));
    let mut lines = vec![title];
    if !switch.ladder.is_empty() {
        let mut ladder = field("ladder");
        ladder.append(ladder_text(switch));
        lines.push(ladder);
    }
    lines.push(level);
    for (name, value) in [("armed", switch.value.threshold), ("limit", switch.value.limit)] {
        lines.extend(value.map(|value| field(name).then(format!("{} in flight", number(value)))));
    }
    if let Some(frozen) = &switch.frozen {
        lines.push(field("frozen").and(Style::Warn, format!("no rule moves anything: {frozen}")));
    }
    if let Some(held) = &switch.held_back {
        lines.push(field("held").and(Style::Warn, held.as_str()));
    }
    if !switch.why.is_empty() {
        lines.push(field("why").then(switch.why.as_str()));
    }
    if let Some(votes) = &switch.votes {
        let named = match votes.hosts.as_slice() {
            [] => String::new(),
            hosts if hosts.len() < votes.agreed as usize => format!(", among them {}", hosts.join(", ")),
            hosts => format!(": {}", hosts.join(", ")),
        };
        lines.push(field("votes").then(format!("{} of {} hosts{named}", votes.agreed, votes.of)));
    }
    if let Some(since) = switch.stale_since {
        let text = format!("the store has been out of reach for {}: this is what it said last", ago(now, since));
        lines.push(field("stale").and(Style::Warn, text));
    }
    if let Some(pin) = &switch.pin {
        let until =
            pin.until.map(|until| format!(" until {} (another {})", zone.near(now, until), span(until.since(now))));
        let text = format!("at {} by {}{}: {}", pin.level, pin.by, until.unwrap_or_default(), pin.reason);
        lines.push(field("pinned").and(Style::Warn, text));
        lines.push(field("").then(format!("a pin beats every rule; `brownout unpin {}` ends it", switch.name)));
    }
    lines
}

fn field(name: &str) -> Text {
    Text::styled(Style::Dim, format!("  {name:<8}"))
}

fn rule_lines(switch: &Switch, rule: &LadderRule, now: Timestamp, zone: &Zone) -> Vec<Text> {
    let depth = switch.ladder.iter().position(|level| *level == rule.level).unwrap_or(0);
    let mut title = Text::from("rule ").and(Style::Bold, rule.title.as_str()).then(" asks for ");
    title.append(level_text(&rule.level, depth));
    if let Some(moved) = rule.moved.filter(|_| depth > 0) {
        title.push(Style::Plain, format!(" since {}", zone.near(now, moved)));
    }
    if !rule.scope.is_empty() {
        title.push(Style::Dim, format!(" (scope {})", rule.scope));
    }
    let mut lines = vec![title];
    if rule.mode == "observe" {
        let text = "it only observes: it says what it would do and moves nothing (actions.mode: enforce lets it act)";
        lines.push(Text::from("  ").and(Style::Warn, text));
    }
    let mut table = Table::new(["  WHEN", "NOW", "VALUE>", "FOR>", "EXPRESSION"]);
    for condition in &rule.conditions {
        table.row(vec![
            format!("  {}", condition.part).into(),
            truth(condition),
            condition.value.map(number).unwrap_or_default().into(),
            condition.since.map(|since| ago(now, since)).unwrap_or_default().into(),
            condition.expression.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        ]);
    }
    if !table.is_empty() {
        lines.extend(table.render(usize::MAX));
    }
    lines.extend(next(switch, rule, depth, now, zone).into_iter().map(|text| Text::from("  ").then(text)));
    lines
}

fn truth(condition: &Condition) -> Text {
    let good_news = clears(condition);
    let style = match condition.truth.as_str() {
        "true" if good_news => Style::Good,
        "true" => Style::Bad,
        "false" => Style::Plain,
        _ => Style::Warn,
    };
    let word = if condition.truth.is_empty() { "unknown" } else { &condition.truth };
    Text::styled(style, word)
}

/// Whether a condition lets the switch go back: the rule's `recover`, or a level's own `clear`.
fn clears(condition: &Condition) -> bool {
    condition.part == "recover" || condition.part.starts_with("clear ")
}

/// What happens next, and what holds it back.
fn next(switch: &Switch, rule: &LadderRule, depth: usize, now: Timestamp, zone: &Zone) -> Vec<String> {
    let mut said = Vec::new();
    for condition in rule.conditions.iter().filter(|condition| !matches!(condition.truth.as_str(), "true" | "false")) {
        said.push(format!(
            "no data for `{}`: it is neither true nor false, so it holds the switch where it is",
            condition.part
        ));
    }
    let of_level = |condition: &&Condition| !clears(condition) && condition.truth == "true";
    let deeper = |condition: &&Condition| switch.ladder.iter().position(|level| *level == condition.part) > Some(depth);
    for condition in rule.conditions.iter().filter(of_level).filter(deeper) {
        said.push(coming(rule, condition, now));
    }
    if depth == 0 {
        if said.is_empty() {
            said.push("nothing is asked of it: no condition is true".to_owned());
        }
        return said;
    }
    let up = &switch.ladder[depth - 1];
    said.extend(min_hold_left(rule, now));
    let quiet_needed = span(Duration::try_from_secs_f64(rule.quiet_needed_seconds).unwrap_or_default());
    if let (Some(at), Some(quiet)) = (rule.next_climb, rule.quiet_since) {
        let wait =
            if at > now { format!("in {}, at {}", span(at.since(now)), zone.near(now, at)) } else { "now".into() };
        said.push(format!(
            "next step up to `{up}` {wait}, if it stays quiet (quiet for {} of {quiet_needed})",
            ago(now, quiet)
        ));
        return said;
    }
    let still = rule.conditions.iter().filter(of_level).filter(|condition| !deeper(condition));
    for condition in still {
        let depth_of = switch.ladder.iter().position(|level| *level == condition.part);
        if depth_of == Some(depth) {
            said.push(format!("held at `{}`: its condition is still true", rule.level));
        }
    }
    let own = format!("clear {}", rule.level);
    let clear = rule.conditions.iter().find(|condition| condition.part == own);
    let clear = clear.or_else(|| rule.conditions.iter().find(|condition| condition.part == "recover"));
    if let Some(clear) = clear.filter(|clear| clear.truth == "false") {
        said.push(format!("held back: `{}` is not true yet", clear.part));
    }
    said.push(format!("the step up to `{up}` needs {quiet_needed} of quiet, which has not begun"));
    said
}

/// A deeper level whose condition is true: how long it has been, of how long it must be.
fn coming(rule: &LadderRule, condition: &Condition, now: Timestamp) -> String {
    let place = rule.conditions.iter().position(|known| known.part == condition.part);
    let needed = place.and_then(|place| rule.level_for_seconds.get(place));
    let needed = needed.and_then(|seconds| Duration::try_from_secs_f64(*seconds).ok());
    match (needed, condition.since) {
        (Some(needed), Some(since)) => {
            let left = needed.saturating_sub(now.since(since));
            format!(
                "`{}` is coming in {}: its condition has been true for {} of {}",
                condition.part,
                span(left),
                ago(now, since),
                span(needed)
            )
        }
        _ => format!("`{}` is coming: its condition is true and must stay so for its `for`", condition.part),
    }
}

/// How much of `min_hold` is left.
fn min_hold_left(rule: &LadderRule, now: Timestamp) -> Option<String> {
    let hold = Duration::try_from_secs_f64(rule.min_hold_seconds).ok()?;
    let left = hold.checked_sub(now.since(rule.moved?)).filter(|left| !left.is_zero())?;
    Some(format!("held by min_hold for another {} of {}", span(left), span(hold)))
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::switches;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_090_000);

    fn shown(switch: &Switch) -> String {
        explain(switch, NOW, &Zone::utc(), 140).iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_switch_on_its_way_back_says_when_the_next_step_comes() {
        insta::assert_snapshot!(shown(&switches()[0]));
    }

    #[test]
    fn a_pinned_switch_says_by_whom_and_how_to_end_it() {
        insta::assert_snapshot!(shown(&switches()[1]));
    }

    #[test]
    fn what_holds_a_switch_back_is_named() {
        let mut switch = switches().remove(0);
        (switch.rules[0].next_climb, switch.rules[0].quiet_since) = (None, None);
        switch.rules[0].conditions[0].truth = "true".into();
        switch.rules[0].conditions[2].truth = "false".into();
        let text = shown(&switch);
        assert!(text.contains("held at `cached`: its condition is still true"), "{text}");
        assert!(text.contains("held back: `recover` is not true yet"), "{text}");
        let mut own = switch.rules[0].conditions[2].clone();
        (own.part, own.truth) = ("clear cached".into(), "false".into());
        switch.rules[0].conditions.push(own);
        let text = shown(&switch);
        assert!(text.contains("held back: `clear cached` is not true yet"), "{text}");
        assert!(!text.contains("`recover` is not true yet"), "a level's own condition stands in its place: {text}");
        switch.rules[0].conditions[1].truth = "true".into();
        assert!(shown(&switch).contains("`off` is coming: its condition is true"));
        switch.rules[0].level_for_seconds = vec![5.0, 120.0];
        assert!(
            shown(&switch).contains("`off` is coming in 30s: its condition has been true for 1m 30s of 2m"),
            "{}",
            shown(&switch)
        );
        switch.rules[0].min_hold_seconds = 120.0;
        assert!(shown(&switch).contains("held by min_hold for another 1m 10s of 2m"), "{}", shown(&switch));
        switch.rules[0].conditions[1].truth = "no data".into();
        assert!(shown(&switch).contains("no data for `off`"));
        switch.rules[0].mode = "observe".into();
        assert!(shown(&switch).contains("it only observes"));
    }
}
