//! The tasks: one that follows discovery, and one for each target.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::board::Board;
use super::files::DiscoveryFiles;
use super::ingest::{Ingest, IngestError, Ingested};
use super::parse::Format;
use super::settings::Settings;
use super::target::{Discovered, Target, discover};
use crate::limits;
use crate::model::{Batch, Completeness, Labels, MetricKind, MetricMeta, NAME, Relabel, RelabelError, Source};
use crate::net::{self, HttpSettings, NetError};
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Clock, Timestamp, format_duration, millis};

const FORMATS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// A body larger than this is parsed off the loop.
const INLINE_BODY: usize = 256 << 10;
/// After a failed scrape the client is built anew, at most this often: passwords and certificates may have changed.
const CLIENT_AGE: Duration = Duration::from_secs(10);
/// The waits before a panicked target is started again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why a job cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error("job {job}: {list}[{index}]: {source}")]
    Relabel { job: String, list: &'static str, index: usize, source: RelabelError },
}

/// Why a scrape failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the server answered {0}")]
    Status(reqwest::StatusCode),
    #[error("there was no answer within {}", format_duration(*.0))]
    Timeout(Duration),
    #[error("{0}")]
    Transport(String),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error("the parser broke down on this exposition")]
    Panic,
}

/// Scrapes the targets of one job until it is dropped or `out` is closed.
///
/// Batches have the source `scrape/<job>/<url>`. A target that discovery takes away ends with [`Batch::ended`]; when the
/// whole job ends, the caller does that for the sources that [`Board::forget`] gives.
///
/// # Errors
/// At once, when a relabelling step cannot be used.
pub async fn run(
    settings: Settings,
    clock: Clock,
    telemetry: Telemetry,
    board: Board,
    out: mpsc::Sender<Batch>,
) -> Result<(), ScrapeError> {
    let compile = |list: &'static str, configs: &[_]| {
        let job = settings.job_name.clone();
        Relabel::all(configs).map_err(|(index, source)| ScrapeError::Relabel { job, list, index, source })
    };
    let steps = compile("relabel_configs", &settings.relabel_configs)?;
    let metric_steps = Arc::new(compile("metric_relabel_configs", &settings.metric_relabel_configs)?);
    let refresh = settings.file_sd_configs.iter().map(|config| config.refresh_interval).min();
    let job = Job { settings: Arc::new(settings), metric_steps, clock, telemetry, board, out };
    let mut files = DiscoveryFiles::default();
    let (mut tasks, mut running) = (JoinSet::new(), HashMap::new());
    let mut first = true;
    loop {
        let configs = Arc::clone(&job.settings);
        let looked = tokio::task::spawn_blocking(move || {
            let changed = files.refresh(&configs.file_sd_configs);
            (files, changed)
        });
        let (back, changed) = looked.await.unwrap_or_default();
        files = back;
        if std::mem::take(&mut first) || changed {
            let groups = job.settings.static_configs.iter().chain(files.groups());
            let found = discover(&job.settings, &steps, groups);
            job.follow(found, files.problems(), &mut tasks, &mut running).await;
        }
        let wait = refresh.unwrap_or(Duration::MAX).max(Duration::from_millis(100));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = job.out.closed() => return Ok(()),
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// What the tasks of a job share.
#[derive(Clone)]
struct Job {
    settings: Arc<Settings>,
    metric_steps: Arc<Vec<Relabel>>,
    clock: Clock,
    telemetry: Telemetry,
    board: Board,
    out: mpsc::Sender<Batch>,
}

impl Job {
    /// Starts what is new, ends what is gone, leaves the rest alone.
    async fn follow(
        &self,
        found: Discovered,
        mut problems: Vec<String>,
        tasks: &mut JoinSet<()>,
        running: &mut HashMap<Source, (Target, AbortHandle)>,
    ) {
        problems.extend(found.problems.iter().cloned());
        for problem in &problems {
            tracing::warn!(job = self.settings.job_name, problem, "scrape discovery");
        }
        self.board.discovered(&self.settings.job_name, &found, problems);
        let stays = |target: &Target| found.targets.contains(target);
        let gone: Vec<Source> = running.iter().filter(|(_, (t, _))| !stays(t)).map(|(s, _)| s.clone()).collect();
        for source in gone {
            if let Some((_, task)) = running.remove(&source) {
                task.abort();
                let _ = self.out.send(Batch::ended(source, self.clock.now())).await;
            }
        }
        for target in found.targets {
            if !running.contains_key(&target.source) {
                let task = tasks.spawn(guarded(self.clone(), target.clone()));
                running.insert(target.source.clone(), (target, task));
            }
        }
    }
}

/// Follows one target; a panic is counted, and the target started again after a while.
async fn guarded(job: Job, target: Target) {
    let mut wait = RESTART.0;
    loop {
        let ended = CatchPanic(Box::pin(AssertUnwindSafe(follow(job.clone(), target.clone())))).await;
        if ended.is_ok() {
            return;
        }
        let task = format!("scrape/{}", job.settings.job_name);
        job.telemetry.count(Metric::TaskPanics, &[("task", &task)]);
        tracing::error!(source = target.source.as_str(), "a scraper panicked and is started again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RESTART.1);
    }
}
