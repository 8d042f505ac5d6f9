//! The demo's service: a shop with a real capacity, real metrics, a real access log, and a switch that it obeys.
//!
//! Four workers answer. A full answer takes one of them 60 ms, one with cached recommendations 20 ms, one without any
//! 4 ms; so the shop can do 66, 200 or 1000 requests a second. Requests wait for a worker; past a thousand waiting ones
//! it answers 503. It reads its switch from the daemon over OFREP as any application would, and keeps the last value
//! while the daemon does not answer. It also takes the daemon's webhook, so that the demo can show what was told.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::config::SWITCH;
use crate::limits;
use crate::net;
use crate::time::{Clock, Stopwatch};

const WORKERS: usize = 4;
/// Requests that may wait for a worker.
const WAITING: usize = 1_000;
/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0];
/// How often the shop asks for its switch.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How the shop answers: one for each level of its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Full,
    Cached,
    Off,
}

impl Mode {
    const ALL: [Mode; 3] = [Mode::Full, Mode::Cached, Mode::Off];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::Cached => "cached",
            Mode::Off => "off",
        }
    }

    fn of(level: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == level)
    }

    /// How long a worker is busy with an answer.
    fn work(self) -> Duration {
        Duration::from_millis(match self {
            Mode::Full => 60,
            Mode::Cached => 20,
            Mode::Off => 4,
        })
    }

    /// Requests a second that all workers can do.
    pub(super) fn capacity(self) -> u32 {
        (WORKERS as u128 * 1_000 / self.work().as_millis()) as u32
    }
}

/// What the service counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Requests received, by mode.
    pub(super) received: [u64; 3],
    /// Answers, by bucket; the last is for what took longer than all.
    buckets: [u64; BUCKETS.len() + 1],
    seconds: f64,
    /// Requests answered with 503.
    pub(super) refused: u64,
}

/// What the webhook said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// `firing` or `resolved`.
    pub(super) status: String,
    pub(super) alert: String,
    pub(super) summary: String,
}

/// The service, shared by its requests.
pub(super) struct Shop {
    workers: Semaphore,
    in_flight: AtomicUsize,
    mode: Mutex<Mode>,
    figures: Mutex<Figures>,
    log: Mutex<File>,
    told: Mutex<Vec<Told>>,
    clock: Clock,
}

/// Nothing is left half done when a lock's holder panics: these are counters and lists.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shop {
    /// A shop that writes its access log there.
    ///
    /// # Errors
    /// When the log cannot be created.
    pub(super) fn open(log: &Path, clock: Clock) -> std::io::Result<Arc<Shop>> {
        Ok(Arc::new(Shop {
            workers: Semaphore::new(WORKERS),
            in_flight: AtomicUsize::new(0),
            mode: Mutex::new(Mode::Full),
            figures: Mutex::default(),
            log: Mutex::new(File::create_new(log)?),
            told: Mutex::default(),
            clock,
        }))
    }

    pub(super) fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    pub(super) fn figures(&self) -> Figures {
        lock(&self.figures).clone()
    }

    /// What the webhook said, oldest first.
    pub(super) fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }

    async fn answer(&self) -> StatusCode {
        let (mode, watch) = (self.mode(), Stopwatch::start());
        lock(&self.figures).received[mode as usize] += 1;
        let waiting = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _here = InFlight(&self.in_flight);
        if waiting >= WAITING {
            lock(&self.figures).refused += 1;
            self.log(503, 0);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let worker = self.workers.acquire().await;
        // What it is worth is decided when the work begins: the switch may have moved while the request waited.
        tokio::time::sleep(self.mode().work()).await;
        drop(worker);
        self.measure(watch.elapsed());
        self.log(200, 1_024);
        StatusCode::OK
    }

    fn measure(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        let mut figures = lock(&self.figures);
        figures.buckets[bucket] += 1;
        figures.seconds += seconds;
    }

    /// One line in the combined format. A line that the disk does not take is not worth a request.
    fn log(&self, status: u16, bytes: u32) {
        let at = jiff::Timestamp::from_millisecond(self.clock.now().as_millis()).unwrap_or_default();
        let at = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let line = format!("127.0.0.1 - - [{at}] \"GET / HTTP/1.1\" {status} {bytes} \"-\" \"brownout-demo\"\n");
        drop(lock(&self.log).write_all(line.as_bytes()));
    }

    /// The exposition of `/metrics`.
    fn metrics(&self) -> String {
        let figures = self.figures();
        let mut text = String::from("# TYPE http_requests_total counter\n");
        for mode in Mode::ALL {
            let received = figures.received[mode as usize];
            let _ = writeln!(text, "http_requests_total{{mode=\"{}\"}} {received}", mode.as_str());
        }
        text.push_str("# TYPE http_request_duration_seconds histogram\n");
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(figures.buckets) {
            below += count;
            let _ = writeln!(text, "http_request_duration_seconds_bucket{{le=\"{bound}\"}} {below}");
        }
        let all: u64 = figures.buckets.iter().sum();
        let _ = writeln!(text, "http_request_duration_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(text, "http_request_duration_seconds_sum {}", figures.seconds);
        let _ = writeln!(text, "http_request_duration_seconds_count {all}");
        text.push_str("# TYPE http_requests_in_flight gauge\n");
        let _ = writeln!(text, "http_requests_in_flight {}", self.in_flight.load(Ordering::Relaxed));
        text
    }

    /// Takes a message in Alertmanager's webhook format.
    fn hook(&self, body: &[u8]) -> StatusCode {
        let Ok(message) = serde_json::from_slice::<Value>(body) else { return StatusCode::BAD_REQUEST };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alerts = message["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        lock(&self.told).extend(alerts.iter().map(|alert| Told {
            status: text(&alert["status"]),
            alert: text(&alert["labels"]["alertname"]),
            summary: text(&alert["annotations"]["summary"]),
        }));
        StatusCode::OK
    }

    /// What the shop does about an answer of the daemon's OFREP.
    fn obey(&self, answer: &[u8]) {
        let value = serde_json::from_slice::<Value>(answer).unwrap_or_default();
        if let Some(mode) = value["value"].as_str().and_then(Mode::of) {
            *lock(&self.mode) = mode;
        }
    }
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task that ends with its owner.
pub(super) struct Running(JoinHandle<()>);

impl Running {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Running {
        Running(tokio::spawn(work))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves the shop on a free port of this host.
///
/// # Errors
/// When there is none.
pub(super) async fn serve(shop: Arc<Shop>) -> std::io::Result<(SocketAddr, Running)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(async |State(shop): State<Arc<Shop>>| shop.answer().await))
        .route("/metrics", get(async |State(shop): State<Arc<Shop>>| shop.metrics()))
        .route("/hook", post(async |State(shop): State<Arc<Shop>>, body: Bytes| shop.hook(&body)))
        .with_state(shop);
    let serving = async move { drop(axum::serve(listener, app).await) };
    Ok((address, Running::spawn(serving)))
}

/// Reads the switch from the daemon again and again.
pub(super) fn obey(shop: Arc<Shop>, http: reqwest::Client, daemon: SocketAddr) -> Running {
    let url = format!("http://{daemon}/ofrep/v1/evaluate/flags/{SWITCH}");
    Running::spawn(async move {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Ok(response) = http.post(&url).header("content-type", "application/json").body("{}").send().await
            else {
                continue;
            };
            if let Ok(answer) = net::read_capped(response, limits::WEBHOOK_REPLY_BYTES).await {
                shop.obey(&answer);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::scrape::{Entry, Format, Parser};

    fn shop() -> (Arc<Shop>, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!(
            "brownout-shop-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        drop(std::fs::remove_file(&path));
        (Shop::open(&path, Clock::start()).expect("a log"), path)
    }

    async fn served_in(shop: &Arc<Shop>, requests: usize) -> Duration {
        let watch = Stopwatch::start();
        let answers: Vec<_> = (0..requests)
            .map(|_| {
                let shop = Arc::clone(shop);
                tokio::spawn(async move { shop.answer().await })
            })
            .collect();
        for answer in answers {
            assert_eq!(answer.await.expect("no panic"), StatusCode::OK);
        }
        watch.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_capacity_is_that_of_four_workers_and_the_switch_raises_it() {
        let (shop, path) = shop();
        for (level, millis) in [("full", 600), ("cached", 200), ("off", 40)] {
            shop.obey(format!(r#"{{"key":"recommendations","value":"{level}"}}"#).as_bytes());
            assert_eq!(served_in(&shop, 40).await, Duration::from_millis(millis), "{level}");
        }
        shop.obey(br#"{"errorCode":"FLAG_NOT_FOUND"}"#);
        assert_eq!(shop.mode(), Mode::Off, "no answer leaves it as it is");
        assert_eq!([Mode::Full, Mode::Cached, Mode::Off].map(Mode::capacity), [66, 200, 1_000]);
        let log = std::fs::read_to_string(&path).expect("the log");
        assert_eq!(log.lines().filter(|line| line.contains("\" 200 1024 ")).count(), 120);
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_are_a_good_exposition_that_adds_up() {
        let (shop, path) = shop();
        served_in(&shop, 12).await;
        let text = shop.metrics();
        let mut parser = Parser::new(Format::Text, text.as_bytes());
        let mut samples = std::collections::BTreeMap::new();
        while let Some(entry) = parser.next_entry().expect("good") {
            if let Entry::Sample(sample) = entry {
                samples.insert(String::from_utf8_lossy(sample.series).trim().to_owned(), sample.value);
            }
        }
        assert_eq!(samples["http_requests_total{mode=\"full\"}"], 12.0);
        // Three rounds of four workers: 60, 120 and 180 ms.
        assert_eq!(samples["http_request_duration_seconds_bucket{le=\"0.075\"}"], 4.0);
        assert_eq!(samples["http_request_duration_seconds_bucket{le=\"0.15\"}"], 8.0);
        assert_eq!(samples["http_request_duration_seconds_bucket{le=\"+Inf\"}"], 12.0);
        assert_eq!(samples["http_requests_in_flight"], 0.0);
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test(start_paused = true)]
    async fn past_a_thousand_waiting_requests_it_refuses() {
        let (shop, path) = shop();
        let all: Vec<_> = (0..WAITING + 5)
            .map(|_| {
                let shop = Arc::clone(&shop);
                tokio::spawn(async move { shop.answer().await })
            })
            .collect();
        let mut refused = 0;
        for one in all {
            refused += usize::from(one.await.expect("no panic") == StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!((refused, shop.figures().refused), (5, 5));
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn the_webhook_is_understood() {
        let (shop, path) = shop();
        let body = br#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"ShopSlow"},"annotations":{"summary":"slow"}}]}"#;
        assert_eq!(shop.hook(body), StatusCode::OK);
        assert_eq!(shop.told(), [Told { status: "firing".into(), alert: "ShopSlow".into(), summary: "slow".into() }]);
        assert_eq!(shop.hook(b"{"), StatusCode::BAD_REQUEST);
        std::fs::remove_file(path).expect("removed");
    }
}
