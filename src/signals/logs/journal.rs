//! The systemd journal, through `journalctl -o json -f` as a child.
//!
//! Its cursor is part of the checkpoint, so the journal too is counted exactly once. When the program cannot be run, or
//! ends, that is said, and it is tried again.

use std::future::Future;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::checkpoint::Checkpoint;
use super::desk::Desk;
use super::fields::Fields;
use super::format::LineReader;
use super::metric::Metrics;
use super::settings::{Format, JobSettings, LogError, ReadFrom};
use super::tail::Job;
use crate::limits;
use crate::telemetry::Metric;
use crate::time::Timestamp;

/// An entry with all its fields is longer than its message: so much of one is taken.
const ENTRY_BYTES: usize = 4 * limits::LOG_LINE_BYTES;
/// The waits before the program is started again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Changes are sent at most this often.
const BREATH: Duration = Duration::from_millis(5);
/// After so many runs that gave nothing and failed, the cursor is given up.
const BAD_RUNS: u32 = 3;

/// Follows the journal until `stop`.
pub async fn run(job: Job, restored: Checkpoint, stop: impl Future<Output = ()>) -> Result<(), LogError> {
    let mut metrics = Metrics::new(&job.settings, job.telemetry.clone(), job.clock.now())?;
    metrics.restore(&restored.metrics);
    let cursor = restored.cursor.filter(|_| job.settings.read_from != ReadFrom::End);
    let mut reader = Reader {
        desk: Desk::new(metrics, &job.settings.job_name, job.settings.scrape_interval),
        cursors: CursorReader::new()?,
        cursor,
        partial: Vec::new(),
        cutting: false,
        moved: false,
        last_sent: Timestamp::MIN,
        job,
    };
    let mut stop = pin!(stop);
    let (mut wait, mut bad_runs) = (RETRY.0, 0);
    loop {
        let entries = tokio::select! {
            read = reader.follow() => match read {
                Some(entries) => entries,
                None => return Ok(()),
            },
            () = stop.as_mut() => {
                reader.send(true).await;
                return Ok(());
            }
        };
        (wait, bad_runs) = if entries > 0 { (RETRY.0, 0) } else { ((wait * 2).min(RETRY.1), bad_runs + 1) };
        if bad_runs >= BAD_RUNS && reader.cursor.take().is_some() {
            tracing::error!(
                job = reader.job.settings.job_name,
                "the journal does not know the saved place any more: going on at its end"
            );
        }
        let again = reader.job.clock.now() + wait;
        while reader.job.clock.now() < again {
            let due = again.min(reader.desk.next_due());
            tokio::select! {
                () = tokio::time::sleep_until(reader.job.clock.instant(due)) => {}
                () = stop.as_mut() => {
                    reader.send(true).await;
                    return Ok(());
                }
            }
            if !reader.send(false).await {
                return Ok(());
            }
        }
    }
}

struct Reader {
    job: Job,
    desk: Desk,
    cursors: CursorReader,
    cursor: Option<String>,
    /// The beginning of an entry that is not complete yet.
    partial: Vec<u8>,
    /// The entry is too long: its rest is skipped.
    cutting: bool,
    moved: bool,
    last_sent: Timestamp,
}

impl Reader {
    /// Runs the program once; gives how many entries it gave, or `None` when nobody listens any more.
    async fn follow(&mut self) -> Option<u64> {
        self.partial.clear();
        self.cutting = false;
        let mut entries = 0;
        let settings = &self.job.settings;
        let spawned = Command::new(&settings.journald.journalctl)
            .args(arguments(settings, self.cursor.as_deref()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let program = settings.journald.journalctl.display();
                tracing::error!(job = settings.job_name, %program, %error, "cannot run the program that reads the journal: install systemd's journalctl, or take the job away");
                return Some(0);
            }
        };
        if let Some(out) = child.stdout.take() {
            entries = self.read(BufReader::with_capacity(64 << 10, out)).await?;
        }
        self.say_why(child).await;
        Some(entries)
    }

    async fn read(&mut self, mut out: BufReader<ChildStdout>) -> Option<u64> {
        let mut entries = 0;
        loop {
            let breath = self.last_sent.min(self.job.clock.now()) + BREATH;
            let due = if self.moved { breath.min(self.desk.next_due()) } else { self.desk.next_due() };
            tokio::select! {
                chunk = out.fill_buf() => {
                    let Ok(chunk) = chunk else { return Some(entries) };
                    if chunk.is_empty() {
                        return Some(entries);
                    }
                    let length = chunk.len();
                    entries += self.take(chunk);
                    out.consume(length);
                }
                () = tokio::time::sleep_until(self.job.clock.instant(due)) => {}
            }
            let now = self.job.clock.now();
            let ready = (self.moved && now >= breath) || now >= self.desk.next_due();
            if ready && !self.send(false).await {
                return None;
            }
        }
    }

    /// Counts the entries that are complete now.
    fn take(&mut self, mut chunk: &[u8]) -> u64 {
        let now = self.job.clock.now();
        let (mut lines, mut cut, mut unparsed) = (0_u64, 0_u64, 0_u64);
        let bytes = chunk.len();
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let skip = std::mem::take(&mut self.cutting);
            let mut entry = std::mem::take(&mut self.partial);
            entry.extend_from_slice(&chunk[..end]);
            chunk = &chunk[end + 1..];
            lines += 1;
            if skip {
                cut += 1;
                continue;
            }
            unparsed += u64::from(!self.desk.metrics.line(&entry, "journal", now).parsed);
            if let Some(cursor) = self.cursors.read(&entry) {
                self.cursor = Some(cursor);
            }
            self.moved = true;
        }
        self.partial.extend_from_slice(chunk);
        if self.partial.len() > ENTRY_BYTES {
            self.partial.clear();
            self.cutting = true;
        }
        let job = [("log", self.job.settings.job_name.as_str())];
        for (metric, count) in [
            (Metric::LogLinesRead, lines),
            (Metric::LogLinesCut, cut),
            (Metric::LogLinesUnparsed, unparsed),
            (Metric::LogBytesRead, bytes as u64),
        ] {
            if count > 0 {
                self.job.telemetry.add(metric, &job, count as f64);
            }
        }
        lines
    }

    /// Sends what is due; false when nobody listens any more.
    async fn send(&mut self, last: bool) -> bool {
        let now = self.job.clock.now();
        self.last_sent = now;
        self.desk.metrics.report();
        let cursor = &self.cursor;
        match self.desk.output(now, std::mem::take(&mut self.moved), last, || (Vec::new(), cursor.clone())) {
            Some(output) => self.job.out.send(output).await.is_ok(),
            None => !self.job.out.is_closed(),
        }
    }

    async fn say_why(&self, mut child: Child) {
        let mut text = Vec::new();
        if let Some(errors) = child.stderr.take() {
            let _ = errors.take(4 << 10).read_to_end(&mut text).await;
        }
        let status = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        let text = String::from_utf8_lossy(&text);
        let reason = text.lines().last().unwrap_or("");
        tracing::warn!(job = self.job.settings.job_name, status, reason, "journalctl ended and is started again");
    }
}

fn arguments(settings: &JobSettings, cursor: Option<&str>) -> Vec<String> {
    let mut arguments: Vec<String> = ["--output=json", "--follow", "--no-pager", "--all"].map(str::to_owned).into();
    match cursor {
        Some(cursor) => arguments.extend(["--no-tail".to_owned(), format!("--after-cursor={cursor}")]),
        None if settings.read_from == ReadFrom::Start => arguments.push("--no-tail".to_owned()),
        None => arguments.push("--lines=0".to_owned()),
    }
    let journald = &settings.journald;
    arguments.extend(journald.units.iter().map(|unit| format!("--unit={unit}")));
    arguments.extend(journald.identifiers.iter().map(|identifier| format!("--identifier={identifier}")));
    arguments.extend(journald.priority.iter().map(|priority| format!("--priority={priority}")));
    arguments
}

/// Finds the cursor of an entry.
struct CursorReader {
    reader: LineReader,
    fields: Fields,
}

impl CursorReader {
    fn new() -> Result<CursorReader, LogError> {
        let mut reader = LineReader::new(&Format::Journald)?;
        let _ = reader.want("__CURSOR");
        Ok(CursorReader { reader, fields: Fields::new(1) })
    }

    fn read(&mut self, entry: &[u8]) -> Option<String> {
        self.reader.read(entry, &mut self.fields);
        self.fields.get(0, entry).map(|cursor| String::from_utf8_lossy(cursor).into_owned())
    }
}

#[cfg(test)]
mod tests;
