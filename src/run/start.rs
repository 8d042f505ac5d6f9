//! From arguments to a running daemon.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use super::central::{self, Central, Desk, Order};
use super::fleet::{self, Carrier};
use super::forward;
use super::identity;
use super::jobs::{Checkpoints, Jobs, LOGS, LogOutput, Tools};
use super::link_key::link_key;
use super::own::{self, OwnMetrics};
use super::perform::{Performer, Stores, Work};
use super::plan::{Plan, fleet_host, plan, receivers};
use super::plots::plots;
use super::remotes::Remotes;
use super::serving::Serving;
use super::shell::{Inputs, Reading, Shell, tell_taken, told_revision, told_table};
use super::snapshots::Snapshots;
use super::systemd::Systemd;
use super::{DiskFiles, watch as files};
use crate::config::{Checked, Files, Loaded, default_data_dir};
use crate::engine::{Effects, Engine, Event, Restored};
use crate::journal::{AuditLog, Journal, JournalError, Opened};
use crate::limits;
use crate::model::Batch;
use crate::net;
use crate::notify;
use crate::project;
use crate::serve::{self, About, Ask, Parts, ServeError, Shared, Switchboard};
use crate::signals::scrape;
use crate::store::{Embedded, Etcd, EtcdSettings, Store, StoreError, Table};
use crate::switches::Told;
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Clock, Timestamp};
use crate::yaml::render_problems;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct RunArgs {
    pub config: Option<PathBuf>,
    /// Goes before the configuration's.
    pub data_dir: Option<PathBuf>,
    /// Goes before the configuration's.
    pub listen: Option<String>,
    /// Told the level of each configuration that is taken; none when the command line says it.
    pub set_log_level: Option<SetLogLevel>,
}

/// Changes how much is logged from now on.
#[derive(Clone)]
pub struct SetLogLevel(pub Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for SetLogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetLogLevel")
    }
}

/// The daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The rendered problems.
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs the daemon until it is told to stop. `loaded` is the configuration that `args` names.
///
/// # Errors
/// When it cannot start: a broken configuration, a data directory that cannot be used, an address that is taken.
pub async fn run(args: RunArgs, loaded: Loaded) -> Result<(), RunError> {
    net::install_crypto();
    let clock = Clock::start();
    let telemetry = Telemetry::new();
    own::tell_build(&telemetry);
    let Loaded { checked, problems, watched, sources } = loaded;
    let config_text = sources.first().map(|source| source.text.clone()).unwrap_or_default();
    let Some(checked) = checked else { return Err(RunError::Config(render_problems(&problems))) };
    for problem in &problems {
        tracing::warn!("{}", problem.one_line());
    }
    drop((problems, sources));
    let folder = args.data_dir.clone().or_else(|| checked.data_dir.clone());
    let folder = folder.unwrap_or_else(|| default_data_dir(&DiskFiles));
    let address = args.listen.clone().unwrap_or_else(|| checked.serve.listen.to_string());
    let opened = Journal::open(&folder)?;
    let (checked, central) = central::at_start(args.config.as_deref(), &folder, *checked);
    let listener = TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| ServeError::Listen { address: address.clone(), error })?;
    let port = listener.local_addr().map(|address| address.port()).unwrap_or_default();
    let store = open_store(&checked, &folder, port, clock, &telemetry)?;
    announce(&checked, &folder, &listener, args.config.as_deref());
    let daemon = Daemon { args, clock, telemetry, folder, opened, store, listener, watched, config_text, central };
    daemon.run(checked).await
}

/// Where switches are kept.
enum Opening {
    Own(Embedded),
    Fleet(Etcd),
}

impl Opening {
    fn watch(&self) -> watch::Receiver<Arc<Table>> {
        match self {
            Opening::Own(store) => store.watch(),
            Opening::Fleet(store) => store.watch(),
        }
    }
}

/// Opens the store that the configuration names. A fleet's is not waited for.
fn open_store(
    checked: &Checked,
    folder: &Path,
    port: u16,
    clock: Clock,
    telemetry: &Telemetry,
) -> Result<Opening, StoreError> {
    let Some(fleet) = &checked.store else {
        return Embedded::open(&folder.join("switches"), &net::host_name()).map(Opening::Own);
    };
    let (instance, address) = (identity::instance(folder), identity::address(checked, port, &fleet.etcd.endpoints));
    let settings = EtcdSettings { host: fleet_host(fleet), instance, address, ..fleet.etcd.clone() };
    tracing::info!(endpoints = ?settings.endpoints, host = settings.host, zone = fleet.zone, "switches are kept in etcd");
    let cache = folder.join("switches").join("fleet.json");
    Ok(Opening::Fleet(Etcd::open(settings, Some(cache), clock, telemetry.clone())))
}

fn announce(checked: &Checked, folder: &Path, listener: &TcpListener, config: Option<&Path>) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let config = config.map_or("none, the defaults".to_owned(), |path| path.display().to_string());
    tracing::info!(config, data_dir = %folder.display(), page = format!("http://{address}/"), "brownout {}", env!("CARGO_PKG_VERSION"));
    let actions = checked.groups.iter().flat_map(|group| &group.rules);
    let actions = actions.filter(|rule| !rule.asked().is_empty());
    match (checked.actions.mode.as_str(), actions.count()) {
        (_, 0) => {}
        ("observe", count) => {
            tracing::info!(count, "action rules only observe unless they say `mode: enforce` themselves")
        }
        (_, count) => tracing::info!(count, "action rules are enforced unless they say `mode: observe` themselves"),
    }
}

struct Daemon {
    args: RunArgs,
    clock: Clock,
    telemetry: Telemetry,
    folder: PathBuf,
    opened: Opened,
    store: Opening,
    listener: TcpListener,
    watched: Vec<PathBuf>,
    config_text: String,
    central: Central,
}

impl Daemon {
    #[expect(clippy::too_many_lines, reason = "wiring: one statement a part, and nothing is decided")]
    async fn run(self, checked: Checked) -> Result<(), RunError> {
        let Daemon { args, clock, telemetry, folder, opened, store, listener, watched, config_text, central } = self;
        let now = clock.now();
        telemetry.add(Metric::JournalRecovered, &[], opened.torn_bytes as f64);
        let key = link_key(&folder);
        let snapshot_path = folder.join("series.snapshot");
        let (journal, checkpoints, restored) = remembered(opened, &store, &snapshot_path).await?;
        let Plan {
            engine,
            jobs,
            declarations,
            mode,
            allowed_hosts,
            exposed_jobs,
            delivery,
            projections,
            remotes: wanted,
        } = plan(&checked, &key);
        let table = Arc::clone(&store.watch().borrow());
        let mut effects = Effects::default();
        let seed = now.as_millis().unsigned_abs() ^ u64::from(std::process::id());
        let mut engine = Engine::restore(now, engine, restored, seed, &mut effects);
        if engine.fleet().is_some() {
            let runs = Event::RunsConfig { revision: central.revision(), refused: central.refused.clone() };
            engine.handle(now, runs, &mut effects);
        }
        engine.measure_with(Arc::new(move || clock.elapsed()));
        for damage in &effects.damaged {
            tracing::error!(damage, "a record of the journal is left out");
        }
        let host = net::host_name();
        let about = About {
            host: host.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started: now,
            mode,
            config_file: args.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            config_problem: None,
            allowed_hosts,
            exposed_jobs,
            external_labels: checked.external_labels.clone(),
            cors_origin: checked.serve.cors_origin.clone(),
            config_text,
            config_taken: now,
        };
        let (senders, inputs, work) = channels(&store);
        let plots = plots(senders.asks.clone(), clock);
        let (receivers_in, receivers_out) = watch::channel(Arc::new(receivers(&checked, clock, &plots)));
        let (about_in, about_out) = watch::channel(Arc::new(about));
        let (ready_in, ready_out) = watch::channel(false);
        let (watched_in, watched_out) = watch::channel(watched);
        let (told, told_revision) = first_told(&mut engine, now, &table, &mut effects);
        let board = match checked.store {
            None => Switchboard::new(&declarations, &table, 1, now),
            Some(_) => Switchboard::new(&declarations, &told_table(&told, told_revision), 1, now),
        };
        let (switchboard_in, switchboard) = watch::channel(Arc::new(board));
        let (delivery_in, delivery) = watch::channel(Arc::new(delivery));
        let (projections_in, projections) = watch::channel(Arc::new(projections));
        let agents = serve::Agents::default();
        let targets = scrape::Board::new();

        let forwarder = notify::Forwarder::new(clock, telemetry.clone());
        let (forwarding_in, forwarding_out) = watch::channel(Arc::new(checked.forwarding.clone()));
        let (heartbeat_in, heartbeat_out) = mpsc::channel(1);
        let (store, carrier, session) = stores(store, &senders, &telemetry);
        let (fleet_events, fleet_telemetry) = (senders.events.clone(), telemetry.clone());
        let performer = Performer {
            journal: Arc::new(Mutex::new(journal)),
            store,
            receivers: receivers_out,
            events: senders.events,
            telemetry: telemetry.clone(),
            clock,
            places: HashMap::new(),
            forwarder: forwarder.clone(),
            audit: audit_log(&folder),
        };
        let limiters = Arc::<serve::Limiters>::default();
        let (shown, forwards) = (targets.clone(), forwarder.clone());
        let shared = Shared::new(Parts {
            asks: senders.asks,
            switchboard: switchboard.clone(),
            ready: ready_out,
            telemetry: telemetry.clone(),
            clock,
            about: about_out,
            targets: Box::new(move || shown.targets().iter().map(target_json).collect()),
            alertmanagers: Box::new(move || forwards.addresses()),
            queries: Arc::new(Semaphore::new(limits::QUERIES_AT_ONCE)),
            delivery,
            streams: Arc::new(Semaphore::new(limits::STREAMS)),
            draws: AtomicU64::new(seed),
            limiters: Arc::clone(&limiters),
            agents: agents.clone(),
        });
        let serving = Serving::start(listener, shared).map_err(ServeError::Thread)?;
        let tasks = [
            tokio::spawn(performer.run(work)),
            tokio::spawn(forward::follow(forwarding_out, forwarder)),
            tokio::spawn(notify::heartbeat(heartbeat_out, telemetry.clone())),
            tokio::spawn(files::watch(watched_out, senders.reloads.clone())),
            tokio::spawn(signals(senders.reloads, senders.stop)?),
        ];
        let mut projected = tokio::spawn(project::keep(projections.clone(), switchboard.clone(), telemetry.clone()));
        let carried = carrier.map(|carrier| tokio::spawn(carrier.run()));
        let keys = session
            .clone()
            .map(|session| tokio::spawn(project::keep_keys(projections, switchboard, session, telemetry.clone())));
        let tools = Tools {
            clock,
            telemetry: telemetry.clone(),
            board: targets,
            batches: senders.batches,
            logs: senders.logs,
            checkpoints: Checkpoints::new(checkpoints),
            fleet: session.clone(),
        };
        let mut running = Jobs::default();
        running.apply(now, jobs, &tools).await;
        let mut remotes = Remotes::new(folder.join("remote"), clock, telemetry.clone());
        remotes.apply(wanted).await;
        tell_taken(&telemetry, now, 1);
        if checked.store.is_some() {
            telemetry.set(Metric::FleetConfigLeftOut, &[], checked.left_out.len() as f64);
        }
        drop(senders.work.send(Work { effects, waiting: BTreeMap::new(), flushed: None }).await);
        let shell = Shell {
            engine,
            clock,
            telemetry,
            own: OwnMetrics::new(own_instance(&checked).unwrap_or(host)),
            work: senders.work,
            jobs: running,
            tools,
            remotes,
            loaded: senders.loaded,
            config: args.config,
            watched: watched_in,
            receivers: receivers_in,
            link_key: key,
            forwarding: forwarding_in,
            heartbeat: heartbeat_in,
            heartbeat_settings: checked.heartbeat.clone(),
            heartbeat_due: now,
            plots,
            declarations,
            switchboard: switchboard_in,
            table,
            told,
            told_revision,
            store: checked.store.clone(),
            central: Desk::new(central, session.clone(), &folder),
            limiters,
            about: about_in,
            delivery: delivery_in,
            projections: projections_in,
            agents,
            ready: ready_in,
            systemd: Systemd::new(DiskFiles.env("NOTIFY_SOCKET")),
            generation: 1,
            waiting: BTreeMap::new(),
            questions: 0,
            own_due: now,
            snapshots: Snapshots::new(snapshot_path, now),
            freeze_path: folder.join("freeze"),
            freeze_there: false,
            started: now,
            set_log_level: args.set_log_level,
        };
        if let Some((session, fleet)) = session.clone().zip(checked.store.as_ref()) {
            let (runs, copy) = (shell.central.runs.subscribe(), shell.central.copy.clone());
            tokio::spawn(central::follow(session.clone(), fleet_host(fleet), copy, runs, senders.orders));
            tokio::spawn(fleet::tell(session, fleet_events, fleet_telemetry));
        }
        // Everybody has what they need of it.
        drop(checked);
        shell.run(inputs).await;
        serving.stop();
        // With the shell its switches ended: the files have their last values, and then that task is over, too.
        if tokio::time::timeout(limits::LAST_PROJECTIONS, &mut projected).await.is_err() {
            projected.abort();
        }
        tasks.iter().chain(&carried).chain(&keys).for_each(tokio::task::JoinHandle::abort);
        if let Some(session) = session {
            session.leave().await;
        }
        Ok(())
    }
}

/// The `instance` that the configuration gives this host; none: the host's name.
fn own_instance(checked: &Checked) -> Option<String> {
    checked.system.as_ref().map(|system| system.instance.clone()).filter(|instance| !instance.is_empty())
}

/// The sending ends of everything that the loop waits for, and of what it asks to be performed.
struct Senders {
    batches: mpsc::Sender<Batch>,
    logs: mpsc::Sender<LogOutput>,
    events: mpsc::Sender<Event>,
    asks: mpsc::Sender<Ask>,
    reloads: mpsc::Sender<()>,
    loaded: mpsc::Sender<Reading>,
    orders: mpsc::Sender<Order>,
    stop: mpsc::Sender<()>,
    work: mpsc::Sender<Work>,
}

fn channels(store: &Opening) -> (Senders, Inputs, mpsc::Receiver<Work>) {
    let (batches_in, batches) = mpsc::channel(limits::ENGINE_QUEUE);
    let (logs_in, logs) = mpsc::channel(limits::ENGINE_QUEUE);
    let (events_in, events) = mpsc::channel(limits::ENGINE_QUEUE);
    let (asks_in, asks) = mpsc::channel(limits::ENGINE_QUEUE);
    let (reloads_in, reloads) = mpsc::channel(1);
    let (loaded_in, loaded) = mpsc::channel(4);
    let (orders_in, orders) = mpsc::channel(1);
    let (stop_in, stop) = mpsc::channel(1);
    let (work_in, work) = mpsc::channel(limits::EFFECT_QUEUE);
    let senders = Senders {
        batches: batches_in,
        logs: logs_in,
        events: events_in,
        asks: asks_in,
        reloads: reloads_in,
        loaded: loaded_in,
        orders: orders_in,
        stop: stop_in,
        work: work_in,
    };
    (senders, Inputs { batches, logs, events, asks, table: store.watch(), reloads, loaded, orders, stop }, work)
}

/// What a host of a fleet tells its applications from the first moment on: what it remembers of the store.
fn first_told(engine: &mut Engine, now: Timestamp, table: &Table, effects: &mut Effects) -> (Arc<Told>, u64) {
    if engine.fleet().is_some() {
        let remembered = if table.revision > 0 { Event::StoreChanged(table.tables()) } else { Event::Tick };
        engine.handle(now, remembered, effects);
    }
    let told = engine.fleet().map(|fleet| Arc::clone(fleet.told())).unwrap_or_default();
    (told, told_revision(now, 0))
}

/// The way to the store, and of a fleet's what carries there and the session itself.
fn stores(opening: Opening, senders: &Senders, telemetry: &Telemetry) -> (Stores, Option<Carrier>, Option<Etcd>) {
    match opening {
        Opening::Own(store) => (Stores::Own(store), None, None),
        Opening::Fleet(store) => {
            let (events, work) = (senders.events.clone(), senders.work.clone());
            let (courier, carrier) = fleet::courier(store.clone(), events, work, telemetry.clone());
            (Stores::Fleet(courier), Some(carrier), Some(store))
        }
    }
}

/// The audit log; a daemon whose disk does not take one still looks after its host.
fn audit_log(folder: &Path) -> Option<Arc<Mutex<AuditLog>>> {
    match AuditLog::open(&folder.join("audit.jsonl")) {
        Ok(log) => Some(Arc::new(Mutex::new(log))),
        Err(error) => {
            tracing::error!(%error, "decisions are not written to an audit log");
            None
        }
    }
}

/// What was kept over the restart: for the engine, and the checkpoints of log jobs.
async fn remembered(
    opened: Opened,
    store: &Opening,
    snapshot_path: &Path,
) -> Result<(Journal, BTreeMap<String, serde_json::Value>, Restored), RunError> {
    let (checkpoints, entries) = opened.state.into_iter().partition(|(key, _)| key.starts_with(LOGS));
    // A fleet's store may be away: the journal has what the engine needs of it.
    let (switches, decisions) = match store {
        Opening::Own(store) => {
            (store.watch().borrow().switches.clone(), store.decisions(limits::DECISIONS_KEPT).await?)
        }
        Opening::Fleet(_) => Default::default(),
    };
    let restored = Restored {
        entries,
        last_alive: opened.last_written_millis.map(Timestamp::from_millis),
        switches,
        decisions,
        series: tokio::fs::read(snapshot_path).await.ok(),
    };
    Ok((opened.journal, checkpoints, restored))
}

/// SIGHUP loads the configuration again; SIGTERM and SIGINT stop.
fn signals(
    reloads: mpsc::Sender<()>,
    stop: mpsc::Sender<()>,
) -> Result<impl Future<Output = ()> + Send + 'static, RunError> {
    let listen = |kind| signal(kind).map_err(RunError::Signals);
    let mut hangup = listen(SignalKind::hangup())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => drop(reloads.send(()).await),
                Some(()) = terminate.recv() => drop(stop.send(()).await),
                Some(()) = interrupt.recv() => drop(stop.send(()).await),
            }
        }
    })
}

/// A scrape target as Prometheus' `/api/v1/targets` shows it.
fn target_json(target: &scrape::TargetState) -> serde_json::Value {
    let labels = |labels: &crate::model::Labels| -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    serde_json::json!({
        "discoveredLabels": labels(&target.discovered),
        "labels": labels(&target.labels),
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error,
        "lastScrape": target.last_scrape.map(Timestamp::to_rfc3339),
        "lastScrapeDuration": target.last_duration.as_secs_f64(),
        "health": target.health.as_str(),
        "scrapeInterval": crate::time::format_duration(target.interval),
        "scrapeTimeout": crate::time::format_duration(target.timeout),
    })
}
