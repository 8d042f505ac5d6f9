//! One law at work: samples in, a share, a threshold and a limit out.
//!
//! In each interval: the estimates take the sample, the publisher takes what fits, and from the same estimates comes the
//! limit. So the share falls first, and the limit tightens only when demand does not fit even with nothing optional; they
//! let go in the reverse order, and cannot fight: arrivals count what was rejected, too.

use serde::{Deserialize, Serialize};

use super::estimate::{Estimates, Sample, weight};
use super::latency::LatencyLaw;
use super::publish::Publisher;
use super::settings::{ControlSettings, Law};

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The share of requests that get the optional part.
    pub share: f64,
    /// Of a ladder: its level, 0 is healthy.
    pub level: usize,
    /// Requests that arrive while so many are in flight get no optional part.
    pub threshold: Option<f64>,
    /// Requests that arrive while so many are in flight are rejected.
    pub limit: Option<f64>,
}

/// What survives a restart. The fitting shares do not: a climb needs a whole hold after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlMemory {
    pub share: f64,
    pub cost: Option<f64>,
    pub ratio: f64,
    pub kappa: f64,
    pub hold: f64,
}

/// The inside of a law, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControlView {
    /// Requests a second.
    pub rate: f64,
    /// The share of slow answers, and on how many answers it rests.
    pub slow: f64,
    pub evidence: f64,
    /// Capacity-seconds for a full answer.
    pub cost: Option<f64>,
    pub ratio: f64,
    /// The target as it is corrected.
    pub target: f64,
    /// The use, averaged over three seconds.
    pub used: f64,
    /// The share that fits now, 0 to 2.
    pub fits: Option<f64>,
    /// Even degraded answers do not fit: the limit is tight.
    pub tight: bool,
    /// How long full service has been fitting, and must fit before the return, in seconds.
    pub fitting_for: f64,
    pub hold: f64,
    /// For how long there has been no sample, in seconds; 0 while there is one.
    pub silent: f64,
}

/// A law and its state.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: ControlSettings,
    estimates: Estimates,
    publisher: Publisher,
    latency: LatencyLaw,
    tight: bool,
    /// The threshold's own correction [ka]; only in the law `armed`.
    arming: f64,
    /// The host's pressure, averaged over three seconds while there is no sample [p].
    pressure: f64,
    silent: f64,
}

impl Controller {
    /// A law that knows nothing yet: full service, and no limit until there is evidence.
    pub fn new(settings: ControlSettings) -> Controller {
        let (estimates, publisher) = (Estimates::new(&settings), Publisher::new(&settings));
        let latency = LatencyLaw::new();
        Controller { settings, estimates, publisher, latency, tight: false, arming: 1.0, pressure: 0.0, silent: 0.0 }
    }

    /// Goes on from what was remembered.
    pub fn restored(settings: ControlSettings, memory: ControlMemory) -> Controller {
        let mut controller = Controller::new(settings);
        let settings = &controller.settings;
        controller.estimates = Estimates::restored(settings, memory.cost, memory.ratio, memory.kappa);
        controller.publisher.hold = memory.hold.clamp(settings.hold, settings.longest_hold.max(settings.hold));
        controller.publisher.share = memory.share.clamp(settings.floor, settings.ceiling);
        if !settings.levels.is_empty() {
            controller.publisher.share = settings.levels[controller.publisher.level(settings)];
        }
        controller
    }

    /// The settings in force.
    pub fn settings(&self) -> &ControlSettings {
        &self.settings
    }

    /// What must survive a restart.
    pub fn memory(&self) -> ControlMemory {
        ControlMemory {
            share: self.publisher.share,
            cost: self.estimates.cost,
            ratio: self.estimates.ratio,
            kappa: self.estimates.kappa,
            hold: self.publisher.hold,
        }
    }

    /// The inside, for people.
    pub fn view(&self) -> ControlView {
        ControlView {
            rate: self.estimates.rate,
            slow: self.estimates.slow_share(&self.settings),
            evidence: self.estimates.evidence(),
            cost: self.estimates.cost,
            ratio: self.estimates.ratio,
            target: self.settings.target * self.estimates.kappa,
            used: self.estimates.used,
            fits: self.publisher.last_fitted(),
            tight: self.tight,
            fitting_for: self.publisher.fitting_for(&self.settings),
            hold: self.publisher.hold,
            silent: self.silent,
        }
    }

    /// One interval: `elapsed` seconds after the last one, with what was observed in it. Without a sample everything
    /// stays as it is.
    pub fn step(&mut self, elapsed: f64, sample: Option<&Sample>) -> Published {
        self.publisher.pass(elapsed);
        let Some(sample) = sample else {
            self.estimates.missed(elapsed);
            self.silent += elapsed;
            return self.published();
        };
        // Intervals in which nobody asked at all count as missed as well.
        self.estimates.missed((elapsed - self.settings.interval).max(0.0));
        (self.silent, self.pressure) = (0.0, 0.0);
        let share = self.publisher.share;
        self.estimates.take(&self.settings, sample, share, self.tight);
        match self.settings.law {
            Law::Klein | Law::Aimd => {
                let some = sample.full + sample.degraded >= 1.0;
                if let Some(latency) = sample.latency.filter(|latency| some && latency.is_finite()) {
                    self.publisher.share = self.latency.next(&self.settings, share, latency);
                }
            }
            Law::Armed => self.arm(),
            Law::FeedForward | Law::WithLimit | Law::FeedForwardArmed => {
                let fits = self.estimates.fitting(&self.settings, sample, share);
                if self.publisher.take(&self.settings, fits) {
                    self.estimates.undone(&self.settings);
                }
            }
        }
        self.tighten();
        self.published()
    }

    /// One interval without a sample, in which the host's own pressure (the share of time in which somebody waited for a
    /// processor, 0 to 1) is still known: nothing climbs, but a host that is saturated falls. Not for armed consumers:
    /// they see their own queue.
    pub fn blind(&mut self, elapsed: f64, pressure: f64) -> Published {
        self.pressure += weight(self.settings.interval, 3.0) * (pressure - self.pressure);
        let held = self.step(elapsed, None);
        if self.settings.law.arms() || self.pressure <= 0.85 || self.publisher.share <= self.settings.floor {
            return held;
        }
        let fallen = self.publisher.share - 0.5 * self.settings.interval;
        self.publisher.share = fallen.max(self.settings.floor);
        if !self.settings.levels.is_empty() {
            self.publisher.share = self.settings.levels[self.publisher.level(&self.settings)];
        }
        self.publisher.forget();
        Published { limit: held.limit, ..self.published() }
    }

    /// The threshold follows the share of slow answers.
    fn arm(&mut self) {
        self.publisher.share = self.settings.ceiling;
        let (slow, h) = (self.estimates.slow_share(&self.settings), self.settings.interval);
        if slow > self.settings.slow_share {
            self.arming *= 1.0 - 0.1 * h * (slow / self.settings.slow_share - 1.0).min(2.0);
        } else {
            self.arming += 0.01 * h;
        }
        self.arming = self.arming.clamp(0.2, 1.0);
    }

    fn tighten(&mut self) {
        let Some((_, degraded)) = self.estimates.costs() else { return };
        let (demand, room) = (self.estimates.rate * degraded, self.settings.target * self.estimates.kappa);
        if demand > room {
            self.tight = true;
        } else if demand < 0.9 * room {
            self.tight = false;
        }
    }

    fn published(&self) -> Published {
        let settings = &self.settings;
        let share = self.publisher.share;
        let mut published = Published { share, level: self.publisher.level(settings), threshold: None, limit: None };
        let Some((full, degraded)) = self.estimates.costs().filter(|_| settings.law != Law::FeedForward) else {
            return published;
        };
        let mixed = (share * full + (1.0 - share) * degraded).max(1e-9);
        let work = if self.tight { settings.work_tight } else { settings.work_full };
        if settings.law.arms() {
            let threshold = (self.arming * settings.work_soft / full).max(1.0);
            published.threshold = Some(threshold);
            published.limit = Some((work / degraded).min(4.0 * settings.work_full / mixed).max(2.0 * threshold));
        } else {
            published.limit = Some((work / mixed).max(settings.least_limit));
        }
        published
    }
}
