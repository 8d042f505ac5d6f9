//! The one loop: `select!` only builds an [`Input`], and [`Shell::take`] hands it to the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::central::{self, Central, Desk, Order};
use super::jobs::{Jobs, LogOutput, Tools};
use super::own::OwnMetrics;
use super::perform::{Receivers, Work};
use super::plan::{Plan, plan, receivers};
use super::remotes::Remotes;
use super::snapshots::Snapshots;
use super::start::SetLogLevel;
use super::systemd::Systemd;
use crate::alerts::LinkKey;
use crate::config::{Checked, FleetStore, ForwardSettings, Loaded, load, load_with};
use crate::engine::{Effects, Engine, Event, Reply};
use crate::model::Batch;
use crate::notify::{HeartbeatSettings, Plots};
use crate::project::Projections;
use crate::serve::{About, Agents, Ask, Delivery, Limiters, Switchboard};
use crate::store::Table;
use crate::switches::{Bundle, ConfigRefused, Declaration, SwitchKind, Told};
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Alarm, Clock, Timestamp, millis};
use crate::yaml::{Severity, render_problems};

/// How often our own metrics become samples, and the watchdog is fed.
const OWN_INTERVAL: Duration = Duration::from_secs(1);
/// The clocks may drift apart by this much before it counts as a step.
const STEP_MILLIS: i64 = 2_000;

/// What the loop waits for.
pub(super) enum Input {
    Batch(Batch),
    Log(LogOutput),
    Event(Event),
    Ask(Ask),
    /// The store's table changed.
    Table(Arc<Table>),
    /// The engine's deadline, or the second of our own metrics.
    Deadline,
    /// A file of the configuration changed, or SIGHUP came.
    Reload,
    Loaded(Reading),
    /// This host is to run another revision of the fleet's configuration.
    Order(Order),
    Stop,
}

/// A configuration that was read again, and who waits for the verdict.
pub(super) struct Reading {
    pub loaded: Box<Loaded>,
    pub receivers: Receivers,
    pub reply: Option<oneshot::Sender<Result<(), String>>>,
    /// The revision of the fleet's configuration that was tried, for the first time, or again.
    pub tried: Option<Option<Arc<Bundle>>>,
}

/// The receiving ends of everything that the loop waits for.
pub(super) struct Inputs {
    pub batches: mpsc::Receiver<Batch>,
    pub logs: mpsc::Receiver<LogOutput>,
    pub events: mpsc::Receiver<Event>,
    pub asks: mpsc::Receiver<Ask>,
    pub table: watch::Receiver<Arc<Table>>,
    pub reloads: mpsc::Receiver<()>,
    pub loaded: mpsc::Receiver<Reading>,
    pub orders: mpsc::Receiver<Order>,
    pub stop: mpsc::Receiver<()>,
}

/// Everything that the loop owns.
pub(super) struct Shell {
    pub engine: Engine,
    pub clock: Clock,
    pub telemetry: Telemetry,
    pub own: OwnMetrics,
    pub work: mpsc::Sender<Work>,
    pub jobs: Jobs,
    pub tools: Tools,
    pub remotes: Remotes,
    pub loaded: mpsc::Sender<Reading>,
    pub config: Option<PathBuf>,
    pub watched: watch::Sender<Vec<PathBuf>>,
    pub receivers: watch::Sender<Arc<Receivers>>,
    pub link_key: LinkKey,
    pub forwarding: watch::Sender<Arc<Vec<ForwardSettings>>>,
    pub heartbeat: mpsc::Sender<HeartbeatSettings>,
    pub heartbeat_settings: Option<HeartbeatSettings>,
    pub heartbeat_due: Timestamp,
    pub plots: Arc<Plots>,
    pub declarations: Vec<Declaration>,
    pub switchboard: watch::Sender<Arc<Switchboard>>,
    pub table: Arc<Table>,
    /// In a fleet: what applications are told, which is more than the store's table.
    pub told: Arc<Told>,
    pub told_revision: u64,
    /// The fleet's store as it was configured at the start.
    pub store: Option<FleetStore>,
    /// What it runs of the fleet's configuration.
    pub central: Desk,
    pub limiters: Arc<Limiters>,
    pub about: watch::Sender<Arc<About>>,
    pub delivery: watch::Sender<Arc<Delivery>>,
    pub projections: watch::Sender<Arc<Projections>>,
    pub agents: Agents,
    pub ready: watch::Sender<bool>,
    pub systemd: Systemd,
    pub generation: u64,
    /// People who wait for an answer of the engine.
    pub waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    pub questions: u64,
    pub own_due: Timestamp,
    pub snapshots: Snapshots,
    /// While this file is there, no rule moves anything.
    pub freeze_path: PathBuf,
    pub freeze_there: bool,
    pub started: Timestamp,
    pub set_log_level: Option<SetLogLevel>,
}

impl Shell {
    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut alarm = self.clock.alarm();
        loop {
            let deadline = self.engine.next_deadline().map_or(self.own_due, |at| at.min(self.own_due));
            let input = next(&mut inputs, &mut alarm, self.clock.instant(deadline)).await;
            if matches!(input, Input::Stop) {
                return self.stop(inputs).await;
            }
            self.take(input).await;
        }
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Batch(batch) => {
                self.jobs.heard(&batch);
                self.handle(Event::Samples(batch), Vec::new()).await;
            }
            Input::Log(output) => {
                self.jobs.heard(&output.batch);
                let entries = output.checkpoint.map(|checkpoint| (output.key, Some(checkpoint))).into_iter().collect();
                self.handle(Event::Samples(output.batch), entries).await;
            }
            Input::Event(event) => {
                let is_back = matches!(event, Event::StoreReach(true));
                self.handle(event, Vec::new()).await;
                if is_back {
                    // What it has now, be it the same as before.
                    self.table_changed(Arc::clone(&self.table)).await;
                }
            }
            Input::Table(table) => self.table_changed(table).await,
            Input::Ask(ask) => self.answer(ask).await,
            Input::Deadline => self.deadline().await,
            Input::Reload => self.start_loading(None),
            Input::Loaded(Reading { loaded, receivers, tried: Some(bundle), .. }) => {
                self.tried(*loaded, receivers, bundle).await;
            }
            Input::Loaded(reading) => self.loaded(*reading.loaded, reading.receivers, reading.reply).await,
            Input::Order(order) => self.ordered(order).await,
            Input::Stop => {}
        }
    }

    /// Gives one event to the engine and its effects to the performer. `entries` become durable with them.
    async fn handle(&mut self, event: Event, entries: Vec<crate::engine::Entry>) {
        let mut effects = Effects { journal: entries, ..Effects::default() };
        self.engine.handle(self.clock.now(), event, &mut effects);
        let told = self.engine.fleet().map(|fleet| Arc::clone(fleet.told()));
        if let Some(told) = told.filter(|told| !Arc::ptr_eq(told, &self.told)) {
            self.told = told;
            self.show_switches();
        }
        self.perform(effects).await;
    }

    async fn perform(&mut self, mut effects: Effects) {
        if !effects.recorded.is_empty() {
            self.remotes.write(std::mem::take(&mut effects.recorded));
        }
        for ((source, why), count) in &effects.refused {
            self.own.refused(&self.telemetry, source, *why, *count);
        }
        if effects.appended > 0 {
            self.telemetry.add(Metric::SamplesAppended, &[], effects.appended as f64);
        }
        if effects.is_empty() {
            return;
        }
        let waiting = effects.replies.iter().filter_map(|(n, _)| Some((*n, self.waiting.remove(n)?))).collect();
        drop(self.work.send(Work { effects, waiting, flushed: None }).await);
    }

    async fn deadline(&mut self) {
        let now = self.clock.now();
        let due = self.engine.next_deadline();
        if let Some(late) = due.filter(|at| *at <= now) {
            self.telemetry.set(Metric::TickLatenessSeconds, &[], now.since(late).as_secs_f64());
        }
        if now >= self.own_due {
            self.own_due = Timestamp::from_millis((now + OWN_INTERVAL).as_millis() / 1000 * 1000);
            self.notice_clock_step().await;
            self.notice_freeze_file().await;
            let batch = self.own.batch(self.clock.now(), &self.engine, &self.telemetry);
            self.handle(Event::Samples(batch), Vec::new()).await;
            self.tell_demand().await;
            self.remotes.describe(|| self.engine.meta());
            self.systemd.tell("WATCHDOG=1");
            self.beat();
            if !*self.ready.borrow() && now.since(self.started) > 2 * OWN_INTERVAL {
                self.ready.send_replace(true);
                self.systemd.tell("READY=1\nSTATUS=watching");
            }
            self.snapshots.tick(now, &self.engine);
        } else {
            self.handle(Event::Tick, Vec::new()).await;
        }
    }

    /// How much limits that are shared out were asked for.
    async fn tell_demand(&mut self) {
        let mut asked = self.limiters.take_asked();
        asked.retain(|name, _| {
            let kind = self.declarations.iter().find(|known| known.name == *name).map(|known| &known.kind);
            matches!(kind, Some(SwitchKind::Limit { share_out: true, .. }))
        });
        if self.store.is_some() {
            self.handle(Event::AskedFor(asked), Vec::new()).await;
        }
    }

    /// Asks for a sign of life when one is due: only the loop that has just evaluated the rules does.
    fn beat(&mut self) {
        let now = self.clock.now();
        let Some(settings) = self.heartbeat_settings.as_ref().filter(|_| self.heartbeat_due <= now) else { return };
        self.heartbeat_due = now + settings.interval;
        // One that is on its way still is sign enough.
        drop(self.heartbeat.try_send(settings.clone()));
    }

    async fn notice_clock_step(&mut self) {
        let drift = self.clock.wall_drift_millis();
        if drift.abs() < STEP_MILLIS {
            return;
        }
        tracing::warn!(drift_millis = drift, "the system's clock was set");
        self.telemetry.count(Metric::ClockSteps, &[]);
        let before = self.clock.now();
        self.clock.resync();
        let by_millis = self.clock.now().as_millis() - before.as_millis();
        self.own_due = self.clock.now();
        self.heartbeat_due = self.clock.now();
        self.snapshots.put_off(self.clock.now());
        self.handle(Event::ClockStepped(by_millis), Vec::new()).await;
    }

    /// The file works with everything else broken: no network, no store, no command line.
    async fn notice_freeze_file(&mut self) {
        let there = self.freeze_path.exists();
        if std::mem::replace(&mut self.freeze_there, there) == there {
            return;
        }
        let text = there.then(|| std::fs::read_to_string(&self.freeze_path).unwrap_or_default());
        tracing::warn!(path = %self.freeze_path.display(), frozen = there, "the file that freezes all switches changed");
        self.handle(Event::FreezeFile(text), Vec::new()).await;
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Picture(listed, reply) => drop(reply.send(self.engine.picture(self.clock.now(), listed))),
            Ask::Alerts(reply) => drop(reply.send(Box::new(self.engine.alerts().to_read()))),
            Ask::View(reply) => drop(reply.send(self.engine.view())),
            Ask::Evaluations { group, rule, reply } => {
                drop(reply.send(self.engine.rules().evaluations(group.as_deref(), &rule)));
            }
            Ask::Command(command, reply) => {
                self.questions += 1;
                self.waiting.insert(self.questions, reply);
                self.handle(Event::Command(self.questions, command), Vec::new()).await;
            }
            Ask::FleetConfig(ask, reply) => self.central.answer(ask, self.config.clone(), self.clock, reply),
            Ask::Reload(reply) => self.start_loading(Some(reply)),
        }
    }

    async fn table_changed(&mut self, table: Arc<Table>) {
        self.table = Arc::clone(&table);
        if self.store.is_none() {
            self.show_switches();
        }
        self.handle(Event::StoreChanged(table.tables()), Vec::new()).await;
    }

    fn show_switches(&mut self) {
        let now = self.clock.now();
        let board = match &self.store {
            None => Switchboard::new(&self.declarations, &self.table, self.generation, now),
            Some(_) => {
                self.told_revision = told_revision(now, self.told_revision);
                let table = told_table(&self.told, self.told_revision);
                Switchboard::new(&self.declarations, &table, self.generation, now)
            }
        };
        self.switchboard.send_replace(Arc::new(board));
    }

    /// Reads the configuration on the blocking pool; the answer comes back as an input.
    fn start_loading(&self, reply: Option<oneshot::Sender<Result<(), String>>>) {
        self.systemd.tell("RELOADING=1");
        let bundle = self.central.runs.borrow().bundle.clone();
        self.read(bundle, reply, false);
    }

    /// Reads the configuration with a revision of the fleet's; this host's own files must be good without it.
    fn read(&self, bundle: Option<Arc<Bundle>>, reply: Option<oneshot::Sender<Result<(), String>>>, is_new: bool) {
        let (config, loaded, clock) = (self.config.clone(), self.loaded.clone(), self.clock);
        let plots = Arc::clone(&self.plots);
        tokio::task::spawn_blocking(move || {
            let own = load(config.as_deref(), &super::DiskFiles);
            let result = match &bundle {
                Some(bundle) if own.checked.is_some() => {
                    load_with(config.as_deref(), &super::DiskFiles, Some(bundle.as_ref()))
                }
                _ => own,
            };
            let receivers =
                result.checked.as_deref().map(|checked| receivers(checked, clock, &plots)).unwrap_or_default();
            let tried = is_new.then_some(bundle);
            drop(loaded.blocking_send(Reading { loaded: Box::new(result), receivers, reply, tried }));
        });
    }

    async fn ordered(&mut self, order: Order) {
        match order {
            Order::Take(bundle) => self.read(bundle, None, true),
            Order::Forgive => {
                let central = self.central.runs.borrow().clone();
                if central.refused.is_some() {
                    self.runs(Central { refused: None, ..central }).await;
                }
            }
            Order::Missing(revision) => {
                let why = "the store does not have it".to_owned();
                let refused = Some(ConfigRefused { revision, why });
                let bundle = self.central.runs.borrow().bundle.clone();
                self.runs(Central { bundle, refused }).await;
            }
        }
    }

    /// A revision of the fleet's configuration is taken, all of it or nothing.
    async fn tried(&mut self, loaded: Loaded, receivers: Receivers, bundle: Option<Arc<Bundle>>) {
        let revision = bundle.as_ref().map_or(0, |bundle| bundle.revision);
        match loaded.checked {
            Some(checked) if checked.store == self.store => {
                for name in &checked.left_out {
                    tracing::warn!(revision, name, "this host's own files go before the fleet's configuration");
                }
                let text = loaded.sources.first().map(|source| source.text.clone()).unwrap_or_default();
                self.adopt(&checked, receivers, text).await;
                tracing::info!(revision, "a revision of the fleet's configuration is in use");
                self.runs(Central { bundle, refused: None }).await;
            }
            _ => {
                let refused = central::refusal(revision, &loaded.problems);
                let running = self.central.runs.borrow().bundle.clone();
                self.runs(Central { bundle: running, refused: Some(refused) }).await;
            }
        }
    }

    async fn runs(&mut self, central: Central) {
        let (revision, refused) = (central.revision(), central.refused.clone());
        self.central.now(central);
        self.handle(Event::RunsConfig { revision, refused }, Vec::new()).await;
    }

    async fn loaded(
        &mut self,
        loaded: Loaded,
        receivers: Receivers,
        reply: Option<oneshot::Sender<Result<(), String>>>,
    ) {
        self.watched.send_if_modified(|watched| {
            let new = *watched != loaded.watched;
            watched.clone_from(&loaded.watched);
            new
        });
        for problem in &loaded.problems {
            match problem.severity {
                Severity::Error => tracing::error!("{}", problem.one_line()),
                Severity::Warning => tracing::warn!("{}", problem.one_line()),
            }
        }
        let answer = match loaded.checked {
            Some(checked) if checked.store != self.store => {
                let text =
                    "`store` is another one than the daemon runs with: restart it to change the store".to_owned();
                self.not_taken(&text);
                Err(text)
            }
            Some(checked) => {
                let text = loaded.sources.first().map(|source| source.text.clone()).unwrap_or_default();
                self.adopt(&checked, receivers, text).await;
                // What was refused beside the old files may be good beside the new ones: it is ordered again if it is wanted.
                self.ordered(Order::Forgive).await;
                Ok(())
            }
            None => {
                let errors: Vec<_> = loaded.problems.into_iter().filter(|p| p.severity == Severity::Error).collect();
                let text = render_problems(&errors);
                self.not_taken(&text);
                Err(text)
            }
        };
        self.systemd.tell("READY=1\nSTATUS=watching");
        if let Some(reply) = reply {
            drop(reply.send(answer));
        }
    }

    fn not_taken(&self, text: &str) {
        self.telemetry.set(Metric::ConfigLastReloadSuccessful, &[], 0.0);
        self.about.send_modify(|about| Arc::make_mut(about).config_problem = Some(text.to_owned()));
        tracing::error!("the configuration was not taken; the one before stays in use");
    }

    async fn adopt(&mut self, checked: &Checked, receivers: Receivers, config_text: String) {
        let Plan { engine, jobs, declarations, mode, allowed_hosts, exposed_jobs, delivery, projections, remotes } =
            plan(checked, &self.link_key);
        self.heartbeat_settings.clone_from(&checked.heartbeat);
        self.forwarding.send_replace(Arc::new(checked.forwarding.clone()));
        if let Some(set) = &self.set_log_level {
            (set.0)(checked.log.level.as_str());
        }
        self.generation += 1;
        self.declarations = declarations;
        self.receivers.send_replace(Arc::new(receivers));
        self.remotes.apply(remotes).await;
        self.handle(Event::Reloaded(Box::new(engine)), Vec::new()).await;
        let now = self.clock.now();
        let ended = self.jobs.apply(self.clock.now(), jobs, &self.tools).await;
        for batch in ended {
            self.handle(Event::Samples(batch), Vec::new()).await;
        }
        self.show_switches();
        self.delivery.send_replace(Arc::new(delivery));
        self.projections.send_replace(Arc::new(projections));
        self.about.send_modify(|about| {
            let about = Arc::make_mut(about);
            about.mode = mode;
            about.config_problem = None;
            about.allowed_hosts = allowed_hosts;
            about.exposed_jobs = exposed_jobs;
            about.external_labels = checked.external_labels.clone();
            about.cors_origin = checked.serve.cors_origin.clone();
            about.config_text = config_text;
            about.config_taken = now;
        });
        tell_taken(&self.telemetry, self.clock.now(), self.generation);
        if checked.store.is_some() {
            self.telemetry.set(Metric::FleetConfigLeftOut, &[], checked.left_out.len() as f64);
        }
        tracing::info!(
            generation = self.generation,
            jobs = self.jobs.running().count(),
            "configuration taken into use"
        );
    }

    /// Ends collectors, performs what is left, writes the series.
    async fn stop(mut self, mut inputs: Inputs) {
        self.systemd.tell("STOPPING=1");
        tracing::info!("stopping");
        self.jobs.stop().await;
        self.agents.leave(&self.clock).await;
        while let Ok(output) = inputs.logs.try_recv() {
            self.take(Input::Log(output)).await;
        }
        self.remotes.stop().await;
        let (flushed, done) = oneshot::channel();
        let last = Work { effects: Effects::default(), waiting: BTreeMap::new(), flushed: Some(flushed) };
        if self.work.send(last).await.is_ok() {
            drop(tokio::time::timeout(Duration::from_secs(5), done).await);
        }
        self.snapshots.whole(&self.engine).await;
    }
}

/// The first that is there. Asks and events go before samples, so that a flood of samples does not keep people waiting.
async fn next(inputs: &mut Inputs, alarm: &mut Alarm, deadline: tokio::time::Instant) -> Input {
    tokio::select! {
        biased;
        Some(()) = inputs.stop.recv() => Input::Stop,
        () = alarm.until(deadline) => Input::Deadline,
        Ok(()) = inputs.table.changed() => Input::Table(Arc::clone(&inputs.table.borrow_and_update())),
        Some(event) = inputs.events.recv() => Input::Event(event),
        Some(ask) = inputs.asks.recv() => Input::Ask(ask),
        Some(reading) = inputs.loaded.recv() => Input::Loaded(reading),
        Some(order) = inputs.orders.recv() => Input::Order(order),
        Some(output) = inputs.logs.recv() => Input::Log(output),
        Some(batch) = inputs.batches.recv() => Input::Batch(batch),
        Some(()) = inputs.reloads.recv() => Input::Reload,
    }
}

/// What a host of a fleet tells its applications, as a table.
pub(super) fn told_table(told: &Told, revision: u64) -> Table {
    Table { revision, switches: told.switches.clone(), ..Table::default() }
}

/// The revision of what is told now: it grows over restarts too, which the fleet's own count does not.
pub(super) fn told_revision(now: Timestamp, before: u64) -> u64 {
    now.as_millis().unsigned_abs().max(before + 1)
}

/// A configuration was taken into use.
pub(super) fn tell_taken(telemetry: &Telemetry, now: Timestamp, generation: u64) {
    telemetry.set(Metric::ConfigLastReloadSuccessful, &[], 1.0);
    telemetry.set(Metric::ConfigLastReloadSuccessTimestamp, &[], millis(now.since(Timestamp::ZERO)) as f64 / 1000.0);
    telemetry.set(Metric::ConfigGeneration, &[], generation as f64);
}
