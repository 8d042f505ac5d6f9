//! Open-loop load: requests come at random (Poisson) at the rate of each phase, whether or not earlier ones were answered.
//!
//! `--phases 100x10,2000x30,100x25` is 100 requests a second for 10 s, then 2000 for 30 s, then 100 for 25 s. A latency
//! counts from when the request was due, not from when a connection was free. A client gives up after `--give-up` seconds
//! and closes its connection. Prints one JSON object.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brownout::rng::Rng;
use brownout::time::Clock;
use serde_json::{Value as Json, json};

use crate::arguments::Arguments;
use crate::http::Connection;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Requests that may be open at one time; more are not sent, and counted as failed.
const MOST_OPEN: usize = 15_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Full,
    Degraded,
    Rejected,
    GaveUp,
    Failed,
}

struct Seen {
    phase: usize,
    /// When it was due, and how long it took.
    due: Duration,
    took: Duration,
    outcome: Outcome,
}

struct Load {
    clock: Clock,
    to: String,
    request: Vec<u8>,
    give_up: Duration,
    idle: Mutex<Vec<Connection>>,
    seen: Mutex<Vec<Seen>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    async fn ask(&self) -> Outcome {
        // A kept connection may have been closed meanwhile; then a new one is tried.
        let kept = locked(&self.idle).pop();
        if let Some(kept) = kept
            && let Some(outcome) = self.ask_by(kept).await
        {
            return outcome;
        }
        let Ok(connection) = Connection::open(&self.to).await else { return Outcome::Failed };
        self.ask_by(connection).await.unwrap_or(Outcome::Failed)
    }

    async fn ask_by(&self, mut connection: Connection) -> Option<Outcome> {
        connection.send(&self.request).await.ok()?;
        let answer = connection.message().await.ok()??;
        let outcome = match (answer.status(), answer.header("x-mode")) {
            (200, Some("degraded")) => Outcome::Degraded,
            (200, _) => Outcome::Full,
            (429 | 503, _) => Outcome::Rejected,
            _ => Outcome::Failed,
        };
        if answer.header("connection") != Some("close") {
            locked(&self.idle).push(connection);
        }
        Some(outcome)
    }

    async fn one(self: Arc<Load>, phase: usize, due: Duration) {
        let left = (due + self.give_up).saturating_sub(self.clock.elapsed());
        let outcome = tokio::time::timeout(left, self.ask()).await.unwrap_or(Outcome::GaveUp);
        let took = self.clock.elapsed().saturating_sub(due);
        locked(&self.seen).push(Seen { phase, due, took, outcome });
    }
}

fn phases(text: &str) -> Result<Vec<(f64, f64)>, Failed> {
    let phase = |part: &str| -> Result<(f64, f64), Failed> {
        let (rate, seconds) = part.split_once('x').ok_or("a phase is RATExSECONDS")?;
        Ok((rate.parse()?, seconds.parse()?))
    };
    text.split(',').map(phase).collect()
}

/// Runs all phases and prints what came of them.
pub async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let to = arguments.text("to").ok_or("--to HOST:PORT")?.to_owned();
    let phases = phases(arguments.text("phases").ok_or("--phases RATExSECONDS,...")?)?;
    let good = Duration::from_secs_f64(arguments.number("good", 1.0)?);
    let mut random = Rng::seeded(arguments.number("seed", 1.0)? as u64);
    let load = Arc::new(Load {
        clock: Clock::start(),
        request: format!("GET / HTTP/1.1\r\nhost: {to}\r\n\r\n").into_bytes(),
        to,
        give_up: Duration::from_secs_f64(arguments.number("give-up", 2.0)?),
        idle: Mutex::default(),
        seen: Mutex::default(),
    });
    let began = load.clock.now().as_millis() as f64 / 1000.0;
    let mut open = tokio::task::JoinSet::new();
    let (mut due, mut phase_ends) = (0.0, 0.0);
    for (number, (rate, seconds)) in phases.iter().enumerate() {
        let phase_begins = phase_ends;
        phase_ends += seconds;
        due = f64::max(due, phase_begins);
        loop {
            due += -(1.0 - random.unit()).ln() / rate;
            if due >= phase_ends {
                break;
            }
            let at = Duration::from_secs_f64(due);
            let ahead = at.saturating_sub(load.clock.elapsed());
            if ahead > Duration::from_millis(1) {
                tokio::time::sleep(ahead).await;
            }
            while open.try_join_next().is_some() {}
            if open.len() < MOST_OPEN {
                open.spawn(Arc::clone(&load).one(number, at));
            } else {
                locked(&load.seen).push(Seen {
                    phase: number,
                    due: at,
                    took: Duration::ZERO,
                    outcome: Outcome::Failed,
                });
            }
        }
    }
    while open.join_next().await.is_some() {}
    let seen = locked(&load.seen);
    let of_phase = |number: usize| summary(seen.iter().filter(|seen| seen.phase == number), good, phases[number].1);
    let of_second = |second: u64| {
        let all = seen.iter().filter(|seen| seen.due.as_secs() == second);
        let mut told = summary(all, good, 1.0);
        told["second"] = json!(second);
        told
    };
    let told = json!({
        "began": began,
        "phases": (0..phases.len()).map(of_phase).collect::<Vec<_>>(),
        "seconds": (0..phase_ends.ceil() as u64).map(of_second).collect::<Vec<_>>(),
    });
    println!("{told}");
    Ok(())
}

fn summary<'a>(all: impl Iterator<Item = &'a Seen>, good: Duration, seconds: f64) -> Json {
    let mut counts = [0_u64; 5];
    let (mut sent, mut in_time, mut full_in_time) = (0, 0, 0);
    let mut took: Vec<f64> = Vec::new();
    for seen in all {
        sent += 1;
        counts[seen.outcome as usize] += 1;
        if matches!(seen.outcome, Outcome::Full | Outcome::Degraded) {
            took.push(seen.took.as_secs_f64());
            in_time += u64::from(seen.took <= good);
            full_in_time += u64::from(seen.took <= good && seen.outcome == Outcome::Full);
        }
    }
    took.sort_by(f64::total_cmp);
    let percentile = |share: f64| {
        let place = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len().max(1)) - 1;
        took.get(place).copied()
    };
    let [full, degraded, rejected, gave_up, failed] = counts;
    json!({
        "seconds": seconds, "sent": sent, "full": full, "degraded": degraded, "rejected": rejected, "gave_up": gave_up,
        "failed": failed, "good": in_time, "full_in_time": full_in_time, "p50": percentile(0.5), "p99": percentile(0.99),
        "max": took.last(),
    })
}
