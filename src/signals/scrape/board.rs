//! The state of all targets, for `/api/v1/targets` and the page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::target::{Discovered, Target};
use crate::model::{Labels, Source};
use crate::time::Timestamp;

/// Whether the last scrape of a target succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Health {
    /// The word of Prometheus' API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// One target and its last scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetState {
    pub job: String,
    pub source: Source,
    pub discovered: Labels,
    pub labels: Labels,
    pub url: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub health: Health,
    /// Empty when the last scrape succeeded.
    pub last_error: String,
    pub last_scrape: Option<Timestamp>,
    pub last_duration: Duration,
}

/// A table of targets. Cheap to clone; all clones share one table.
#[derive(Clone, Debug, Default)]
pub struct Board {
    jobs: Arc<Mutex<BTreeMap<String, Job>>>,
}

#[derive(Debug, Default)]
struct Job {
    targets: BTreeMap<Source, TargetState>,
    dropped: Vec<Labels>,
    problems: Vec<String>,
}

impl Board {
    /// An empty table.
    pub fn new() -> Board {
        Board::default()
    }

    /// All targets, by job and source.
    pub fn targets(&self) -> Vec<TargetState> {
        self.lock(|jobs| jobs.values().flat_map(|job| job.targets.values().cloned()).collect())
    }

    /// The targets that relabelling dropped: job and discovered labels.
    pub fn dropped(&self) -> Vec<(String, Labels)> {
        self.lock(|jobs| {
            let dropped = |(name, job): (&String, &Job)| {
                job.dropped.iter().map(|labels| (name.clone(), labels.clone())).collect::<Vec<_>>()
            };
            jobs.iter().flat_map(dropped).collect()
        })
    }

    /// What is wrong with the discovery of a job, in words.
    pub fn problems(&self) -> Vec<String> {
        self.lock(|jobs| jobs.values().flat_map(|job| job.problems.clone()).collect())
    }

    /// Takes a job off the table and gives the sources that it had: the caller ends their series.
    pub fn forget(&self, job: &str) -> Vec<Source> {
        self.lock(|jobs| jobs.remove(job).map(|job| job.targets.into_keys().collect()).unwrap_or_default())
    }

    /// Takes over the targets of a job; those that stay keep their state.
    pub(super) fn discovered(&self, name: &str, found: &Discovered, problems: Vec<String>) {
        self.lock(|jobs| {
            let job = jobs.entry(name.to_owned()).or_default();
            let mut before = std::mem::take(&mut job.targets);
            for target in &found.targets {
                let state = before.remove(&target.source).filter(|state| state.labels == target.labels);
                job.targets.insert(target.source.clone(), state.unwrap_or_else(|| unknown(name, target)));
            }
            job.dropped.clone_from(&found.dropped);
            job.problems = problems;
        });
    }

    pub(super) fn scraped(&self, job: &str, target: &Target, at: Timestamp, took: Duration, error: Option<String>) {
        self.lock(|jobs| {
            if let Some(state) = jobs.get_mut(job).and_then(|job| job.targets.get_mut(&target.source)) {
                state.health = if error.is_none() { Health::Up } else { Health::Down };
                state.last_error = error.unwrap_or_default();
                state.last_scrape = Some(at);
                state.last_duration = took;
            }
        });
    }

    fn lock<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Job>) -> T) -> T {
        work(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn unknown(job: &str, target: &Target) -> TargetState {
    TargetState {
        job: job.to_owned(),
        source: target.source.clone(),
        discovered: target.discovered.clone(),
        labels: target.labels.clone(),
        url: target.url.to_string(),
        interval: target.interval,
        timeout: target.timeout,
        health: Health::Unknown,
        last_error: String::new(),
        last_scrape: None,
        last_duration: Duration::ZERO,
    }
}
