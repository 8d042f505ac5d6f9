//! The freeze: no rule moves anything, whatever it says. A person's pin still does.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A freeze that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Freeze {
    pub reason: String,
    pub by: String,
    pub since: Timestamp,
    /// `None`: until somebody ends it.
    pub until: Option<Timestamp>,
}

/// The freezes of this host: a person's, and the one of the file in the data directory, which works with everything else
/// broken. While either is there, it holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Freezes {
    pub ordered: Option<Freeze>,
    pub file: Option<Freeze>,
}

impl Freezes {
    /// The one that is in force.
    pub fn now(&self) -> Option<&Freeze> {
        self.file.as_ref().or(self.ordered.as_ref())
    }

    /// Since when nothing has been moving.
    pub fn since(&self) -> Option<Timestamp> {
        self.file.iter().chain(&self.ordered).map(|freeze| freeze.since).min()
    }
}
