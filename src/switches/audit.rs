//! What the audit log is told: every decision, and every word of a person.

use serde::{Deserialize, Serialize};

use super::state::Decision;
use crate::time::Timestamp;

/// One record of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Audited {
    /// A switch changed, or an observing rule would have changed it. `votes` are those for it, of all that were asked: a
    /// host that keeps its switches itself is a fleet of one.
    Decision { decision: Decision, votes: (u32, u32) },
    /// Somebody asked for something, and got it or not.
    Command { at: Timestamp, by: String, command: String, reason: String, refused: Option<String> },
}
