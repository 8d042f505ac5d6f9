//! Silences that hold for a whole fleet.
//!
//! Spec. A silence with the annotation `scope: fleet` ([`SilenceIn::for_fleet`]) is the fleet's, wherever it was made. Its host
//! gives it to the fleet with its report until a while after its end; the host that counts takes the newest version of
//! each from all reports, keeps it in the store for whoever counts next, and has a copy among its own silences, where
//! people see it and can change or end it. So it holds for the fleet's messages whoever counts, also when the host that it
//! was made on is gone. On a host that has it, it holds for what that host tells by itself, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counter::FleetAlerts;
use super::machine::{Alerts, Changed};
use super::member::Report;
use super::silence::{Silence, SilenceIn, SilenceRecord};
use crate::limits;
use crate::time::Timestamp;

/// The annotation that makes a silence the fleet's, and its value.
pub const SCOPE: (&str, &str) = ("scope", "fleet");

impl Silence {
    /// Whether it holds for the whole fleet.
    pub fn is_fleets(&self) -> bool {
        self.annotations.get(SCOPE.0).is_some_and(|scope| scope == SCOPE.1)
    }
}

impl SilenceIn {
    /// The same for the whole fleet.
    #[must_use]
    pub fn for_fleet(mut self) -> SilenceIn {
        self.annotations.insert(SCOPE.0.to_owned(), SCOPE.1.to_owned());
        self
    }
}

impl Alerts {
    /// The silences that this host gives to the fleet, by id: those that were changed last.
    pub(super) fn silences_for_fleet(&self, now: Timestamp) -> BTreeMap<String, SilenceRecord> {
        let told = |silence: &&Silence| silence.is_fleets() && silence.ends_at + limits::FLEET_ALERTS_HELD > now;
        let mut all: Vec<&Silence> = self.silences().filter(told).collect();
        all.sort_by(|a, b| (b.updated_at, &b.id).cmp(&(a.updated_at, &a.id)));
        let mut bytes = 0;
        let records = all.into_iter().map(|silence| (silence.id.clone(), SilenceRecord::from(silence)));
        let fits = records.take(limits::FLEET_HOST_SILENCES).take_while(|(_, record)| {
            bytes += serde_json::to_vec(record).map_or(0, |json| json.len());
            bytes <= limits::FLEET_HOST_SILENCE_BYTES
        });
        fits.collect()
    }

    /// Takes a silence, unless it is known as it is or newer; says whether it was taken.
    fn adopt(&mut self, silence: Silence) -> bool {
        let known = self.silences.all.get(&silence.id);
        let news = known.is_none_or(|known| known.updated_at < silence.updated_at);
        if !news || known.is_none() && self.silences.all.len() >= limits::SILENCES {
            return false;
        }
        self.changed.insert(Changed::Silence(silence.id.clone()));
        self.silences.all.insert(silence.id.clone(), silence);
        true
    }
}

impl FleetAlerts {
    /// Takes the silences that all hosts give, and gives the fleet's to this host's own machine.
    pub(super) fn share_silences(&mut self, now: Timestamp, own: &mut Alerts, reports: &BTreeMap<String, Arc<Report>>) {
        for (id, record) in reports.values().flat_map(|report| &report.silences) {
            let known = self.machine.silences.all.get(id);
            // What is over is worth no place, unless it was known to go on.
            if known.is_some() || record.ends_at() > now {
                record.clone().silence(id).map(|silence| self.machine.adopt(silence));
            }
        }
        for silence in self.machine.silences.all.values() {
            own.adopt(silence.clone());
        }
    }
}
