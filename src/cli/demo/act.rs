//! Putting the demo on stage, and taking it down again whatever happens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::child::{DaemonProcess, Workplace, free_address};
use super::config::{self, ALERT, SWITCH};
use super::load::Load;
use super::screen::{self, Live};
use super::service::{self, Running, Shop};
use super::story::{Seen, Story};
use crate::cli::client::Daemon;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::text::{Style, Text};
use crate::cli::values::{self, Found};
use crate::net::{self, HttpSettings};
use crate::time::Clock;

/// How often the demo looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often figures are written where lines cannot be drawn anew.
const FIGURES_EVERY: Duration = Duration::from_secs(2);
/// How long the daemon may take until it has seen the service.
const STARTING: Duration = Duration::from_secs(20);
/// How long the visitors of the service wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// See it work: a service in trouble, an alert, a switch going down and coming back; one minute
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Leave everything running at the end, until Ctrl-C: to look at the page
    #[arg(long)]
    stay: bool,
}

/// Everything that runs; it ends when this is dropped.
struct Stage {
    shop: Arc<Shop>,
    load: Load,
    process: DaemonProcess,
    daemon: Daemon,
    page: String,
    clock: Clock,
    _running: [Running; 2],
    _place: Workplace,
}

pub(in crate::cli) async fn demo(args: &DemoArgs, out: &mut Out) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let mut stage = tokio::select! {
        stage = set_up() => stage?,
        () = stop.asked() => return Err(stopped()),
    };
    let mut played = tokio::select! {
        played = play(&mut stage, out) => played,
        () = stop.asked() => Err(stopped()),
    };
    if played.is_ok() && args.stay {
        played = out.line(format!("Everything stays as it is until Ctrl-C; the page: {}", stage.page));
        stop.asked().await;
    }
    stage.process.end().await;
    played
}

/// The ways to be told to stop.
struct Stop([Signal; 3]);

impl Stop {
    fn listen() -> Result<Stop, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Said(format!("cannot listen for signals: {error}")));
        Ok(Stop([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

fn stopped() -> Failure {
    Failure::said("stopped: everything that the demo started was ended, and its files were removed")
}

async fn set_up() -> Result<Stage, Failure> {
    let clock = Clock::start();
    let place = Workplace::create()?;
    let log = place.path("access.log");
    let cannot = |error: std::io::Error| Failure::Said(format!("cannot start the demo's service: {error}"));
    let shop = Shop::open(&log, clock).map_err(cannot)?;
    let (address, serving) = service::serve(Arc::clone(&shop)).await.map_err(cannot)?;
    place.write("rules.yaml", &config::rules())?;
    let file = place.write("brownout.yaml", &config::config(address, &log))?;
    let listen = free_address()?;
    let process = DaemonProcess::start(&place, &file, listen)?;
    let settings = HttpSettings { timeout: Some(PATIENCE), ..HttpSettings::default() };
    let http = net::plain_client(&settings).map_err(|error| Failure::said(error.to_string()))?;
    let obeying = service::obey(Arc::clone(&shop), http.clone(), listen);
    let load = Load::start(http, address);
    let page = format!("http://{listen}");
    let daemon = Daemon::at(&page)?;
    Ok(Stage { shop, load, process, daemon, page, clock, _running: [serving, obeying], _place: place })
}

async fn play(stage: &mut Stage, out: &mut Out) -> Result<(), Failure> {
    out.line(
        Text::styled(Style::Bold, "brownout demo").then(": a small shop on this host, and a daemon that watches it"),
    )?;
    out.line(Text::styled(Style::Dim, format!("the daemon's page, while this runs: {}", stage.page)))?;
    out.line("")?;
    let seen = first_look(stage).await?;
    let (mut story, event) = Story::begin(seen.clone());
    let mut show = Show { live: Live::default(), drawn: 0, figures_at: Duration::ZERO };
    show.tell(event, out)?;
    stage.load.set(story.load());
    let begun = stage.clock.elapsed();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !story.is_over() {
        ticks.tick().await;
        stage.process.check()?;
        let seen = look(stage, &mut show.live).await;
        let at = stage.clock.elapsed() - begun;
        for event in story.go_on(at, &seen) {
            show.tell(event, out)?;
        }
        stage.load.set(story.load());
        show.update(at, stage, &seen, out)?;
    }
    out.lines(&screen::ending(&story.turns, &show.live))?;
    if !story.turns.complete() {
        let what = "not everything came as it should within a minute (is this host very busy?)";
        return Err(stage.process.failure(what));
    }
    Ok(())
}

/// Waits until the daemon has seen the service.
async fn first_look(stage: &mut Stage) -> Result<Seen, Failure> {
    stage.load.set(25);
    let begun = stage.clock.elapsed();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        stage.process.check()?;
        let seen = look(stage, &mut Live::default()).await;
        if seen.latency.is_some() {
            return Ok(seen);
        }
        if stage.clock.elapsed() - begun > STARTING {
            return Err(stage.process.failure("the daemon does not see the service"));
        }
    }
}

/// What the daemon and the service say now. A daemon that does not answer this time is asked again soon.
async fn look(stage: &Stage, live: &mut Live) -> Seen {
    let mut seen = Seen {
        level: stage.shop.mode().as_str().to_owned(),
        told: stage.shop.told(),
        latency: number(&stage.daemon, config::LATENCY).await,
        ..Seen::default()
    };
    if let Ok(overview) = stage.daemon.overview().await {
        let alert = overview.alerts.iter().find(|alert| alert.name() == ALERT);
        seen.alert = alert.map(|alert| alert.state.clone()).unwrap_or_default();
        let switch = overview.switches.iter().find(|switch| switch.name == SWITCH);
        seen.why = switch.map(|switch| switch.why.clone()).unwrap_or_default();
    }
    if let Some(Found::Vector(samples)) = ask(&stage.daemon, config::LOGGED).await {
        let status = |metric: &values::Metric| metric.get("status").cloned().unwrap_or_default();
        live.logged = samples.iter().map(|(metric, point)| (status(metric), point.value.clone())).collect();
    }
    let outcomes = &stage.load.outcomes;
    (live.good, live.bad) = (outcomes.good.load(Ordering::Relaxed), outcomes.bad.load(Ordering::Relaxed));
    live.push(stage.load.rate(), &seen);
    seen
}

async fn ask(daemon: &Daemon, expr: &str) -> Option<Found> {
    let json = daemon.json_of_form(&["api", "v1", "query"], &[("query", expr.to_owned())]).await.ok()?;
    Some(values::read(&json).ok()?.result)
}

async fn number(daemon: &Daemon, expr: &str) -> Option<f64> {
    match ask(daemon, expr).await? {
        Found::Vector(samples) => samples.first()?.1.number().filter(|value| value.is_finite()),
        Found::One(_) | Found::Matrix(_) => None,
    }
}

/// What is on the screen.
struct Show {
    live: Live,
    /// Lines that the next drawing replaces.
    drawn: usize,
    figures_at: Duration,
}

impl Show {
    fn tell(&mut self, event: super::story::Event, out: &mut Out) -> Result<(), Failure> {
        if !out.is_terminal() {
            out.line(screen::event_line(&event))?;
        }
        self.live.happened(event);
        Ok(())
    }

    fn update(&mut self, at: Duration, stage: &Stage, seen: &Seen, out: &mut Out) -> Result<(), Failure> {
        if out.is_terminal() {
            let lines = screen::screen(at, &self.live, seen, &stage.page, out.height());
            out.redraw(self.drawn, &lines)?;
            self.drawn = lines.len();
        } else if at >= self.figures_at {
            self.figures_at = at + FIGURES_EVERY;
            out.line(screen::figures_line(at, &self.live, seen))?;
        }
        Ok(())
    }
}
