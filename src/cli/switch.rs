//! `brownout switch`: what applications are told, and why.

use std::time::Duration;

use super::client::{Daemon, ServerArgs};
use super::explain::explain;
use super::failure::Failure;
use super::human::{Zone, ago};
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use super::wire::{Pin, Switch};
use crate::time::{Clock, Timestamp};

/// How long `switch watch` waits before it connects again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Look at switches
#[derive(Clone, Debug, clap::Args)]
pub struct SwitchArgs {
    #[command(subcommand)]
    command: SwitchCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum SwitchCommand {
    /// All switches: level, ladder, since when, pin and reason
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The level of one switch and nothing else, for scripts
    Get {
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// One switch in full: its conditions, what holds it back, and when the next step comes
    Explain {
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Follow the changes of one switch or of all, until Ctrl-C
    Watch {
        name: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
}

pub(super) async fn switch(args: &SwitchArgs, out: &mut Out) -> Result<(), Failure> {
    let clock = Clock::start();
    match &args.command {
        SwitchCommand::List { server } => {
            let switches: Vec<Switch> = all(&Daemon::of(server)?).await?;
            out.lines(&list(&switches, clock.now(), out.edge()))
        }
        SwitchCommand::Get { name, server } => {
            let level = Daemon::of(server)?.text(&["switches", name]).await?;
            let level = level.ok_or_else(|| Failure::said(format!("there is no switch `{name}`")))?;
            out.line(level.trim_end())
        }
        SwitchCommand::Explain { name, server } => {
            let switch: Switch = Daemon::of(server)?.data(&["api", "v1", "switches", name], &[]).await?;
            out.lines(&explain(&switch, clock.now(), &Zone::system(), out.edge()))
        }
        SwitchCommand::Watch { name, server } => watch(&Daemon::of(server)?, name.as_deref(), clock, out).await,
    }
}

async fn all(daemon: &Daemon) -> Result<Vec<Switch>, Failure> {
    daemon.data(&["api", "v1", "switches"], &[]).await
}

/// A level in its colour.
pub(super) fn level_text(level: &str, depth: usize) -> Text {
    Text::styled(if depth == 0 { Style::Good } else { Style::Bad }, level)
}

/// `full > [cached] > off`.
pub(super) fn ladder_text(switch: &Switch) -> Text {
    let mut text = Text::new();
    for (depth, level) in switch.ladder.iter().enumerate() {
        if depth > 0 {
            text.push(Style::Dim, " > ");
        }
        if depth == switch.depth {
            text.append(level_text(&format!("[{level}]"), depth));
        } else {
            text.push(Style::Dim, level.as_str());
        }
    }
    text
}

fn list(switches: &[Switch], now: Timestamp, edge: usize) -> Vec<Text> {
    if switches.is_empty() {
        return vec!["no switch is declared: add one under `switches:` in brownout.yaml".into()];
    }
    let mut table = Table::new(["SWITCH", "LEVEL", "FOR>", "LADDER", "WHY"]);
    for switch in switches {
        let pinned = switch.pin.as_ref().map(|pin| format!("pinned by {}: {}", pin.by, pin.reason));
        table.row(vec![
            Text::styled(Style::Bold, switch.name.as_str()),
            level_text(&switch.level, switch.depth),
            switch.since.map(|since| ago(now, since)).unwrap_or_default().into(),
            if switch.ladder.is_empty() { switch.value.kind.as_str().into() } else { ladder_text(switch) },
            pinned.unwrap_or_else(|| switch.why.clone()).into(),
        ]);
    }
    table.render(edge)
}

/// What `watch` compares.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    level: String,
    pin: Option<Pin>,
}

async fn watch(daemon: &Daemon, name: Option<&str>, clock: Clock, out: &mut Out) -> Result<(), Failure> {
    // The first look fails loudly; later ones are told, and the watch goes on.
    let known = all(daemon).await?;
    if let Some(name) = name
        && !known.iter().any(|switch| switch.name == name)
    {
        return Err(Failure::said(format!("there is no switch `{name}`")));
    }
    let mut watching = Watching { watched: Watched::default(), last: None, name, clock, zone: Zone::system() };
    loop {
        let lost = match watching.follow(daemon, out).await {
            Ok(()) => "the daemon ended the stream".to_owned(),
            Err(Lost::Daemon(failure)) => failure.to_string(),
            Err(Lost::Output(failure)) => return Err(failure),
        };
        watching.tell(&Err(lost), out)?;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

enum Lost {
    Daemon(Failure),
    /// Nobody reads us any more.
    Output(Failure),
}

struct Watching<'a> {
    watched: Watched,
    /// The state that was seen last, as the daemon calls it.
    last: Option<String>,
    name: Option<&'a str>,
    clock: Clock,
    zone: Zone,
}

impl Watching<'_> {
    /// Follows the daemon's events until they end.
    async fn follow(&mut self, daemon: &Daemon, out: &mut Out) -> Result<(), Lost> {
        let mut events = daemon.events(&["v1", "stream"], self.last.as_deref()).await.map_err(Lost::Daemon)?;
        self.tell(&Ok(Vec::new()), out).map_err(Lost::Output)?;
        while let Some(event) = events.next().await.map_err(Lost::Daemon)? {
            if event.kind == "switch" {
                let switch: Switch = daemon.read(&event.data).map_err(Lost::Daemon)?;
                if self.name.is_none_or(|name| switch.name == name) {
                    self.tell(&Ok(vec![switch]), out).map_err(Lost::Output)?;
                }
            }
            self.last = event.id.or(self.last.take());
        }
        Ok(())
    }

    fn tell(&mut self, looked: &Result<Vec<Switch>, String>, out: &mut Out) -> Result<(), Failure> {
        let time = self.zone.clock(self.clock.now());
        for line in self.watched.changes(looked) {
            let mut text = Text::styled(Style::Dim, format!("{time} "));
            text.append(line);
            out.line(text)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Watched {
    seen: std::collections::BTreeMap<String, Seen>,
    lost: bool,
}

impl Watched {
    /// What is to be told after another look.
    fn changes(&mut self, looked: &Result<Vec<Switch>, String>) -> Vec<Text> {
        let switches = match looked {
            Ok(switches) => switches,
            Err(_) if self.lost => return Vec::new(),
            Err(message) => {
                self.lost = true;
                return vec![Text::styled(Style::Warn, message.as_str())];
            }
        };
        let mut lines = Vec::new();
        if std::mem::take(&mut self.lost) {
            lines.push(Text::styled(Style::Good, "the daemon answers again"));
        }
        for switch in switches {
            let now = Seen { level: switch.level.clone(), pin: switch.pin.clone() };
            let before = self.seen.insert(switch.name.clone(), now.clone());
            if before.as_ref() != Some(&now) {
                lines.push(change(switch, before.as_ref()));
            }
        }
        lines
    }
}

fn change(switch: &Switch, before: Option<&Seen>) -> Text {
    let mut text = Text::styled(Style::Bold, switch.name.as_str()).then(" ");
    if let Some(before) = before.filter(|before| before.level != switch.level) {
        text.push(Style::Plain, format!("{} -> ", before.level));
    }
    text.append(level_text(&switch.level, switch.depth));
    match (&switch.pin, before.and_then(|before| before.pin.as_ref())) {
        (Some(pin), _) => text.push(Style::Warn, format!("  pinned by {}: {}", pin.by, pin.reason)),
        (None, Some(_)) => text.push(Style::Warn, "  no longer pinned"),
        (None, None) => {}
    }
    if switch.pin.is_none() && !switch.why.is_empty() {
        text.push(Style::Dim, format!("  {}", switch.why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::switches;
    use super::*;

    fn plain(lines: &[Text]) -> String {
        lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_list_shows_level_ladder_and_reason() {
        insta::assert_snapshot!(plain(&list(&switches(), Timestamp::from_millis(1_700_000_090_000), 120)));
    }

    #[test]
    fn an_empty_list_says_what_to_do() {
        assert!(plain(&list(&[], Timestamp::ZERO, 80)).contains("add one under `switches:`"));
    }

    #[test]
    fn a_watch_tells_changes_once_and_losing_the_daemon_once() {
        let mut watched = Watched::default();
        let mut told = |looked: Result<Vec<Switch>, String>| plain(&watched.changes(&looked));
        let mut switches = switches();
        switches.truncate(1);
        assert!(told(Ok(switches.clone())).starts_with("recommendations cached"));
        assert_eq!(told(Ok(switches.clone())), "");
        (switches[0].level, switches[0].depth, switches[0].why) = ("full".into(), 0, "quiet for 5s".into());
        assert_eq!(told(Ok(switches.clone())), "recommendations cached -> full  quiet for 5s");
        assert_eq!(told(Err("gone".into())), "gone");
        assert_eq!(told(Err("gone".into())), "");
        switches[0].pin = Some(Pin { level: "full".into(), reason: "deploy".into(), by: "ann".into(), until: None });
        assert_eq!(told(Ok(switches.clone())), "the daemon answers again\nrecommendations full  pinned by ann: deploy");
        switches[0].pin = None;
        assert_eq!(told(Ok(switches)), "recommendations full  no longer pinned  quiet for 5s");
    }
}
