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
