//! A collector in its place: run it, catch its panics, remember its values and how it went.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::collector::{Collector, Failure, Spec};
use super::settings::Checked;
use super::sink::Sink;
use crate::limits;
use crate::model::Labels;
use crate::telemetry::{Metric, Telemetry};
use crate::time::{Stopwatch, Timestamp};

/// What all collectors share.
pub(crate) struct Shared {
    pub(crate) checked: Checked,
    pub(crate) base: Labels,
    pub(crate) telemetry: Telemetry,
}

/// How the last run went; `None` before the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) success: bool,
    pub(crate) duration: Duration,
}

/// See the head of this file.
pub(crate) struct Slot {
    pub(crate) spec: &'static Spec,
    pub(crate) sink: Sink,
    pub(crate) status: Option<Status>,
    collector: Box<dyn Collector>,
    shared: Arc<Shared>,
    /// After a panic: when it is tried again, and how long it waits after the next one.
    retry: Option<(Timestamp, Duration)>,
    stuck: bool,
}

const FIRST_RETRY: Duration = Duration::from_secs(1);

impl Slot {
    pub(crate) fn new(spec: &'static Spec, shared: &Arc<Shared>) -> Slot {
        Slot {
            spec,
            sink: Sink::new(&shared.base),
            status: None,
            collector: (spec.build)(&shared.checked),
            shared: shared.clone(),
            retry: None,
            stuck: false,
        }
    }

    /// Runs the collector, unless it panicked a short while ago.
    pub(crate) fn run(&mut self, now: Timestamp) {
        // The clock may have been set back.
        if self.retry.is_some_and(|(at, _)| now < at && at <= now + limits::RETRY_WAIT) {
            return;
        }
        let watch = Stopwatch::start();
        self.sink.begin();
        let (collector, sink) = (&mut self.collector, &mut self.sink);
        let outcome = catch_unwind(AssertUnwindSafe(|| collector.collect(now, sink)));
        let duration = watch.elapsed();
        let success = match outcome {
            Ok(outcome) => {
                self.retry = None;
                self.report(&outcome);
                outcome.is_ok()
            }
            Err(_) => {
                self.restart(now);
                false
            }
        };
        let stuck = self.collector.is_stuck();
        if stuck != self.stuck {
            self.stuck = stuck;
            self.shared.telemetry.set(Metric::CollectorStuck, &[("collector", self.spec.name)], f64::from(stuck));
        }
        let refused = self.sink.take_refused();
        if refused > 0 {
            let source = format!("system/{}", self.spec.name);
            let labels = [("reason", "collector_limit"), ("source", source.as_str())];
            self.shared.telemetry.add(Metric::SamplesRefused, &labels, refused as f64);
        }
        if self.status.is_none_or(|status| status.success != success) {
            let value = f64::from(success);
            self.shared.telemetry.set(Metric::CollectorSuccess, &[("collector", self.spec.name)], value);
        }
        self.status = Some(Status { success, duration });
    }

    /// Logs a failure when it begins; that a host lacks some hardware is no news.
    fn report(&self, outcome: &Result<(), Failure>) {
        let before = self.status.is_none_or(|status| status.success);
        match outcome {
            Err(Failure::NoData) if before => {
                tracing::debug!(collector = self.spec.name, "collector has no data on this host");
            }
            Err(failure) if before => {
                tracing::warn!(collector = self.spec.name, %failure, "collector failed");
            }
            _ => {}
        }
    }

    fn restart(&mut self, now: Timestamp) {
        let wait = self.retry.map_or(FIRST_RETRY, |(_, wait)| wait);
        self.retry = Some((now + wait, (wait * 2).min(limits::RETRY_WAIT)));
        self.collector = (self.spec.build)(&self.shared.checked);
        // Half of its values would be misleading.
        self.sink.begin();
        let task = format!("system/{}", self.spec.name);
        self.shared.telemetry.count(Metric::TaskPanics, &[("task", &task)]);
        tracing::error!(collector = self.spec.name, "collector panicked and was started again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::system::Settings;
    use crate::signals::system::sink::Family;

    struct Panics;

    impl Collector for Panics {
        fn collect(&mut self, now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
            sink.put(&Family::gauge("a", "A."), &[], now.as_secs_f64());
            assert!(now >= Timestamp::from_millis(10_000), "too early");
            Ok(())
        }

        fn is_stuck(&self) -> bool {
            true
        }
    }

    static SPEC: Spec = Spec { name: "panics", of: None, on: true, slow: false, help: "", build: |_| Box::new(Panics) };

    #[test]
    fn a_panic_is_counted_and_the_collector_tried_again_ever_more_rarely() {
        let telemetry = Telemetry::new();
        let checked = Settings::default().compile().unwrap();
        let shared = Arc::new(Shared { checked, base: Labels::empty(), telemetry: telemetry.clone() });
        let mut slot = Slot::new(&SPEC, &shared);
        let panics = |telemetry: &Telemetry| telemetry.get(Metric::TaskPanics, &[("task", "system/panics")]);
        let count = |slot: &Slot| {
            let mut samples = Vec::new();
            slot.sink.emit(&mut samples);
            samples.len()
        };
        // Runs at 0, 1, 3 and 7 seconds panic: the waits double.
        for seconds in 0..10 {
            slot.run(Timestamp::from_millis(seconds * 1000));
            assert_eq!(count(&slot), 0);
        }
        assert_eq!(panics(&telemetry), Some(4.0));
        assert_eq!(telemetry.get(Metric::CollectorSuccess, &[("collector", "panics")]), Some(0.0));
        assert_eq!(telemetry.get(Metric::CollectorStuck, &[("collector", "panics")]), Some(1.0));
        // A clock that is set back does not make it wait longer.
        slot.run(Timestamp::from_millis(-100_000));
        assert_eq!(panics(&telemetry), Some(5.0));
        slot.run(Timestamp::from_millis(15_000));
        assert_eq!(count(&slot), 1);
        assert_eq!(telemetry.get(Metric::CollectorSuccess, &[("collector", "panics")]), Some(1.0));
    }
}
