//! The collectors that run: started, ended and replaced as the configuration says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::beside::Beside;
use super::queries;
use super::supervise::{Task, supervise, told};
use crate::model::{Batch, Source};
use crate::signals::{logs, probes, query, scrape, system};
use crate::store::Etcd;
use crate::telemetry::Telemetry;
use crate::time::{Clock, Timestamp};

/// What the keys of log jobs begin with: of their sources, and of their checkpoints in the journal.
pub(super) const LOGS: &str = "logs/";

/// The latest checkpoint of each log job, by its key.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkpoints(Arc<Mutex<BTreeMap<String, Value>>>);

impl Checkpoints {
    pub(super) fn new(kept: BTreeMap<String, Value>) -> Checkpoints {
        Checkpoints(Arc::new(Mutex::new(kept)))
    }

    fn set(&self, key: &str, checkpoint: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), checkpoint);
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

/// One collector.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    System(system::Settings),
    Scrape(scrape::Settings),
    Probe(probes::ProbeJob),
    Log(logs::JobSettings),
    Query(query::Settings),
}

impl Job {
    /// The name under which it is kept, and which its sources begin with.
    pub(super) fn key(&self) -> String {
        match self {
            Job::System(settings) => format!("system/{}", settings.job),
            Job::Scrape(settings) => format!("scrape/{}", settings.job_name),
            Job::Probe(job) => format!("probe/{}", job.job_name),
            Job::Query(settings) => format!("query/{}", settings.name),
            Job::Log(settings) => format!("{LOGS}{}", settings.job_name),
        }
    }
}

/// What collectors need of the shell.
#[derive(Clone)]
pub(super) struct Tools {
    pub clock: Clock,
    pub telemetry: Telemetry,
    pub board: scrape::Board,
    pub batches: mpsc::Sender<Batch>,
    pub logs: mpsc::Sender<LogOutput>,
    pub checkpoints: Checkpoints,
    /// The fleet's store, if there is one.
    pub fleet: Option<Etcd>,
}

/// What a log job gave: its batch, and its checkpoint as the journal keeps it.
pub(super) struct LogOutput {
    pub key: String,
    pub batch: Batch,
    pub checkpoint: Option<Value>,
}

/// The collectors that run.
#[derive(Default)]
pub(super) struct Jobs {
    running: BTreeMap<String, (Job, Task)>,
    /// Every source that was heard, so that its series can be ended with its job.
    sources: BTreeMap<Source, ()>,
    beside: Beside,
}

impl Jobs {
    /// Notes whom a batch came from.
    pub(super) fn heard(&mut self, batch: &Batch) {
        if !self.sources.contains_key(&batch.source) {
            self.sources.insert(batch.source.clone(), ());
        }
    }

    /// Brings what runs in line with what is wanted. A job whose settings are the same goes on untouched. Gives the
    /// batches that end the series of the jobs that are gone. A log job that changed gives its last checkpoint first.
    pub(super) async fn apply(&mut self, now: Timestamp, wanted: Vec<Job>, tools: &Tools) -> Vec<Batch> {
        let wanted: BTreeMap<String, Job> = wanted.into_iter().map(|job| (job.key(), job)).collect();
        let goes = |(key, (job, _)): &(&String, &(Job, Task))| wanted.get(*key) != Some(job);
        let going: Vec<String> = self.running.iter().filter(goes).map(|(key, _)| key.clone()).collect();
        for key in &going {
            if let Some((_, task)) = self.running.remove(key) {
                task.stop_if(key.starts_with(LOGS)).await;
            }
        }
        let ended = going.into_iter().filter(|key| !wanted.contains_key(key));
        let mut batches = Vec::new();
        for key in ended {
            let of_job = |source: &Source| {
                source.as_str().strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            batches.extend(self.sources.keys().filter(|source| of_job(source)).map(|s| Batch::ended(s.clone(), now)));
            self.sources.retain(|source, ()| !of_job(source));
        }
        for (key, job) in wanted {
            let place = match &job {
                Job::Log(_) => self.beside.place(),
                _ => Handle::current(),
            };
            self.running.entry(key).or_insert_with_key(|key| {
                let task = start(&place, key, job.clone(), tools.clone());
                (job, task)
            });
        }
        batches
    }

    /// Ends everything; log jobs say their last words first.
    pub(super) async fn stop(&mut self) {
        for (key, (_, task)) in std::mem::take(&mut self.running) {
            task.stop_if(key.starts_with(LOGS)).await;
        }
    }

    /// The settings of what runs.
    pub(super) fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.values().map(|(job, _)| job)
    }
}

fn start(on: &Handle, key: &str, job: Job, tools: Tools) -> Task {
    let (name, clock, telemetry) = (key.to_owned(), tools.clock, tools.telemetry.clone());
    supervise(on, key.to_owned(), clock, telemetry, move |stop| {
        let (job, tools, name) = (job.clone(), tools.clone(), name.clone());
        async move {
            match job {
                Job::System(settings) => {
                    system::run(settings, tools.clock, tools.telemetry, tools.batches).await.map_err(|e| e.to_string())
                }
                Job::Scrape(settings) => {
                    scrape::run(settings, tools.clock, tools.telemetry, tools.board, tools.batches)
                        .await
                        .map_err(|e| e.to_string())
                }
                Job::Probe(job) => {
                    probes::run(job, tools.clock, tools.telemetry, tools.batches).await;
                    Ok(())
                }
                Job::Query(settings) => {
                    queries::run(settings, tools.fleet, tools.clock, tools.telemetry, tools.batches).await
                }
                Job::Log(settings) => follow(name, settings, tools, told(stop)).await,
            }
        }
    })
}

/// Log jobs speak in outputs of their own; each is handed on under the job's key.
async fn follow(
    key: String,
    settings: logs::JobSettings,
    tools: Tools,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), String> {
    let restored = tools.checkpoints.get(&key).and_then(|value| serde_json::from_value(value).ok());
    let (out, mut outputs) = mpsc::channel(64);
    let run = logs::run(settings, restored, tools.clock, tools.telemetry, out, stop);
    let hand_on = async {
        while let Some(output) = outputs.recv().await {
            let checkpoint = output.checkpoint.and_then(|checkpoint| serde_json::to_value(checkpoint).ok());
            if let Some(checkpoint) = &checkpoint {
                tools.checkpoints.set(&key, checkpoint.clone());
            }
            let output = LogOutput { key: key.clone(), batch: output.batch, checkpoint };
            if tools.logs.send(output).await.is_err() {
                return;
            }
        }
    };
    // `run` ends by dropping its sender, so both end, the last output handed on.
    let (result, ()) = tokio::join!(run, hand_on);
    result.map_err(|error| error.to_string())
}
