//! This host's durable state: an append-only, checksummed log that leads to a map of keys and values.
//!
//! Promises: what [`Journal::append`] acknowledged is there after a crash at any byte; one record is taken whole or not
//! at all; a torn or damaged tail is set aside, counted and never stops the start. It does not say what the keys mean.
//!
//! An own log rather than an embedded database: the state is well under a megabyte, a person can read it with a pager,
//! and the databases at hand cost 0.6 to 1 MB of resident code or 67 MB of preallocated file for it.

mod audit;
mod log;

pub use audit::{AuditError, AuditLog, Verified, verify};
pub(crate) use log::sync_folder;
pub use log::{Entry, Journal, JournalError, Opened};
