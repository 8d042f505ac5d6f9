//! Flapping: an alert that begins to fire again and again is told once, then at growing intervals, and its end once.
//!
//! Spec:
//! * An alert flaps from its `count`th start within `window` on, until `window` has passed without a start.
//! * While it flaps it counts as firing for messages, whether it fires just now or not: its group says nothing of its ends
//!   and starts. The first message that shows it says that it flaps; further ones come `repeat`, twice `repeat`, four
//!   times `repeat` ... later, at most `longest`.
//! * When it no longer flaps it is what it is: its end is told once, if it does not fire.
//!
//! Starts are remembered of at most [`limits::FLAPPING_ALERTS`] alerts, and of each no more than `count`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::FlapSettings;
use crate::limits;
use crate::model::Labels;
use crate::time::{Timestamp, format_duration};

/// The starts of one alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Flap {
    /// The latest ones, oldest first.
    starts: Vec<Timestamp>,
    /// When it began to flap.
    since: Option<Timestamp>,
    /// Starts since the first that is remembered.
    total: u64,
}

/// The starts of all alerts that started lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Flaps {
    pub all: BTreeMap<Labels, Flap>,
}

/// An alert's flapping at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flapping {
    /// When it ends if nothing happens.
    pub calm_at: Timestamp,
    pub since: Timestamp,
    pub total: u64,
}

impl Flapping {
    /// For the annotation `flapping`.
    pub fn words(&self, settings: &FlapSettings) -> String {
        let [window, repeat] = [settings.window, settings.repeat].map(format_duration);
        format!(
            "began to fire {} times lately: its ends and starts are not told one by one; next message in {repeat} or later, \
             its end when it has been quiet for {window}",
            self.total
        )
    }
}

impl Flaps {
    /// The clock was set by so many milliseconds.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        for flap in self.all.values_mut() {
            flap.starts.iter_mut().chain(&mut flap.since).for_each(|at| *at = at.shifted(by_millis));
        }
    }

    /// An alert begins to fire. Gives the alerts whose records changed.
    pub fn started(&mut self, labels: &Labels, now: Timestamp, settings: &FlapSettings) -> Vec<Labels> {
        let mut changed = vec![labels.clone()];
        if !self.all.contains_key(labels) && self.all.len() >= limits::FLAPPING_ALERTS {
            let oldest = self.all.iter().min_by_key(|(_, flap)| flap.starts.last().copied());
            if let Some(oldest) = oldest.map(|(labels, _)| labels.clone()) {
                self.all.remove(&oldest);
                changed.push(oldest);
            }
        }
        let flap = self.all.entry(labels.clone()).or_default();
        if flap.starts.last().is_some_and(|last| *last + settings.window <= now) {
            *flap = Flap::default();
        }
        flap.starts.retain(|start| *start + settings.window > now);
        flap.starts.push(now);
        flap.total += 1;
        let count = settings.count.max(2);
        let surplus = flap.starts.len().saturating_sub(count);
        flap.starts.drain(..surplus);
        if flap.starts.len() >= count {
            flap.since.get_or_insert(now);
        }
        changed
    }

    /// Whether an alert flaps.
    pub fn flapping(&self, labels: &Labels, now: Timestamp, settings: Option<&FlapSettings>) -> Option<Flapping> {
        let settings = settings?;
        let flap = self.all.get(labels)?;
        let calm_at = *flap.starts.last()? + settings.window;
        let since = flap.since.filter(|_| now < calm_at)?;
        Some(Flapping { calm_at, since, total: flap.total })
    }

    /// Forgets what is calm; gives the alerts.
    pub fn sweep(&mut self, now: Timestamp, settings: Option<&FlapSettings>) -> Vec<Labels> {
        let calm = |flap: &Flap| match (settings, flap.starts.last()) {
            (Some(settings), Some(last)) => *last + settings.window <= now,
            _ => true,
        };
        let gone: Vec<Labels> = self.all.iter().filter(|(_, flap)| calm(flap)).map(|(at, _)| at.clone()).collect();
        gone.iter().for_each(|labels| drop(self.all.remove(labels)));
        gone
    }
}

/// When the message after the `told`th about a flapping alert is due.
pub(super) fn next_report(last: Timestamp, told: u32, settings: &FlapSettings) -> Timestamp {
    let factor = 1_u32 << told.saturating_sub(1).min(20);
    let wait = settings.repeat.checked_mul(factor).unwrap_or(Duration::MAX).min(settings.longest);
    last + wait
}
