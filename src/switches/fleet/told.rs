//! What applications read: the deepest of the levels, the smallest of the shares and limits that the host's, the zone's and
//! the fleet's records give. A pin beats all three, the narrowest first.
//!
//! Of a limit that is shared out the fleet's record counts as this host's part of it (`parts.rs`).
//!
//! A record whose end has passed without being renewed does what its switch says of silence: it holds; or it goes back
//! one level after each `restore_after`; or it goes to the deepest after `degrade_after`. Clocks differ: the end has passed
//! only when it has also been known here for the whole life of a decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::arbiter::{Switches, joined};
use super::super::state::{Declaration, OnSilence, Record};
use super::super::value::{SwitchKind, SwitchValue};
use super::super::votes::Place;
use super::parts::part_of;
use super::state::{DECISION_LIFE, Fleet, table};
use crate::model::SwitchName;
use crate::time::Timestamp;

/// What applications read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Grows whenever anything of it changes.
    pub version: u64,
    /// Since when the shared store has been out of reach: what it said last holds.
    pub stale_since: Option<Timestamp>,
    /// Every declared switch.
    pub switches: BTreeMap<SwitchName, Record>,
}

impl Fleet {
    /// Works it out anew; the host's own arbiter gives the part of its own.
    pub(super) fn tell(&mut self, now: Timestamp, own: &mut Switches) {
        let zone = self.own_zone();
        let shares = self.own_shares(now, own);
        let mut switches = BTreeMap::new();
        let mut degraded = std::collections::BTreeSet::new();
        for declaration in own.declarations() {
            let name = &declaration.name;
            let of = |place: &Place| {
                // What the store has not answered yet is in force nowhere: it may be refused.
                let record = match self.pending.contains_key(&(place.clone(), name.clone())) {
                    true => table(&self.tables, place)?.get(name)?,
                    false => self.desks.get(place)?.record(name)?,
                };
                let seen = self.ends_seen.get(&(place.clone(), name.clone())).map(|(_, at)| *at);
                Some(after_silence(declaration, record, now, seen))
            };
            let fleets = of(&Place::Fleet).map(|record| match shares.get(name) {
                Some(share) => part_of(declaration, record, *share),
                None => record,
            });
            let records = [own.record(name).cloned(), of(&zone), fleets];
            let Some(record) = together(declaration, now, records) else { continue };
            if declaration.depth_of(&declaration.value(Some(&record))) > 0 {
                degraded.insert(name.clone());
            }
            switches.insert(name.clone(), record);
        }
        if self.told.switches != switches || self.told.stale_since != self.lost_since {
            let version = self.told.version + 1;
            self.told = Arc::new(Told { version, stale_since: self.lost_since, switches });
            own.know_degraded(degraded);
        }
    }
}

/// The depth that a feature has when nobody has stood for its record since its end; `None` while somebody does.
pub(super) fn silent_depth(
    declaration: &Declaration,
    record: &Record,
    now: Timestamp,
    seen: Option<Timestamp>,
) -> Option<usize> {
    let end = record.expires_at.filter(|_| declaration.kind == SwitchKind::Feature && record.pin.is_none())?;
    let here = seen.unwrap_or(now) + DECISION_LIFE;
    let silent = now.since(end.max(here));
    let depth = declaration.depth(&record.level)?;
    let to = match declaration.on_silence {
        OnSilence::Hold => depth,
        OnSilence::Restore(after) => {
            let rungs = silent.as_millis() / after.as_millis().max(1);
            depth.saturating_sub(usize::try_from(rungs).unwrap_or(usize::MAX))
        }
        OnSilence::Degrade(after) if silent >= after => declaration.ladder.len() - 1,
        OnSilence::Degrade(_) => depth,
    };
    (to != depth).then_some(to)
}

fn after_silence(declaration: &Declaration, record: &Record, now: Timestamp, seen: Option<Timestamp>) -> Record {
    let mut record = record.clone();
    if let Some(depth) = silent_depth(declaration, &record, now, seen) {
        record.level.clone_from(&declaration.ladder[depth]);
    }
    record
}

/// One record out of the host's, the zone's and the fleet's.
fn together(declaration: &Declaration, now: Timestamp, records: [Option<Record>; 3]) -> Option<Record> {
    let revision = records.iter().flatten().map(|record| record.revision).sum();
    let pinned = |record: &&Record| record.pin.as_ref().is_some_and(|pin| pin.until > now);
    let record = match records.iter().flatten().find(pinned) {
        Some(pinned) => pinned.clone(),
        None => deepest(declaration, records)?,
    };
    Some(Record { revision, ..record })
}

fn deepest(declaration: &Declaration, records: [Option<Record>; 3]) -> Option<Record> {
    let [host, zone, fleet] = records;
    if matches!(declaration.kind, SwitchKind::Rollout { .. }) {
        return fleet.or(host);
    }
    let worse = |value: &SwitchValue| match value {
        SwitchValue::Feature { depth, .. } => *depth as f64,
        value => -value.number(),
    };
    // The fleet's goes first where they are the same.
    let mut together: Option<Record> = None;
    for record in [fleet, zone, host].into_iter().flatten() {
        together = Some(match together {
            None => record,
            Some(so_far) => {
                let (a, b) = (declaration.value(Some(&so_far)), declaration.value(Some(&record)));
                let value =
                    if declaration.kind == SwitchKind::Feature { None } else { Some(joined(a.clone(), b.clone())) };
                let mut winner = if worse(&b) > worse(&a) { record } else { so_far };
                if let Some(value) = value {
                    winner.level = value.text();
                    winner.value = Some(value);
                }
                winner
            }
        });
    }
    together
}
