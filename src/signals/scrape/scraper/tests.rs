use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;

use super::*;
use crate::signals::scrape::{Health, TargetGroup};

/// Serves a list of answers in turn; the last one stays.
async fn serve(answers: Vec<(StatusCode, &'static str, Vec<u8>)>) -> SocketAddr {
    let next = Arc::new(AtomicUsize::new(0));
    let answer = move |headers: HeaderMap| async move {
        assert!(headers.contains_key("x-prometheus-scrape-timeout-seconds"));
        let index = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let (status, encoding, body) = answers[index].clone();
        (status, [("content-encoding", encoding)], body)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let app = axum::Router::new().route("/metrics", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn text(body: &str) -> (StatusCode, &'static str, Vec<u8>) {
    (StatusCode::OK, "identity", body.as_bytes().to_vec())
}

struct Running {
    batches: mpsc::Receiver<Batch>,
    board: Board,
    telemetry: Telemetry,
}

fn start(address: SocketAddr, change: impl FnOnce(&mut Settings)) -> Running {
    start_at(Clock::start(), address, change)
}

fn start_at(clock: Clock, address: SocketAddr, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::named("j");
    settings.static_configs = vec![TargetGroup { targets: vec![address.to_string()], ..TargetGroup::default() }];
    change(&mut settings);
    let (out, batches) = mpsc::channel(1);
    let (board, telemetry) = (Board::new(), Telemetry::new());
    tokio::spawn(run(settings, clock, telemetry.clone(), board.clone(), out));
    Running { batches, board, telemetry }
}

impl Running {
    async fn next(&mut self) -> Vec<(String, f64)> {
        let batch = self.batches.recv().await.expect("a batch");
        assert_eq!(batch.completeness, Completeness::Whole);
        batch.samples.iter().map(|(labels, value)| (labels.name().to_owned(), *value)).collect()
    }

    /// The next batch whose `up` is this.
    async fn next_with_up(&mut self, up: f64) -> Vec<(String, f64)> {
        loop {
            let samples = self.next().await;
            if value(&samples, "up") == Some(up) {
                return samples;
            }
        }
    }
}

fn value(samples: &[(String, f64)], name: &str) -> Option<f64> {
    samples.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
}

#[tokio::test]
async fn a_good_scrape_then_a_broken_one_then_a_good_one() {
    let broken = (StatusCode::INTERNAL_SERVER_ERROR, "identity", b"a 1\n".to_vec());
    let address = serve(vec![text("a 1\nb 2\n"), broken, text("a 3\n")]).await;
    let mut running = start(address, |_| {});
    let first = running.next().await;
    assert_eq!(
        (value(&first, "a"), value(&first, "up"), value(&first, "scrape_series_added")),
        (Some(1.0), Some(1.0), Some(2.0))
    );
    assert!(value(&first, "scrape_duration_seconds").is_some_and(|took| took >= 0.0));
    let second = running.next().await;
    assert_eq!(
        (value(&second, "a"), value(&second, "up"), value(&second, "scrape_samples_scraped")),
        (None, Some(0.0), Some(0.0))
    );
    let state = running.board.targets().remove(0);
    assert_eq!(
        (state.health, state.last_error.as_str()),
        (Health::Down, "the server answered 500 Internal Server Error")
    );
    let third = running.next().await;
    assert_eq!((value(&third, "a"), value(&third, "b"), value(&third, "up")), (Some(3.0), None, Some(1.0)));
    assert_eq!(running.board.targets()[0].health, Health::Up);
    assert_eq!(running.board.forget("j").len(), 1);
}

#[tokio::test]
async fn a_gzip_bomb_and_a_long_body_are_refused_by_size() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, &vec![b'\n'; 4 << 20]).expect("compress");
    let bomb = (StatusCode::OK, "gzip", packed.finish().expect("compress"));
    let address = serve(vec![bomb]).await;
    let mut running = start(address, |s| s.body_size_limit = 1 << 20);
    running.next_with_up(0.0).await;
    assert!(running.board.targets()[0].last_error.contains("larger than"), "{}", running.board.targets()[0].last_error);
    assert_eq!(running.telemetry.get(Metric::ScrapeBodyTooLarge, &[("scrape", "j")]), Some(1.0));
}

#[tokio::test]
async fn a_large_body_is_read_off_the_loop_and_a_silent_target_times_out() {
    let body: String = (0..20_000).map(|n| format!("a{{n=\"{n}\"}} {n}\n")).collect();
    let address = serve(vec![text(Box::leak(body.into_boxed_str()))]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let silent_address = silent.local_addr().expect("address").to_string();
    let mut running = start(address, |s| {
        (s.scrape_interval, s.scrape_timeout) = (Duration::from_secs(3), Duration::from_secs(3));
        s.static_configs[0].targets.push(silent_address.clone());
    });
    let (mut large, mut timed_out) = (false, false);
    while !(large && timed_out) {
        let samples = running.next().await;
        large |= samples.len() == 20_005;
        timed_out |= value(&samples, "up") == Some(0.0);
    }
    let state = running.board.targets().into_iter().find(|state| state.url.contains(&silent_address)).expect("target");
    assert_eq!(state.last_error, "there was no answer within 3s");
}

#[tokio::test]
async fn a_target_that_discovery_takes_away_ends() {
    let address = serve(vec![text("a 1\n")]).await;
    let path = std::env::temp_dir().join(format!("brownout-scrape-{}.json", std::process::id()));
    std::fs::write(&path, format!(r#"[{{"targets": ["{address}"]}}]"#)).expect("write");
    let file = path.clone();
    let mut running = start(address, |s| {
        s.static_configs.clear();
        s.file_sd_configs =
            vec![super::super::FileDiscovery { files: vec![file], refresh_interval: Duration::from_millis(100) }];
    });
    running.next_with_up(1.0).await;
    std::fs::write(&path, "[]").expect("write");
    while !running.next().await.is_empty() {}
    assert!(running.board.targets().is_empty());
    std::fs::remove_file(&path).expect("clean up");
}

#[test]
fn slots_are_aligned_and_lie_ahead() {
    let check = |now: i64, interval: u64, offset: u64, expected: i64| {
        let slot = next_slot(Timestamp::from_millis(now), Duration::from_millis(interval), offset);
        assert_eq!(slot, Timestamp::from_millis(expected), "{now} {interval} {offset}");
    };
    check(10_000, 1_000, 0, 11_000);
    check(10_000, 1_000, 250, 10_250);
    check(10_250, 1_000, 250, 11_250);
    check(10_249, 1_000, 7_250, 10_250);
}

#[tokio::test]
async fn a_step_that_cannot_work_stops_the_job_at_once() {
    let mut settings = Settings::named("j");
    settings.metric_relabel_configs = vec![crate::model::RelabelConfig::default()];
    let (out, _batches) = mpsc::channel(1);
    let error = run(settings, Clock::start(), Telemetry::new(), Board::new(), out).await.expect_err("refused");
    assert_eq!(error.to_string(), "job j: metric_relabel_configs[0]: the action replace needs a target_label");
}

#[tokio::test]
async fn scraping_goes_on_at_once_when_the_clock_is_set_back() {
    let address = serve(vec![text("a 1\n")]).await;
    let clock = Clock::start_at(Timestamp::from_millis(7_258_118_400_300));
    let mut running = start_at(clock, address, |_| {});
    running.next().await;
    clock.resync();
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(20), running.next()).await.expect("in time");
    }
}
