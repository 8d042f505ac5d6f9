//! Why a store did not do what it was asked.

use crate::model::SwitchName;

/// Why the store did not take a write, or cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote the switch since.
    #[error("switch {name} is at revision {found}, not {expected}")]
    Conflict { name: SwitchName, expected: u64, found: u64 },
    /// The office under which the write was made has ended.
    #[error("{what} is not written: this host does not count the votes any more")]
    Deposed { what: String },
    /// Another host was there first under this host's name.
    #[error("another host of the fleet is called {0}: until one of them is renamed this one only reads")]
    SameName(String),
    /// The store does not answer, or has no quorum.
    #[error("the store is out of reach: {0}")]
    Unreachable(String),
    /// A write was sent and nobody said what became of it.
    #[error("the store did not say whether it took this, and may have: look before you say it again ({0})")]
    InDoubt(String),
    /// The store answers, and does not want us: a certificate, a password, a right.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// What speaks for one host alone is remembered by that host.
    #[error("switch {0} speaks for this host alone, and that is not for the store")]
    NotShared(SwitchName),
    /// Somebody else wrote the stage of the fleet's configuration since.
    #[error("the fleet's configuration was changed by somebody else at the same moment")]
    StageMoved,
    /// A bundle does not fit into one request.
    #[error("the bundle has {bytes} bytes, and {most} are the most: leave out what not every host needs")]
    TooLarge { bytes: usize, most: usize },
    /// What is only there for a fleet.
    #[error("this host is in no fleet: its store is its own (`store:` in brownout.yaml)")]
    NoFleet,
    /// The store has no room for more of this.
    #[error("{what} is not written: the store keeps {most} of them at the most")]
    Full { what: String, most: usize },
    #[error("store {path}: cannot {action}: {error}")]
    Io { path: std::path::PathBuf, action: &'static str, error: std::sync::Arc<std::io::Error> },
}
