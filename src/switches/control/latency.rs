//! The two laws that decide by the latency, kept as named alternatives: Klein's controller and AIMD. Both must probe to
//! find out whether full service fits, so both turn more often than the feed-forward laws.

use super::settings::{ControlSettings, Law};

/// How much of a change upwards Klein's controller makes: a quarter, since climbing as fast as falling flaps.
const UPWARDS: f64 = 0.25;
/// The forgetting of its least squares, and its pole.
const FORGETTING: f64 = 0.95;
const POLE: f64 = 0.9;

/// Klein's model: latency = alpha times the share, alpha by recursive least squares.
#[derive(Clone, Debug)]
pub(super) struct LatencyLaw {
    covariance: f64,
    alpha: f64,
}

impl LatencyLaw {
    pub fn new() -> LatencyLaw {
        LatencyLaw { covariance: 1000.0, alpha: 1.0 }
    }

    /// The next share, from the present one and the latency in seconds.
    pub fn next(&mut self, settings: &ControlSettings, share: f64, latency: f64) -> f64 {
        let h = settings.interval;
        let next = match settings.law {
            Law::Aimd if latency > settings.objective => share * 0.5_f64.powf(h),
            Law::Aimd => share + 0.01 * h,
            _ => self.klein(settings, share, latency),
        };
        next.clamp(settings.floor, settings.ceiling)
    }

    fn klein(&mut self, settings: &ControlSettings, share: f64, latency: f64) -> f64 {
        let gained = self.covariance * share;
        let gain = 1.0 / (share * gained + FORGETTING);
        self.alpha += gain * gained * (latency - share * self.alpha);
        self.covariance = (self.covariance - gain * gained * gained) / FORGETTING;
        if self.alpha.abs() < 1e-3 {
            self.alpha = 1e-3;
        }
        let step = settings.interval.min(1.0) * (1.0 - POLE) / self.alpha * (settings.set_point - latency);
        let next = (share + step).clamp(settings.floor, settings.ceiling);
        if next < share { next } else { share + UPWARDS * (next - share) }
    }
}
