//! What leaves a job, and when: changed series at once, all series each interval, a checkpoint now and then.

use std::time::Duration;

use super::checkpoint::{Checkpoint, FileMark};
use super::metric::Metrics;
use super::pace::Pace;
use crate::model::{Batch, Completeness, Source};
use crate::time::{Timestamp, millis};

/// A checkpoint at most this often.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// Between two batches of all series: so many batches of changed series at once, then one each so often. A series that
/// was quiet for [`QUIET`] does not wait.
const PARTIAL: (u32, Duration) = (10, Duration::from_millis(200));
/// See [`PARTIAL`].
pub const QUIET: Duration = Duration::from_secs(1);

/// One message of a job.
#[derive(Clone, Debug)]
pub struct Output {
    pub batch: Batch,
    /// The state to which this batch belongs. Whoever keeps it can start the job anew from there: its counters hold exactly
    /// the lines before its places.
    pub checkpoint: Option<Checkpoint>,
}

/// The source of a job's batches.
pub fn source(job_name: &str) -> Source {
    Source::new("logs", job_name)
}

/// Places in files, and the journal's cursor.
pub type Places = (Vec<FileMark>, Option<String>);

/// The metrics of a job with their timetable.
#[derive(Debug)]
pub struct Desk {
    pub metrics: Metrics,
    source: Source,
    interval: Duration,
    next_whole: Timestamp,
    last_at: Timestamp,
    last_checkpoint: Option<Timestamp>,
    partial: Pace,
    /// Something is read that no checkpoint knows.
    moved: bool,
}

impl Desk {
    /// A desk whose first output is due at once.
    pub fn new(metrics: Metrics, job_name: &str, interval: Duration) -> Desk {
        Desk {
            metrics,
            source: source(job_name),
            interval: interval.max(Duration::from_millis(1)),
            next_whole: Timestamp::MIN,
            last_at: Timestamp::MIN,
            last_checkpoint: None,
            partial: Pace::new(PARTIAL.0, PARTIAL.1),
            moved: false,
        }
    }

    /// When all series are due.
    pub fn next_whole(&self) -> Timestamp {
        self.next_whole
    }

    /// When something is due: all series, or the changed ones that had to wait.
    pub fn next_due(&self) -> Timestamp {
        let waiting = self.partial.free_at(self.last_at).filter(|_| self.metrics.is_dirty());
        waiting.map_or(self.next_whole, |at| at.min(self.next_whole))
    }

    /// What is to be sent now. `moved`: something was read since the last call. `last`: the job ends; everything is due.
    pub fn output(
        &mut self,
        now: Timestamp,
        moved: bool,
        last: bool,
        places: impl FnOnce() -> Places,
    ) -> Option<Output> {
        self.moved |= moved;
        if self.last_at.since(now) > self.interval.max(Duration::from_secs(1)) {
            // The clock was set back.
            (self.next_whole, self.last_at, self.last_checkpoint) = (now, Timestamp::MIN, None);
        }
        let whole = last || now >= self.next_whole;
        let urgent = self.metrics.is_dirty();
        if !whole && !(urgent && (self.partial.free(now) || self.metrics.is_fresh())) {
            return None;
        }
        if urgent {
            self.partial.take(now);
        }
        // Two batches at one instant would be two values of one sample.
        let at = now.max(self.last_at + Duration::from_millis(1));
        self.last_at = at;
        let (samples, completeness) = match whole {
            true => (self.metrics.all(now), Completeness::Whole),
            false => (self.metrics.changed(), Completeness::Partial),
        };
        if whole {
            let interval = millis(self.interval);
            let next = now.as_millis() - now.as_millis().rem_euclid(interval) + interval;
            self.next_whole = Timestamp::from_millis(next);
        }
        let meta = self.metrics.new_meta();
        let due = self.last_checkpoint.is_none_or(|before| now.since(before) >= CHECKPOINT);
        let checkpoint = (last || (self.moved && due)).then(|| {
            self.moved = false;
            self.last_checkpoint = Some(now);
            let (files, cursor) = places();
            Checkpoint { files, cursor, metrics: self.metrics.state() }
        });
        let batch = Batch { source: self.source.clone(), at, samples, timed: Vec::new(), completeness, meta, urgent };
        Some(Output { batch, checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{JobSettings, Kind, MetricSettings};
    use super::*;
    use crate::telemetry::Telemetry;

    fn desk(now: Timestamp) -> Desk {
        let counter = |name: &str, pattern: &str| MetricSettings {
            pattern: Some(pattern.into()),
            ..MetricSettings::named(Kind::Counter, name)
        };
        let metrics = vec![counter("requests_total", "GET"), counter("errors_total", "ERROR")];
        let settings = JobSettings { metrics, ..JobSettings::named("j", "h") };
        let metrics = Metrics::new(&settings, Telemetry::new(), now).expect("metrics");
        Desk::new(metrics, "j", Duration::from_secs(1))
    }

    #[test]
    fn changes_of_a_busy_log_are_sent_some_times_a_second_and_a_rare_line_at_once() {
        let at = Timestamp::from_millis;
        let mut desk = desk(at(0));
        let mut sent = Vec::new();
        for millis in (0..4_000).step_by(10) {
            desk.metrics.line(b"GET /", "a", at(millis));
            if millis == 3_550 {
                desk.metrics.line(b"ERROR", "a", at(millis));
            }
            let output = desk.output(at(millis), true, false, Default::default);
            let partial = output.filter(|output| output.batch.completeness == Completeness::Partial);
            sent.extend(partial.map(|output| (millis, output.batch.samples.len())));
            assert!(desk.next_due() > at(millis), "a desk that has just sent what it may is not due");
        }
        let late = |from: i64, to: i64| sent.iter().filter(|(at, _)| (from..to).contains(at)).count();
        assert!(late(0, 100) >= 8, "the first ones go out at once: {sent:?}");
        assert!((4..=6).contains(&late(2_000, 3_000)), "then five a second: {sent:?}");
        assert!(sent.contains(&(3_550, 2)), "what was quiet does not wait: {sent:?}");
    }
}
