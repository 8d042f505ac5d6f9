//! `brownout fleet config`: rules and switches for the whole fleet, rolled out to a share of the hosts first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Daemon, ServerArgs};
use super::diff::diff;
use super::failure::Failure;
use super::human::{ago, number, span};
use super::out::Out;
use super::person::{ByArgs, ReasonArgs};
use super::table::Table;
use super::text::{Style, Text};
use super::wire::instant;
use crate::config::Files as _;
use crate::run::DiskFiles;
use crate::switches::read_share;
use crate::time::{Clock, DurationError, Timestamp, format_duration, parse_duration};

/// Rules and switches for the whole fleet, kept in its store and rolled out to a share of the hosts first
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum ConfigCommand {
    Push(PushArgs),
    Show(ShowArgs),
    Diff(DiffArgs),
    History(HistoryArgs),
    Promote(SayArgs),
    Rollback(RollbackArgs),
    Acknowledge(SayArgs),
}

/// Give the fleet a new revision: all of its rule files and switch declarations
///
/// It is checked first, as every host will. The host that counts gives it to the first share of the hosts, waits for the
/// bake time, and goes on, or rolls back when something is wrong there.
#[derive(Clone, Debug, clap::Args)]
struct PushArgs {
    /// Rule files (`groups:`) and declarations of switches (`switches:`); together they are the whole revision
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Which shares of the hosts run it before everybody does, one after the other; 100% last bakes on all, too
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "10%", value_parser = share)]
    share: Vec<f64>,
    /// How long each share runs it before the next
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    bake: Duration,
    /// Everybody at once, without baking
    #[arg(long, conflicts_with_all = ["share", "bake"])]
    at_once: bool,
    /// Alerts that roll it back where they fire on a host that runs it; `*` stands for any part of a name
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "Brownout*")]
    alerts: Vec<String>,
    /// What is new: for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Go on although the last revision was rolled back
    #[arg(long)]
    acknowledge: bool,
    /// Only check it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Show which revision is for whom, and what each host runs; with a revision its files
#[derive(Clone, Debug, clap::Args)]
struct ShowArgs {
    /// The revision whose files are shown
    revision: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show what differs between two revisions
#[derive(Clone, Debug, clap::Args)]
struct DiffArgs {
    /// The older one; if missing the stable one
    old: Option<u64>,
    /// The newer one; if missing the one on its way, or the last one pushed
    new: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show what happened to the last revisions
#[derive(Clone, Debug, clap::Args)]
struct HistoryArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Say something to the revision on its way: `promote` gives it to everybody now; `acknowledge` unlocks after a rollback
#[derive(Clone, Debug, clap::Args)]
struct SayArgs {
    #[command(flatten)]
    by: ByArgs,
}

/// Everybody back to the stable revision now; without one on its way, to the stable one before
#[derive(Clone, Debug, clap::Args)]
struct RollbackArgs {
    /// To this revision; 0 for the hosts' own files alone
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    said: ReasonArgs,
}

fn share(text: &str) -> Result<f64, String> {
    read_share(text)
}

fn duration(text: &str) -> Result<Duration, DurationError> {
    parse_duration(text)
}

/// `/api/v1/fleet/config`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    pub last: u64,
    pub stable: u64,
    #[serde(default)]
    candidate: Option<Candidate>,
    #[serde(default)]
    locked: Option<Locked>,
    #[serde(default)]
    hosts: Vec<Host>,
    #[serde(default)]
    history: Vec<Passed>,
}

#[derive(Clone, Debug, Deserialize)]
struct Candidate {
    revision: u64,
    steps: Vec<f64>,
    step: usize,
    bake_seconds: u64,
    #[serde(default, deserialize_with = "instant")]
    since: Option<Timestamp>,
    #[serde(default, deserialize_with = "instant")]
    baked_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
struct Locked {
    revision: u64,
    #[serde(default, deserialize_with = "instant")]
    at: Option<Timestamp>,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Host {
    name: String,
    first: bool,
    #[serde(default)]
    runs: Option<Runs>,
}

#[derive(Clone, Debug, Deserialize)]
struct Runs {
    revision: u64,
    #[serde(default)]
    refused: Option<Refused>,
    #[serde(default)]
    alerts: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Refused {
    revision: u64,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Passed {
    #[serde(default, deserialize_with = "instant")]
    at: Option<Timestamp>,
    revision: u64,
    what: String,
    by: String,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Bundle {
    files: Vec<File>,
}

#[derive(Clone, Debug, Deserialize)]
struct File {
    name: String,
    text: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Pushed {
    #[serde(default)]
    warnings: String,
    #[serde(default)]
    last: u64,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

const PATH: [&str; 4] = ["api", "v1", "fleet", "config"];

pub(super) async fn config(args: &ConfigArgs, out: &mut Out) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Push(args) => push(args, out).await,
        ConfigCommand::Show(args) => show(args, out).await,
        ConfigCommand::Diff(args) => differences(args, out).await,
        ConfigCommand::History(args) => history(args, out).await,
        ConfigCommand::Promote(args) => {
            say(&args.by.server, "promote", json!({ "by": args.by.who() })).await?;
            out.line("everybody runs it now: it is stable")
        }
        ConfigCommand::Acknowledge(args) => {
            say(&args.by.server, "acknowledge", json!({ "by": args.by.who() })).await?;
            out.line("acknowledged: a new revision can be pushed")
        }
        ConfigCommand::Rollback(args) => {
            let body = json!({ "by": args.said.by.who(), "why": args.said.why, "to": args.to });
            let stage: Value = say(&args.said.by.server, "rollback", body).await?;
            out.line(format!("everybody goes back to {}", revision_text(stage["stable"].as_u64().unwrap_or(0))))
        }
    }
}

async fn say(server: &ServerArgs, word: &str, body: Value) -> Result<Value, Failure> {
    let daemon = Daemon::of(server)?;
    let path: Vec<&str> = PATH.iter().copied().chain([word]).collect();
    let text = daemon.post(&path, body).await?;
    daemon.read::<Envelope<Value>>(&text).map(|envelope| envelope.data)
}

/// A revision; 0 is none.
fn revision_text(revision: u64) -> String {
    if revision == 0 { "the hosts' own files alone".to_owned() } else { format!("revision {revision}") }
}

async fn push(args: &PushArgs, out: &mut Out) -> Result<(), Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        let text =
            DiskFiles.read(path).map_err(|why| Failure::said(format!("cannot read {}: {why}", path.display())))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.push(json!({ "name": name, "text": text }));
    }
    let (steps, bake) = if args.at_once { (Vec::new(), Duration::ZERO) } else { (args.share.clone(), args.bake) };
    let body = json!({
        "files": files,
        "steps": steps,
        "bake": format_duration(bake),
        "alerts": args.alerts,
        "by": args.by.who(),
        "why": args.why,
        "acknowledge": args.acknowledge,
        "dry_run": args.dry_run,
    });
    let daemon = Daemon::of(&args.by.server)?;
    let text = daemon.post(&PATH, body).await?;
    let Pushed { warnings, last } = daemon.read::<Envelope<Pushed>>(&text)?.data;
    if !warnings.is_empty() {
        out.paragraph(&warnings)?;
    }
    if args.dry_run {
        return out.line("good: no host was told");
    }
    let steps: Vec<String> = steps.iter().map(|share| percent(*share)).collect();
    let how = match steps.is_empty() {
        true => "for everybody, at once".to_owned(),
        false => format!("for {} of the hosts, {} each, then for everybody", steps.join(", "), format_duration(bake)),
    };
    out.line(
        Text::styled(Style::Bold, format!("revision {last}"))
            .then(format!(" is on its way: {how}; `brownout fleet config show` follows it")),
    )
}

fn percent(share: f64) -> String {
    format!("{}%", number(100.0 * share))
}

async fn stage(daemon: &Daemon) -> Result<Config, Failure> {
    let config: Option<Config> = daemon.data(&PATH, &[]).await?;
    config.ok_or_else(|| Failure::said("this host is in no fleet: its store is its own (`store:` in brownout.yaml)"))
}

async fn files(daemon: &Daemon, revision: u64) -> Result<BTreeMap<String, String>, Failure> {
    let revision = revision.to_string();
    let path: Vec<&str> = PATH.iter().copied().chain([revision.as_str()]).collect();
    let bundle: Bundle = daemon.data(&path, &[]).await?;
    Ok(bundle.files.into_iter().map(|file| (file.name, file.text)).collect())
}

async fn show(args: &ShowArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.server)?;
    if let Some(revision) = args.revision {
        for (name, text) in files(&daemon, revision).await? {
            out.line(Text::styled(Style::Dim, format!("# {name}")))?;
            out.paragraph(&text)?;
        }
        return Ok(());
    }
    let config = stage(&daemon).await?;
    let now = Clock::start().now();
    out.lines(&config.screen(now, out.edge()))
}

async fn differences(args: &DiffArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.server)?;
    let config = stage(&daemon).await?;
    let old = args.old.unwrap_or(config.stable);
    let new = args.new.unwrap_or_else(|| config.candidate.as_ref().map_or(config.last, |candidate| candidate.revision));
    let (before, after) = (files(&daemon, old).await?, files(&daemon, new).await?);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |files: &BTreeMap<String, String>, name: &str| files.get(name).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for name in names {
        lines.extend(diff(&format!("{old}/{name}"), &of(&before, name), &format!("{new}/{name}"), &of(&after, name)));
    }
    if lines.is_empty() {
        return out.line(format!("revisions {old} and {new} are the same"));
    }
    out.lines(&lines)
}

async fn history(args: &HistoryArgs, out: &mut Out) -> Result<(), Failure> {
    let config = stage(&Daemon::of(&args.server)?).await?;
    let now = Clock::start().now();
    let mut table = Table::new(["WHEN", "REVISION>", "WHAT", "BY", "WHY"]);
    for passed in config.history.iter().rev() {
        let style = if passed.what == "rolled back" { Style::Bad } else { Style::Plain };
        table.row(vec![
            passed.at.map(|at| format!("{} ago", ago(now, at))).unwrap_or_default().into(),
            passed.revision.to_string().into(),
            Text::styled(style, passed.what.as_str()),
            passed.by.as_str().into(),
            passed.why.as_str().into(),
        ]);
    }
    if table.is_empty() {
        return out.line("nothing was ever pushed to this fleet");
    }
    out.lines(&table.render(out.edge()))
}

impl Config {
    /// How it stands, in a line or two.
    pub(super) fn summary(&self, now: Timestamp) -> Vec<Text> {
        let mut head = Text::from(format!("configuration: {} is stable", revision_text(self.stable)));
        if let Some(candidate) = &self.candidate {
            head.push(
                Style::Warn,
                format!("; revision {} is on its way: {}", candidate.revision, candidate.words(now)),
            );
        }
        let mut lines = vec![head];
        if let Some(locked) = &self.locked {
            let when = locked.at.map(|at| format!(" {} ago", ago(now, at))).unwrap_or_default();
            let text = format!("revision {} was rolled back{when}: {}", locked.revision, locked.why);
            lines.push(Text::styled(Style::Bad, text));
        }
        for (host, refused) in self.hosts.iter().filter_map(|host| Some((host, host.runs.as_ref()?.refused.as_ref()?)))
        {
            let text = format!("{} does not take revision {}: {}", host.name, refused.revision, refused.why);
            lines.push(Text::styled(Style::Bad, text));
        }
        lines
    }

    fn screen(&self, now: Timestamp, edge: usize) -> Vec<Text> {
        if self.last == 0 {
            return vec!["nothing was ever pushed to this fleet: every host runs its own files alone".into()];
        }
        let mut lines = self.summary(now);
        if self.locked.is_some() {
            lines.push("nothing is pushed until somebody says `brownout fleet config acknowledge`".into());
        }
        lines.push(Text::new());
        let mut table = Table::new(["HOST", "RUNS>", "FIRST", "ALERTS"]);
        for host in &self.hosts {
            let runs = host.runs.as_ref();
            let revision = runs.map_or_else(|| "?".to_owned(), |runs| runs.revision.to_string());
            table.row(vec![
                Text::styled(Style::Bold, host.name.as_str()),
                revision.into(),
                if host.first { "first".into() } else { Text::new() },
                Text::styled(Style::Bad, runs.map(|runs| runs.alerts.join(", ")).unwrap_or_default()),
            ]);
        }
        lines.extend(table.render(edge));
        lines
    }
}

impl Candidate {
    fn words(&self, now: Timestamp) -> String {
        let Some(since) = self.since else { return "no host has it yet".to_owned() };
        let step = match self.steps.len() {
            0 | 1 => String::new(),
            steps => format!("step {} of {steps}, ", self.step + 1),
        };
        let share = self.steps.get(self.step).map_or_else(|| "everybody".to_owned(), |share| percent(*share));
        let how = match self.baked_at {
            None => format!("the hosts have been taking it for {}", ago(now, since)),
            Some(baked_at) if baked_at > now => {
                format!("baked in {} (of {})", ago(baked_at, now), span(Duration::from_secs(self.bake_seconds)))
            }
            Some(_) => "baked".to_owned(),
        };
        format!("{step}{share} of the hosts, {how}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"last":7,"stable":6,
        "candidate":{"revision":7,"by":"ann","at":"2023-11-14T22:00:00Z","steps":[0.1,0.5],"step":0,"bake_seconds":600,
          "alerts":["Brownout*"],"since":"2023-11-14T22:10:00Z","baking_since":"2023-11-14T22:11:00Z","baking_hosts":1,
          "baked_at":"2023-11-14T22:21:00Z"},
        "locked":null,
        "hosts":[{"name":"h1","first":true,"runs":{"revision":7,"refused":null,"alerts":["BrownoutRuleFails"]}},
          {"name":"h2","first":false,"runs":{"revision":6,"refused":{"revision":5,"why":"fleet/r.yaml:3: no switch"},"alerts":[]}},
          {"name":"h3","first":false,"runs":null}],
        "history":[{"at":"2023-11-14T22:00:00Z","revision":7,"what":"pushed","by":"ann","why":"new thresholds"}]}"#;

    fn now() -> Timestamp {
        Timestamp::from_rfc3339("2023-11-14T22:15:00Z").expect("a time")
    }

    fn text(config: &Config) -> String {
        config.screen(now(), 120).iter().map(|line| line.render(false) + "\n").collect()
    }

    #[test]
    fn a_revision_on_its_way_is_shown_with_who_runs_it() {
        let config: Config = serde_json::from_str(CONFIG).expect("a stage");
        let text = text(&config);
        for part in [
            "configuration: revision 6 is stable; revision 7 is on its way: step 1 of 2, 10% of the hosts, baked in",
            "h2 does not take revision 5: fleet/r.yaml:3: no switch",
            "BrownoutRuleFails",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let rows: Vec<Vec<&str>> = text.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        let expected: [&[&str]; 4] = [
            &["HOST", "RUNS", "FIRST", "ALERTS"],
            &["h1", "7", "first", "BrownoutRuleFails"],
            &["h2", "6"],
            &["h3", "?"],
        ];
        assert_eq!(rows, expected, "{text}");
    }

    #[test]
    fn a_rollback_says_why_and_what_to_do() {
        let mut config: Config = serde_json::from_str(CONFIG).expect("a stage");
        config.candidate = None;
        config.locked = Some(Locked { revision: 7, at: Some(now()), why: "BrownoutRuleFails fires on h1".into() });
        let text = text(&config);
        assert!(text.contains(": BrownoutRuleFails fires on h1"), "{text}");
        assert!(text.contains("brownout fleet config acknowledge"), "{text}");
        config.last = 0;
        assert!(self::text(&config).starts_with("nothing was ever pushed"));
    }
}
