//! What gathers samples for one receiver: external labels, relabelling, and requests of a good size for the queue.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backlog::{Backlog, Names};
use super::sender::{Sender, Tried};
use super::settings::Settings;
use super::wire::{self, Sample};
use crate::limits;
use crate::model::{Labels, LabelsMap, MetricMeta, Relabel, relabel};
use crate::net;
use crate::telemetry::{Metric, Telemetry};
use crate::time::Clock;

/// Everything known about families.
pub type Meta = Arc<BTreeMap<String, MetricMeta>>;

/// How long the end may take: writing what was gathered to the disk.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// One receiver, kept supplied by tasks of its own.
pub struct Writer {
    settings: Arc<Settings>,
    names: Arc<Names>,
    samples: mpsc::Sender<Arc<Vec<Sample>>>,
    meta: watch::Sender<Meta>,
    telemetry: Telemetry,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the tasks. The queue lies in a folder of the receiver's name below `folder`.
    pub fn start(settings: Settings, folder: &Path, clock: Clock, telemetry: Telemetry) -> Writer {
        let settings = Arc::new(settings);
        let names = Arc::new(Names { name: settings.name.clone(), url: net::redact_url(&settings.url) });
        for metric in
            [Metric::RemoteSamples, Metric::RemoteSamplesFailed, Metric::RemoteSamplesRetried, Metric::RemoteBytes]
        {
            telemetry.add(metric, &names.labels(), 0.0);
        }
        telemetry.add(Metric::RemoteSamplesDropped, &names.labels_for("queue_full"), 0.0);
        let (samples, inputs) = mpsc::channel(limits::REMOTE_BATCHES);
        let (meta, families) = watch::channel(Meta::default());
        let work = Work {
            settings: Arc::clone(&settings),
            names: Arc::clone(&names),
            folder: folder_of(folder, &settings.name),
            clock,
            telemetry: telemetry.clone(),
        };
        let task = tokio::spawn(work.run(inputs, families));
        Writer { settings, names, samples, meta, telemetry, task }
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Hands samples on, each series in order of time. Never waits: what cannot be taken is counted and dropped.
    pub fn write(&self, samples: &Arc<Vec<Sample>>) {
        if self.samples.try_send(Arc::clone(samples)).is_err() {
            let labels = self.names.labels_for("busy");
            self.telemetry.add(Metric::RemoteSamplesDropped, &labels, samples.len() as f64);
        }
    }

    /// What is known about families now.
    pub fn describe(&self, meta: &Meta) {
        self.meta.send_if_modified(|known| {
            let new = !Arc::ptr_eq(known, meta);
            if new {
                *known = Arc::clone(meta);
            }
            new
        });
    }

    /// Writes what was gathered to the disk and ends.
    pub async fn stop(self) {
        let Writer { samples, mut task, .. } = self;
        drop(samples);
        if tokio::time::timeout(LAST_WORDS, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// The folder of a receiver: its name as far as a path can hold it, and a number that tells it from others.
fn folder_of(folder: &Path, name: &str) -> PathBuf {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').take(40).collect();
    folder.join(format!("{plain}-{:08x}", crc32fast::hash(name.as_bytes())))
}

struct Work {
    settings: Arc<Settings>,
    names: Arc<Names>,
    folder: PathBuf,
    clock: Clock,
    telemetry: Telemetry,
}

impl Work {
    async fn run(self, inputs: mpsc::Receiver<Arc<Vec<Sample>>>, families: watch::Receiver<Meta>) {
        let backlog = loop {
            let (folder, limit) = (self.folder.clone(), self.settings.queue.max_disk_usage);
            match Backlog::open(folder, limit, Arc::clone(&self.names), self.telemetry.clone()).await {
                Ok(backlog) => break backlog,
                Err(error) => {
                    tracing::error!(remote = %self.names.name, folder = %self.folder.display(), %error, "the queue cannot be opened");
                    tokio::time::sleep(limits::REMOTE_DISK_PAUSE).await;
                }
            }
        };
        let sender = || {
            let (settings, names) = (Arc::clone(&self.settings), Arc::clone(&self.names));
            Sender::new(settings, names, self.clock, self.telemetry.clone())
        };
        let (send, describe) = (sender().run(backlog.clone()), describe(sender(), families));
        // The end of the inputs is the end of all three.
        tokio::select! {
            () = self.gather(inputs, &backlog) => backlog.sync().await,
            ((), ()) = async { tokio::join!(send, describe) } => {}
        }
    }

    async fn gather(&self, mut inputs: mpsc::Receiver<Arc<Vec<Sample>>>, backlog: &Backlog) {
        let steps = match Relabel::all(&self.settings.write_relabel_configs) {
            Ok(steps) => steps,
            Err((_, error)) => {
                return tracing::error!(remote = %self.names.name, %error, "write_relabel_configs cannot be used");
            }
        };
        let mut names = Renamed { external: &self.settings.external_labels, steps, known: LabelsMap::default() };
        let queue = &self.settings.queue;
        let most = queue.max_samples_per_send.max(1);
        let (mut gathered, mut due) = (VecDeque::new(), Instant::now());
        loop {
            tokio::select! {
                batch = inputs.recv() => {
                    let Some(batch) = batch else { break };
                    if gathered.is_empty() {
                        due = Instant::now() + queue.batch_send_deadline;
                    }
                    let renamed = batch.iter().filter_map(|(labels, at, value)| Some((names.of(labels)?, *at, *value)));
                    gathered.extend(renamed);
                    if let Some((_, at, _)) = gathered.back() {
                        self.telemetry.set(Metric::RemoteHighestTimestamp, &self.names.labels(), at.as_secs_f64());
                    }
                    while gathered.len() >= most {
                        backlog.push(gathered.drain(..most).collect()).await;
                    }
                }
                () = tokio::time::sleep_until(due), if !gathered.is_empty() => {
                    backlog.push(gathered.drain(..).collect()).await;
                }
            }
        }
        backlog.push(gathered.drain(..).collect()).await;
    }
}

/// Label sets as the receiver gets them, each worked out once.
struct Renamed<'a> {
    external: &'a Labels,
    steps: Vec<Relabel>,
    known: LabelsMap<Option<Labels>>,
}

impl Renamed<'_> {
    /// `None` when the receiver does not get the series.
    fn of(&mut self, labels: &Labels) -> Option<Labels> {
        if let Some(known) = self.known.get(labels) {
            return known.clone();
        }
        if self.known.len() >= 2 * limits::SERIES {
            self.known.clear();
        }
        let mut builder = labels.to_builder();
        for (name, value) in self.external.iter().filter(|(name, _)| labels.get(name).is_none()) {
            builder.set(name, value);
        }
        let renamed = relabel(&self.steps, &mut builder).then(|| builder.build()).filter(|labels| !labels.is_empty());
        self.known.insert(labels.clone(), renamed.clone());
        renamed
    }
}

/// Sends types and help texts now and then; they do not go through the queue, as the next ones say the same.
async fn describe(mut sender: Sender, families: watch::Receiver<Meta>) {
    let Some(interval) = sender.settings.metadata_interval else { return std::future::pending().await };
    loop {
        tokio::time::sleep(interval).await;
        let meta = Arc::clone(&families.borrow());
        let families: Vec<&MetricMeta> = meta.values().collect();
        for part in families.chunks(sender.settings.metadata_families.max(1)) {
            let (count, names, telemetry) = (part.len() as f64, Arc::clone(&sender.names), sender.telemetry.clone());
            let tried = match wire::compress(&wire::metadata(part)) {
                Ok(body) => sender.post(&body).await,
                Err(error) => Tried::Refused(error.to_string()),
            };
            let metric = if tried == Tried::Accepted { Metric::RemoteMetadata } else { Metric::RemoteMetadataFailed };
            telemetry.add(metric, &names.labels(), count);
        }
    }
}

#[cfg(test)]
mod tests;
