//! What leaves a job, and when: changed series at once, all series each interval, a checkpoint now and then.

use std::time::Duration;

use super::checkpoint::{Checkpoint, FileMark};
use super::metric::Metrics;
use crate::model::{Batch, Completeness, Source};
use crate::time::{Timestamp, millis};

/// A checkpoint at most this often.
const CHECKPOINT: Duration = Duration::from_secs(1);

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
            moved: false,
        }
    }

    /// When all series are due.
    pub fn next_whole(&self) -> Timestamp {
        self.next_whole
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
        let changed = self.metrics.changed();
        let whole = last || now >= self.next_whole;
        let urgent = !changed.is_empty();
        if !whole && !urgent {
            return None;
        }
        // Two batches at one instant would be two values of one sample.
        let at = now.max(self.last_at + Duration::from_millis(1));
        self.last_at = at;
        let (samples, completeness) = match whole {
            true => (self.metrics.all(now), Completeness::Whole),
            false => (changed, Completeness::Partial),
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
