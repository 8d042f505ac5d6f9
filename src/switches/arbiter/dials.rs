//! Switches that are no ladders: dimmers, limits and rollouts. Their value is a number, and comes from a law.

use std::collections::BTreeMap;

use super::super::state::{Actor, Decision, Mode, Write};
use super::super::value::SwitchValue;
use super::Switches;
use crate::model::SwitchName;
use crate::time::Timestamp;

impl Switches {
    /// Brings the value in line with the declaration.
    pub(super) fn reconcile_value(&mut self, now: Timestamp, name: &SwitchName) -> Option<Write> {
        let declaration = self.declarations.get(name)?;
        let record = self.records.get_mut(name)?;
        record.asks = BTreeMap::new();
        let fitting = declaration.value(Some(record));
        if record.value.as_ref() == Some(&fitting) {
            return None;
        }
        self.settle_value(now, name, Actor::System, "the rules of this switch changed".into(), "fleet".into())
    }

    /// Works out the value that is in force and gives the record to write.
    pub(super) fn settle_value(
        &mut self,
        now: Timestamp,
        name: &SwitchName,
        by: Actor,
        reason: String,
        scope: String,
    ) -> Option<Write> {
        let declaration = self.declarations.get(name)?;
        let record = self.records.get(name)?;
        let in_force = declaration.value(Some(record));
        let asked = declaration.healthy();
        let pinned =
            record.pin.as_ref().and_then(|pin| declaration.kind.read(&pin.level, &declaration.ladder, &in_force).ok());
        self.take_value(now, name, pinned.unwrap_or(asked), by, reason, scope)
    }

    fn take_value(
        &mut self,
        now: Timestamp,
        name: &SwitchName,
        to: SwitchValue,
        by: Actor,
        reason: String,
        scope: String,
    ) -> Option<Write> {
        let record = self.records.get_mut(name)?;
        let expected = record.revision;
        record.revision += 1;
        let level = to.text();
        record.value = Some(to);
        if record.level != level {
            let from = std::mem::replace(&mut record.level, level.clone());
            record.since = now;
            let (switch, mode, revision) = (name.to_string(), Mode::Enforce, record.revision);
            let decision = Decision { switch, at: now, from, to: level, by, reason, mode, revision, scope };
            record.decision = Some(decision.clone());
            self.remember(decision);
        }
        let record = self.records.get(name)?.clone();
        Some(Write { name: name.clone(), record, expected })
    }
}
