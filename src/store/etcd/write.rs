//! Writing to etcd: switches by comparing revisions, decisions beside them, and the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::api::{self, Compare, KeyValue, Op, Range};
use super::keys::Key;
use super::lease::unreadable;
use super::session::Inner;
use crate::limits;
use crate::model::SwitchName;
use crate::store::{StoreError, Table};
use crate::switches::{Decision, HandOver, Place, Record, Shelf, Write};

/// What became of one try to write.
enum Tried {
    Written,
    /// The key was written since we heard of it, perhaps by ourselves.
    Moved,
    Deposed,
}

impl Inner {
    pub(super) async fn compare_and_put(&self, write: Write) -> Result<Arc<Table>, StoreError> {
        let name = &write.name;
        let Some(key) = self.keys.switch(&write.place, name) else {
            return Err(StoreError::NotShared(name.clone()));
        };
        self.in_reach()?;
        if self.rival.borrow().is_some() {
            return Err(StoreError::SameName(self.settings.host.clone()));
        }
        let mut read = false;
        for _ in 0..3 {
            let (found, modified, same, decision) = self.compared(&write);
            if same {
                return Ok(Arc::clone(&self.mirror().table));
            }
            if found != write.expected && read {
                return Err(StoreError::Conflict { name: name.clone(), expected: write.expected, found });
            }
            if found != write.expected {
                // The watch may be behind.
                self.read_switch(&write.place, name, &key).await?;
                read = true;
                continue;
            }
            match self.try_write(&write, &key, modified, decision).await? {
                Tried::Written => {
                    self.prune_sometimes().await;
                    return Ok(Arc::clone(&self.mirror().table));
                }
                Tried::Moved => read = true,
                Tried::Deposed => return Err(StoreError::Deposed { what: format!("switch {name}") }),
            }
        }
        let found = self.compared(&write).0;
        Err(StoreError::Conflict { name: name.clone(), expected: write.expected, found })
    }

    /// The revision that the record has, that its key has, whether it is the one to write, and the decision that is new.
    fn compared(&self, write: &Write) -> (u64, u64, bool, Option<Decision>) {
        let mirror = self.mirror();
        let (record, modified) = mirror.known(&write.place, &write.name);
        let known = record.and_then(|record| record.decision.as_ref());
        let decision = write.record.decision.clone().filter(|decision| Some(decision) != known);
        // A record that is shown from the disk or was lost has no key: it is no revision to compare with.
        (record.map_or(0, |record| record.revision), modified, record == Some(&write.record) && modified > 0, decision)
    }

    async fn try_write(
        &self,
        write: &Write,
        key: &str,
        modified: u64,
        decision: Option<Decision>,
    ) -> Result<Tried, StoreError> {
        let value = serde_json::to_vec(&write.record).map_err(|error| StoreError::Refused(error.to_string()))?;
        let mut compares = vec![Compare::Modified(key.to_owned(), modified)];
        let mut otherwise = vec![Op::Range(Range::key(key))];
        if let Some(term) = &write.term {
            compares.push(Compare::Created(term.key.clone(), term.number));
            otherwise.push(Op::Range(Range::key(&term.key)));
        }
        let mut success = vec![Op::Put { key: key.to_owned(), value, lease: 0 }];
        let beside = self.keys.decision(&write.place, &write.name, write.record.revision);
        if let (Some(decision), Some(key)) = (decision, beside) {
            let value = serde_json::to_vec(&decision).map_err(|error| StoreError::Refused(error.to_string()))?;
            success.push(Op::Put { key, value, lease: 0 });
        }
        let in_doubt = |error| match error {
            StoreError::Unreachable(why) => StoreError::InDoubt(why),
            error => error,
        };
        let message = api::txn(&compares, &success, &otherwise);
        let answer = self.client.write(api::TXN, &message).await.map_err(in_doubt)?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if done.succeeded {
            self.found(&write.place, &write.name, write.record.clone(), done.header.revision);
            return Ok(Tried::Written);
        }
        let mut answers = done.answers.into_iter();
        let found = answers.next().and_then(|ranged| ranged.kvs.into_iter().next());
        let elected = answers.next().and_then(|ranged| ranged.kvs.into_iter().next());
        let is_now = found.as_ref().map_or(0, |kv| kv.modified);
        let same = found.as_ref().is_some_and(|kv| record_of(kv).as_ref() == Some(&write.record));
        if let Some(kv) = found {
            self.found_kv(&write.place, &write.name, &kv);
        } else if modified > 0 {
            self.mirror().vanished(&write.place, &write.name);
        }
        // A write whose answer was lost was made in its office, even when that has ended since.
        let deposed = write.term.as_ref().is_some_and(|term| elected.map_or(0, |kv| kv.created) != term.number);
        if deposed && !same {
            return Ok(Tried::Deposed);
        }
        if is_now == modified && !same {
            return Err(unreadable());
        }
        Ok(Tried::Moved)
    }

    async fn read_switch(&self, place: &Place, name: &SwitchName, key: &str) -> Result<(), StoreError> {
        let answer = self.client.call(api::RANGE, &Range::key(key).message()).await?;
        let ranged = api::read_range(&answer).ok_or_else(unreadable)?;
        match ranged.kvs.first() {
            Some(kv) => self.found_kv(place, name, kv),
            None => self.mirror().vanished(place, name),
        }
        Ok(())
    }

    fn found_kv(&self, place: &Place, name: &SwitchName, kv: &KeyValue) {
        if let Some(record) = record_of(kv) {
            self.found(place, name, record, kv.modified);
        }
    }

    fn found(&self, place: &Place, name: &SwitchName, record: Record, modified: u64) {
        let news = self.mirror().found(place, name, record, modified);
        self.take(&news);
    }

    /// Puts a record that the store has lost, unless somebody else has put one.
    pub(super) async fn put_again(&self, place: &Place, name: &SwitchName, record: &Record) -> Result<(), StoreError> {
        let Some(key) = self.keys.switch(place, name) else { return Ok(()) };
        let value = serde_json::to_vec(record).map_err(|error| StoreError::Refused(error.to_string()))?;
        let modified = self.mirror().known(place, name).1;
        let put = Op::Put { key: key.clone(), value, lease: 0 };
        let answer = self.client.call(api::TXN, &api::txn(&[Compare::Modified(key, modified)], &[put], &[])).await?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if done.succeeded {
            self.found(place, name, record.clone(), done.header.revision);
        }
        Ok(())
    }

    pub(super) async fn decisions(&self, most: usize) -> Result<Vec<Decision>, StoreError> {
        let all = Range::prefix(&self.keys.all("decisions"));
        let latest = Range { limit: most as u64, by_age: Some(true), ..all };
        let answer = self.client.call(api::RANGE, &latest.message()).await?;
        let ranged = api::read_range(&answer).ok_or_else(unreadable)?;
        let mut decisions: Vec<Decision> =
            ranged.kvs.iter().filter_map(|kv| serde_json::from_slice(&kv.value).ok()).collect();
        decisions.reverse();
        Ok(decisions)
    }

    pub(super) async fn hand_over(&self, mut what: Vec<HandOver>) -> Result<(), StoreError> {
        while !what.is_empty() {
            let rest = what.split_off(fits(&what));
            self.hand_over_some(&what).await?;
            what = rest;
        }
        Ok(())
    }

    async fn hand_over_some(&self, what: &[HandOver]) -> Result<(), StoreError> {
        let Some(first) = what.first() else { return Ok(()) };
        let op = |what: &HandOver| {
            let key = match what.shelf {
                Shelf::Outbox => self.keys.outbox(&what.id),
                Shelf::Told => self.keys.told(&what.id),
                Shelf::Alerts => self.keys.alerts(&what.id),
                Shelf::Queries => self.keys.query(&what.id),
            };
            match &what.state {
                Some(state) => Op::Put { key, value: state.to_string().into_bytes(), lease: 0 },
                None => Op::Delete(key),
            }
        };
        let office = Compare::Created(first.term.key.clone(), first.term.number);
        let count = Range { count_only: true, ..Range::prefix(&self.keys.all("outbox")) };
        let mut ops: Vec<Op> = what.iter().map(op).collect();
        ops.push(Op::Range(count));
        let answer = self.client.call(api::TXN, &api::txn(&[office], &ops, &[])).await?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if !done.succeeded {
            return Err(StoreError::Deposed { what: first.id.clone() });
        }
        if done.answers.last().is_some_and(|outbox| outbox.count > limits::STORE_OUTBOX as u64) {
            self.prune("outbox", limits::STORE_OUTBOX).await?;
        }
        Ok(())
    }

    pub(super) async fn keep_key(&self, key: &str, value: &[u8]) -> Result<bool, StoreError> {
        let Some(term) = self.term.borrow().clone() else { return Ok(false) };
        let answer = self.client.call(api::RANGE, &Range::key(key).message()).await?;
        let there = api::read_range(&answer).ok_or_else(unreadable)?;
        if there.kvs.first().is_some_and(|kv| kv.value == value) {
            return Ok(false);
        }
        let put = Op::Put { key: key.to_owned(), value: value.to_vec(), lease: 0 };
        let office = Compare::Created(term.key, term.number);
        let answer = self.client.call(api::TXN, &api::txn(&[office], &[put], &[])).await?;
        let done = api::read_txn(&answer).ok_or_else(unreadable)?;
        if done.succeeded { Ok(true) } else { Err(StoreError::Deposed { what: key.to_owned() }) }
    }

    pub(super) async fn outbox(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        let all = Range::prefix(&self.keys.all("outbox")).message();
        let ranged = api::read_range(&self.client.call(api::RANGE, &all).await?).ok_or_else(unreadable)?;
        let read = |kv: &KeyValue| match self.keys.read(&kv.key) {
            Some(Key::Outbox(id)) => Some((id, serde_json::from_slice(&kv.value).ok()?)),
            _ => None,
        };
        Ok(ranged.kvs.iter().filter_map(read).collect())
    }

    /// Removes the oldest decisions, after a host's first write and then now and again.
    async fn prune_sometimes(&self) {
        if !self.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(limits::STORE_PRUNE_EVERY) {
            return;
        }
        if let Err(error) = self.prune("decisions", limits::DECISIONS_KEPT).await {
            tracing::debug!(%error, "the oldest decisions were not removed; the next writer tries");
        }
    }

    /// Removes the oldest keys of a kind past so many.
    async fn prune(&self, kind: &str, most: usize) -> Result<(), StoreError> {
        let all = Range::prefix(&self.keys.all(kind));
        let message = Range { by_age: Some(false), keys_only: true, ..all }.message();
        let ranged = api::read_range(&self.client.call(api::RANGE, &message).await?).ok_or_else(unreadable)?;
        let keys: Vec<String> = ranged.kvs.into_iter().filter_map(|kv| String::from_utf8(kv.key).ok()).collect();
        let excess = keys.len().saturating_sub(most);
        for keys in keys[..excess].chunks(limits::STORE_TXN) {
            let ops: Vec<Op> = keys.iter().cloned().map(Op::Delete).collect();
            self.client.call(api::TXN, &api::txn(&[], &ops, &[])).await?;
        }
        if excess > 0 && kind == "outbox" {
            tracing::error!(excess, "the outbox of the shared store was full; its oldest entries are removed");
        }
        Ok(())
    }
}

/// How many of these one transaction takes: one at least.
fn fits(what: &[HandOver]) -> usize {
    let mut bytes = 0;
    let fit = what.iter().take(limits::STORE_TXN - 1).take_while(|what| {
        bytes += what.state.as_ref().map_or(0, |state| state.to_string().len());
        bytes <= limits::STORE_TXN_BYTES
    });
    fit.count().max(1)
}

fn record_of(kv: &KeyValue) -> Option<Record> {
    serde_json::from_slice(&kv.value).ok()
}
