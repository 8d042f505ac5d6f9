//! All collectors of one host, and the batch they give together.

use std::sync::Arc;
use std::time::Duration;

use super::collector::SPECS;
use super::lane::SlowLane;
use super::settings::{Error, Settings};
use super::sink::{Family, Sink};
use super::slot::{Shared, Slot, Status};
use crate::model::{Batch, Completeness, Labels, MetricMeta, Source};
use crate::telemetry::Telemetry;
use crate::time::Timestamp;

const UP: Family = Family::gauge("up", "1 when the source could be read, else 0.");
const DURATION: Family =
    Family::gauge("node_scrape_collector_duration_seconds", "node_exporter: Duration of a collector scrape.");
const SUCCESS: Family = Family::gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.");
/// How long a batch waits for the slow collectors: the first one so that it is complete, later ones so that their values
/// need not wait for the next batch.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_millis(10);

/// The host's own metrics.
pub struct System {
    source: Source,
    quick: Vec<Slot>,
    slow: SlowLane,
    /// What we say of the collectors themselves.
    own: Sink,
    /// How many samples the last batch had.
    expected: usize,
    meta_given: bool,
}

impl System {
    /// Prepares all collectors that are switched on, and starts the thread of the slow ones.
    ///
    /// # Errors
    /// For settings that [`Settings::check`] refuses, or when the thread can't be started.
    pub fn new(settings: Settings, telemetry: Telemetry) -> Result<System, Error> {
        let checked = settings.compile()?;
        let instance = match settings.instance.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            given => given.to_owned(),
        };
        let base = Labels::from_pairs([("job", settings.job.as_str()), ("instance", &instance)]);
        let shared = Arc::new(Shared { checked, base: base.clone(), telemetry: telemetry.clone() });
        let on = |name: &str, default: bool| settings.collectors.get(name).copied().unwrap_or(default);
        let specs = SPECS.iter().filter(|spec| on(spec.of.unwrap_or(spec.name), spec.on));
        let (slow, quick): (Vec<_>, Vec<_>) = specs.partition(|spec| spec.slow);
        let slots = |specs: Vec<_>| specs.into_iter().map(|spec| Slot::new(spec, &shared)).collect();
        Ok(System {
            source: Source::new("system", &settings.job),
            quick: slots(quick),
            slow: SlowLane::new(slots(slow), settings.slow_interval, settings.mount_timeout, telemetry)?,
            own: Sink::new(&base),
            expected: 0,
            meta_given: false,
        })
    }

    /// Reads the host. Blocks for the reading of a few dozen files of /proc; the first call also waits a little for the
    /// slow collectors.
    pub fn collect(&mut self, now: Timestamp) -> Batch {
        let mut samples = Vec::with_capacity(self.expected + self.expected / 8);
        self.slow.start(now);
        for slot in &mut self.quick {
            slot.run(now);
            slot.sink.emit(&mut samples);
        }
        let patience = if self.meta_given { PATIENCE } else { FIRST_PATIENCE };
        self.slow.finish(now, patience, &mut samples);
        self.tell_of_collectors();
        self.own.emit(&mut samples);
        self.expected = samples.len();
        self.meta_given = true;
        Batch {
            source: self.source.clone(),
            at: now,
            samples,
            timed: Vec::new(),
            completeness: Completeness::Whole,
            meta: self.take_meta(),
            urgent: false,
        }
    }

    fn tell_of_collectors(&mut self) {
        self.own.begin();
        let own = &mut self.own;
        let mut tell = |name: &'static str, status: Status| {
            let labels = [("collector", name)];
            own.put(&DURATION, &labels, status.duration.as_secs_f64());
            own.put(&SUCCESS, &labels, f64::from(status.success));
        };
        for slot in &self.quick {
            if let Some(status) = slot.status {
                tell(slot.spec.name, status);
            }
        }
        self.slow.statuses(&mut tell);
        own.put(&UP, &[], 1.0);
    }

    fn take_meta(&mut self) -> Vec<MetricMeta> {
        let mut meta = Vec::new();
        for slot in &mut self.quick {
            slot.sink.take_meta(&mut meta);
        }
        self.slow.take_meta(&mut meta);
        self.own.take_meta(&mut meta);
        meta
    }
}
