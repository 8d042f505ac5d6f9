//! The store of a fleet: etcd, over its gRPC interface, version 3.4 and later.
//! <https://etcd.io/docs/v3.5/learning/api/>.
//!
//! Keys, below the fleet's prefix:
//!
//! | key | holds | lease |
//! | --- | --- | --- |
//! | `switches/fleet/NAME`, `switches/zone/ZONE/NAME` | a record | none |
//! | `members/HOST`, `votes/HOST/RULE` | presence, votes | the host's |
//! | `counter/HOST` | who stands for election; the oldest key is elected | the host's |
//! | `alerts/HOST` | what a host reports of its alerts | none: a host that vanished has ended nothing |
//! | `alerts-told/HOST` | what became of them | none |
//! | `queries/NAME` | what a central query API answered | none |
//! | `outbox/ID` | what the elected host has to see to | none |
//! | `config/stage`, `config/shares` | which revision of the configuration is for whom; how limits are shared out | none |
//! | `bundles/REVISION` | a revision of the configuration | none; the oldest are removed |
//! | `decisions/PLACE/NAME/REVISION` | a decision | none; the oldest are removed |
//!
//! What is promised: a reader is never kept waiting; a write is made by comparing the revision that the writer's picture
//! has, and the office it was made in; a watch goes on from the last revision, and everything is read again after a
//! compaction and every minute; what a host says of itself is said again after its lease was lost. Each call has a
//! deadline under two seconds and is made again at another endpoint at once. While no endpoint answers, or the ones that do
//! have no leader, the last table stays and [`super::Reach`] says since when; it is also kept on the disk.
//!
//! What is not done: nothing is queued while the store is away, and no switch is written from the copy on the disk.

mod api;
mod cache;
mod client;
mod config;
mod keys;
mod lease;
mod mirror;
mod session;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use self::session::Inner;
use super::{Mine, Reach, Store, StoreError, Table};
use crate::net::{SecretSource, TlsSettings};
use crate::switches::{Bundle, Census, Decision, HandOver, Member, Shares, StageWrite, Staged, Term, Write};
use crate::telemetry::Telemetry;
use crate::time::Clock;

/// Where a fleet's etcd is, and who we are in it.
#[derive(Clone, Debug, PartialEq)]
pub struct EtcdSettings {
    /// `http://host:port` or `https://host:port`, one or more.
    pub endpoints: Vec<String>,
    /// What all keys of this fleet begin with.
    pub prefix: String,
    /// This host's name, which no other host of the fleet has.
    pub host: String,
    /// Which daemon this is, the same over its restarts; empty: it is nobody's rival.
    pub instance: String,
    /// Where this host is, for people.
    pub address: String,
    /// How long this host may be out of reach before it counts as gone.
    pub lease: Duration,
    pub tls: TlsSettings,
    pub user: Option<(String, SecretSource)>,
}

#[cfg(test)]
impl EtcdSettings {
    /// Of a store that nobody serves.
    fn of_nobody() -> EtcdSettings {
        EtcdSettings {
            endpoints: vec!["http://127.0.0.1:1".to_owned()],
            prefix: "/b".to_owned(),
            host: "h1".to_owned(),
            instance: String::new(),
            address: String::new(),
            lease: Duration::from_secs(10),
            tls: TlsSettings::default(),
            user: None,
        }
    }
}

/// A session with etcd. Cheap to clone; it goes on until [`Etcd::leave`].
#[derive(Clone, Debug)]
pub struct Etcd {
    inner: Arc<Inner>,
}

impl Etcd {
    /// Starts a session; `cache` is the file that keeps the last table for a start while etcd is away. This does not
    /// wait for etcd: until it answers, [`Store::reach`] says that it does not.
    pub fn open(settings: EtcdSettings, cache: Option<PathBuf>, clock: Clock, telemetry: Telemetry) -> Etcd {
        let inner = Inner::new(settings, cache, clock, telemetry);
        inner.start();
        Etcd { inner }
    }

    /// Says goodbye: presence, votes and office are gone at once, and the session ends.
    pub async fn leave(&self) {
        self.inner.stop();
        self.inner.revoke().await;
    }

    /// Brings a key beside the fleet's own, which others read, to this value, if this host counts. Gives whether it had
    /// another value.
    ///
    /// # Errors
    /// When the store is out of reach, refuses the key, or has elected another host meanwhile.
    pub async fn keep_key(&self, key: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.inner.keep_key(key, value).await
    }

    /// Between half of a time and one and a half of it, another one for each host.
    pub fn jitter(&self, about: std::time::Duration) -> std::time::Duration {
        about.mul_f64(0.5 + self.inner.lot())
    }

    /// Ends the session without a word, as a crash would.
    #[cfg(test)]
    pub(super) fn end(&self) {
        self.inner.stop();
    }
}

impl Store for Etcd {
    fn watch(&self) -> watch::Receiver<Arc<Table>> {
        self.inner.table.subscribe()
    }

    async fn compare_and_put(&self, write: Write) -> Result<Arc<Table>, StoreError> {
        self.inner.compare_and_put(write).await
    }

    async fn decisions(&self, most: usize) -> Result<Vec<Decision>, StoreError> {
        self.inner.decisions(most).await
    }

    fn census(&self) -> watch::Receiver<Arc<Census>> {
        self.inner.census.subscribe()
    }

    fn term(&self) -> watch::Receiver<Option<Term>> {
        self.inner.term.subscribe()
    }

    fn reach(&self) -> watch::Receiver<Reach> {
        self.inner.reach.subscribe()
    }

    fn rival(&self) -> watch::Receiver<Option<Member>> {
        self.inner.rival.subscribe()
    }

    fn put_mine(&self, mine: Mine) {
        self.inner.put_mine(mine);
    }

    async fn hand_over(&self, what: Vec<HandOver>) -> Result<(), StoreError> {
        self.inner.hand_over(what).await
    }

    async fn outbox(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        self.inner.outbox().await
    }

    fn staged(&self) -> watch::Receiver<Arc<Staged>> {
        self.inner.staged.subscribe()
    }

    async fn put_stage(&self, write: StageWrite) -> Result<Arc<Staged>, StoreError> {
        self.inner.put_stage(write).await
    }

    async fn bundle(&self, revision: u64) -> Result<Option<Bundle>, StoreError> {
        self.inner.bundle(revision).await
    }

    async fn put_bundle_again(&self, bundle: Bundle) -> Result<(), StoreError> {
        self.inner.put_bundle_again(bundle).await
    }

    fn shares(&self) -> watch::Receiver<Arc<Shares>> {
        self.inner.shares.subscribe()
    }

    async fn put_shares(&self, shares: Shares, term: Term) -> Result<(), StoreError> {
        self.inner.put_shares(&shares, term).await
    }
}
