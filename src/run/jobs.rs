//! The collectors that run: started, ended and replaced as the configuration says.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::mpsc;

use super::supervise::{Task, supervise};
use crate::model::{Batch, Source};
use crate::signals::{logs, probes, scrape, system};
use crate::telemetry::Telemetry;
use crate::time::{Clock, Timestamp};

/// One collector.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    System(system::Settings),
    Scrape(scrape::Settings),
    Probe(probes::ProbeJob),
    Log(logs::JobSettings),
}

impl Job {
    /// The name under which it is kept, and which its sources begin with.
    pub(super) fn key(&self) -> String {
        match self {
            Job::System(settings) => format!("system/{}", settings.job),
            Job::Scrape(settings) => format!("scrape/{}", settings.job_name),
            Job::Probe(job) => format!("probe/{}", job.job_name),
            Job::Log(settings) => format!("log/{}", settings.job_name),
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
    pub logs: mpsc::Sender<(String, logs::Output)>,
}

/// The collectors that run.
#[derive(Default)]
pub(super) struct Jobs {
    running: BTreeMap<String, (Job, Task)>,
    /// Every source that was heard, so that its series can be ended with its job.
    sources: BTreeMap<Source, ()>,
}

impl Jobs {
    /// Notes whom a batch came from.
    pub(super) fn heard(&mut self, batch: &Batch) {
        if !self.sources.contains_key(&batch.source) {
            self.sources.insert(batch.source.clone(), ());
        }
    }

    /// Brings what runs in line with what is wanted. A job whose settings are the same goes on untouched. Gives the
    /// batches that end the series of the jobs that are gone. `checkpoint` gives a log job's last checkpoint.
    pub(super) fn apply(
        &mut self,
        now: Timestamp,
        wanted: Vec<Job>,
        tools: &Tools,
        checkpoint: &dyn Fn(&str) -> Option<Value>,
    ) -> Vec<Batch> {
        let wanted: BTreeMap<String, Job> = wanted.into_iter().map(|job| (job.key(), job)).collect();
        let mut ended = Vec::new();
        self.running.retain(|key, (job, _)| {
            let stays = wanted.get(key) == Some(job);
            if !stays && !wanted.contains_key(key) {
                ended.push(key.clone());
            }
            stays
        });
        let mut batches = Vec::new();
        for key in ended {
            let of_job = |source: &Source| {
                source.as_str().strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            batches.extend(self.sources.keys().filter(|source| of_job(source)).map(|s| Batch::ended(s.clone(), now)));
            self.sources.retain(|source, ()| !of_job(source));
        }
        for (key, job) in wanted {
            if !self.running.contains_key(&key) {
                let task = start(&key, job.clone(), tools.clone(), checkpoint(&key));
                self.running.insert(key, (job, task));
            }
        }
        batches
    }

    /// The settings of what runs.
    pub(super) fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.values().map(|(job, _)| job)
    }
}

fn start(key: &str, job: Job, tools: Tools, checkpoint: Option<Value>) -> Task {
    let (name, clock, telemetry) = (key.to_owned(), tools.clock, tools.telemetry.clone());
    let mut checkpoint = checkpoint.and_then(|value| serde_json::from_value(value).ok());
    supervise(key.to_owned(), clock, telemetry, move || {
        let (job, tools, name) = (job.clone(), tools.clone(), name.clone());
        // Only the first start goes on from the journal; a task that broke goes on from what it last handed out.
        let restored = checkpoint.take();
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
                Job::Log(settings) => follow(name, settings, restored, tools).await,
            }
        }
    })
}

/// Log jobs speak in outputs of their own; each is handed on under the job's key.
async fn follow(
    key: String,
    settings: logs::JobSettings,
    restored: Option<logs::Checkpoint>,
    tools: Tools,
) -> Result<(), String> {
    let (out, mut outputs) = mpsc::channel(64);
    let run = logs::run(settings, restored, tools.clock, tools.telemetry, out);
    let hand_on = async {
        while let Some(output) = outputs.recv().await {
            if tools.logs.send((key.clone(), output)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        result = run => result.map_err(|error| error.to_string()),
        () = hand_on => Ok(()),
    }
}
