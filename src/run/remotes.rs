//! The receivers of remote write that are supplied.

use std::path::PathBuf;
use std::sync::Arc;

use crate::remote::{Meta, Sample, Settings, Writer};
use crate::telemetry::Telemetry;
use crate::time::Clock;

/// One writer for each receiver of the configuration.
pub(super) struct Remotes {
    writers: Vec<Writer>,
    /// Where their queues lie.
    folder: PathBuf,
    clock: Clock,
    telemetry: Telemetry,
}

impl Remotes {
    pub(super) fn new(folder: PathBuf, clock: Clock, telemetry: Telemetry) -> Remotes {
        Remotes { writers: Vec::new(), folder, clock, telemetry }
    }

    /// Brings what runs in line with what is wanted. A receiver whose settings are the same goes on untouched.
    pub(super) async fn apply(&mut self, wanted: Vec<Settings>) {
        let (stay, go): (Vec<Writer>, Vec<Writer>) =
            std::mem::take(&mut self.writers).into_iter().partition(|writer| wanted.contains(writer.settings()));
        self.writers = stay;
        for writer in go {
            writer.stop().await;
        }
        for settings in wanted {
            if !self.writers.iter().any(|writer| *writer.settings() == settings) {
                self.writers.push(Writer::start(settings, &self.folder, self.clock, self.telemetry.clone()));
            }
        }
    }

    /// Hands samples to all.
    pub(super) fn write(&self, samples: Vec<Sample>) {
        let samples = Arc::new(samples);
        self.writers.iter().for_each(|writer| writer.write(&samples));
    }

    /// Tells all what is known about families.
    pub(super) fn describe(&self, meta: impl FnOnce() -> Meta) {
        if !self.writers.is_empty() {
            let meta = meta();
            self.writers.iter().for_each(|writer| writer.describe(&meta));
        }
    }

    /// Writes what was gathered to the disk.
    pub(super) async fn stop(&mut self) {
        for writer in std::mem::take(&mut self.writers) {
            writer.stop().await;
        }
    }
}
