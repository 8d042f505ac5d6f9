//! The shared config store that holds the switches: [`Store`], and who implements it.
//!
//! | store | for whom |
//! | --- | --- |
//! | [`Embedded`] | one host: a file in its data directory, a fleet of one |
//! | [`Etcd`] | a fleet: records, presence and votes in etcd |
//! | [`Memory`] | simulations: a fleet in one process, with faults |
//!
//! A store keeps records and their order; it knows nothing of why they change. Readers never wait for it: they read the
//! latest [`Table`] from memory, and [`Reach`] says whether that is stale. One suite of tests (`contract`) says what all of them promise.

mod bundles;
#[cfg(test)]
mod contract;
mod embedded;
mod error;
mod etcd;
mod memory;
mod table;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

pub use embedded::Embedded;
pub use error::StoreError;
pub use etcd::{Etcd, EtcdSettings};
pub use memory::{Memory, World};
pub use table::{Mine, Reach, Table};

use crate::switches::{Bundle, Census, Decision, HandOver, Member, Shares, StageWrite, Staged, Term, Write};

/// A store of switches, as one host sees it.
pub trait Store {
    /// The table as it is now, and whenever it changes. The value is always durable already.
    fn watch(&self) -> watch::Receiver<Arc<Table>>;

    /// Writes one record if the switch still has the revision that the writer saw, and, when the write is made in an
    /// office, if that has not ended; waits until it is durable. A write whose answer was lost may have been made:
    /// writing the same again is no conflict.
    fn compare_and_put(&self, write: Write) -> impl Future<Output = Result<Arc<Table>, StoreError>> + Send;

    /// The latest decisions that were stored, oldest first.
    fn decisions(&self, most: usize) -> impl Future<Output = Result<Vec<Decision>, StoreError>> + Send;

    /// Everybody's presence and votes. The host that counts always has them; others may know only who counts when the
    /// fleet is large.
    fn census(&self) -> watch::Receiver<Arc<Census>>;

    /// The office of this host while it is elected to count.
    fn term(&self) -> watch::Receiver<Option<Term>>;

    /// Whether the table follows the store.
    fn reach(&self) -> watch::Receiver<Reach>;

    /// Another host that has this one's name, while it does: it was there before. Until it is gone nothing of this host is
    /// said, it does not count, and what it is asked to write is refused; it reads on.
    fn rival(&self) -> watch::Receiver<Option<Member>>;

    /// Says something of this host. It is gone with the host; what was said last is kept here, and said again when the
    /// store is back, so this never waits.
    fn put_mine(&self, mine: Mine);

    /// Puts or removes keys, all in one office: all or nothing, as far as one transaction takes them.
    fn hand_over(&self, what: Vec<HandOver>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What the outbox holds: what the host that counts has to see to, also what one before it left undone.
    fn outbox(&self) -> impl Future<Output = Result<BTreeMap<String, Value>, StoreError>> + Send;

    /// Which revision of the fleet's configuration is for whom. What was there and is gone is still shown: a store that
    /// lost it takes no configuration away.
    fn staged(&self) -> watch::Receiver<Arc<Staged>>;

    /// Writes a stage, and the bundle of a new revision with it, if the store still has the stage that the writer saw;
    /// gives what the store has then. A bundle that is too large for one request is refused. Of the bundles, the oldest
    /// that nobody is to run any more are removed.
    fn put_stage(&self, write: StageWrite) -> impl Future<Output = Result<Arc<Staged>, StoreError>> + Send;

    /// The bundle of a revision; `None` when there is none, or none any more.
    fn bundle(&self, revision: u64) -> impl Future<Output = Result<Option<Bundle>, StoreError>> + Send;

    /// Puts the bundle of a revision that the store has lost, unless it has one.
    fn put_bundle_again(&self, bundle: Bundle) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How limits are shared out.
    fn shares(&self) -> watch::Receiver<Arc<Shares>>;

    /// Says how limits are shared out, under an office.
    fn put_shares(&self, shares: Shares, term: Term) -> impl Future<Output = Result<(), StoreError>> + Send;
}
