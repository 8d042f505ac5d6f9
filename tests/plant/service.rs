//! A service with a real capacity: a few workers, one queue, and two kinds of answers, one of them cheaper.
//!
//! A worker is held by waiting, so that the capacity is exact and does not depend on the processors. A worker that was woken
//! late goes on from when it should have been free; so 4 workers at 5 ms give 800 answers a second and not 700. Work on a
//! request whose client has gone is done all the same, as most services do it.
//!
//! What the daemon publishes is read by a long poll of the dimmer. `share` of the requests get the full answer, decided when
//! a worker takes the request; a request that arrives while `limit` are in flight is rejected, unless that is somebody else's
//! office (`--limited no`); where the consumer is armed, a request that arrives while `threshold` are in flight gets the
//! cheap answer.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brownout::rng::Rng;
use brownout::time::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use crate::arguments::Arguments;
use crate::http::Connection;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Requests that may wait; past it they are rejected, whatever the limit says.
const LONGEST_QUEUE: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Full,
    Degraded,
}

impl Kind {
    fn as_str(self) -> &'static str {
        if self == Kind::Full { "full" } else { "degraded" }
    }
}

/// What the daemon published last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Orders {
    share: f64,
    threshold: Option<f64>,
    limit: Option<f64>,
}

struct Job {
    arrived: Duration,
    /// So many were in flight that it gets the cheap answer.
    cheap: bool,
    done: oneshot::Sender<Kind>,
}

#[derive(Default)]
struct Tally {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What a worker does now, and how long it has worked in all.
#[derive(Clone, Copy, Default)]
struct Shift {
    began: Duration,
    ends: Duration,
    worked: Duration,
}

struct State {
    orders: Orders,
    queue: VecDeque<Job>,
    in_flight: usize,
    accepted: u64,
    rejected: u64,
    answers: [Tally; 2],
    shifts: Vec<Shift>,
    draws: Rng,
}

pub struct Service {
    clock: Clock,
    costs: [Duration; 2],
    armed: bool,
    limited: bool,
    waiting: Semaphore,
    state: Mutex<State>,
    /// That were accepted.
    connections: AtomicU64,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request, or rejects it.
    fn arrive(&self) -> Option<oneshot::Receiver<Kind>> {
        let mut state = self.state();
        let before = state.in_flight as f64;
        let full = self.limited && state.orders.limit.is_some_and(|limit| before >= limit.floor().max(1.0));
        if full || state.queue.len() >= LONGEST_QUEUE {
            state.rejected += 1;
            return None;
        }
        let cheap = self.armed && state.orders.threshold.is_some_and(|threshold| before >= threshold);
        let (done, answer) = oneshot::channel();
        state.queue.push_back(Job { arrived: self.clock.elapsed(), cheap, done });
        state.in_flight += 1;
        state.accepted += 1;
        self.waiting.add_permits(1);
        Some(answer)
    }

    async fn work(self: Arc<Service>, number: usize) {
        let mut free = Duration::ZERO;
        loop {
            let Ok(permit) = self.waiting.acquire().await else { return };
            permit.forget();
            let (job, kind, ends) = {
                let mut state = self.state();
                let Some(job) = state.queue.pop_front() else { continue };
                let drawn = state.draws.unit();
                let kind = if job.cheap || drawn >= state.orders.share { Kind::Degraded } else { Kind::Full };
                let began = free.max(job.arrived);
                let ends = began + self.costs[kind as usize];
                (state.shifts[number].began, state.shifts[number].ends) = (began, ends);
                (job, kind, ends)
            };
            tokio::time::sleep(ends.saturating_sub(self.clock.elapsed())).await;
            free = ends;
            let took = self.clock.elapsed().saturating_sub(job.arrived).as_secs_f64();
            let mut state = self.state();
            state.in_flight -= 1;
            let shift = &mut state.shifts[number];
            shift.worked += ends - shift.began;
            shift.began = ends;
            let tally = &mut state.answers[kind as usize];
            tally.count += 1;
            tally.sum += took;
            for (bucket, bound) in tally.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(took <= bound);
            }
            drop(state);
            // Whoever asked may have gone.
            let _ = job.done.send(kind);
        }
    }

    fn metrics(&self) -> String {
        let (state, now) = (self.state(), self.clock.elapsed());
        let mut text = String::from("# TYPE http_requests_total counter\n");
        for (outcome, count) in [("accepted", state.accepted), ("rejected", state.rejected)] {
            let _ = writeln!(text, "http_requests_total{{outcome=\"{outcome}\"}} {count}");
        }
        let _ = writeln!(text, "# TYPE http_requests_in_flight gauge\nhttp_requests_in_flight {}", state.in_flight);
        text.push_str("# TYPE http_request_duration_seconds histogram\n");
        for (tally, mode) in state.answers.iter().zip(["full", "degraded"]) {
            for (bound, count) in BUCKETS.iter().zip(tally.buckets) {
                let _ =
                    writeln!(text, "http_request_duration_seconds_bucket{{mode=\"{mode}\",le=\"{bound}\"}} {count}");
            }
            let (count, sum) = (tally.count, tally.sum);
            let _ = writeln!(text, "http_request_duration_seconds_bucket{{mode=\"{mode}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(text, "http_request_duration_seconds_count{{mode=\"{mode}\"}} {count}");
            let _ = writeln!(text, "http_request_duration_seconds_sum{{mode=\"{mode}\"}} {sum}");
        }
        let running = |shift: &Shift| shift.worked + now.min(shift.ends).saturating_sub(shift.began);
        let busy: f64 = state.shifts.iter().map(|shift| running(shift).as_secs_f64()).sum();
        let workers = state.shifts.len();
        let _ = writeln!(text, "# TYPE worker_busy_seconds_total counter\nworker_busy_seconds_total {busy}");
        let _ = writeln!(text, "# TYPE workers gauge\nworkers {workers}");
        let accepted = self.connections.load(Ordering::Relaxed);
        let _ = writeln!(text, "# TYPE connections_total counter\nconnections_total {accepted}");
        text
    }

    async fn connection(self: Arc<Service>, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        loop {
            let Ok(Some(request)) = connection.message().await else { return };
            let line = request.first_line();
            let text = if line.starts_with(b"GET /metrics") {
                let body = self.metrics();
                let length = body.len();
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\n\r\n{body}"
                )
            } else {
                match self.arrive() {
                    None => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    Some(answer) => {
                        let kind = tokio::select! {
                            kind = answer => kind,
                            () = connection.gone() => return,
                        };
                        let Ok(kind) = kind else { return };
                        format!("HTTP/1.1 200 OK\r\nx-mode: {}\r\ncontent-length: 3\r\n\r\nok\n", kind.as_str())
                    }
                }
            };
            if connection.send(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Follows the dimmer by a long poll; keeps what it was told last while the daemon is away. Prints each change.
    async fn follow(self: Arc<Service>, agent: String, switch: String) {
        loop {
            drop(self.poll(&agent, &switch).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn poll(&self, agent: &str, switch: &str) -> Result<(), Failed> {
        let mut connection = Connection::open(agent).await?;
        let mut after = String::new();
        loop {
            let path = format!("/v1/switches/{switch}?wait=20s{after}");
            connection.send(format!("GET {path} HTTP/1.1\r\nhost: {agent}\r\n\r\n").as_bytes()).await?;
            let Some(answer) = connection.message().await? else { return Ok(()) };
            if answer.status() == 304 {
                continue;
            }
            after = format!("&after={}", answer.header("etag").unwrap_or_default().trim_matches('"'));
            let told: serde_json::Value = serde_json::from_slice(answer.body)?;
            let orders = Orders {
                share: told["share"].as_f64().unwrap_or(1.0),
                threshold: told["threshold"].as_f64(),
                limit: told["limit"].as_f64(),
            };
            if std::mem::replace(&mut self.state().orders, orders) != orders {
                let Orders { share, threshold, limit } = orders;
                let at = self.clock.now().as_millis() as f64 / 1000.0;
                let line = serde_json::json!({ "at": at, "share": share, "threshold": threshold, "limit": limit });
                println!("{line}");
            }
        }
    }
}

/// Serves until it is ended.
pub async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let workers = arguments.number("workers", 4.0)? as usize;
    let millis = |name, default| Ok::<_, Failed>(Duration::from_secs_f64(arguments.number(name, default)? / 1000.0));
    let orders = Orders { share: 1.0, threshold: None, limit: None };
    let state = State {
        orders,
        queue: VecDeque::new(),
        in_flight: 0,
        accepted: 0,
        rejected: 0,
        answers: Default::default(),
        shifts: vec![Shift::default(); workers],
        draws: Rng::seeded(arguments.number("seed", 1.0)? as u64),
    };
    let service = Arc::new(Service {
        clock: Clock::start(),
        costs: [millis("full", 20.0)?, millis("degraded", 5.0)?],
        armed: arguments.text("armed") == Some("yes"),
        limited: arguments.text("limited") != Some("no"),
        waiting: Semaphore::new(0),
        state: Mutex::new(state),
        connections: AtomicU64::new(0),
    });
    for number in 0..workers {
        tokio::spawn(Arc::clone(&service).work(number));
    }
    if let Some(agent) = arguments.text("agent") {
        let switch = arguments.text("switch").unwrap_or("optional");
        tokio::spawn(Arc::clone(&service).follow(agent.to_owned(), switch.to_owned()));
    }
    let listener = TcpListener::bind(arguments.text("listen").unwrap_or("127.0.0.1:0")).await?;
    println!("{}", serde_json::json!({ "port": listener.local_addr()?.port() }));
    loop {
        let (stream, _) = listener.accept().await?;
        service.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(Arc::clone(&service).connection(stream));
    }
}
