//! What the samples say: the rate of requests, the share of slow ones, what a request costs, and how far to trust that.
//!
//! A request's cost is capacity-seconds for one full answer, from the use of the capacity and what was served; a degraded
//! answer counts as the cost ratio of one. A jump of the rate is taken at once when it is no accident (four standard
//! deviations); else the rate is smoothed over five seconds. One bad sample of the latency does nothing: the median of
//! three counts. A capacity that fell shows as saturation with a cost that grew: then the old cost is forgotten.
//!
//! Learning the cost ratio on line was tried and is worse than a constant guess: while one class is served it cannot be
//! identified, and in a steady mixture it is biased. It only grows when the law would be stuck: clear headroom for
//! minutes, and still degraded.

use std::collections::VecDeque;

use super::settings::ControlSettings;

/// What was observed in one interval. All but `latency` and `age` must be known; without them there is no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Requests that came, those that were rejected or tried again included.
    pub arrivals: f64,
    /// Full and degraded answers.
    pub full: f64,
    pub degraded: f64,
    /// The share of answers slower than the early warning.
    pub slow: f64,
    /// The use of the capacity that is there, 0 to 1.
    pub utilisation: f64,
    /// Requests in flight now.
    pub in_flight: f64,
    /// How old all this is, in seconds.
    pub age: f64,
    /// The 95th percentile of the latency in seconds, for laws that decide by it.
    pub latency: Option<f64>,
}

/// A pause longer than this makes the rate begin anew.
const LONGEST_GAP: f64 = 5.0;
/// A jump of so many standard deviations is no accident.
const SIGNIFICANT: f64 = 4.0;
/// The bounds of the correction.
const KAPPA: (f64, f64) = (0.6, 1.1);
/// How long a clear headroom is believed before the cost ratio grows, at first and at most.
const PATIENCE: (f64, f64) = (300.0, 2400.0);

/// The estimates. The names of `facts` are in brackets.
#[derive(Clone, Debug)]
pub(super) struct Estimates {
    /// Requests a second [lam], and the variance of the count [v].
    pub rate: f64,
    variance: f64,
    begun: bool,
    gap: f64,
    /// Decayed counts: all answers and slow ones [s_n, s_s], and the last shares.
    counted: f64,
    slow: f64,
    shares: VecDeque<f64>,
    /// Decayed busy time and full equivalents, over the memory and over 3 s [b, e, b3, e3].
    busy: f64,
    served: f64,
    busy_recent: f64,
    served_recent: f64,
    /// The share of saturated samples [z], and the use [u_e].
    saturated: f64,
    pub used: f64,
    /// The correction of the target.
    pub kappa: f64,
    /// Degraded against full [r].
    pub ratio: f64,
    /// Capacity-seconds for a full answer [c].
    pub cost: Option<f64>,
    /// For how long there has been clear headroom [w], and how long that must last [W_p].
    clear: f64,
    patience: f64,
}

/// The weight of a new value in an average over `tau` seconds.
pub(super) fn weight(h: f64, tau: f64) -> f64 {
    1.0 - (-h / tau).exp()
}

impl Estimates {
    pub fn new(settings: &ControlSettings) -> Estimates {
        Estimates {
            rate: 0.0,
            variance: 0.0,
            begun: false,
            gap: 0.0,
            counted: 0.0,
            slow: 0.0,
            shares: VecDeque::new(),
            busy: 0.0,
            served: 0.0,
            busy_recent: 0.0,
            served_recent: 0.0,
            saturated: 0.0,
            used: 0.0,
            kappa: 1.0,
            ratio: settings.cost_ratio,
            cost: None,
            clear: 0.0,
            patience: PATIENCE.0,
        }
    }

    /// Goes on from what a restart remembers: the cost with just enough evidence.
    pub fn restored(settings: &ControlSettings, cost: Option<f64>, ratio: f64, kappa: f64) -> Estimates {
        let mut estimates = Estimates::new(settings);
        estimates.ratio = ratio.clamp(settings.cost_ratio.min(1.0), 1.0);
        estimates.kappa = kappa.clamp(KAPPA.0, KAPPA.1);
        if let Some(cost) = cost.filter(|cost| cost.is_finite() && *cost > 0.0) {
            estimates.cost = Some(cost);
            (estimates.busy, estimates.served) = (cost * settings.evidence, settings.evidence);
        }
        estimates
    }

    /// Time without a sample: nothing moves, but the rate grows old.
    pub fn missed(&mut self, seconds: f64) {
        self.gap += seconds;
    }

    /// The share of slow answers [S]; with too little evidence it is what is allowed.
    pub fn slow_share(&self, settings: &ControlSettings) -> f64 {
        if self.counted >= settings.evidence { self.slow / self.counted } else { settings.slow_share }
    }

    /// Answers that the share of slow ones rests on.
    pub fn evidence(&self) -> f64 {
        self.counted
    }

    /// A full answer's cost and a degraded one's, when they are known.
    pub fn costs(&self) -> Option<(f64, f64)> {
        self.cost.map(|cost| (cost, cost * self.ratio))
    }

    /// Takes a sample; `share` and `tight` are what was in force meanwhile.
    pub fn take(&mut self, settings: &ControlSettings, sample: &Sample, share: f64, tight: bool) {
        self.take_rate(settings, sample);
        self.take_slow(settings, sample);
        self.take_cost(settings, sample, share, tight);
        self.gap = 0.0;
        if self.cost.is_none() {
            return;
        }
        let h = settings.interval;
        if self.clear >= self.patience {
            self.ratio = (self.ratio * (h / 20.0).exp()).min(1.0);
        }
        let (slow, allowed) = (self.slow_share(settings), settings.slow_share);
        if slow <= allowed {
            self.kappa += settings.correction * h * (1.0 - slow / allowed);
        } else if share > 0.0 {
            // With nothing optional left there is nothing to correct; counting on would only delay the return.
            self.kappa -= settings.correction * h * (slow / allowed - 1.0).min(4.0);
        }
        self.kappa = self.kappa.clamp(KAPPA.0, KAPPA.1);
    }

    fn take_rate(&mut self, settings: &ControlSettings, sample: &Sample) {
        let h = settings.interval;
        let seen = sample.arrivals / h;
        if !self.begun || self.gap > LONGEST_GAP {
            (self.rate, self.variance, self.begun) = (seen, 0.0, true);
        } else {
            let error = sample.arrivals - self.rate * h;
            let variance = self.variance.max(self.rate * h + 1.0);
            self.variance += weight(h, 30.0) * ((error * error).min(9.0 * variance) - self.variance);
            if error.abs() > SIGNIFICANT * variance.sqrt() {
                self.rate = seen;
            } else {
                self.rate += weight(h, 5.0) * (seen - self.rate);
            }
        }
        self.rate = self.rate.max(0.01);
    }

    fn take_slow(&mut self, settings: &ControlSettings, sample: &Sample) {
        self.shares.push_back(sample.slow);
        if self.shares.len() > 3 {
            self.shares.pop_front();
        }
        let mut sorted: Vec<f64> = self.shares.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[(sorted.len() - 1) / 2];
        let (kept, answers) = ((-settings.interval / 5.0).exp(), sample.full + sample.degraded);
        self.counted = self.counted * kept + answers;
        self.slow = self.slow * kept + answers * median;
    }

    fn take_cost(&mut self, settings: &ControlSettings, sample: &Sample, share: f64, tight: bool) {
        let h = settings.interval;
        let (kept, kept_recent) = ((-h / settings.cost_memory).exp(), (-h / 3.0).exp());
        let equivalents = sample.full + self.ratio * sample.degraded;
        self.busy = self.busy * kept + sample.utilisation * h;
        self.served = self.served * kept + equivalents;
        self.busy_recent = self.busy_recent * kept_recent + sample.utilisation * h;
        self.served_recent = self.served_recent * kept_recent + equivalents;
        self.saturated += weight(h, 3.0) * (f64::from(u8::from(sample.utilisation > 0.97)) - self.saturated);
        self.used += weight(h, 3.0) * (sample.utilisation - self.used);
        let headroom = share < 0.95 * settings.ceiling
            && !tight
            && self.slow_share(settings) <= settings.slow_share
            && self.used < 0.6;
        self.clear = match headroom {
            true if self.used < 0.3 => self.clear + 10.0 * h,
            true => self.clear + h,
            false => 0.0,
        };
        if self.served < settings.evidence {
            return;
        }
        let cost = self.busy / self.served;
        let recent = self.busy_recent / self.served_recent;
        let fell = self.served_recent >= settings.evidence && self.saturated > 0.6 && recent > 1.35 * cost;
        if fell {
            (self.busy, self.served) = (self.busy_recent, self.served_recent);
        }
        self.cost = Some(if fell { recent } else { cost }).filter(|cost| *cost > 0.0).or(self.cost);
    }

    /// A fall: if the cost ratio had grown, it was too much.
    pub fn undone(&mut self, settings: &ControlSettings) {
        if self.ratio > 1.2 * settings.cost_ratio {
            self.ratio = (self.ratio * 0.5).max(settings.cost_ratio);
            self.patience = (self.patience * 2.0).min(PATIENCE.1);
            self.clear = 0.0;
        }
    }

    /// The share of full service that fits, before it is bounded: above 1 there is room; 2 while nothing is known.
    pub fn fitting(&self, settings: &ControlSettings, sample: &Sample, share: f64) -> f64 {
        let Some((full, degraded)) = self.costs() else { return 2.0 };
        let mixed = share * full + (1.0 - share) * degraded;
        let backlog = (sample.in_flight * mixed - settings.backlog).max(0.0);
        // A late sample still shows what has been drained since: do not drain it twice.
        let room = (settings.target * self.kappa - backlog / settings.drain.max(2.0 * sample.age)).max(0.0);
        (room - self.rate * degraded) / (self.rate * (full - degraded).max(1e-9))
    }
}
