//! `brownout switch explain` for dimmers, limits and rollouts: the measure, the set point, what the law makes of them, and
//! what comes next.

use super::human::{Zone, ago, number, span};
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Condition, Dial, DialView, RolloutRule};
use crate::time::Timestamp;
use std::time::Duration;

/// A share as people read it.
fn percent(share: f64) -> String {
    format!("{}%", number(share * 100.0))
}

fn seconds(value: f64) -> String {
    span(Duration::try_from_secs_f64(value).unwrap_or_default())
}

fn title(kind: &str, name: &str, mode: &str) -> Vec<Text> {
    let mut lines = vec![Text::from("rule ").and(Style::Bold, name).then(format!(" {kind}"))];
    if mode == "observe" {
        let text = "it only observes: it says what it would do and moves nothing (actions.mode: enforce lets it act)";
        lines.push(Text::from("  ").and(Style::Warn, text));
    }
    lines
}

fn inputs(conditions: &[Condition], now: Timestamp) -> Vec<Text> {
    let mut table = Table::new(["  MEASURE", "NOW", "VALUE>", "FOR>", "EXPRESSION"]);
    for condition in conditions {
        let known = condition.truth == "true" || condition.truth == "false";
        let style = if known { Style::Plain } else { Style::Warn };
        table.row(vec![
            format!("  {}", condition.part).into(),
            Text::styled(style, condition.truth.as_str()),
            condition.value.map(number).unwrap_or_default().into(),
            condition.since.map(|since| ago(now, since)).unwrap_or_default().into(),
            condition.expression.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        ]);
    }
    if table.is_empty() { Vec::new() } else { table.render(usize::MAX) }
}

/// A law and what it would do next.
pub(super) fn dial(dial: &Dial, now: Timestamp) -> Vec<Text> {
    let law = dial.law.as_ref().map_or("gives the limit by its expression".to_owned(), |law| {
        format!("rules by {law}, so that a request takes at most {}", seconds(dial.objective_seconds))
    });
    let mut lines = title(&law, &dial.title, &dial.mode);
    lines.extend(inputs(&dial.conditions, now));
    let wants = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {}", number(value)));
    let parts = [
        dial.share.map(|share| format!("share {}", percent(share))),
        wants("threshold", dial.threshold),
        wants("limit", dial.limit),
    ];
    let wanted: Vec<String> = parts.into_iter().flatten().collect();
    if !wanted.is_empty() {
        lines.push(format!("  it wants {}", wanted.join(", ")).into());
    }
    lines.extend(dial.view.iter().flat_map(|view| said(dial, view)).map(|text| Text::from("  ").then(text)));
    lines
}

fn said(dial: &Dial, view: &DialView) -> Vec<String> {
    let mut said = Vec::new();
    let known = |value: Option<f64>| value.map_or("unknown".to_owned(), number);
    let cost = view.cost_seconds.map(|cost| cost * 1000.0);
    said.push(format!(
        "{} requests/s at {} ms for a full answer (a degraded one: {} of that); {} used of the set point {}; {} slow of {} answers",
        known(view.rate),
        known(cost),
        percent(view.cost_ratio),
        percent(view.used),
        percent(view.target),
        percent(view.slow_share.unwrap_or(0.0)),
        known(view.samples),
    ));
    if view.silent_seconds > 0.0 {
        said.push(format!("no sample for {}: everything holds where it is", seconds(view.silent_seconds)));
        return said;
    }
    if view.cost_seconds.is_none() {
        said.push("it does not know yet what a request costs: full service, and no limit until it does".to_owned());
        return said;
    }
    if view.tight {
        said.push("even degraded answers do not all fit: the limit is tight".to_owned());
    }
    let Some(fits) = view.fits else { return said };
    let share = dial.share.unwrap_or(1.0);
    if share >= 0.995 {
        let text = if fits >= 1.0 {
            "full service fits: nothing is to be dimmed"
        } else {
            "less than full service fits, but within the band"
        };
        said.push(text.to_owned());
    } else if fits >= 1.0 && view.fitting_for_seconds >= view.hold_seconds {
        said.push("full service has fitted for long enough: the share climbs to 100% in steps".to_owned());
    } else if fits >= 1.0 {
        let left = view.hold_seconds - view.fitting_for_seconds;
        said.push(format!(
            "full service fits for {} of {}: the climb to 100% begins in {} if it goes on",
            seconds(view.fitting_for_seconds),
            seconds(view.hold_seconds),
            seconds(left)
        ));
    } else {
        said.push(format!(
            "{} of full service fits now; the return to 100% needs {} in which all of it does",
            percent(fits.clamp(0.0, 1.0)),
            seconds(view.hold_seconds)
        ));
    }
    said
}

/// A rollout and its next step.
pub(super) fn rollout(rollout: &RolloutRule, now: Timestamp, zone: &Zone) -> Vec<Text> {
    let version = if rollout.version.is_empty() { String::new() } else { format!(" of {}", rollout.version) };
    let mut lines =
        title(&format!("leads a rollout{version}, which is {}", rollout.state), &rollout.title, &rollout.mode);
    let mut steps = Text::from("  steps ");
    for (index, step) in rollout.steps.iter().enumerate() {
        let text = format!("{} for {}", percent(step.share), seconds(step.seconds));
        let here = index == rollout.step && matches!(rollout.state.as_str(), "running" | "paused" | "done");
        steps.push(Style::Dim, if index > 0 { " > " } else { "" });
        steps.push(if here { Style::Bold } else { Style::Dim }, if here { format!("[{text}]") } else { text });
    }
    lines.push(steps);
    lines.extend(inputs(&rollout.conditions, now));
    if !rollout.why.is_empty() {
        lines.push(format!("  why: {}", rollout.why).into());
    }
    let mut next = Vec::new();
    if let Some(since) = rollout.silent_since {
        next.push(format!("no data for {}: it holds, and is brought back if that lasts", ago(now, since)));
    }
    if let Some(since) = rollout.failing_since {
        next.push(format!("failing for {}", ago(now, since)));
    }
    match (rollout.state.as_str(), rollout.baked_at) {
        ("running", Some(at)) if at > now => {
            next.push(format!("the step is baked in {}, at {}", span(at.since(now)), zone.near(now, at)))
        }
        ("running", _) => next.push("the step is baked: it goes on as soon as enough is known".to_owned()),
        ("paused", _) => next.push("a person must say `brownout rollout resume` or `abort`".to_owned()),
        ("rolled_back", _) => next.push("locked: a person must say `brownout rollout ack`".to_owned()),
        ("waiting", _) => next.push("a person must say `brownout rollout resume` to begin".to_owned()),
        _ => {}
    }
    lines.extend(next.into_iter().map(|text| Text::from("  ").then(text)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_090_000);

    fn plain(lines: &[Text]) -> String {
        lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    const DIAL: &str = r#"{"title":"checkout/related","mode":"enforce","scope":"fleet","law":"ff+lim","objective_seconds":1.0,
      "share":0.15,"threshold":null,"limit":190.7,"conditions":[{"part":"arrivals","expression":"sum(rate(r[2s]))","truth":"true","value":160.0}],
      "view":{"rate":160.0,"slow_share":0.01,"samples":400.0,"cost_seconds":0.0125,"cost_ratio":0.3,"target":0.76,"used":0.7,
        "fits":1.2,"tight":false,"fitting_for_seconds":4.0,"hold_seconds":10.0,"silent_seconds":0.0}}"#;

    #[test]
    fn a_dimmed_switch_says_what_fits_and_when_it_climbs() {
        let mut law: Dial = serde_json::from_str(DIAL).expect("a dial");
        let text = plain(&dial(&law, NOW));
        for part in [
            "rules by ff+lim, so that a request takes at most 1s",
            "it wants share 15%, limit 190.7",
            "160 requests/s at 12.5 ms for a full answer",
            "full service fits for 4s of 10s: the climb to 100% begins in 6s if it goes on",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let view = law.view.as_mut().expect("a view");
        (view.fits, view.tight) = (Some(0.2), true);
        let text = plain(&dial(&law, NOW));
        assert!(text.contains("20% of full service fits now") && text.contains("the limit is tight"), "{text}");
        law.view.as_mut().expect("a view").silent_seconds = 12.0;
        assert!(plain(&dial(&law, NOW)).contains("no sample for 12s: everything holds"));
    }

    #[test]
    fn a_rollout_says_what_its_step_waits_for() {
        let json = r#"{"title":"g/search","mode":"enforce","version":"v2","state":"running","step":1,
          "steps":[{"share":0.01,"seconds":600.0},{"share":0.1,"seconds":600.0}],"why":"1% was well for 10m",
          "baked_at":"2023-11-14T22:15:30.000Z","conditions":[{"part":"abort_when","expression":"e > 1","truth":"false"}]}"#;
        let mut rule: RolloutRule = serde_json::from_str(json).expect("a rollout");
        let text = plain(&rollout(&rule, NOW, &Zone::utc()));
        assert!(text.contains("1% for 10m > [10% for 10m]") && text.contains("the step is baked in 40s"), "{text}");
        rule.state = "rolled_back".into();
        assert!(plain(&rollout(&rule, NOW, &Zone::utc())).contains("brownout rollout ack"));
    }
}
