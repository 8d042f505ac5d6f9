//! The running job: waits for hints and deadlines, takes turns, sends what came out.
//!
//! A turn looks at files, reads, and counts; it has a budget, so that a flood ends in many short turns. A single line is
//! out within about a millisecond; under load, turns are some milliseconds apart, so that many lines share one.
//!
//! A turn that is expected to be short is taken where the job runs, which therefore must be a thread that may wait for a
//! disk: never the loop's. Turns that may be long, or wait for another host, are taken on the blocking pool.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::checkpoint::Checkpoint;
use super::desk::{Desk, Output};
use super::follow::{Follower, Look, Polled};
use super::journal;
use super::metric::Metrics;
use super::pace::Pace;
use super::settings::{Format, JobSettings, LogError};
use super::watch::{Hint, Watcher};
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Clock, Timestamp};

/// Turns are at least this far apart.
const BREATH: Duration = Duration::from_millis(5);
/// Turns that find little: so many a breath apart, then one each so often. Turns that find much (at least
/// [`MUCH`] bytes) are always a breath apart, as it is their work that costs then, and not their number.
const SMALL_TURNS: (u32, Duration) = (40, Duration::from_millis(200));
/// Turns that find nothing, because it was another file of the directory that was written: they hold up our own lines no longer
/// than this.
const IDLE_TURNS: (u32, Duration) = (200, Duration::from_millis(50));
const MUCH: u64 = 16 << 10;
/// How often everything is looked at: when all directories are watched, when some are not, and while a rotated file may
/// still be written under a name that no hint tells.
const SWEEP: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_millis(50);
/// How often the patterns are searched anew, in the same two cases.
const SEARCH: Duration = Duration::from_secs(10);
const POLL_SEARCH: Duration = Duration::from_millis(900);
/// Turns that are taken after the stop, while there is more to read.
const LAST_TURNS: u32 = 64;
/// The waits before a job that panicked is started again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Follows one job until `stop`, then reads what is there, sends a last whole batch with a checkpoint, and returns.
///
/// `restored` is the last checkpoint that was kept. The guarantee: every line of a file that is renamed, and every line
/// across a restart, is counted exactly once in the counters that the checkpoints hold, as long as rotated files stay in
/// their directory until they are read. A job that is dropped instead of stopped goes on from its last checkpoint.
///
/// # Errors
/// At once, when a setting cannot be used.
pub async fn run(
    settings: JobSettings,
    restored: Option<Checkpoint>,
    clock: Clock,
    telemetry: Telemetry,
    out: mpsc::Sender<Output>,
    stop: impl Future<Output = ()>,
) -> Result<(), LogError> {
    let job = Job { settings: Arc::new(settings), clock, telemetry, out };
    if job.settings.format == Format::Journald {
        return journal::run(job, restored.unwrap_or_default(), stop).await;
    }
    let mut stop = pin!(stop);
    let mut checkpoint = restored.unwrap_or_default();
    let mut wait = RESTART.0;
    loop {
        let tail = Tail::new(&job, &checkpoint)?;
        match follow(&job, tail, &mut checkpoint, stop.as_mut()).await {
            Ended::Stopped => return Ok(()),
            Ended::Panicked => {
                let task = format!("logs/{}", job.settings.job_name);
                job.telemetry.count(Metric::TaskPanics, &[("task", &task)]);
                tracing::error!(
                    job = job.settings.job_name,
                    "a log job panicked and is started again from its checkpoint"
                );
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(RESTART.1),
                    () = stop.as_mut() => return Ok(()),
                }
            }
        }
    }
}

/// What a running job has.
pub struct Job {
    pub settings: Arc<JobSettings>,
    pub clock: Clock,
    pub telemetry: Telemetry,
    pub out: mpsc::Sender<Output>,
}

enum Ended {
    Stopped,
    Panicked,
}

async fn follow(
    job: &Job,
    mut tail: Tail,
    checkpoint: &mut Checkpoint,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    // The turns that are left, once the job stops.
    let mut stopping: Option<u32> = None;
    let mut next_turn = job.clock.now();
    let mut alarm = job.clock.alarm();
    loop {
        if stopping.is_none() {
            let until = job.clock.instant(next_turn);
            let breath = job.clock.instant(tail.next_hinted(job.clock.now()));
            let due = async {
                // A hint waits with the kernel until the breath is over: it does not wake anybody before that.
                alarm.until(breath.min(until)).await;
                if breath < until {
                    tokio::select! {
                        biased;
                        () = tail.watcher.woken() => {}
                        () = alarm.until(until) => {}
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop.as_mut() => stopping = Some(LAST_TURNS),
                () = due => {}
            }
        }
        let now = job.clock.now();
        let hint = tail.watcher.take();
        let here = tail.is_short();
        let turn = move || {
            let output = tail.turn(now, hint, stopping);
            (tail, output)
        };
        let turned = match here {
            true => catch_unwind(AssertUnwindSafe(turn)).ok(),
            false => tokio::task::spawn_blocking(turn).await.ok(),
        };
        let Some((back, output)) = turned else { return Ended::Panicked };
        tail = back;
        if let Some(output) = output {
            if let Some(state) = &output.checkpoint {
                checkpoint.clone_from(state);
            }
            if job.out.send(output).await.is_err() {
                return Ended::Stopped;
            }
        }
        if let Some(left) = &mut stopping {
            if *left == 0 || !tail.more {
                return Ended::Stopped;
            }
            *left -= 1;
        }
        next_turn = tail.next_turn();
    }
}

/// Everything a turn needs; for long turns it moves to the blocking pool and back.
struct Tail {
    settings: Arc<JobSettings>,
    follower: Follower,
    desk: Desk,
    watcher: Watcher,
    telemetry: Telemetry,
    /// All directories are watched.
    watched: bool,
    more: bool,
    /// The last turn found at least [`MUCH`].
    much: bool,
    last_turn: Timestamp,
    small_turns: Pace,
    idle_turns: Pace,
    next_sweep: Timestamp,
    next_search: Timestamp,
}

impl Tail {
    fn new(job: &Job, checkpoint: &Checkpoint) -> Result<Tail, LogError> {
        let now = job.clock.now();
        let mut metrics = Metrics::new(&job.settings, job.telemetry.clone(), now)?;
        metrics.restore(&checkpoint.metrics);
        Ok(Tail {
            settings: Arc::clone(&job.settings),
            follower: Follower::new(&job.settings, &checkpoint.files)?,
            desk: Desk::new(metrics, &job.settings.job_name, job.settings.scrape_interval),
            watcher: Watcher::new(),
            telemetry: job.telemetry.clone(),
            watched: false,
            more: false,
            much: false,
            last_turn: Timestamp::MIN,
            small_turns: Pace::new(SMALL_TURNS.0, SMALL_TURNS.1),
            idle_turns: Pace::new(IDLE_TURNS.0, IDLE_TURNS.1),
            next_sweep: now,
            next_search: now,
        })
    }

    fn next_turn(&self) -> Timestamp {
        if self.more { self.last_turn } else { self.next_sweep.min(self.desk.next_due()) }
    }

    /// Whether the next turn is expected to be short: all files are on this host's own disks, and the last one was short.
    fn is_short(&self) -> bool {
        self.watched && !self.more && !self.much
    }

    /// When a hint may lead to a turn.
    fn next_hinted(&self, now: Timestamp) -> Timestamp {
        let breath = self.last_turn.min(now) + BREATH;
        let free = self.small_turns.free_at(now).max(self.idle_turns.free_at(now));
        free.map_or(breath, |free| free.max(breath))
    }

    fn turn(&mut self, now: Timestamp, hint: Hint, stopping: Option<u32>) -> Option<Output> {
        if self.last_turn > now {
            // The clock was set back.
            (self.next_sweep, self.next_search) = (now, now);
        }
        self.last_turn = now;
        let Hint { paths, search } = hint;
        let search = search || now >= self.next_search;
        let look = match search {
            true => Look::Search,
            false if stopping.is_some() || now >= self.next_sweep => Look::Sweep,
            false => Look::Paths(&paths),
        };
        let (desk, mut unparsed) = (&mut self.desk, 0_u64);
        let polled = self.follower.poll(now, look, &mut |line, path, _| {
            unparsed += u64::from(!desk.metrics.line(line, path, now).parsed && !line.is_empty());
        });
        if search {
            self.watched = self.watcher.watch(self.follower.directories());
            self.next_search = now + if self.watched { SEARCH } else { POLL_SEARCH };
        }
        if !matches!(look, Look::Paths(_)) {
            let draining = self.follower.draining();
            self.next_sweep = now
                + if draining {
                    DRAIN
                } else if self.watched {
                    SWEEP
                } else {
                    POLL
                };
        } else if self.follower.draining() {
            self.next_sweep = self.next_sweep.min(now + DRAIN);
        }
        self.more = polled.more;
        self.much = polled.bytes >= MUCH;
        if polled.bytes == 0 {
            self.idle_turns.take(now);
        } else if !self.much {
            self.small_turns.take(now);
        }
        self.count(&polled, unparsed);
        let last = stopping.is_some_and(|left| left == 0 || !polled.more);
        let whole = now >= self.desk.next_whole();
        let follower = &self.follower;
        let output = self.desk.output(now, polled.moved, last, || (follower.marks(), None));
        if whole || last {
            let job = [("log", self.settings.job_name.as_str())];
            self.telemetry.set(Metric::LogFilesFollowed, &job, self.follower.count() as f64);
            self.telemetry.set(Metric::LogLagBytes, &job, self.follower.lag() as f64);
            self.desk.metrics.report();
        }
        output
    }

    fn count(&self, polled: &Polled, unparsed: u64) {
        let job = self.settings.job_name.as_str();
        let add = |metric: Metric, count: u64, labels: &[(&str, &str)]| {
            if count > 0 {
                self.telemetry.add(metric, labels, count as f64);
            }
        };
        add(Metric::LogLinesRead, polled.lines, &[("log", job)]);
        add(Metric::LogLinesCut, polled.cut, &[("log", job)]);
        add(Metric::LogLinesUnparsed, unparsed, &[("log", job)]);
        add(Metric::LogBytesRead, polled.bytes, &[("log", job)]);
        add(Metric::LogBytesLost, polled.lost, &[("log", job)]);
        add(Metric::LogRotations, polled.renames, &[("log", job), ("kind", "rename")]);
        add(Metric::LogRotations, polled.truncations, &[("log", job), ("kind", "truncate")]);
        add(Metric::LogRotations, polled.deletions, &[("log", job), ("kind", "delete")]);
        for reason in &polled.refused {
            add(Metric::LogFilesRefused, 1, &[("log", job), ("reason", reason)]);
        }
    }
}

#[cfg(test)]
mod tests;
