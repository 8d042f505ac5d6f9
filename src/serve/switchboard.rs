//! The switches as applications read them: from memory, never from the engine or the store.

use std::collections::BTreeMap;

use crate::model::SwitchName;
use crate::store::Table;
use crate::switches::{Declaration, Pin, SwitchValue};
use crate::time::Timestamp;

/// One switch, ready to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// What applications are told, by kind.
    pub value: SwitchValue,
    /// The value as a text; of a feature, the level.
    pub level: String,
    /// 0 is healthy; of a dimmer 1 while it is dimmed.
    pub depth: usize,
    /// Of a feature; of other kinds empty.
    pub ladder: Vec<String>,
    pub description: String,
    pub since: Timestamp,
    pub revision: u64,
    /// Why it is at this level; empty while nobody has touched it.
    pub why: String,
    pub pin: Option<Pin>,
}

/// All declared switches at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Switchboard {
    /// Changes whenever an answer could change, and never goes back: the store's revision and the configuration's
    /// generation.
    pub version: String,
    pub flags: BTreeMap<SwitchName, Flag>,
}

impl Switchboard {
    /// Puts the declarations and the store's table together. A declared switch that nobody wrote yet is healthy; a level
    /// that the ladder does not have any more counts as healthy, too.
    pub fn new<'a>(
        declarations: impl IntoIterator<Item = &'a Declaration>,
        table: &Table,
        generation: u64,
        now: Timestamp,
    ) -> Switchboard {
        let flag = |declaration: &Declaration| {
            let record = table.switches.get(&declaration.name);
            let value = declaration.value(record);
            Flag {
                level: value.text(),
                depth: declaration.depth_of(&value),
                value,
                ladder: declaration.ladder.clone(),
                description: declaration.description.clone(),
                since: record.map_or(now, |record| record.since),
                revision: record.map_or(0, |record| record.revision),
                why: record.and_then(|record| Some(record.decision.as_ref()?.reason.clone())).unwrap_or_default(),
                pin: record.and_then(|record| record.pin.clone()),
            }
        };
        Switchboard {
            version: format!("{}-{generation}", table.revision),
            flags: declarations.into_iter().map(|d| (d.name.clone(), flag(d))).collect(),
        }
    }
}
