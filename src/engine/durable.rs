//! What the journal gives back at a start.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::SwitchName;
use crate::switches::{Decision, Record};
use crate::time::Timestamp;

/// Everything that was kept over a restart.
#[derive(Debug, Default)]
pub struct Restored {
    /// The journal's state.
    pub entries: BTreeMap<String, Value>,
    /// The last time that the process is known to have run; `None` for a first start.
    pub last_alive: Option<Timestamp>,
    /// The store's table.
    pub switches: BTreeMap<SwitchName, Record>,
    /// The latest decisions, oldest first.
    pub decisions: Vec<Decision>,
    /// A snapshot of the series, if there is one that can be read.
    pub series: Option<Vec<u8>>,
}
