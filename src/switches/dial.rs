//! One `dim` or `limit` rule: a control law, what it was fed last, and what it published.

use std::time::Duration;

use super::control::{ControlMemory, ControlSettings, ControlView, Controller, Published, Sample};
use super::fleet::Quorum;
use super::state::Mode;
use super::value::{percent, short};
use crate::model::SwitchName;
use crate::time::Timestamp;

/// How often the slowly changing part of a law's memory is kept, when nothing else is.
const KEPT_EVERY: Duration = Duration::from_secs(60);
/// A change of a limit or a threshold that is worth telling, as a share of it.
const WORTH_TELLING: f64 = 0.05;
/// And of a share.
const SHARE_WORTH_TELLING: f64 = 0.01;

/// A rule that gives a dimmer, a ladder or a limit its value.
#[derive(Clone, Debug, PartialEq)]
pub struct DialRule {
    /// Unique among the rules.
    pub rule: String,
    /// `group/rule`, for messages.
    pub title: String,
    pub switch: SwitchName,
    /// The limit behind a dimmer.
    pub limit: Option<SwitchName>,
    pub source: DialSource,
    pub mode: Mode,
    /// `host`, `zone` or `fleet`.
    pub scope: String,
    pub quorum: Quorum,
}

/// Where the value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum DialSource {
    Law(ControlSettings),
    /// The limit is what this expression gives.
    Value(String),
}

/// What the inputs of a law gave: rates a second; `None` without data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    pub arrivals: Option<f64>,
    pub full: Option<f64>,
    pub degraded: Option<f64>,
    /// Instead of the two: answers that cannot be told apart.
    pub answers: Option<f64>,
    pub slow: Option<f64>,
    pub utilisation: Option<f64>,
    pub in_flight: Option<f64>,
    pub latency: Option<f64>,
    pub pressure: Option<f64>,
    /// Whether the rule gives the requests in flight: where it does, they must be known.
    pub counts_in_flight: bool,
}

/// A rule at work.
#[derive(Clone, Debug)]
pub struct Dial {
    rule: DialRule,
    law: Option<Controller>,
    /// The last interval that was taken.
    stepped: Option<Timestamp>,
    kept: Option<Timestamp>,
    measured: Measured,
    published: Option<Published>,
    /// What an observing rule told last.
    pub(super) told: Option<Published>,
}

impl Dial {
    /// A rule that goes on from what is remembered.
    pub fn new(rule: DialRule, memory: Option<ControlMemory>) -> Dial {
        let law = match &rule.source {
            DialSource::Law(settings) => Some(match memory {
                Some(memory) => Controller::restored(settings.clone(), memory),
                None => Controller::new(settings.clone()),
            }),
            DialSource::Value(_) => None,
        };
        Dial { rule, law, stepped: None, kept: None, measured: Measured::default(), published: None, told: None }
    }

    /// A reload: the law goes on with what it knows where its settings are the same, else from its memory.
    pub fn reloaded(self, rule: DialRule) -> Dial {
        if rule.source == self.rule.source {
            return Dial { rule, ..self };
        }
        let memory = self.law.as_ref().map(Controller::memory);
        Dial::new(rule, memory)
    }

    /// The rule.
    pub fn rule(&self) -> &DialRule {
        &self.rule
    }

    /// What must survive a restart; nothing where an expression gives the value.
    pub fn memory(&self) -> Option<ControlMemory> {
        self.law.as_ref().map(Controller::memory)
    }

    /// The inside of the law.
    pub fn view(&self) -> Option<ControlView> {
        self.law.as_ref().map(Controller::view)
    }

    /// What the law steers and what it aims for: the use of the capacity and its target, or the latency and its set point
    /// in seconds. Without a sample the measure is unknown; where an expression gives the value there is no law.
    pub fn steers(&self) -> Option<(Option<f64>, f64)> {
        let (view, settings) = (self.view()?, self.law.as_ref()?.settings());
        let (measure, set_point) = match settings.law.by_latency() {
            true => (self.measured.latency, settings.set_point),
            false => (Some(view.used), view.target),
        };
        Some((measure.filter(|_| view.silent <= 0.0), set_point))
    }

    /// What the inputs gave last.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// What it wants now; `None` before the first sample.
    pub fn published(&self) -> Option<Published> {
        self.published
    }

    /// The system's clock was set: times that lie in the past move with it.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        for at in [&mut self.stepped, &mut self.kept] {
            *at = at.map(|at| at.shifted(by_millis));
        }
    }

    /// Takes what was measured in one interval. `None` when it is too soon after the last one; else what is wanted, and
    /// whether the memory is worth keeping now.
    pub fn take(&mut self, now: Timestamp, measured: Measured) -> Option<(Published, bool)> {
        let law = self.law.as_mut()?;
        let interval = law.settings().interval;
        let elapsed = self.stepped.map_or(interval, |before| now.since(before).as_secs_f64());
        if elapsed < 0.5 * interval {
            return None;
        }
        self.stepped = Some(now);
        self.measured = measured;
        let before = law.memory();
        let published = match (sample(&measured, interval, before.share), measured.pressure) {
            (Some(sample), _) => law.step(elapsed, Some(&sample)),
            (None, Some(pressure)) if pressure.is_finite() => law.blind(elapsed, pressure),
            (None, _) => law.step(elapsed, None),
        };
        let after = law.memory();
        let moved = after.share != before.share || after.hold != before.hold;
        let keep = moved || self.kept.is_none_or(|kept| now.since(kept) >= KEPT_EVERY) && after != before;
        if keep {
            self.kept = Some(now);
        }
        self.published = Some(published);
        Some((published, keep))
    }

    /// Takes the limit that an expression gave; nothing without data.
    pub fn take_value(&mut self, value: Option<f64>) -> Option<Published> {
        let limit = Some(value.filter(|value| value.is_finite() && *value >= 0.0)?);
        self.published = Some(Published { share: 1.0, level: 0, threshold: None, limit });
        self.published
    }

    /// The limit as a rate, for consumers that cannot count: only at the lowest share, since a rate does not see the
    /// backlog.
    pub fn rate_limit(&self) -> Option<f64> {
        let (view, settings) = (self.view()?, self.law.as_ref()?.settings());
        let at_floor = self.published?.share <= settings.floor;
        let kappa = view.target / settings.target;
        Some(0.95 * kappa.clamp(0.85, 1.0) / (view.ratio * view.cost?)).filter(|_| at_floor)
    }

    /// Why it wants what it wants, in words.
    pub fn reason(&self) -> String {
        let Some(view) = self.view() else { return "its expression gives it".to_owned() };
        let Some(law) = &self.law else { return String::new() };
        if view.silent > 0.0 {
            return format!("no sample for {} s, and the host is under pressure", short(view.silent));
        }
        if law.settings().law.by_latency() {
            let latency = self.measured.latency.map(|latency| format!(": the latency is {} s", short(latency)));
            return format!("law {}{}", law.settings().law.as_str(), latency.unwrap_or_default());
        }
        let cost = view.cost.map_or("unknown".to_owned(), |cost| format!("{} ms", short(cost * 1000.0)));
        let fits = view.fits.map(|fits| percent(fits.clamp(0.0, 1.0))).unwrap_or_default();
        let tight = if view.tight { "; even degraded answers do not all fit" } else { "" };
        format!(
            "law {}: {} requests/s at {cost} each, target {}, full service fits for {fits}{tight}",
            law.settings().law.as_str(),
            short(view.rate),
            percent(view.target),
        )
    }
}

/// The counts of an interval, when all that is needed is known.
fn sample(measured: &Measured, interval: f64, share: f64) -> Option<Sample> {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    let arrivals = finite(measured.arrivals)?;
    let (full, degraded) = match (finite(measured.full), finite(measured.answers)) {
        (Some(full), _) => (full, finite(measured.degraded).unwrap_or(0.0)),
        (None, Some(answers)) => (share * answers, (1.0 - share) * answers),
        (None, None) => return None,
    };
    // Where nobody was answered there is no share of slow answers, and 0 of 0 is no number.
    let slow = finite(measured.slow).or((full + degraded <= 0.0).then_some(0.0))?;
    let in_flight = if measured.counts_in_flight { finite(measured.in_flight)? } else { 0.0 };
    Some(Sample {
        arrivals: arrivals.max(0.0) * interval,
        full: full.max(0.0) * interval,
        degraded: degraded.max(0.0) * interval,
        slow: slow.clamp(0.0, 1.0),
        utilisation: finite(measured.utilisation)?.clamp(0.0, 1.0),
        in_flight: in_flight.max(0.0),
        age: 0.0,
        latency: finite(measured.latency),
    })
}

/// Whether the change from one published limit or threshold to another is worth telling.
pub(super) fn worth_telling(from: Option<f64>, to: Option<f64>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => (to - from).abs() > WORTH_TELLING * from.abs(),
        (from, to) => from.is_some() != to.is_some(),
    }
}

/// The same of shares; reaching an end always is.
pub(super) fn share_worth_telling(from: f64, to: f64) -> bool {
    from != to && ((to - from).abs() >= SHARE_WORTH_TELLING || to <= 0.0 || to >= 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Measured = Measured {
        arrivals: Some(80.0),
        full: Some(60.0),
        degraded: Some(20.0),
        answers: None,
        slow: Some(0.1),
        utilisation: Some(0.5),
        in_flight: Some(7.0),
        latency: None,
        pressure: None,
        counts_in_flight: true,
    };

    #[test]
    fn a_sample_needs_everything_that_the_rule_gives() {
        let of = |change: fn(&mut Measured)| {
            let mut measured = KNOWN;
            change(&mut measured);
            sample(&measured, 2.0, 0.25).map(|s| (s.arrivals, s.full, s.degraded, s.slow, s.in_flight))
        };
        assert_eq!(of(|_| {}), Some((160.0, 120.0, 40.0, 0.1, 7.0)));
        assert_eq!(of(|m| m.arrivals = None), None);
        assert_eq!(of(|m| m.utilisation = Some(f64::NAN)), None);
        assert_eq!(of(|m| m.in_flight = None), None);
        assert_eq!(of(|m| (m.in_flight, m.counts_in_flight) = (None, false)), Some((160.0, 120.0, 40.0, 0.1, 0.0)));
        assert_eq!(
            of(|m| (m.full, m.answers) = (None, Some(80.0))),
            Some((160.0, 40.0, 120.0, 0.1, 7.0)),
            "split by the share"
        );
        assert_eq!(of(|m| m.slow = Some(f64::NAN)), None);
        let idle = |m: &mut Measured| (m.full, m.degraded, m.slow) = (Some(0.0), Some(0.0), Some(f64::NAN));
        assert_eq!(of(idle), Some((160.0, 0.0, 0.0, 0.0, 7.0)), "nobody was answered, so nobody slowly");
    }

    #[test]
    fn only_what_is_worth_it_is_told() {
        for (from, to, expected) in [
            (Some(100.0), Some(104.0), false),
            (Some(100.0), Some(94.0), true),
            (None, Some(1.0), true),
            (None, None, false),
        ] {
            assert_eq!(worth_telling(from, to), expected, "{from:?} {to:?}");
        }
        for (from, to, expected) in [(0.5, 0.505, false), (0.5, 0.52, true), (0.995, 1.0, true), (1.0, 1.0, false)] {
            assert_eq!(share_worth_telling(from, to), expected, "{from} {to}");
        }
    }
}
