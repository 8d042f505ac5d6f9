use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::*;
use crate::model::Completeness;
use crate::signals::logs::{Kind, MetricSettings, ReadFrom};

static DIRECTORIES: AtomicU64 = AtomicU64::new(0);

struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("brownout-tail-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("directory");
        Dir(path)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.0.join(name)).expect(name);
        file.write_all(text.as_bytes()).expect("write");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings(paths: &Path) -> JobSettings {
    let metric =
        MetricSettings { pattern: Some("ERROR".into()), ..MetricSettings::named(Kind::Counter, "errors_total") };
    JobSettings {
        paths: vec![paths.to_string_lossy().into_owned()],
        read_from: ReadFrom::Start,
        metrics: vec![metric],
        ..JobSettings::named("j", "h")
    }
}

struct Running {
    outputs: mpsc::Receiver<Output>,
    stop: Option<oneshot::Sender<()>>,
    telemetry: Telemetry,
    checkpoint: Option<Checkpoint>,
}

fn start(settings: JobSettings, restored: Option<Checkpoint>) -> Running {
    start_at(Clock::start(), settings, restored)
}

fn start_at(clock: Clock, settings: JobSettings, restored: Option<Checkpoint>) -> Running {
    let (out, outputs) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel();
    let telemetry = Telemetry::new();
    let job = run(settings, restored, clock, telemetry.clone(), out, async {
        let _ = stopped.await;
    });
    tokio::spawn(job);
    Running { outputs, stop: Some(stop), telemetry, checkpoint: None }
}

impl Running {
    async fn next(&mut self) -> Option<Output> {
        let output = self.outputs.recv().await?;
        if output.checkpoint.is_some() {
            self.checkpoint.clone_from(&output.checkpoint);
        }
        Some(output)
    }

    /// Waits for a batch in which the counter has this value.
    async fn until(&mut self, value: f64) -> Output {
        loop {
            let output = self.next().await.expect("the job runs");
            if output.batch.samples.iter().any(|(_, v)| *v == value) {
                return output;
            }
        }
    }

    /// Stops the job and gives its last output.
    async fn stop(&mut self) -> Output {
        self.stop.take();
        let mut last = None;
        while let Some(output) = self.next().await {
            last = Some(output);
        }
        last.expect("a last output")
    }
}

#[tokio::test]
async fn a_line_is_out_at_once_and_all_series_each_interval() {
    let dir = Dir::new();
    dir.append("a.log", "ERROR\nfine\n");
    let mut running = start(settings(&dir.0.join("*.log")), None);
    let first = running.next().await.expect("an output");
    assert_eq!((first.batch.completeness, first.batch.urgent), (Completeness::Whole, true));
    assert_eq!(first.batch.source.as_str(), "logs/j");
    assert_eq!(first.batch.samples[0].0.to_string(), r#"errors_total{instance="h", job="j"}"#);
    assert_eq!((first.batch.samples[0].1, first.batch.meta.len()), (1.0, 1));
    dir.append("a.log", "ERROR\n");
    let second = running.until(2.0).await;
    assert!(second.batch.urgent && second.batch.at > first.batch.at);
    // A new file, a new line in it, and then a whole batch although nothing happens.
    dir.append("b.log", "ERROR\n");
    running.until(3.0).await;
    let whole = running.next().await.expect("an output");
    assert_eq!((whole.batch.completeness, whole.batch.urgent), (Completeness::Whole, false));
    let last = running.stop().await;
    assert_eq!(last.checkpoint.expect("a checkpoint").files.len(), 2);
    let job = [("log", "j")];
    assert_eq!(running.telemetry.get(Metric::LogLinesRead, &job), Some(4.0));
    assert_eq!(running.telemetry.get(Metric::LogFilesFollowed, &job), Some(2.0));
    assert_eq!(running.telemetry.get(Metric::LogLagBytes, &job), Some(0.0));
}

#[tokio::test]
async fn a_stopped_job_goes_on_where_it_was_and_a_crashed_one_at_its_checkpoint() {
    let dir = Dir::new();
    let path = dir.0.join("a.log");
    dir.append("a.log", "ERROR\nERROR\n");
    let mut running = start(settings(&path), None);
    running.until(2.0).await;
    dir.append("a.log", "ERROR\n");
    running.until(3.0).await;
    running.stop().await;
    let stopped = running.checkpoint.take();
    dir.append("a.log", "ERROR\n");
    fs::rename(&path, dir.0.join("a.log.1")).expect("rename");
    dir.append("a.log", "ERROR\n");
    let mut again = start(settings(&path), stopped.clone());
    assert_eq!(again.next().await.expect("an output").batch.samples[0].1, 5.0);
    drop(again);
    // The crash: what came after the checkpoint is counted anew, from the counters before it.
    let mut crashed = start(settings(&path), stopped);
    assert_eq!(crashed.next().await.expect("an output").batch.samples[0].1, 5.0);
}

#[tokio::test]
async fn where_no_directory_can_be_watched_files_are_polled() {
    let dir = Dir::new();
    let mut running = start(settings(&dir.0.join("later/a.log")), None);
    running.next().await.expect("an output");
    fs::create_dir_all(dir.0.join("later")).expect("directory");
    dir.append("later/a.log", "ERROR\n");
    running.until(1.0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_cannot_work_ends_at_once() {
    let (out, _outputs) = mpsc::channel(1);
    let settings = JobSettings::named("j", "h");
    let error = run(settings, None, Clock::start(), Telemetry::new(), out, std::future::pending()).await;
    assert_eq!(error, Err(LogError::NoPaths("j".into())));
}

#[tokio::test]
async fn lines_are_read_at_once_after_the_clock_was_set_back() {
    let dir = Dir::new();
    dir.append("a.log", "ERROR 1\n");
    // The system's own time is long before this.
    let clock = Clock::start_at(Timestamp::from_millis(7_258_118_400_300));
    let mut running = start_at(clock, settings(&dir.0.join("*.log")), None);
    running.until(1.0).await;
    clock.resync();
    for count in [2.0, 3.0] {
        dir.append("a.log", "ERROR more\n");
        let output = tokio::time::timeout(Duration::from_secs(20), running.until(count)).await.expect("in time");
        assert!(output.batch.at <= clock.now(), "in the new time");
    }
}

#[test]
fn a_busy_log_is_read_now_and_then_and_a_busy_neighbour_holds_up_nobody() {
    let dir = Dir::new();
    dir.append("a.log", "x\n");
    let (out, _kept) = mpsc::channel(1);
    let settings = Arc::new(settings(&dir.0.join("*.log")));
    let job = Job { settings, clock: Clock::start_at(Timestamp::ZERO), telemetry: Telemetry::new(), out };
    let mut tail = Tail::new(&job, &Checkpoint::default()).expect("a job");
    let at = Timestamp::from_millis;
    drop(tail.turn(at(0), Hint { paths: Vec::new(), search: true }, None));
    let mut turns = |from: i64, count: i64, name: &str, text: &str| {
        for millis in (from..).step_by(5).take(count as usize) {
            dir.append(name, text);
            drop(tail.turn(at(millis), Hint { paths: vec![dir.0.join(name)], search: false }, None));
        }
        let now = at(from + 5 * count);
        tail.next_hinted(now).since(now)
    };
    // In half a second; then for long.
    assert_eq!(turns(5, 100, "other.txt", "x\n"), Duration::ZERO, "a neighbour takes no turn of ours");
    let idle = turns(1_000, 1_000, "other.txt", "x\n");
    assert!(idle > Duration::ZERO && idle <= IDLE_TURNS.1, "{idle:?}");
    assert_eq!(turns(60_000, 30, "a.log", "x\n"), Duration::ZERO);
    let small = turns(61_000, 100, "a.log", "x\n");
    assert!(small > IDLE_TURNS.1 && small <= SMALL_TURNS.1, "{small:?}");
    assert_eq!(turns(120_000, 100, "a.log", &"x\n".repeat(10_000)), Duration::ZERO, "much is read at once");
}
