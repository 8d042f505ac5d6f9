//! `brownout replay`: the rules over recorded samples, in simulated time: what would have fired, flipped and been sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::failure::Failure;
use super::happened::{happened_json, happened_text};
use super::human::{Zone, count};
use super::offline::{self, Data};
use super::out::Out;
use super::simulation::{Happening, Simulation};
use super::times;
use crate::config::{Checked, Files, FilesInMemory, load};
use crate::limits;
use crate::model::{Batch, Completeness, Labels, Source};
use crate::rules::{AlertState, GroupSpec, Listed, RuleSpec};
use crate::run::{DiskFiles, engine_settings};
use crate::series::Point;
use crate::time::{Stopwatch, Timestamp, format_duration};
use crate::yaml::render_problems;

/// Samples that are taken out of the recording at one time, about.
const AT_ONCE: u64 = 100_000;
/// Gaps longer than this are not filled: by then a series counts as gone.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// Run the rules over recorded samples and show what would have fired, flipped and been sent, when and why
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// The recording: OpenMetrics text with a timestamp at every sample (`brownout record` writes it), plain or gzip
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration whose rules, switches and routes are used
    #[arg(long, short, value_name = "FILE", conflicts_with = "rules", required_unless_present = "rules")]
    config: Option<PathBuf>,
    /// Rule files to use without a configuration
    #[arg(long, value_name = "FILES", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// Where to begin; by default at the first sample
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// Where to end; by default at the last sample
    #[arg(long, allow_hyphen_values = true)]
    end: Option<String>,
    /// How many times faster than life it runs; by default as fast as it can
    #[arg(long, value_name = "TIMES")]
    speed: Option<f64>,
    /// Take the recording as if it had a sample so often: fills the gaps of a coarser one, counters on a straight line,
    /// everything else with the value before
    #[arg(long, value_name = "SPAN")]
    assume_resolution: Option<String>,
    /// How the answer is shown
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(super) async fn replay(args: &ReplayArgs, out: &mut Out) -> Result<(), Failure> {
    let checked = configuration(args)?;
    if checked.groups.is_empty() {
        return Err(Failure::said("there are no rules to replay"));
    }
    let data = load_recording(&args.from, &checked.groups)?;
    if let Some(note) = &data.note {
        out.aside(&format!("{}: {note}", args.from.display()));
    }
    let (start, end) = span(args, &data)?;
    let resolution = args.assume_resolution.as_deref().map(times::span).transpose().map_err(Failure::Usage)?;
    let speed = args.speed;
    if speed.is_some_and(|speed| !speed.is_finite() || speed <= 0.0) {
        return Err(Failure::Usage("--speed is a number above 0: 1 is as in life".into()));
    }
    let mut settings = engine_settings(&checked);
    settings.series.max_series = limits::CLI_SERIES;
    settings.series.max_series_per_source = limits::CLI_SERIES;
    let play = Play { data, start, end, resolution, speed };
    let mut told =
        Told { zone: Zone::system(), args, why: Why::of(&checked.groups), events: Vec::new(), sums: Sums::default() };
    let simulation = play.run(Simulation::start(start - Duration::from_millis(1), settings), &mut told, out).await?;
    told.conclude(&play, &simulation, out)
}

fn configuration(args: &ReplayArgs) -> Result<Box<Checked>, Failure> {
    let overlay;
    let (main, files): (&Path, &dyn Files) = match &args.config {
        Some(path) => (path, &DiskFiles),
        None => {
            overlay = only_rules(&args.rules)?;
            (Path::new("/(rules)"), &overlay)
        }
    };
    let loaded = load(Some(main), files);
    loaded.checked.ok_or_else(|| {
        Failure::said(format!("the configuration is not usable\n\n{}", render_problems(&loaded.problems)))
    })
}

/// A configuration of nothing but these rule files.
fn only_rules(paths: &[PathBuf]) -> Result<FilesInMemory, Failure> {
    let mut files = FilesInMemory::default();
    for path in paths {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let text =
            DiskFiles.read(path).map_err(|why| Failure::said(format!("cannot read {}: {why}", path.display())))?;
        files.files.insert(absolute, text);
    }
    let names: Vec<String> = files.files.keys().map(|path| path.display().to_string()).collect();
    let main = json!({ "shipped_rules": false, "system": { "enabled": false }, "rule_files": names });
    files.files.insert(PathBuf::from("/(rules)"), main.to_string());
    Ok(files)
}

/// What rules write must not come from the recording too.
fn load_recording(path: &Path, groups: &[GroupSpec]) -> Result<Data, Failure> {
    let rules = || groups.iter().flat_map(|group| &group.rules);
    let written: BTreeSet<&str> =
        rules().filter(|rule| matches!(rule, RuleSpec::Record(_))).map(RuleSpec::name).collect();
    let queries: Vec<_> = rules().flat_map(RuleSpec::queries).collect();
    let asked: Option<Vec<_>> = queries.iter().map(|query| offline::selectors(&query.expr)).collect();
    let asked: Option<Vec<_>> = asked.map(|lists| lists.into_iter().flatten().collect());
    offline::load(path, &|labels: &Labels| {
        let name = labels.name();
        let own = written.contains(name) || name == "ALERTS" || name == "ALERTS_FOR_STATE";
        let wanted = |lists: &Vec<&[crate::model::Matcher]>| {
            lists.iter().any(|matchers| matchers.iter().all(|matcher| matcher.matches_labels(labels)))
        };
        !own && asked.as_ref().is_none_or(wanted)
    })
}

fn span(args: &ReplayArgs, data: &Data) -> Result<(Timestamp, Timestamp), Failure> {
    let instant = |text: &Option<String>, otherwise| match text {
        Some(text) => times::instant(text, data.extent.last).map_err(Failure::Usage),
        None => Ok(otherwise),
    };
    let (start, end) = (instant(&args.start, data.extent.first)?, instant(&args.end, data.extent.last)?);
    if start > end {
        return Err(Failure::Usage("it ends before it starts: --end must be later than --start".into()));
    }
    Ok((start, end))
}

/// A recording and how it is played.
struct Play {
    data: Data,
    start: Timestamp,
    end: Timestamp,
    resolution: Option<Duration>,
    speed: Option<f64>,
}

impl Play {
    async fn run(&self, mut simulation: Simulation, told: &mut Told<'_>, out: &mut Out) -> Result<Simulation, Failure> {
        let watch = Stopwatch::start();
        let mut progress = Progress::new();
        let step = self.part();
        let mut from = self.start;
        while from <= self.end {
            let to = (from + step - Duration::from_millis(1)).min(self.end);
            for (at, samples) in self.samples(from, to) {
                self.wait_for(at, &watch).await;
                told.sums.samples += samples.len() as u64;
                simulation.feed(batch(at, samples));
                told.tell(&mut simulation, out)?;
            }
            self.wait_for(to, &watch).await;
            simulation.run_until(to);
            told.tell(&mut simulation, out)?;
            progress.show(to.since(self.start).as_secs_f64() / self.end.since(self.start).as_secs_f64().max(1e-9), to);
            from = to + Duration::from_millis(1);
        }
        progress.end();
        Ok(simulation)
    }

    /// How much time is taken out of the recording at once.
    fn part(&self) -> Duration {
        let whole = self.data.extent.last.since(self.data.extent.first).as_secs_f64();
        let per_second = self.data.extent.samples as f64 / whole.max(1.0);
        let seconds = (AT_ONCE as f64 / per_second.max(1e-3)).clamp(1.0, 3600.0);
        Duration::from_secs(match (self.speed, self.resolution) {
            (Some(_), _) => 1,
            (None, Some(_)) => seconds.max(600.0) as u64,
            (None, None) => seconds as u64,
        })
    }

    async fn wait_for(&self, at: Timestamp, watch: &Stopwatch) {
        let Some(speed) = self.speed else { return };
        let due = Duration::from_secs_f64(at.since(self.start).as_secs_f64() / speed);
        let left = due.saturating_sub(watch.elapsed());
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }

    /// The samples of a span by their times, gaps filled where that is asked for.
    fn samples(&self, from: Timestamp, to: Timestamp) -> BTreeMap<Timestamp, Vec<(Labels, f64)>> {
        let mut found: BTreeMap<Timestamp, Vec<(Labels, f64)>> = BTreeMap::new();
        let around = if self.resolution.is_some() { LONGEST_GAP } else { Duration::ZERO };
        for series in self.data.view.select(&[], from - around, to + around) {
            let mut put = |at: Timestamp, value: f64| {
                if at >= from && at <= to {
                    found.entry(at).or_default().push((series.labels.clone(), value));
                }
            };
            let mut before: Option<(Timestamp, f64)> = None;
            for point in &series.points {
                let Point::Float(at, value) = point else { continue };
                if let (Some((earlier, held)), Some(step)) = (before, self.resolution) {
                    fill((earlier, held), (*at, *value), step, counts(series.labels.name()), &mut put);
                }
                put(*at, *value);
                before = Some((*at, *value));
            }
        }
        found
    }
}

/// Samples between two recorded ones.
fn fill(
    before: (Timestamp, f64),
    after: (Timestamp, f64),
    step: Duration,
    counter: bool,
    put: &mut dyn FnMut(Timestamp, f64),
) {
    let gap = after.0.since(before.0);
    if gap > LONGEST_GAP || !before.1.is_finite() {
        return;
    }
    let mut at = before.0 + step;
    while at < after.0 {
        let share = at.since(before.0).as_secs_f64() / gap.as_secs_f64();
        // A counter that fell was reset at an unknown time in between.
        let line = counter && after.1 >= before.1;
        put(at, if line { before.1 + (after.1 - before.1) * share } else { before.1 });
        at = at + step;
    }
}

/// Whether a name is a counter's.
fn counts(name: &str) -> bool {
    ["_total", "_count", "_sum", "_bucket"].iter().any(|ending| name.ends_with(ending))
}

fn batch(at: Timestamp, samples: Vec<(Labels, f64)>) -> Batch {
    Batch {
        source: Source::new("replay", "recording"),
        at,
        samples: Vec::new(),
        timed: samples.into_iter().map(|(labels, value)| (labels, at, value)).collect(),
        completeness: Completeness::Partial,
        meta: Vec::new(),
        urgent: false,
    }
}

/// What an alert waits for, in words.
pub(super) struct Why(BTreeMap<String, String>);

impl Why {
    pub(super) fn of(groups: &[GroupSpec]) -> Why {
        let mut words = BTreeMap::new();
        for rule in groups.iter().flat_map(|group| &group.rules) {
            let RuleSpec::Alert(alert) = rule else { continue };
            let held =
                if alert.hold.is_zero() { String::new() } else { format!(" for {}", format_duration(alert.hold)) };
            let expression = alert.expr.text.split_whitespace().collect::<Vec<_>>().join(" ");
            words.entry(rule.name().to_owned()).or_insert(format!("{expression}{held}"));
        }
        Why(words)
    }

    pub(super) fn get(&self, alert: &Labels) -> &str {
        self.0.get(alert.get("alertname").unwrap_or_default()).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Sums {
    samples: u64,
    fired: u64,
    resolved: u64,
    decisions: u64,
    sent: u64,
    scaled: u64,
}

/// What was told on the way.
struct Told<'a> {
    zone: Zone,
    args: &'a ReplayArgs,
    why: Why,
    events: Vec<Value>,
    sums: Sums,
}

impl Told<'_> {
    fn tell(&mut self, simulation: &mut Simulation, out: &mut Out) -> Result<(), Failure> {
        for happened in simulation.take() {
            match &happened.what {
                Happening::Alert { to: AlertState::Firing, .. } => self.sums.fired += 1,
                Happening::Alert { from: AlertState::Firing, .. } => self.sums.resolved += 1,
                Happening::Alert { .. } => {}
                Happening::Decided(_) => self.sums.decisions += 1,
                Happening::Sent(_) => self.sums.sent += 1,
                Happening::Scaled(_) => self.sums.scaled += 1,
            }
            match self.args.output {
                Output::Json => self.events.push(happened_json(&happened, &self.why)),
                Output::Table => {
                    let edge = out.edge();
                    out.line(happened_text(&happened, &self.why, &self.zone).cut(edge))?;
                }
            }
        }
        Ok(())
    }

    fn conclude(self, play: &Play, simulation: &Simulation, out: &mut Out) -> Result<(), Failure> {
        let rules = simulation.engine().rules().groups_status(Listed::All);
        let rules: Vec<_> = rules.iter().flat_map(|group| &group.rules).collect();
        let failed: Vec<String> = rules
            .iter()
            .filter(|rule| !rule.last_error().is_empty())
            .map(|rule| format!("{}: {}", rule.id.name, rule.last_error()))
            .collect();
        let Sums { samples, fired, resolved, decisions, sent, scaled } = self.sums;
        if self.args.output == Output::Json {
            let answer = json!({
                "start": play.start.to_rfc3339(), "end": play.end.to_rfc3339(), "rules": rules.len(),
                "series": play.data.view.series_count(), "samples": samples, "refused": simulation.refused(),
                "events": self.events, "failed": failed,
                "summary": { "fired": fired, "resolved": resolved, "decisions": decisions, "sent": sent, "scaled": scaled },
            });
            return out.json(&answer.to_string());
        }
        let many = |number: u64, one: &str, more: &str| count(usize::try_from(number).unwrap_or(usize::MAX), one, more);
        out.line(format!(
            "{} of {}, {} over {} from {} to {}: {} fired, {} resolved, {}, {}, {}",
            many(samples, "sample", "samples"),
            count(play.data.view.series_count(), "series", "series"),
            count(rules.len(), "rule", "rules"),
            super::human::span(play.end.since(play.start)),
            self.zone.full(play.start),
            self.zone.full(play.end),
            fired,
            resolved,
            many(decisions, "decision", "decisions"),
            many(sent, "message sent", "messages sent"),
            many(scaled, "scale call", "scale calls"),
        ))?;
        for message in failed {
            out.line(format!("failed: {message}"))?;
        }
        Ok(())
    }
}

/// How far it is, for whoever waits: on the standard error output, in place on a terminal and every ten seconds elsewhere.
struct Progress {
    watch: Stopwatch,
    terminal: bool,
    shown: Option<Duration>,
}

impl Progress {
    fn new() -> Progress {
        Progress { watch: Stopwatch::start(), terminal: std::io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, share: f64, at: Timestamp) {
        let every = if self.terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
        let now = self.watch.elapsed();
        if now.saturating_sub(self.shown.unwrap_or_default()) < every {
            return;
        }
        self.shown = Some(now);
        let text = format!("replayed {:.0} %, {}", share * 100.0, at.to_rfc3339());
        let text = if self.terminal { format!("\r{text}\x1b[K") } else { format!("{text}\n") };
        // Nobody is left to tell when this fails.
        drop(std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()));
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            drop(std::io::Write::write_all(&mut std::io::stderr(), b"\r\x1b[K"));
        }
    }
}

#[cfg(test)]
mod tests;
