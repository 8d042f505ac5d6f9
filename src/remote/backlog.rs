//! The queue of one receiver, shared by what gathers and what sends: asked on the blocking pool, and counted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::queue::{Lost, Queue, Record, Waiting};
use super::wire::{self, Sample};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Timestamp;

/// The labels of our own metrics about one receiver.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub name: String,
    /// Without secrets.
    pub url: String,
}

impl Names {
    /// As they are given to the table.
    pub(super) fn labels(&self) -> [(&str, &str); 2] {
        [("remote_name", &self.name), ("url", &self.url)]
    }

    /// The same with a reason.
    pub(super) fn labels_for<'a>(&'a self, reason: &'a str) -> [(&'a str, &'a str); 3] {
        [("remote_name", &self.name), ("url", &self.url), ("reason", reason)]
    }
}

/// The queue, and who waits for it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Backlog {
    queue: Arc<Mutex<Queue>>,
    wake: Arc<Notify>,
    names: Arc<Names>,
    telemetry: Telemetry,
}

impl Backlog {
    /// Opens the queue of a receiver.
    pub(super) async fn open(
        folder: PathBuf,
        limit: u64,
        names: Arc<Names>,
        telemetry: Telemetry,
    ) -> std::io::Result<Backlog> {
        let opened = tokio::task::spawn_blocking(move || Queue::open(&folder, limit)).await;
        let (queue, lost) = opened.map_err(std::io::Error::other)??;
        let backlog = Backlog { queue: Arc::new(Mutex::new(queue)), wake: Arc::default(), names, telemetry };
        backlog.count(lost);
        backlog.show(&backlog.lock());
        Ok(backlog)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Backlog) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || work(&own)).await.map_err(std::io::Error::other)?
    }

    fn count(&self, lost: Lost) {
        if lost.samples > 0 {
            self.telemetry.add(Metric::RemoteSamplesDropped, &self.names.labels_for("queue_full"), lost.samples as f64);
            tracing::warn!(remote = %self.names.name, samples = lost.samples, "the queue is full: the oldest samples are dropped");
        }
        if lost.damaged_bytes > 0 {
            self.telemetry.add(Metric::RemoteQueueDamagedBytes, &self.names.labels(), lost.damaged_bytes as f64);
            tracing::warn!(remote = %self.names.name, bytes = lost.damaged_bytes, "a part of the queue is damaged and left out");
        }
    }

    fn show(&self, queue: &Queue) {
        let labels = self.names.labels();
        self.telemetry.set(Metric::RemoteSamplesPending, &labels, queue.samples() as f64);
        self.telemetry.set(Metric::RemoteQueueBytes, &labels, queue.bytes() as f64);
    }

    /// Puts samples behind all others, as one request. They are lost, and counted, when the disk does not take them.
    pub(super) async fn push(&self, samples: Vec<Sample>) {
        let count = samples.len();
        let Some(newest) = samples.iter().map(|(_, at, _)| *at).max() else { return };
        let pushed = self
            .on_pool(move |own| {
                let body = wire::compress(&wire::samples(&samples)).map_err(std::io::Error::other)?;
                let mut queue = own.lock();
                let lost = queue.push(&Record { samples: samples.len() as u32, newest, body })?;
                own.show(&queue);
                drop(queue);
                own.count(lost);
                Ok(())
            })
            .await;
        match pushed {
            Ok(()) => self.wake.notify_one(),
            Err(error) => {
                self.telemetry.add(Metric::RemoteSamplesDropped, &self.names.labels_for("disk"), count as f64);
                tracing::error!(remote = %self.names.name, %error, "the queue on the disk does not take samples; they are dropped");
            }
        }
    }

    /// The oldest request; waits for one.
    pub(super) async fn next(&self) -> std::io::Result<Waiting> {
        loop {
            let found = self
                .on_pool(|own| {
                    let (found, lost) = own.lock().peek()?;
                    own.count(lost);
                    Ok(found)
                })
                .await?;
            match found {
                Some(waiting) => return Ok(waiting),
                None => self.wake.notified().await,
            }
        }
    }

    /// False when a request had to make room.
    pub(super) fn has(&self, waiting: &Waiting) -> bool {
        self.lock().has(waiting)
    }

    /// A request was taken, or is not to be sent any more.
    pub(super) async fn took(&self, waiting: Waiting) {
        let taken = self
            .on_pool(move |own| {
                let mut queue = own.lock();
                queue.took(&waiting);
                own.show(&queue);
                Ok(())
            })
            .await;
        if let Err(error) = taken {
            tracing::error!(remote = %self.names.name, %error, "the queue's task failed");
        }
    }

    /// Waits until all of it is on the disk.
    pub(super) async fn sync(&self) {
        if let Err(error) = self.on_pool(|own| own.lock().sync()).await {
            tracing::error!(remote = %self.names.name, %error, "the queue cannot be synced");
        }
    }

    /// How old the newest sample of a request is.
    pub(super) fn age(waiting: &Waiting, now: Timestamp) -> std::time::Duration {
        now.since(waiting.record.newest)
    }
}
