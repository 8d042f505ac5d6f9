//! The slow lane: collectors that may take long run in a thread of their own, and their values are repeated until the
//! next ones are there.
//!
//! The collectors travel: they are sent to the thread for a run and come back with their values. While they are away
//! longer than the timeout, a device hangs: their values are no longer shown, and the one that runs is told as stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::settings::Error;
use super::slot::{Slot, Status};
use crate::model::{Labels, MetricMeta};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Timestamp;

/// See the head of this file.
pub(crate) struct SlowLane {
    /// The collectors, when they are here.
    slots: Option<Vec<Slot>>,
    to_thread: Sender<(Timestamp, Vec<Slot>)>,
    from_thread: Receiver<Vec<Slot>>,
    /// Which collector runs.
    running: Arc<AtomicUsize>,
    names: Vec<&'static str>,
    every: Duration,
    timeout: Duration,
    due: Timestamp,
    sent: Timestamp,
    /// What is shown while they are away.
    held: Vec<(Labels, f64)>,
    held_status: Vec<(&'static str, Status)>,
    stuck: Option<&'static str>,
    telemetry: Telemetry,
}

impl SlowLane {
    /// Starts the thread.
    pub(crate) fn new(
        slots: Vec<Slot>,
        every: Duration,
        timeout: Duration,
        telemetry: Telemetry,
    ) -> Result<SlowLane, Error> {
        let (to_thread, work) = channel();
        let (done, from_thread) = channel();
        let running = Arc::new(AtomicUsize::new(0));
        let theirs = running.clone();
        let thread = std::thread::Builder::new().name("slow-collectors".into());
        thread.spawn(move || serve(&work, &done, &theirs)).map_err(Error::Thread)?;
        Ok(SlowLane {
            names: slots.iter().map(|slot| slot.spec.name).collect(),
            slots: Some(slots),
            to_thread,
            from_thread,
            running,
            every,
            timeout,
            due: Timestamp::MIN,
            sent: Timestamp::MIN,
            held: Vec::new(),
            held_status: Vec::new(),
            stuck: None,
            telemetry,
        })
    }

    /// Sends the collectors off when it is time.
    pub(crate) fn start(&mut self, now: Timestamp) {
        self.take_back(Duration::ZERO);
        // After a step of the clock back, the times of before mean nothing.
        if now < self.sent {
            (self.sent, self.due) = (now, now);
        }
        if now < self.due {
            return;
        }
        let Some(slots) = self.slots.take() else { return };
        self.held.clear();
        slots.iter().for_each(|slot| slot.sink.emit(&mut self.held));
        self.held_status.clear();
        self.held_status.extend(statuses(&slots));
        self.due = now + self.every;
        self.sent = now;
        // The thread ends only with this lane, and keeps no collector: a failed send gives them back.
        if let Err(returned) = self.to_thread.send((now, slots)) {
            self.slots = Some(returned.0.1);
        }
    }

    /// Waits a little for the collectors, then adds their values, or the ones held.
    pub(crate) fn finish(&mut self, now: Timestamp, patience: Duration, samples: &mut Vec<(Labels, f64)>) {
        self.take_back(patience);
        let is_stuck = self.slots.is_none() && now.since(self.sent) >= self.timeout;
        self.report_stuck(is_stuck);
        match &self.slots {
            Some(slots) => slots.iter().for_each(|slot| slot.sink.emit(samples)),
            None if is_stuck => {}
            None => samples.extend_from_slice(&self.held),
        }
    }

    /// Families that were not announced yet.
    pub(crate) fn take_meta(&mut self, meta: &mut Vec<MetricMeta>) {
        for slot in self.slots.iter_mut().flatten() {
            slot.sink.take_meta(meta);
        }
    }

    /// How the collectors' last runs went.
    pub(crate) fn statuses(&self, mut show: impl FnMut(&'static str, Status)) {
        match &self.slots {
            Some(slots) => statuses(slots).for_each(|(name, status)| show(name, status)),
            None => {
                for (name, status) in &self.held_status {
                    let success = status.success && self.stuck.is_none();
                    show(name, Status { success, ..*status });
                }
            }
        }
    }

    fn take_back(&mut self, patience: Duration) {
        if self.slots.is_some() {
            return;
        }
        match self.from_thread.recv_timeout(patience) {
            Ok(slots) => self.slots = Some(slots),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    fn report_stuck(&mut self, is_stuck: bool) {
        let running = self.names.get(self.running.load(Ordering::Relaxed)).copied();
        let stuck = running.filter(|_| is_stuck);
        if stuck == self.stuck {
            return;
        }
        for (name, value) in [(self.stuck, 0.0), (stuck, 1.0)] {
            if let Some(name) = name {
                self.telemetry.set(Metric::CollectorStuck, &[("collector", name)], value);
            }
        }
        if let Some(name) = stuck {
            tracing::warn!(collector = name, "collector does not come back");
        }
        self.stuck = stuck;
    }
}

fn statuses(slots: &[Slot]) -> impl Iterator<Item = (&'static str, Status)> {
    let listed = slots.iter().filter(|slot| slot.spec.of.is_none());
    listed.filter_map(|slot| Some((slot.spec.name, slot.status?)))
}

fn serve(work: &Receiver<(Timestamp, Vec<Slot>)>, done: &Sender<Vec<Slot>>, running: &AtomicUsize) {
    while let Ok((now, mut slots)) = work.recv() {
        for (position, slot) in slots.iter_mut().enumerate() {
            running.store(position, Ordering::Relaxed);
            slot.run(now);
        }
        if done.send(slots).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::signals::system::collector::{Collector, Failure, Spec};
    use crate::signals::system::settings::Settings;
    use crate::signals::system::sink::{Family, Sink};
    use crate::signals::system::slot::Shared;

    /// While a test holds this, the collector hangs.
    static GATE: Mutex<()> = Mutex::new(());

    struct Hangs;

    impl Collector for Hangs {
        fn collect(&mut self, now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
            drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
            sink.put(&Family::gauge("a", "A."), &[], now.as_secs_f64());
            Ok(())
        }
    }

    static SPEC: Spec = Spec { name: "hangs", of: None, on: true, slow: true, help: "", build: |_| Box::new(Hangs) };

    #[test]
    fn values_are_repeated_until_a_collector_counts_as_stuck() {
        let telemetry = Telemetry::new();
        let checked = Settings::default().compile().unwrap();
        let shared = Arc::new(Shared { checked, base: Labels::empty(), telemetry: telemetry.clone() });
        let (every, timeout, long) = (Duration::from_secs(5), Duration::from_secs(4), Duration::from_secs(60));
        let mut lane = SlowLane::new(vec![Slot::new(&SPEC, &shared)], every, timeout, telemetry.clone()).unwrap();
        let mut look = |seconds: i64, patience: Duration| {
            let now = Timestamp::from_millis(seconds * 1000);
            lane.start(now);
            let (mut samples, mut success) = (Vec::new(), None);
            lane.finish(now, patience, &mut samples);
            lane.statuses(|_, status| success = Some(status.success));
            let stuck = telemetry.get(Metric::CollectorStuck, &[("collector", "hangs")]);
            (samples.first().map(|(_, value)| *value), success, stuck)
        };
        assert_eq!(look(1, long), (Some(1.0), Some(true), None));
        assert_eq!(look(2, Duration::ZERO), (Some(1.0), Some(true), None));
        let held = GATE.lock().unwrap();
        assert_eq!(look(6, Duration::ZERO), (Some(1.0), Some(true), None));
        assert_eq!(look(9, Duration::ZERO), (Some(1.0), Some(true), None));
        assert_eq!(look(10, Duration::ZERO), (None, Some(false), Some(1.0)));
        drop(held);
        assert_eq!(look(10, long), (Some(6.0), Some(true), Some(0.0)));
        assert_eq!(look(11, long), (Some(11.0), Some(true), Some(0.0)));
        // The clock was set back.
        assert_eq!(look(3, long), (Some(3.0), Some(true), Some(0.0)));
    }
}
