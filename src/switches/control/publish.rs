//! From the share that fits to the share that is published: down at once, up after a hold, and longer after each climb
//! that had to be undone.

use std::collections::VecDeque;

use super::settings::ControlSettings;

/// How far back the fitting shares are kept, in seconds.
const REMEMBERED: f64 = 300.0;
/// The shortest stay on a level of a ladder before a step up, in seconds.
const STEP: f64 = 2.0;

/// The publisher. The names of `facts` are in brackets.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    /// The share in force [d].
    pub share: f64,
    /// What fitted, newest last [the ring].
    fitted: VecDeque<f64>,
    /// How long full service must fit before the return to it [Hf], and a part of it before a partial climb [Hp].
    pub hold: f64,
    pub partial_hold: f64,
    /// Whether a partial climb has not proved itself yet [up].
    climbing: bool,
    /// The time of the last step of the return to full service [t_c].
    returned: f64,
    /// The time, in seconds since the start, and since the level of a ladder changed.
    now: f64,
    stayed: f64,
}

impl Publisher {
    pub fn new(settings: &ControlSettings) -> Publisher {
        Publisher {
            share: settings.ceiling,
            fitted: VecDeque::new(),
            hold: settings.hold,
            partial_hold: settings.hold,
            climbing: false,
            returned: f64::NEG_INFINITY,
            now: 0.0,
            stayed: 0.0,
        }
    }

    /// Time passes.
    pub fn pass(&mut self, seconds: f64) {
        self.now += seconds;
    }

    /// The fitting shares are forgotten: a climb needs a whole hold again.
    pub fn forget(&mut self) {
        self.fitted.clear();
    }

    /// What fitted last.
    pub fn last_fitted(&self) -> Option<f64> {
        self.fitted.back().copied()
    }

    /// The least that fitted over the last seconds; 0 when that long is not known.
    fn least(&self, settings: &ControlSettings, seconds: f64) -> f64 {
        let samples = ((seconds / settings.interval).round() as usize).max(1);
        if self.fitted.len() < samples {
            return 0.0;
        }
        self.fitted.iter().rev().take(samples).copied().fold(2.0, f64::min)
    }

    /// For how many seconds full service has been fitting without a break.
    pub fn fitting_for(&self, settings: &ControlSettings) -> f64 {
        self.fitted.iter().rev().take_while(|fits| **fits >= 1.0).count() as f64 * settings.interval
    }

    /// The level of a ladder: the first whose share is not above the one in force.
    pub fn level(&self, settings: &ControlSettings) -> usize {
        let level = settings.levels.iter().position(|share| *share <= self.share + 1e-9);
        level.unwrap_or(settings.levels.len().saturating_sub(1))
    }

    /// Takes what fits now; true when the share fell.
    pub fn take(&mut self, settings: &ControlSettings, fits: f64) -> bool {
        let fits = fits.clamp(0.0, 2.0);
        self.fitted.push_back(fits);
        if self.fitted.len() > (REMEMBERED / settings.interval) as usize + 1 {
            self.fitted.pop_front();
        }
        self.stayed += settings.interval;
        let before = self.share;
        let fell = if settings.levels.is_empty() { self.dim(settings, fits) } else { self.step(settings, fits) };
        self.share = self.share.clamp(settings.floor, settings.ceiling);
        if before <= 0.95 && self.share > 0.95 {
            (self.partial_hold, self.climbing) = (settings.hold, false);
        }
        if self.share > 0.95 && self.hold > settings.hold && self.now - self.returned > 5.0 * self.hold {
            self.hold = settings.hold;
        }
        fell
    }

    fn dim(&mut self, settings: &ControlSettings, fits: f64) -> bool {
        let share = self.share;
        let step = settings.ramp * settings.interval;
        let partial = self.least(settings, self.partial_hold.max(self.hold)).min(settings.ceiling);
        if fits < share - settings.band || (fits <= settings.floor && share > settings.floor) {
            self.undo(settings);
            self.share = fits.min(settings.ceiling);
            return true;
        }
        if self.least(settings, self.hold) >= 1.0 {
            if share < settings.ceiling {
                self.share = (share + step).min(settings.ceiling);
                self.returned = self.now;
            }
        } else if partial - settings.margin > share + settings.band {
            self.share = (share + step).min(partial - settings.margin);
            self.climbing = true;
        }
        false
    }

    /// A ladder: down to the level that is needed, over several at once; up one at a time.
    fn step(&mut self, settings: &ControlSettings, fits: f64) -> bool {
        let levels = &settings.levels;
        let last = levels.len() - 1;
        let (full, partial) = (self.least(settings, self.hold), self.least(settings, self.partial_hold.max(self.hold)));
        let now = self.level(settings);
        let needed = levels.iter().position(|share| *share <= fits + settings.band).unwrap_or(last);
        let reserve = |share: f64| if share < 1.0 { settings.band } else { 0.0 };
        let up = levels.iter().position(|share| *share <= partial - reserve(*share)).unwrap_or(last);
        let to = if needed > now {
            self.undo(settings);
            needed
        } else if full >= 1.0 && now > 0 && self.stayed >= STEP {
            self.returned = self.now;
            now - 1
        } else if full < 1.0 && up < now && self.stayed >= STEP {
            self.climbing = true;
            now - 1
        } else {
            now
        };
        if to != now {
            self.stayed = 0.0;
        }
        self.share = levels[to];
        to > now
    }

    /// A fall that undoes a climb makes the next one wait longer.
    fn undo(&mut self, settings: &ControlSettings) {
        if std::mem::take(&mut self.climbing) {
            self.partial_hold = (2.0 * self.partial_hold).min(settings.longest_hold);
        }
        if self.now - self.returned < 2.0 * self.hold + 20.0 {
            self.hold = (2.0 * self.hold).min(settings.longest_hold);
            self.returned = f64::NEG_INFINITY;
        }
    }
}
