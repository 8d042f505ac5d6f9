//! When to ask for more machines: absolute targets, bounds, cooldowns, one call in flight, a deadline for each.
//!
//! A `scale` rule gives a wanted number. It is clamped to `[min, max]` and to `step` from the last number asked for. A
//! call is made when that differs from the last number asked for (at first: `min`), upwards after `cooldown_out` since
//! the last call, and after it was wanted for the rule's `for`; downwards after `cooldown_in` and only where the rule allows it. A call carries the absolute number, a
//! generation that only grows, and a time after which it must not be acted on. While one is in flight there is no
//! other; after [`STOP_AFTER`] failures in a row the rule rests for ten cooldowns. No data asks for nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::model::SwitchName;
use crate::time::{Timestamp, millis};

/// Failures in a row after which a rule rests.
pub const STOP_AFTER: u32 = 5;

/// A `scale` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleSettings {
    /// What is scaled.
    pub target: String,
    /// Unique among the rules.
    pub rule: String,
    /// `group/rule`, for messages.
    pub title: String,
    pub expression: String,
    pub webhook: String,
    /// How long another number must be wanted before it is asked for.
    pub hold: Duration,
    pub min: i64,
    pub max: i64,
    /// The largest change in one call.
    pub step: Option<i64>,
    pub cooldown_out: Duration,
    pub cooldown_in: Duration,
    /// Whether fewer machines may be asked for.
    pub scale_in: bool,
    /// How soon what is there must have followed a call for more; `None` where nothing says what is there.
    pub verify_within: Option<Duration>,
    /// Switches that degrade first: while one of them is degraded, fewer are not asked for.
    pub beside: Vec<SwitchName>,
    pub mode: Mode,
}

/// One call of a scale webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleCall {
    /// The same over all tries: target and generation.
    pub id: String,
    pub target: String,
    pub webhook: String,
    pub desired: i64,
    /// The number asked for before.
    pub previous: i64,
    pub min: i64,
    pub max: i64,
    pub step: Option<i64>,
    pub reason: String,
    pub rule: String,
    pub expression: String,
    pub value: f64,
    pub generation: u64,
    pub at: Timestamp,
    /// Not to be acted on after this.
    pub not_after: Timestamp,
    pub mode: Mode,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScaleMemory {
    pub generation: u64,
    /// The last number asked for.
    pub desired: Option<i64>,
    /// Since when more (true) or fewer (false) than that have been wanted.
    #[serde(default)]
    pub wanted_since: Option<(bool, Timestamp)>,
    pub last_call: Option<Timestamp>,
    pub in_flight: Option<ScaleCall>,
    /// Tries of the call in flight.
    pub tries: u32,
    pub next_try: Option<Timestamp>,
    pub failures: u32,
    /// A call for more that was accepted: the number that must be there, and until when.
    #[serde(default)]
    pub awaited: Option<(i64, Timestamp)>,
    /// What went wrong last; empty when all is well.
    #[serde(default)]
    pub trouble: String,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum ScaleVerdict {
    Accepted,
    /// Try again, not before this long.
    Retry(Option<Duration>),
    Refused,
}

/// One rule's state.
#[derive(Clone, Debug)]
pub struct ScaleRule {
    settings: ScaleSettings,
    memory: ScaleMemory,
}

impl ScaleRule {
    /// A rule that goes on from its memory.
    pub fn new(settings: ScaleSettings, memory: ScaleMemory) -> ScaleRule {
        ScaleRule { settings, memory }
    }

    /// The system's clock was set: what was measured from the old one moves along.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let memory = &mut self.memory;
        memory.wanted_since = memory.wanted_since.map(|(more, at)| (more, at.shifted(by_millis)));
        memory.last_call = memory.last_call.map(|at| at.shifted(by_millis));
        memory.next_try = memory.next_try.map(|at| at.shifted(by_millis));
        memory.awaited = memory.awaited.map(|(count, at)| (count, at.shifted(by_millis)));
        if let Some(call) = &mut memory.in_flight {
            (call.at, call.not_after) = (call.at.shifted(by_millis), call.not_after.shifted(by_millis));
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &ScaleSettings {
        &self.settings
    }

    /// What must survive a restart.
    pub fn memory(&self) -> &ScaleMemory {
        &self.memory
    }

    /// Takes what is there. When a call for more was accepted, and so many have not come in time, the call counts as
    /// failed, and what is there is where the next one begins.
    pub fn verify(&mut self, now: Timestamp, found: Option<f64>) {
        let Some((awaited, until)) = self.memory.awaited else { return };
        match found.filter(|found| found.is_finite()) {
            Some(found) if found >= awaited as f64 => {
                self.memory.awaited = None;
                self.memory.trouble.clear();
                self.memory.failures = 0;
            }
            Some(found) if now >= until => {
                self.memory.trouble = format!("{awaited} were asked for and accepted, but there are {found}");
                self.memory.desired = Some((found.floor() as i64).clamp(self.settings.min, self.settings.max));
                self.memory.awaited = None;
                self.memory.failures += 1;
            }
            _ => {}
        }
    }

    /// Takes the wanted number; `None` is no data. Gives a call when one is due. While something `degraded` to help out,
    /// fewer are not asked for: what was taken away comes back first.
    pub fn judge(&mut self, now: Timestamp, wanted: Option<f64>, degraded: bool) -> Option<ScaleCall> {
        let wanted = wanted.filter(|w| w.is_finite())?;
        if self.memory.in_flight.is_some() {
            return None;
        }
        let previous = self.memory.desired.unwrap_or(self.settings.min);
        let desired = self.bounded(wanted, previous);
        let more = desired > previous;
        if desired == previous || (!more && (!self.settings.scale_in || degraded)) {
            self.memory.wanted_since = None;
            return None;
        }
        let since =
            self.memory.wanted_since.filter(|(direction, _)| *direction == more).map_or(now, |(_, since)| since);
        self.memory.wanted_since = Some((more, since));
        if now.since(since) < self.settings.hold {
            return None;
        }
        let cooldown = if more { self.settings.cooldown_out } else { self.settings.cooldown_in };
        let rest = if self.memory.failures >= STOP_AFTER { cooldown * 10 } else { cooldown };
        if self.memory.last_call.is_some_and(|last| now.since(last) < rest) {
            return None;
        }
        self.memory.generation += 1;
        self.memory.last_call = Some(now);
        self.memory.wanted_since = None;
        let call = self.call(now, desired, previous, wanted);
        if self.settings.mode == Mode::Enforce {
            self.memory.in_flight = Some(call.clone());
            (self.memory.tries, self.memory.next_try) = (1, None);
        } else {
            self.memory.desired = Some(desired);
        }
        Some(call)
    }

    fn bounded(&self, wanted: f64, previous: i64) -> i64 {
        let desired = (wanted.ceil().clamp(-9e15, 9e15) as i64).clamp(self.settings.min, self.settings.max);
        match self.settings.step {
            Some(step) => desired.clamp(previous - step, previous + step),
            None => desired,
        }
    }

    fn call(&self, now: Timestamp, desired: i64, previous: i64, value: f64) -> ScaleCall {
        let settings = &self.settings;
        let verb = if desired > previous { "more" } else { "fewer" };
        ScaleCall {
            id: format!("scale-{}-{}", settings.target, self.memory.generation),
            target: settings.target.clone(),
            webhook: settings.webhook.clone(),
            desired,
            previous,
            min: settings.min,
            max: settings.max,
            step: settings.step,
            reason: format!("{} wants {value}: {verb} than the {previous} asked for before", settings.expression),
            rule: settings.title.clone(),
            expression: settings.expression.clone(),
            value,
            generation: self.memory.generation,
            at: now,
            not_after: now + settings.cooldown_out.max(Duration::from_secs(60)),
            mode: settings.mode,
        }
    }

    /// When the call in flight is to be tried again or given up.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.memory.next_try
    }

    /// The call that is to be sent again now: after a failure, or after a restart in the middle of one.
    pub fn retry_due(&mut self, now: Timestamp) -> Option<ScaleCall> {
        let due = self.memory.next_try.is_some_and(|at| at <= now);
        let call = self.memory.in_flight.clone().filter(|_| due)?;
        self.memory.next_try = None;
        if call.not_after <= now {
            self.failed();
            return None;
        }
        self.memory.tries += 1;
        Some(call)
    }

    /// After a restart nobody knows whether the call in flight arrived: it is sent again, under the same id.
    pub fn resume(&mut self, now: Timestamp) {
        if self.memory.in_flight.is_some() {
            self.memory.next_try = Some(now);
        }
    }

    /// Takes the outcome of the call with this id; false when it is not ours.
    pub fn delivered(&mut self, now: Timestamp, id: &str, verdict: &ScaleVerdict) -> bool {
        let Some(call) = self.memory.in_flight.as_ref().filter(|call| call.id == id) else { return false };
        match verdict {
            ScaleVerdict::Accepted => {
                self.memory.desired = Some(call.desired);
                match self.settings.verify_within.filter(|_| call.desired > call.previous) {
                    Some(within) => self.memory.awaited = Some((call.desired, now + within)),
                    None => {
                        self.memory.failures = 0;
                        self.memory.trouble.clear();
                    }
                }
                (self.memory.in_flight, self.memory.next_try) = (None, None);
            }
            ScaleVerdict::Refused => {
                self.memory.trouble = format!("the webhook refused {}", call.desired);
                self.failed();
            }
            ScaleVerdict::Retry(after) => {
                let backoff = Duration::from_millis(500 << self.memory.tries.min(6));
                let next = now + after.unwrap_or(Duration::ZERO).max(backoff);
                if millis(call.not_after.since(next)) > 0 {
                    self.memory.next_try = Some(next);
                } else {
                    self.memory.trouble = format!("the webhook did not take {} in time", call.desired);
                    self.failed();
                }
            }
        }
        true
    }

    fn failed(&mut self) {
        self.memory.failures += 1;
        (self.memory.in_flight, self.memory.next_try) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn rule(change: impl FnOnce(&mut ScaleSettings)) -> ScaleRule {
        let mut settings = ScaleSettings {
            target: "checkout".into(),
            rule: "f;checkout;scale checkout".into(),
            title: "checkout/checkout".into(),
            expression: "x".into(),
            webhook: "asg".into(),
            hold: Duration::ZERO,
            min: 3,
            max: 30,
            step: None,
            cooldown_out: Duration::from_secs(300),
            cooldown_in: Duration::from_secs(600),
            scale_in: false,
            verify_within: None,
            beside: Vec::new(),
            mode: Mode::Enforce,
        };
        change(&mut settings);
        ScaleRule::new(settings, ScaleMemory::default())
    }

    fn accept(rule: &mut ScaleRule, now: Timestamp, wanted: f64) -> Option<i64> {
        let call = rule.judge(now, Some(wanted), false)?;
        assert!(rule.delivered(now, &call.id, &ScaleVerdict::Accepted));
        Some(call.desired)
    }

    #[test]
    fn a_call_is_absolute_bounded_and_cooled_down() {
        let mut r = rule(|_| {});
        assert_eq!(accept(&mut r, at(0), 2.0), None, "at the minimum nothing is asked for");
        assert_eq!(accept(&mut r, at(1), 7.2), Some(8));
        assert_eq!(accept(&mut r, at(100), 20.0), None, "cooling down");
        assert_eq!(accept(&mut r, at(301), 99.0), Some(30));
        assert_eq!(accept(&mut r, at(2000), 4.0), None, "scaling in is off by default");
        assert_eq!(accept(&mut r, at(3000), f64::NAN), None);
        assert_eq!(r.judge(at(3000), None, false), None);
    }

    #[test]
    fn a_number_must_be_wanted_for_its_time_without_a_break() {
        let mut r = rule(|s| s.hold = Duration::from_secs(10));
        assert_eq!(accept(&mut r, at(0), 9.0), None);
        assert_eq!(accept(&mut r, at(9), 3.0), None, "the wish ended");
        assert_eq!(accept(&mut r, at(12), 9.0), None);
        assert_eq!(accept(&mut r, at(22), 8.0), Some(8));
    }

    #[test]
    fn scale_in_and_steps_when_allowed() {
        let mut r = rule(|s| (s.scale_in, s.step) = (true, Some(4)));
        assert_eq!(accept(&mut r, at(0), 20.0), Some(7));
        assert_eq!(accept(&mut r, at(400), 20.0), Some(11));
        assert_eq!(accept(&mut r, at(900), 3.0), None, "cooldown_in counts downwards");
        assert_eq!(accept(&mut r, at(1000), 3.0), Some(7));
    }

    #[test]
    fn one_call_in_flight_retried_under_its_id_until_its_deadline() {
        let mut r = rule(|_| {});
        let call = r.judge(at(0), Some(5.0), false).expect("a call");
        assert_eq!(r.judge(at(1), Some(9.0), false), None, "single flight");
        r.delivered(at(1), &call.id, &ScaleVerdict::Retry(None));
        assert_eq!(r.retry_due(at(1)), None);
        assert_eq!(r.next_deadline(), Some(at(2)));
        assert_eq!(r.retry_due(at(2)), Some(call.clone()));
        r.delivered(at(3), &call.id, &ScaleVerdict::Retry(Some(Duration::from_secs(1000))));
        assert_eq!((r.next_deadline(), r.memory().failures), (None, 1), "past not_after it is given up");
        assert_eq!(accept(&mut r, at(301), 5.0), Some(5), "and asked for again after the cooldown");
    }

    #[test]
    fn a_restart_in_the_middle_sends_the_same_call_again() {
        let mut r = rule(|_| {});
        let call = r.judge(at(0), Some(5.0), false).expect("a call");
        let memory = serde_json::to_string(r.memory()).expect("json");
        let mut r = ScaleRule::new(r.settings().clone(), serde_json::from_str(&memory).expect("json"));
        r.resume(at(10));
        assert_eq!(r.retry_due(at(10)), Some(call));
    }

    #[test]
    fn after_failures_in_a_row_the_rule_rests() {
        let mut r = rule(|_| {});
        for i in 0..i64::from(STOP_AFTER) {
            let call = r.judge(at(i * 300), Some(5.0), false).expect("a call");
            r.delivered(at(i * 300), &call.id, &ScaleVerdict::Refused);
        }
        assert_eq!(r.judge(at(1500), Some(5.0), false), None);
        assert!(r.judge(at(1200 + 3000), Some(5.0), false).is_some());
    }

    #[test]
    fn capacity_that_does_not_follow_counts_as_a_failure_and_is_asked_for_again() {
        let mut r = rule(|s| s.verify_within = Some(Duration::from_secs(60)));
        assert_eq!(accept(&mut r, at(0), 8.0), Some(8));
        r.verify(at(30), Some(3.0));
        r.verify(at(40), None);
        assert_eq!((r.memory().failures, r.memory().desired), (0, Some(8)));
        r.verify(at(60), Some(5.0));
        assert_eq!((r.memory().failures, r.memory().desired), (1, Some(5)));
        assert_eq!(r.memory().trouble, "8 were asked for and accepted, but there are 5");
        assert_eq!(accept(&mut r, at(301), 8.0), Some(8));
        r.verify(at(310), Some(8.0));
        assert_eq!((r.memory().failures, r.memory().trouble.as_str(), r.memory().awaited), (0, "", None));
    }

    #[test]
    fn nothing_is_taken_away_while_something_is_degraded() {
        let mut r = rule(|s| s.scale_in = true);
        assert_eq!(accept(&mut r, at(0), 8.0), Some(8));
        assert_eq!(r.judge(at(1000), Some(4.0), true), None);
        assert_eq!(r.judge(at(2000), Some(4.0), false).map(|call| call.desired), Some(4));
        let mut r = rule(|_| {});
        assert_eq!(
            r.judge(at(0), Some(9.0), true).map(|call| call.desired),
            Some(9),
            "more are asked for all the same"
        );
    }

    #[test]
    fn an_observing_rule_says_what_it_would_ask_and_goes_on_as_if() {
        let mut r = rule(|s| s.mode = Mode::Observe);
        assert_eq!(r.judge(at(0), Some(5.0), false).map(|c| (c.desired, c.mode)), Some((5, Mode::Observe)));
        assert_eq!(r.memory().in_flight, None);
        assert_eq!(r.judge(at(400), Some(5.0), false), None);
    }
}
