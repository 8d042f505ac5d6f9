//! What the demo shows: a few live lines and what has happened so far. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::{ALERT, SLOW, SWITCH};
use super::service::Mode;
use super::story::{Event, Mood, Seen, Turns};
use crate::cli::plot::sparkline;
use crate::cli::text::{Style, Text};

/// Values of the small curves.
const CURVE: usize = 48;

/// What is shown besides what was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// Requests a second that are sent.
    pub(super) load: u32,
    pub(super) good: u64,
    pub(super) bad: u64,
    /// Lines of the access log that the daemon counted, by status.
    pub(super) logged: Vec<(String, String)>,
    latencies: VecDeque<f64>,
    loads: VecDeque<f64>,
    events: Vec<Event>,
}

impl Live {
    /// Takes the figures of one look.
    pub(super) fn push(&mut self, load: u32, seen: &Seen) {
        self.load = load;
        for (curve, value) in
            [(&mut self.latencies, seen.latency.unwrap_or(f64::NAN)), (&mut self.loads, f64::from(load))]
        {
            curve.push_back(value);
            if curve.len() > CURVE {
                curve.pop_front();
            }
        }
    }

    pub(super) fn happened(&mut self, event: Event) {
        self.events.push(event);
    }
}

fn style(mood: Mood) -> Style {
    match mood {
        Mood::Neutral => Style::Bold,
        Mood::Good => Style::Good,
        Mood::Warn => Style::Warn,
        Mood::Bad => Style::Bad,
    }
}

/// An event as one line.
pub(super) fn event_line(event: &Event) -> Text {
    Text::styled(Style::Dim, format!("{:>5.1} s  ", event.at.as_secs_f64())).and(style(event.mood), event.text.as_str())
}

/// All figures as one line, for outputs that are no terminal.
pub(super) fn figures_line(at: Duration, live: &Live, seen: &Seen) -> Text {
    let alert = if seen.alert.is_empty() { "none" } else { &seen.alert };
    Text::styled(Style::Dim, format!("{:>5.1} s  ", at.as_secs_f64())).then(format!(
        "{} requests/s, 99 % within {}, alert {alert}, {SWITCH} {}, {} answered, {} not",
        live.load,
        latency(seen),
        seen.level,
        live.good,
        live.bad
    ))
}

fn latency(seen: &Seen) -> String {
    match seen.latency {
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1_000.0),
        Some(seconds) => format!("{seconds:.1} s"),
        None => "?".to_owned(),
    }
}

fn named(name: &str) -> Text {
    Text::styled(Style::Dim, format!("  {name:<9}"))
}

/// The live lines, to be drawn over the ones before; as many of the latest events as there is room for.
pub(super) fn screen(at: Duration, live: &Live, seen: &Seen, page: &str, height: usize) -> Vec<Text> {
    let slow = seen.latency.is_some_and(|latency| latency > SLOW);
    let capacity = Mode::capacity;
    let can = match seen.level.as_str() {
        "off" => capacity(Mode::Off),
        "cached" => capacity(Mode::Cached),
        _ => capacity(Mode::Full),
    };
    let curve = |values: &VecDeque<f64>, top| format!("{:>CURVE$}  ", sparkline(values.iter().copied(), top));
    let latency_style = if slow { Style::Bad } else { Style::Good };
    let over = if live.load > can { Style::Bad } else { Style::Plain };
    let alert = match seen.alert.as_str() {
        "firing" => Text::styled(Style::Bad, format!("{ALERT} is firing")),
        "pending" => Text::styled(Style::Warn, format!("{ALERT} is pending")),
        _ => Text::styled(Style::Good, "none"),
    };
    let logged: Vec<String> =
        live.logged.iter().map(|(status, count)| format!("{count} with status {status}")).collect();
    let mut rungs = named("switch").then(format!("{SWITCH}  "));
    for (index, mode) in [Mode::Full, Mode::Cached, Mode::Off].into_iter().enumerate() {
        let here = seen.level == mode.as_str();
        let style = match (here, mode) {
            (false, _) => Style::Dim,
            (true, Mode::Full) => Style::Good,
            (true, _) => Style::Bad,
        };
        let text = if here { format!("[{}]", mode.as_str()) } else { mode.as_str().to_owned() };
        rungs.push(Style::Dim, if index > 0 { " > " } else { "" });
        rungs.push(style, text);
    }
    let mut alert_line = named("alert");
    alert_line.append(alert);
    let mut lines = vec![
        Text::styled(Style::Bold, "brownout demo").and(Style::Dim, format!("   {:.0} s   {page}", at.as_secs_f64())),
        named("load")
            .and(over, curve(&live.loads, 300.0))
            .then(format!("{} requests/s, the service can do {can}", live.load)),
        named("latency")
            .and(latency_style, curve(&live.latencies, 4.0 * SLOW))
            .then(format!("99 % within {}", latency(seen))),
        named("answers").then(format!("{} good, {} refused or too late", live.good, live.bad)),
        named("log").then(if logged.is_empty() { "nothing counted yet".to_owned() } else { logged.join(", ") }),
        alert_line,
        rungs,
        Text::new(),
    ];
    // The cursor has a line of its own below.
    let room = height.saturating_sub(lines.len() + 1).max(1);
    let first = live.events.len().saturating_sub(room);
    lines.extend(live.events[first..].iter().map(event_line));
    lines
}

/// What has just happened, and what one might do next.
pub(super) fn ending(turns: &Turns, live: &Live) -> Vec<Text> {
    let mut lines = vec![Text::new(), Text::styled(Style::Bold, "What just happened")];
    let between = |from: Option<Duration>, to: Option<Duration>| Some(to?.checked_sub(from?)?.as_secs_f64());
    let mut say = |text: Option<String>| lines.extend(text.map(|text| Text::from(format!("  {text}"))));
    say(between(turns.crowd, turns.slow).map(|s| format!("The crowd made the service slow within {s:.1} s.")));
    say(between(turns.slow, turns.first_rung).map(|s| {
        format!("{s:.1} s later (the rule waits 2 s) it read `cached` from its switch, and did three times the work.")
    }));
    say(between(turns.slow, turns.told)
        .map(|s| format!("The alert was told by webhook {s:.1} s after the trouble began.")));
    say(turns
        .second_rung
        .map(|_| "The bigger crowd took it one rung further, to `off`: fast answers, no recommendations.".into()));
    say(between(turns.left, turns.back).map(|s| {
        format!("When the crowd had left, the ladder came back one rung at a time, in {s:.1} s: up slowly, on purpose.")
    }));
    let all = live.good + live.bad;
    if all > 0 {
        let share = 100.0 * live.good as f64 / all as f64;
        say(Some(format!("{} of {all} requests were answered well ({share:.1} %).", live.good)));
    }
    lines.push(Text::new());
    lines.push(Text::styled(Style::Bold, "Next"));
    for (command, what) in [
        ("brownout run", "the same for this host: its system, the shipped rules, the page at http://127.0.0.1:9797"),
        (
            "brownout check FILE",
            "when you have written a brownout.yaml or a rule file: what is wrong with it, line by line",
        ),
        (
            "brownout status",
            "what a running daemon sees; `brownout switch explain NAME` says why a switch is where it is",
        ),
    ] {
        lines.push(Text::from("  ").and(Style::Good, format!("{command:<22}")).then(what));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[Text]) -> String {
        lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    fn secs(secs: f64) -> Option<Duration> {
        Some(Duration::from_secs_f64(secs))
    }

    fn live() -> (Live, Seen) {
        let seen = Seen { latency: Some(1.25), alert: "firing".into(), level: "cached".into(), ..Seen::default() };
        let mut live = Live { good: 500, bad: 7, logged: vec![("200".into(), "493".into())], ..Live::default() };
        for _ in 0..60 {
            live.push(110, &Seen { latency: Some(0.06), ..seen.clone() });
        }
        live.push(110, &seen);
        live.happened(Event { at: Duration::from_millis(9_300), mood: Mood::Bad, text: "alert fires".into() });
        (live, seen)
    }

    #[test]
    fn the_live_screen_shows_load_latency_alert_and_ladder() {
        let (live, seen) = live();
        insta::assert_snapshot!(plain(&screen(Duration::from_secs(12), &live, &seen, "http://127.0.0.1:1", 24)));
        insta::assert_snapshot!(
            plain(&[figures_line(Duration::from_secs(12), &live, &seen)]),
            @" 12.0 s  110 requests/s, 99 % within 1.2 s, alert firing, recommendations cached, 500 answered, 7 not"
        );
    }

    #[test]
    fn the_ending_tells_what_was_measured_and_nothing_else() {
        let turns = Turns {
            crowd: secs(4.0),
            slow: secs(5.25),
            firing: secs(7.5),
            told: secs(7.75),
            first_rung: secs(7.7),
            fast_again: secs(12.0),
            second_rung: secs(17.0),
            left: secs(24.0),
            back: secs(38.5),
            resolved: secs(22.0),
        };
        assert!(turns.complete());
        insta::assert_snapshot!(plain(&ending(&turns, &live().0)));
        let nothing = plain(&ending(&Turns::default(), &Live::default()));
        assert!(!nothing.contains("crowd") && nothing.contains("brownout run"), "{nothing}");
    }
}
