//! The fleet's configuration in etcd: the stage, written by comparing its revision; a bundle beside it, in the same
//! transaction; and the shares of limits.

use std::sync::Arc;

use super::api::{self, Compare, Op, Range};
use super::keys::Key;
use super::lease::unreadable;
use super::session::Inner;
use crate::limits;
use crate::store::StoreError;
use crate::store::bundles::{fits, old_bundles};
use crate::switches::{Bundle, Shares, StageWrite, Staged, Term};

impl Inner {
    pub(super) async fn put_stage(&self, write: StageWrite) -> Result<Arc<Staged>, StoreError> {
        fits(write.bundle.as_ref())?;
        self.in_reach()?;
        let key = self.keys.stage();
        let mut compares = vec![Compare::Modified(key.clone(), write.expected)];
        let mut otherwise = vec![Op::Range(Range::key(&key))];
        if let Some(term) = &write.term {
            compares.push(Compare::Created(term.key.clone(), term.number));
            otherwise.push(Op::Range(Range::key(&term.key)));
        }
        let mut success = vec![Op::Put { key, value: json(&write.stage)?, lease: 0 }];
        if let Some(bundle) = &write.bundle {
            success.push(Op::Put { key: self.keys.bundle(bundle.revision), value: json(bundle)?, lease: 0 });
        }
        let answer = self.client.call(api::TXN, &api::txn(&compares, &success, &otherwise)).await?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if done.succeeded {
            self.found_stage(write.stage, done.header.revision);
            if write.bundle.is_some() {
                self.prune_bundles().await;
            }
            return Ok(Arc::clone(&self.mirror().staged));
        }
        let mut answers = done.answers.into_iter();
        let found = answers.next().and_then(|ranged| ranged.kvs.into_iter().next());
        let elected = answers.next().and_then(|ranged| ranged.kvs.into_iter().next());
        if let Some(kv) = found
            && let Ok(stage) = serde_json::from_slice(&kv.value)
        {
            // A write whose answer was lost has been made.
            let same = stage == write.stage;
            self.found_stage(stage, kv.modified);
            if same {
                return Ok(Arc::clone(&self.mirror().staged));
            }
        }
        if write.term.is_some_and(|term| elected.map_or(0, |kv| kv.created) != term.number) {
            return Err(StoreError::Deposed { what: "the stage of the fleet's configuration".to_owned() });
        }
        Err(StoreError::StageMoved)
    }

    fn found_stage(&self, stage: crate::switches::Stage, modified: u64) {
        let news = self.mirror().found_stage(stage, modified);
        self.take(&news);
    }

    /// Puts the stage that the store has lost, unless somebody else has put one.
    pub(super) async fn put_stage_again(&self) -> Result<(), StoreError> {
        let stage = self.mirror().staged.stage.clone();
        let key = self.keys.stage();
        let put = Op::Put { key: key.clone(), value: json(&stage)?, lease: 0 };
        let answer = self.client.call(api::TXN, &api::txn(&[Compare::Modified(key, 0)], &[put], &[])).await?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if done.succeeded {
            tracing::error!("the shared store lost the stage of the configuration; it is put there again");
            self.found_stage(stage, done.header.revision);
        }
        Ok(())
    }

    pub(super) async fn bundle(&self, revision: u64) -> Result<Option<Bundle>, StoreError> {
        let answer = self.client.call(api::RANGE, &Range::key(&self.keys.bundle(revision)).message()).await?;
        let ranged = api::read_range(&answer).ok_or_else(unreadable)?;
        let Some(kv) = ranged.kvs.first() else { return Ok(None) };
        serde_json::from_slice(&kv.value)
            .map(Some)
            .map_err(|error| StoreError::Refused(format!("bundle {revision} cannot be read: {error}")))
    }

    pub(super) async fn put_bundle_again(&self, bundle: Bundle) -> Result<(), StoreError> {
        fits(Some(&bundle))?;
        let key = self.keys.bundle(bundle.revision);
        let put = Op::Put { key: key.clone(), value: json(&bundle)?, lease: 0 };
        self.client.call(api::TXN, &api::txn(&[Compare::Modified(key, 0)], &[put], &[])).await.map(drop)
    }

    pub(super) async fn put_shares(&self, shares: &Shares, term: Term) -> Result<(), StoreError> {
        let put = Op::Put { key: self.keys.shares(), value: json(shares)?, lease: 0 };
        let office = Compare::Created(term.key, term.number);
        let answer = self.client.call(api::TXN, &api::txn(&[office], &[put], &[])).await?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if done.succeeded { Ok(()) } else { Err(StoreError::Deposed { what: "the shares of limits".to_owned() }) }
    }

    async fn prune_bundles(&self) {
        if let Err(error) = self.remove_old_bundles().await {
            tracing::debug!(%error, "the oldest bundles were not removed; the next push tries");
        }
    }

    async fn remove_old_bundles(&self) -> Result<(), StoreError> {
        let all = Range { keys_only: true, ..Range::prefix(&self.keys.all("bundles")) };
        let ranged = api::read_range(&self.client.call(api::RANGE, &all.message()).await?).ok_or_else(unreadable)?;
        let there = ranged.kvs.iter().filter_map(|kv| match self.keys.read(&kv.key) {
            Some(Key::Bundle(revision)) => Some(revision),
            _ => None,
        });
        let old = old_bundles(&self.mirror().staged.stage, there);
        for revisions in old.chunks(limits::STORE_TXN) {
            let ops: Vec<Op> = revisions.iter().map(|revision| Op::Delete(self.keys.bundle(*revision))).collect();
            self.client.call(api::TXN, &api::txn(&[], &ops, &[])).await?;
        }
        Ok(())
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Refused(error.to_string()))
}
