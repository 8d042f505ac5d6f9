//! Following a file under rotation: a writer appends 50,000 lines a second, one `write` each, while the file is renamed ten
//! times; after each rename it goes on with the old descriptor for 300 ms, as nginx does. Prints the lines that were lost,
//! how long a line took from its `write` to the batch that counts it, and the CPU time of everything but the writer.
//!
//! `cargo bench --profile ci --bench tail -- [seconds]`

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brownout::signals::logs::{self, JobSettings, Kind, MetricSettings};
use brownout::telemetry::Telemetry;
use brownout::time::Clock;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};

const LINES_PER_MILLI: u64 = 50;
const ROTATIONS: u64 = 10;
const OLD_DESCRIPTOR: Duration = Duration::from_millis(300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30);
    let directory = std::env::temp_dir().join(format!("brownout-bench-tail-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let result = runtime.block_on(measure(directory.clone(), Duration::from_secs(seconds)));
    std::fs::remove_dir_all(&directory)?;
    result
}

/// When each line was written, since the clock's start.
type Written = Arc<Mutex<Vec<Duration>>>;

async fn measure(directory: PathBuf, span: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::start();
    let path = directory.join("access.log");
    File::create(&path)?;
    let metric = |name: &str, pattern: Option<&str>| MetricSettings {
        pattern: pattern.map(str::to_owned),
        ..MetricSettings::named(Kind::Counter, name)
    };
    let settings = JobSettings {
        paths: vec![path.to_string_lossy().into_owned()],
        metrics: vec![metric("lines_total", None), metric("errors_total", Some(r#"" 5\d\d "#))],
        ..JobSettings::named("bench", "host")
    };
    let (out, mut outputs) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel::<()>();
    let telemetry = Telemetry::new();
    let job = tokio::spawn(logs::run(settings, None, clock, telemetry, out, async {
        let _ = stopped.await;
    }));
    // The first whole batch: the file is followed.
    outputs.recv().await;
    let written = Written::default();
    let done = Arc::new(AtomicBool::new(false));
    let before = clock_gettime(ClockId::ProcessCPUTime);
    let writer = std::thread::spawn({
        let (written, done) = (Arc::clone(&written), Arc::clone(&done));
        move || write(&path, span, clock, &written, &done)
    });
    let (mut counted, mut delays, mut urgent) = (0, Vec::new(), 0_u64);
    let mut quiet = 0;
    while let Some(output) = outputs.recv().await {
        let now = clock.elapsed();
        urgent += u64::from(output.batch.urgent);
        let lines = output.batch.samples.iter().find(|(labels, _)| labels.name() == "lines_total");
        if let Some((_, value)) = lines {
            let times = written.lock().map_err(|_| "the writer panicked")?;
            let upto = (*value as usize).min(times.len());
            delays.extend(times[counted..upto.max(counted)].iter().map(|at| now.saturating_sub(*at)));
            counted = upto.max(counted);
        }
        // Nothing new for two seconds after the end: what is missing now is lost.
        quiet = if done.load(Ordering::Acquire) && !output.batch.urgent { quiet + 1 } else { 0 };
        if quiet == 2 {
            break;
        }
    }
    let after = clock_gettime(ClockId::ProcessCPUTime);
    let writer_cpu = writer.join().map_err(|_| "the writer panicked")??;
    drop(stop);
    drop(outputs);
    job.await??;
    let cpu = |at: rustix::time::Timespec| at.tv_sec as f64 + at.tv_nsec as f64 / 1e9;
    let total = written.lock().map_err(|_| "the writer panicked")?.len();
    delays.sort_unstable();
    let at = |share: f64| delays.get(((delays.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
    println!("lines written {total}, lost {}, batches with lines {urgent}", total - counted);
    println!("delay p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0));
    println!(
        "cpu {:.2} s over {} s, without the writer's {writer_cpu:.2} s",
        cpu(after) - cpu(before) - writer_cpu,
        span.as_secs()
    );
    Ok(())
}

/// Writes until the time is over; gives the CPU seconds of this thread.
fn write(path: &Path, span: Duration, clock: Clock, written: &Written, done: &AtomicBool) -> std::io::Result<f64> {
    let start = clock.elapsed();
    let mut file = OpenOptions::new().append(true).open(path)?;
    let (mut number, mut rotations, mut reopen_at) = (0_u64, 0, None);
    loop {
        let since = clock.elapsed() - start;
        if since >= span {
            break;
        }
        if since >= span / (ROTATIONS as u32 + 1) * (rotations + 1) && u64::from(rotations) < ROTATIONS {
            rotations += 1;
            std::fs::rename(path, path.with_extension(format!("log.{rotations}")))?;
            reopen_at = Some(since + OLD_DESCRIPTOR);
        }
        if reopen_at.is_some_and(|at| since >= at) {
            file = OpenOptions::new().create(true).append(true).open(path)?;
            reopen_at = None;
        }
        let due = since.as_millis() as u64 * LINES_PER_MILLI;
        while number < due {
            let status = if number.is_multiple_of(64) { 503 } else { 200 };
            let line = format!(
                "10.0.{}.7 - - [22/Nov/2026:10:00:00 +0000] \"GET /shop/item/{number}?ref=home HTTP/1.1\" {status} 5120 \
                 \"https://shop.example/\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\" 0.042\n",
                number % 256
            );
            let at = clock.elapsed();
            if let Ok(mut times) = written.lock() {
                times.push(at);
            }
            file.write_all(line.as_bytes())?;
            number += 1;
        }
        std::thread::park_timeout(Duration::from_micros(500));
    }
    done.store(true, Ordering::Release);
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Ok(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9)
}
