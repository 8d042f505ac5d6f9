//! A step of the system's clock: alerts, groups' timers, what was told, and what is on its way move along, so that no
//! wait gets longer or shorter. Silences and time intervals are in people's time, and stay.

use std::sync::Arc;

use super::machine::{Alerts, Changed};

impl Alerts {
    /// The clock was set by so many milliseconds, back when below zero.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        for (labels, alert) in &mut self.alerts {
            let alert = Arc::make_mut(alert);
            for at in [&mut alert.starts_at, &mut alert.ends_at, &mut alert.updated_at] {
                *at = at.shifted(by_millis);
            }
            self.changed.insert(Changed::Alert(labels.clone()));
        }
        for id in self.groups.keys() {
            self.changed.insert(Changed::Group(id.clone()));
        }
        self.shift_timers(by_millis);
        for (key, entry) in &mut self.log {
            entry.at = entry.at.shifted(by_millis);
            for (_, told) in entry.flapping.values_mut() {
                *told = told.shifted(by_millis);
            }
            self.changed.insert(Changed::Log(key.clone()));
        }
        self.changed.extend(self.flaps.clock_stepped(by_millis).into_iter().map(Changed::Flap));
        self.next_digest = self.next_digest.map(|at| at.shifted(by_millis));
        self.outbox.clock_stepped(by_millis);
        self.member.clock_stepped(by_millis);
    }
}
