//! The shared config store that holds the switches: [`Store`], and its embedded implementation for one host.
//!
//! A store keeps records and their order; it knows nothing of why they change. Readers never wait for it: they read the
//! latest [`Table`] from memory.

mod embedded;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

pub use embedded::Embedded;

use crate::model::SwitchName;
use crate::switches::{Decision, Record, Write};

/// All switches at one revision of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Grows with every write; never goes back, over restarts too.
    pub revision: u64,
    pub switches: BTreeMap<SwitchName, Record>,
}

/// Why the store did not take a write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote the switch since.
    #[error("switch {name} is at revision {found}, not {expected}")]
    Conflict { name: SwitchName, expected: u64, found: u64 },
    #[error("store {path}: cannot {action}: {error}")]
    Io { path: std::path::PathBuf, action: &'static str, error: std::io::Error },
}

/// A store of switches.
pub trait Store {
    /// The table as it is now, and whenever it changes. The value is always durable already.
    fn watch(&self) -> watch::Receiver<Arc<Table>>;

    /// Writes one record if the switch still has the revision that the writer saw, and waits until it is durable.
    fn compare_and_put(&self, write: Write) -> impl Future<Output = Result<Arc<Table>, StoreError>> + Send;

    /// The latest decisions that were stored, oldest first.
    fn decisions(&self, most: usize) -> impl Future<Output = Result<Vec<Decision>, StoreError>> + Send;
}
