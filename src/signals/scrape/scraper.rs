//! The tasks: one that follows discovery, and one for each target.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::{Mutex, mpsc};
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
    let job = Job { settings: Arc::new(settings), metric_steps, clock, telemetry, board, out, client: Arc::default() };
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
    client: Arc<Mutex<Option<(net::Client, Timestamp)>>>,
}

impl Job {
    /// The job's client; built off the loop, because it reads files.
    async fn client(&self) -> Result<net::Client, NetError> {
        let mut place = self.client.lock().await;
        if let Some((client, _)) = &*place {
            return Ok(client.clone());
        }
        let http = HttpSettings { timeout: Some(self.settings.scrape_timeout), ..self.settings.http.clone() };
        let built = tokio::task::spawn_blocking(move || net::client(&http)).await;
        let client = built.unwrap_or_else(|_| Err(NetError::Setting("the HTTP client cannot be built".to_owned())))?;
        *place = Some((client.clone(), self.clock.now()));
        Ok(client)
    }

    async fn client_failed(&self) {
        let mut place = self.client.lock().await;
        if place.as_ref().is_some_and(|(_, built)| self.clock.now().since(*built) >= CLIENT_AGE) {
            *place = None;
        }
    }

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
        let mut attempt = JoinSet::new();
        attempt.spawn(follow(job.clone(), target.clone()));
        if !attempt.join_next().await.is_some_and(|ended| ended.is_err_and(|error| error.is_panic())) {
            return;
        }
        let task = format!("scrape/{}", job.settings.job_name);
        job.telemetry.count(Metric::TaskPanics, &[("task", &task)]);
        tracing::error!(source = target.source.as_str(), "a scraper panicked and is started again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RESTART.1);
    }
}

async fn follow(job: Job, target: Target) {
    let reports = REPORTS.map(|(name, _)| target.labels.with(NAME, name));
    let mut scraper = Scraper::new(job, target);
    let offset = scraper.target.labels.hash64() ^ fnv(scraper.target.url.as_str());
    let mut slot = next_slot(scraper.job.clock.now(), scraper.target.interval, offset);
    let mut first = true;
    loop {
        let clock = scraper.job.clock;
        tokio::time::sleep_until(clock.instant(slot)).await;
        let now = clock.now();
        // Times that differ by the scheduler's whim alone would only cost space.
        let tolerance = (scraper.target.interval / 100).min(Duration::from_millis(2));
        let at = if now.since(slot) <= tolerance { slot } else { now };
        let scraped = scraper.scrape(at).await;
        let mut batch = scraper.batch(at, scraped, &reports);
        if std::mem::take(&mut first) {
            batch.meta.extend(REPORTS.map(|(name, help)| report_meta(name, help)));
        }
        if scraper.job.out.send(batch).await.is_err() {
            return;
        }
        let now = clock.now();
        slot = next_slot(now.max(at.unless_ahead(now, Duration::ZERO)), scraper.target.interval, offset);
    }
}

/// The report series, in the order in which a batch has them.
const REPORTS: [(&str, &str); 5] = [
    ("up", "1 when the last scrape succeeded, else 0."),
    ("scrape_duration_seconds", "How long the last scrape took, in seconds."),
    ("scrape_samples_scraped", "Samples that the target exposed."),
    ("scrape_samples_post_metric_relabeling", "Samples that metric relabelling left."),
    ("scrape_series_added", "Series that were new in the last scrape."),
];

fn report_meta(name: &str, help: &str) -> MetricMeta {
    MetricMeta { family: name.into(), kind: MetricKind::Gauge, help: help.into(), unit: "".into() }
}

/// The first slot after `now`: slots lie an interval apart, shifted by `offset`, on the same instants after a restart.
fn next_slot(now: Timestamp, interval: Duration, offset: u64) -> Timestamp {
    let interval = millis(interval).max(1);
    let shift = (offset % interval as u64) as i64;
    let since = (now.as_millis() - shift).rem_euclid(interval);
    Timestamp::from_millis(now.as_millis() + interval - since)
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

struct Scraper {
    job: Job,
    target: Target,
    ingest: Ingest,
}

struct Scraped {
    ingested: Ingested,
    failure: Option<Failure>,
    took: Duration,
}

impl Scraper {
    fn new(job: Job, target: Target) -> Scraper {
        let ingest = new_ingest(&job, &target);
        Scraper { job, target, ingest }
    }

    async fn scrape(&mut self, at: Timestamp) -> Scraped {
        let started = self.job.clock.elapsed();
        let timeout = self.target.timeout;
        let fetched = match tokio::time::timeout(timeout, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(Failure::Timeout(timeout)),
        };
        // As in Prometheus: the time of the answer, not of reading it into series.
        let took = self.job.clock.elapsed().saturating_sub(started);
        let (mut ingested, mut failure) = match fetched {
            Ok((format, body)) => match self.read(format, body, at).await {
                Some(ingested) => (ingested, None),
                None => (Ingested::default(), Some(Failure::Panic)),
            },
            Err(failure) => (Ingested::default(), Some(failure)),
        };
        if let Some(error) = ingested.error.take() {
            failure = Some(error.into());
        }
        self.count(&ingested, failure.as_ref()).await;
        Scraped { ingested, failure, took }
    }

    async fn fetch(&self) -> Result<(Format, bytes::Bytes), Failure> {
        let client = self.job.client().await?;
        let sent = client.send(|client| {
            let request = client.get(self.target.url.clone()).header(ACCEPT, FORMATS);
            request.header("X-Prometheus-Scrape-Timeout-Seconds", self.target.timeout.as_secs_f64().to_string())
        });
        let response = sent.await.map_err(|error| match error.is_timeout() {
            true => Failure::Timeout(self.target.timeout),
            false => Failure::Transport(error.to_string()),
        })?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let format = Format::of_content_type(content_type.unwrap_or(""));
        let limit = match self.job.settings.body_size_limit {
            0 => limits::SCRAPE_BODY_BYTES,
            limit => limit.min(limits::SCRAPE_BODY_BYTES),
        };
        Ok((format, net::read_capped(response, limit).await?))
    }

    /// Large bodies are read off the loop. `None` means that the reader panicked there.
    async fn read(&mut self, format: Format, body: bytes::Bytes, at: Timestamp) -> Option<Ingested> {
        if body.len() <= INLINE_BODY {
            return Some(self.ingest.read(format, &body, at));
        }
        let mut ingest = std::mem::replace(&mut self.ingest, new_ingest(&self.job, &self.target));
        let work = tokio::task::spawn_blocking(move || {
            let ingested = ingest.read(format, &body, at);
            (ingest, ingested)
        });
        let (ingest, ingested) = work.await.ok()?;
        self.ingest = ingest;
        Some(ingested)
    }

    async fn count(&self, ingested: &Ingested, failure: Option<&Failure>) {
        let job = self.job.settings.job_name.as_str();
        for (reason, count) in [("duplicate", ingested.duplicates), ("ahead", ingested.ahead)] {
            if count > 0 {
                let labels = [("scrape", job), ("reason", reason)];
                self.job.telemetry.add(Metric::ScrapeSamplesDropped, &labels, count as f64);
            }
        }
        match failure {
            Some(Failure::Net(NetError::TooLarge(_))) => {
                self.job.telemetry.count(Metric::ScrapeBodyTooLarge, &[("scrape", job)]);
            }
            Some(Failure::Panic) => {
                self.job.telemetry.count(Metric::TaskPanics, &[("task", &format!("scrape/{job}"))]);
            }
            Some(Failure::Status(_) | Failure::Transport(_)) => self.job.client_failed().await,
            _ => {}
        }
    }

    fn batch(&self, at: Timestamp, scraped: Scraped, reports: &[Labels; 5]) -> Batch {
        let Scraped { ingested, failure, took } = scraped;
        let values = [
            f64::from(u8::from(failure.is_none())),
            took.as_secs_f64(),
            ingested.scraped as f64,
            ingested.kept as f64,
            ingested.added as f64,
        ];
        let (mut samples, meta) = (ingested.samples, ingested.meta);
        samples.extend(reports.iter().cloned().zip(values));
        let error = failure.map(|failure| failure.to_string());
        self.job.board.scraped(&self.job.settings.job_name, &self.target, at, took, error);
        Batch {
            source: self.target.source.clone(),
            at,
            samples,
            timed: ingested.timed,
            completeness: Completeness::Whole,
            meta,
            urgent: false,
        }
    }
}

fn new_ingest(job: &Job, target: &Target) -> Ingest {
    Ingest::new(Arc::clone(&job.settings), Arc::clone(&job.metric_steps), target.labels.clone())
}

#[cfg(test)]
mod tests;
