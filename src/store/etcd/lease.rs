//! The host's lease and what hangs on it: presence, votes, and standing for election.
//!
//! What the host wants to have said is kept here as it should be; the store's part is brought in line with it whenever
//! there is a lease. A lease that has ended is granted anew and everything is said again. The lease is kept at a third of its
//! time; when it could not be kept for its whole time, an office that hangs on it is over, whatever the store still has.
//!
//! Where there are thousands of hosts, the lease of one that does not stand for election is up to three times as long: so
//! much longer the vote and the presence of a host count that vanished without a word. Whoever stands takes a short one
//! first, so that an office is never vacant for longer than in a small fleet.
//!
//! In a large fleet a host learns from its list, once a minute, who stands; some host always just has one. Where too few
//! do, it draws a lot how long it waits, and looks again before it stands: a few come first, and the others see them.
//!
//! Where thousands vote at one time, their votes have turns by lot, so that the decision is not behind all of them in the
//! store's queue. A vote that only agrees with what is in force by then, or by its turn, has time: it holds the switch where
//! it is, and others do so already.

use std::collections::BTreeMap;
use std::time::Duration;

use super::api::{self, Compare, Op, Range};
use super::mirror::Sees;
use super::session::Inner;
use crate::limits;
use crate::store::{Mine, StoreError, Table};
use crate::switches::{Member, Term, Vote};
use crate::telemetry::Metric;
use crate::time::Stopwatch;

/// A key and what it is to hold; `None`: it is to be gone.
type Change = (String, Option<Vec<u8>>);

/// What this host has and wants under its lease.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// As it should be, by key.
    wanted: BTreeMap<String, Vec<u8>>,
    /// As the store has it.
    written: BTreeMap<String, Vec<u8>>,
    /// The revision at which our name was last ours or nobody's; `None`: that is to be looked at.
    claim: Option<u64>,
    /// 0: none.
    pub(super) lease: u64,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// Since it was last kept.
    kept: Option<Stopwatch>,
    /// Since when there has been room to stand, and the lot that was drawn then.
    room: Option<(Stopwatch, f64)>,
    /// Since when a vote has waited for its turn, and the lot that was drawn then.
    turn: Option<(Stopwatch, f64)>,
    /// How often in a row the store had no answer to votes whose turn had come.
    late: u32,
}

impl Hold {
    /// What the store does not have as it should be; `None`: what is to be gone.
    fn news(&self) -> impl Iterator<Item = (String, Option<&Vec<u8>>)> {
        // Votes go before presence, so that a host that is back is not counted as one without an opinion.
        let new = self.wanted.iter().rev().filter(|(key, value)| self.written.get(*key) != Some(*value));
        let new = new.map(|(key, value)| (key.clone(), Some(value)));
        let old = self.written.keys().filter(|key| !self.wanted.contains_key(*key)).map(|key| (key.clone(), None));
        new.chain(old)
    }

    /// The store had no answer to votes whose turn had come: they have another one, later.
    fn miss_turn(&mut self) {
        self.turn = None;
        self.late = (self.late + 1).min(limits::STORE_VOTES_LATE);
    }

    /// Whether the store has this as it should be.
    fn is_known(&self, key: &str) -> bool {
        self.written.get(key).is_some_and(|written| self.wanted.get(key) == Some(written))
    }
}

impl Inner {
    /// Takes what the host says; the lease's task brings it to the store.
    pub(super) fn put_mine(&self, mine: Mine) {
        let (key, value) = match mine {
            Mine::Presence(member) => {
                let (instance, address) = (self.settings.instance.clone(), self.settings.address.clone());
                let member = Member { instance, address, ..member };
                (self.keys.member(&self.settings.host), serde_json::to_vec(&member).ok())
            }
            Mine::Vote(rule, vote) => {
                let value = vote.and_then(|vote| serde_json::to_vec(&vote).ok());
                (self.keys.vote(&self.settings.host, &rule), value)
            }
            Mine::Alerts(report) => (self.keys.alerts(&self.settings.host), serde_json::to_vec(&*report).ok()),
        };
        let mut hold = self.hold();
        match value {
            Some(value) => drop(hold.wanted.insert(key, value)),
            None => drop(hold.wanted.remove(&key)),
        }
        drop(hold);
        self.said.notify_one();
    }

    /// Keeps the lease and what hangs on it, for as long as the session lasts.
    pub(super) async fn keep_lease(&self) {
        let mut failures = 0_u32;
        loop {
            let outcome = self.lease_round().await;
            self.decide_office();
            let wait = match outcome {
                Ok(wait) => {
                    failures = 0;
                    wait
                }
                Err(error) => {
                    self.troubled(&error);
                    failures += 1;
                    self.pause(failures)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Said while the store is away: the pause goes on, so that a host that says much does not hammer.
                () = self.said.notified(), if failures == 0 => {}
            }
        }
    }

    /// One look at everything; gives how long nothing has to be done.
    async fn lease_round(&self) -> Result<Duration, StoreError> {
        if !self.claim().await? {
            return Ok(self.settings.lease / 3);
        }
        let (lease, age, pause) = {
            let hold = self.hold();
            (hold.lease, hold.kept.as_ref().map_or(Duration::MAX, Stopwatch::elapsed), self.keep_after(hold.lasts))
        };
        if lease == 0 && self.client.crowd().is_none() {
            // The first list says how long the lease is to be; being in reach wakes us.
            return Ok(limits::STORE_TRY);
        }
        if lease == 0 {
            self.grant().await?;
        } else if age >= pause {
            self.keep(lease).await?;
        }
        if self.hold().lease == 0 {
            return Ok(Duration::ZERO);
        }
        let turn = self.say().await?;
        // It came when the fleet was small.
        let lasts = self.hold().lasts;
        if !self.client.stands() && self.long() * 2 >= lasts * 3 {
            self.change(self.long()).await?;
        }
        let standing = self.stand().await?;
        self.tell_how_many().await?;
        let (age, pause) = {
            let hold = self.hold();
            (hold.kept.as_ref().map_or(Duration::ZERO, Stopwatch::elapsed), self.keep_after(hold.lasts))
        };
        Ok(pause.saturating_sub(age).min(standing).min(turn).max(Duration::from_millis(10)))
    }

    async fn grant(&self) -> Result<(), StoreError> {
        let lasts = self.long();
        let begun = Stopwatch::start();
        let id = self.granted(lasts).await?;
        self.hold_under(id, lasts, begun);
        tracing::debug!(lease = id, "the shared store granted a lease");
        Ok(())
    }

    async fn granted(&self, lasts: Duration) -> Result<u64, StoreError> {
        let answer = self.client.call(api::LEASE_GRANT, &api::lease_grant(lasts.as_secs().max(1))).await?;
        api::read_lease(&answer).map(|(id, _)| id).ok_or_else(unreadable)
    }

    fn hold_under(&self, lease: u64, lasts: Duration, since: Stopwatch) {
        let mut hold = self.hold();
        (hold.lease, hold.lasts, hold.kept) = (lease, lasts, Some(since));
        hold.written.clear();
        self.client.stand(false);
    }

    /// How long the lease is to be of a host that does not stand.
    fn long(&self) -> Duration {
        self.settings.lease * self.client.spread().min(limits::STORE_LEASE_MOST)
    }

    /// How long after it was last kept a lease that lasts so long is kept again.
    fn keep_after(&self, lasts: Duration) -> Duration {
        let third = lasts / 3;
        if lasts > self.settings.lease { (lasts / 2).min(limits::STORE_KEEP_MOST).max(third) } else { third }
    }

    /// Goes over to a lease of another length; what hung on the one before is never gone.
    async fn change(&self, lasts: Duration) -> Result<(), StoreError> {
        let old = self.hold().lease;
        let begun = Stopwatch::start();
        let id = self.granted(lasts).await?;
        self.hold_under(id, lasts, begun);
        self.say().await?;
        // Nothing hangs on it any more; if this fails it ends by itself.
        drop(self.client.call(api::LEASE_REVOKE, &api::lease(old)).await);
        Ok(())
    }

    /// Whether our name is ours: nobody's, or said by this daemon, perhaps before a restart. While it is another's, that one
    /// is left alone, and nothing of ours is in the store.
    async fn claim(&self) -> Result<bool, StoreError> {
        let (lease, claimed) = {
            let hold = self.hold();
            (hold.lease, hold.claim.is_some())
        };
        if claimed {
            return Ok(true);
        }
        let host = &self.settings.host;
        let key = self.keys.member(host);
        let answer = self.client.call(api::RANGE, &Range::key(&key).message()).await?;
        let there = api::read_range(&answer).ok_or_else(unreadable)?.kvs.into_iter().next();
        let said = there.as_ref().and_then(|kv| serde_json::from_slice::<Member>(&kv.value).ok());
        let ours = there.as_ref().is_some_and(|kv| kv.lease == lease);
        if let Some(rival) = said.filter(|said| !ours && said.is_another(&self.settings.instance)) {
            self.give_way(rival).await;
            return Ok(false);
        }
        if there.is_some() && !ours {
            // A process before this one has left votes and an office under a lease that is not over yet.
            let left = [Op::DeleteAll(self.keys.votes(host)), Op::Delete(self.keys.counter(host))];
            self.client.call(api::TXN, &api::txn(&[], &left, &[])).await?;
        }
        let mut hold = self.hold();
        hold.claim = Some(there.map_or(0, |kv| kv.modified));
        if !ours {
            hold.written.remove(&key);
        }
        drop(hold);
        if self.rival.send_replace(None).is_some() {
            tracing::info!(host, "the other host of this name is gone: this one takes its place");
        }
        Ok(true)
    }

    /// Another host has our name: whatever we said goes.
    async fn give_way(&self, rival: Member) {
        self.revoke().await;
        let mut hold = self.hold();
        (hold.lease, hold.kept) = (0, None);
        hold.written.clear();
        drop(hold);
        self.rival.send_if_modified(|known| {
            let news = known.as_ref() != Some(&rival);
            *known = Some(rival);
            news
        });
    }

    async fn keep(&self, lease: u64) -> Result<(), StoreError> {
        let begun = Stopwatch::start();
        let answer = self.client.call(api::LEASE_KEEP_ALIVE, &api::lease(lease)).await?;
        let (_, seconds) = api::read_lease(&answer).ok_or_else(unreadable)?;
        if seconds > 0 {
            self.hold().kept = Some(begun);
            return Ok(());
        }
        self.lease_lost();
        self.said.notify_one();
        Ok(())
    }

    /// The store does not have our lease any more: nothing that hung on it is there.
    fn lease_lost(&self) {
        let mut hold = self.hold();
        (hold.lease, hold.claim) = (0, None);
        hold.kept = None;
        hold.written.clear();
        self.client.stand(false);
        drop(hold);
        self.decide_office();
        self.telemetry.count(Metric::StoreLeasesLost, &[]);
        tracing::warn!("the lease of this host in the shared store ended; it says everything again");
    }

    /// Brings what the store has of this host in line with what it wants to have said, but for votes whose turn has not
    /// come; gives how long that is.
    async fn say(&self) -> Result<Duration, StoreError> {
        loop {
            let turn = self.before_voting();
            let (lease, claim, changes) = self.changes(turn.is_none());
            let Some(claim) = claim.filter(|_| !changes.is_empty()) else { return Ok(turn.unwrap_or(Duration::MAX)) };
            let presence = self.keys.member(&self.settings.host);
            let guard = Compare::Modified(presence.clone(), claim);
            // What this host's alerts are outlives it.
            let alerts = self.keys.alerts(&self.settings.host);
            let lease_of = |key: &String| if *key == alerts { 0 } else { lease };
            let op = |(key, value): &Change| match value {
                Some(value) => Op::Put { key: key.clone(), value: value.clone(), lease: lease_of(key) },
                None => Op::Delete(key.clone()),
            };
            let ops: Vec<Op> = changes.iter().map(op).collect();
            let answer = match self.client.call(api::TXN, &api::txn(&[guard], &ops, &[])).await {
                Ok(answer) => answer,
                Err(StoreError::Refused(why)) if why.contains("lease not found") => {
                    self.lease_lost();
                    self.said.notify_one();
                    return Ok(Duration::ZERO);
                }
                Err(error) => {
                    let votes = self.keys.votes(&self.settings.host);
                    if changes.iter().any(|(key, _)| key.starts_with(&votes)) {
                        self.hold().miss_turn();
                    }
                    return Err(error);
                }
            };
            self.hold().late = 0;
            let done = api::read_txn(&answer).ok_or_else(unreadable)?;
            let mut hold = self.hold();
            if !done.succeeded {
                // Somebody else says that they have our name, or an answer was lost.
                hold.claim = None;
                self.said.notify_one();
                return Ok(Duration::ZERO);
            }
            if hold.lease == lease {
                if changes.iter().any(|(key, _)| *key == presence) {
                    hold.claim = Some(done.header.revision);
                }
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(hold.written.insert(key, value)),
                        None => drop(hold.written.remove(&key)),
                    }
                }
            }
        }
    }

    /// How long the votes of this host still wait for their turn; `None` when it has come.
    fn before_voting(&self) -> Option<Duration> {
        let (crowd, votes) = (self.crowd(), self.keys.votes(&self.settings.host));
        let mut hold = self.hold();
        if crowd <= limits::STORE_VOTES_AT_ONCE
            || self.client.stands()
            || !hold.is_known(&self.keys.member(&self.settings.host))
        {
            hold.turn = None;
            return None;
        }
        let news: Vec<(String, Option<&Vec<u8>>)> = hold.news().filter(|(key, _)| key.starts_with(&votes)).collect();
        if news.is_empty() {
            hold.turn = None;
            return None;
        }
        let agreed = {
            let table = self.table.borrow();
            news.iter().all(|(_, vote)| vote.is_some_and(|vote| is_in_force(&table, vote)))
        };
        let (lot, late) = (self.lot(), hold.late);
        let (since, lot) = hold.turn.get_or_insert_with(|| (Stopwatch::start(), lot));
        let left = before_turn(crowd, agreed, late, *lot).saturating_sub(since.elapsed());
        (left > Duration::ZERO).then_some(left)
    }

    /// What is in force changed: a vote that waits for its turn may have more time, or less.
    pub(super) fn look_at_turn(&self) {
        if self.hold().turn.is_some() {
            self.said.notify_one();
        }
    }

    /// What the store does not have as it should be, with or without votes, as much as one transaction takes.
    fn changes(&self, votes: bool) -> (u64, Option<u64>, Vec<Change>) {
        let later = self.keys.votes(&self.settings.host);
        let hold = self.hold();
        let now = hold.news().filter(|(key, _)| votes || !key.starts_with(&later));
        (hold.lease, hold.claim, now.map(|(key, value)| (key, value.cloned())).take(limits::STORE_TXN).collect())
    }

    /// Stands for election while too few others do; gives how long there is nothing to do about it.
    async fn stand(&self) -> Result<Duration, StoreError> {
        let (lease, claim) = {
            let hold = self.hold();
            (hold.lease, hold.claim)
        };
        let Some(claim) = claim else { return Ok(Duration::MAX) };
        let key = self.keys.counter(&self.settings.host);
        let others = self.others_that_stand();
        let ours = self.mirror().candidates().get(&self.settings.host).is_some_and(|ours| ours.lease == lease);
        // Before the first list it is not known who stands.
        if ours || others >= limits::STORE_CANDIDATES || lease == 0 || !self.reach.borrow().is_connected() {
            self.hold().room = None;
            return Ok(Duration::MAX);
        }
        let lot = self.lot();
        let left = {
            let mut hold = self.hold();
            let (since, lot) = hold.room.get_or_insert_with(|| (Stopwatch::start(), lot));
            before_standing(self.crowd(), others, *lot).saturating_sub(since.elapsed())
        };
        if left > Duration::ZERO {
            return Ok(left);
        }
        self.hold().room = None;
        // What is known of the others may be a minute old.
        if !self.follows_election() && self.others_now().await? >= limits::STORE_CANDIDATES {
            return Ok(Duration::MAX);
        }
        if self.hold().lasts > self.settings.lease {
            self.change(self.settings.lease).await?;
        }
        let lease = self.hold().lease;
        let put = Op::Put { key: key.clone(), value: self.settings.host.clone().into_bytes(), lease };
        let ours = Compare::Modified(self.keys.member(&self.settings.host), claim);
        let message = api::txn(&[Compare::Created(key, 0), ours], &[put], &[]);
        self.client.call(api::TXN, &message).await?;
        self.client.stand(true);
        self.recount.notify_one();
        Ok(Duration::MAX)
    }

    /// Whoever counts a large fleet says in its candidacy how large it is: every list of every host has that.
    async fn tell_how_many(&self) -> Result<(), StoreError> {
        let Some(term) = self.term.borrow().clone() else { return Ok(()) };
        let (sees, told) = {
            let mirror = self.mirror();
            (mirror.census.members.len() as u64, mirror.elected().and_then(|elected| elected.hosts))
        };
        if !is_worth_telling(told, sees) {
            return Ok(());
        }
        let value = serde_json::to_vec(&Sees { hosts: sees }).unwrap_or_default();
        let lease = self.hold().lease;
        let put = Op::Put { key: term.key.clone(), value, lease };
        self.client.call(api::TXN, &api::txn(&[Compare::Created(term.key, term.number)], &[put], &[])).await?;
        Ok(())
    }

    async fn others_now(&self) -> Result<usize, StoreError> {
        let range = api::Range { keys_only: true, ..api::Range::prefix(&self.keys.all("counter")) };
        let answer = self.client.list(api::RANGE, &range.message()).await?;
        let standing = api::read_range(&answer).ok_or_else(unreadable)?.kvs;
        let ours = self.keys.counter(&self.settings.host);
        Ok(standing.iter().filter(|kv| kv.key != ours.as_bytes()).count())
    }

    fn others_that_stand(&self) -> usize {
        self.mirror().candidates().values().filter(|other| other.host != self.settings.host).count()
    }

    /// Whether this host is the one that counts, as far as it can know.
    pub(super) fn decide_office(&self) {
        let elected = self.mirror().elected().cloned();
        let term = {
            let hold = self.hold();
            let kept = hold.kept.as_ref().is_some_and(|kept| kept.elapsed() < self.settings.lease);
            let elected = elected.filter(|elected| {
                kept && hold.lease != 0 && elected.lease == hold.lease && elected.host == self.settings.host
            });
            elected.map(|elected| Term { key: self.keys.counter(&elected.host), number: elected.created })
        };
        let news = self.term.send_if_modified(|known| {
            let news = *known != term;
            known.clone_from(&term);
            news
        });
        if news {
            let number = term.as_ref().map_or(0, |term| term.number);
            tracing::info!(elected = term.is_some(), number, "whether this host counts the fleet's votes changed");
            self.recount.notify_one();
        }
    }

    /// Gives the lease back: everything that hangs on it is gone at once.
    pub(super) async fn revoke(&self) {
        let lease = std::mem::take(&mut self.hold().lease);
        if lease != 0 {
            let message = api::lease(lease);
            let revoked = self.client.call(api::LEASE_REVOKE, &message);
            drop(tokio::time::timeout(limits::STORE_TRY, revoked).await);
        }
        self.term.send_replace(None);
    }
}

/// Whether who counts says anew how many hosts there are: in a fleet where not all count, when a tenth more or fewer came.
fn is_worth_telling(told: Option<u64>, sees: u64) -> bool {
    match told {
        None => sees > limits::STORE_CENSUS_FOR_ALL,
        Some(told) => told.abs_diff(sees) * 10 > told,
    }
}

/// How long after it was known the vote of a host with this lot is put, in a fleet of so many; twice as long for each time
/// that it was late because the store had no answer, so that votes that it cannot take as fast do not all come again at once.
fn before_turn(crowd: u64, agreed: bool, late: u32, lot: f64) -> Duration {
    let beyond = crowd.saturating_sub(limits::STORE_VOTES_AT_ONCE);
    let pace = if agreed { limits::STORE_VOTES_PACE_AGREED } else { limits::STORE_VOTES_PACE };
    Duration::from_secs_f64(beyond as f64 / pace as f64).mul_f64(lot) * 2_u32.pow(late)
}

/// Whether the fleet's switch is what a vote wants.
fn is_in_force(table: &Table, vote: &[u8]) -> bool {
    let Ok(vote) = serde_json::from_slice::<Vote>(vote) else { return false };
    table.switches.get(&vote.switch).is_some_and(|record| record.level == vote.level)
}

/// How long a host of a fleet of so many waits before it stands beside so many others. By the third root of a lot few come
/// early, however many draw: of 10,000 the first after a quarter of a second, and 40 a second after that.
fn before_standing(crowd: u64, others: usize, lot: f64) -> Duration {
    if crowd <= limits::STORE_CENSUS_FOR_ALL {
        // Who counts is wanted at once; who would be next is not.
        return if others == 0 { Duration::ZERO } else { limits::STORE_STAND_FEW.mul_f64(lot) };
    }
    let most = if others == 0 { limits::STORE_STAND_ALONE } else { limits::STORE_STAND };
    most.mul_f64(lot.cbrt())
}

pub(super) fn unreadable() -> StoreError {
    StoreError::Unreachable("an answer that is none of etcd's".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rng::Rng;
    use crate::store::contract::{vote, write};
    use crate::store::etcd::EtcdSettings;
    use crate::telemetry::Telemetry;
    use crate::time::{Clock, Timestamp};

    /// A session that asks nobody, of a fleet of so many, with a presence that the store knows.
    fn among(crowd: u64) -> Arc<Inner> {
        let inner = Inner::new(EtcdSettings::of_nobody(), None, Clock::start_at(Timestamp::ZERO), Telemetry::new());
        inner.client.of_fleet(crowd);
        inner.put_mine(Mine::Presence(Member::default()));
        let mut hold = inner.hold();
        hold.written = hold.wanted.clone();
        drop(hold);
        inner
    }

    #[test]
    fn among_thousands_a_vote_waits_for_its_turn_and_longer_when_it_only_agrees() {
        let says = |inner: &Inner, level: Option<&str>| {
            inner.put_mine(Mine::Vote("g/r".to_owned(), level.map(|level| vote("g/r", level))));
            inner.hold().turn = Some((Stopwatch::start(), 0.99));
            inner.before_voting()
        };
        let near = |wait: Option<Duration>, seconds: f64| {
            let wait = wait.expect("it waits").as_secs_f64();
            assert!(wait <= seconds && wait > seconds - 1.0, "{wait}");
        };
        let inner = among(10_000);
        near(says(&inner, Some("off")), 0.99 * 8.0);
        let kinds = |inner: &Inner, votes| inner.changes(votes).2.len();
        assert_eq!((kinds(&inner, false), kinds(&inner, true)), (0, 1), "only the vote waits");
        // What is in force is what it wants.
        let record = write("recs", 1, "off").record;
        let switches = [(vote("g/r", "off").switch, record)].into();
        inner.table.send_replace(Arc::new(Table { revision: 1, switches, ..Table::default() }));
        near(inner.before_voting(), 0.99 * 16.0);
        near(says(&inner, Some("cached")), 0.99 * 8.0);
        // Well again before its turn: there is nothing to say, and the next one draws a new lot.
        assert_eq!(says(&inner, None), None);
        assert!(inner.hold().turn.is_none() && kinds(&inner, true) == 0);
        // The store has it and it is to be gone: that has a turn, too.
        says(&inner, Some("off"));
        let mut hold = inner.hold();
        hold.written = hold.wanted.clone();
        drop(hold);
        near(says(&inner, None), 0.99 * 8.0);
        // With a presence that is new, under a new lease for one, and where this host stands for election.
        inner.hold().written.clear();
        assert_eq!(says(&inner, Some("off")), None);
        let inner = among(10_000);
        inner.client.stand(true);
        assert_eq!(says(&inner, Some("off")), None);
        assert_eq!(says(&among(limits::STORE_VOTES_AT_ONCE), Some("off")), None);
    }

    #[test]
    fn a_vote_that_the_store_did_not_take_in_time_has_a_later_turn() {
        let inner = among(10_000);
        inner.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
        for seconds in [8, 16, 32, 64, 64] {
            let mut drawn = Vec::new();
            for _ in 0..50 {
                inner.hold().turn = None;
                drawn.push(inner.before_voting().expect("it waits").as_secs_f64());
            }
            let (least, most) =
                (drawn.iter().copied().fold(f64::MAX, f64::min), drawn.iter().copied().fold(0.0, f64::max));
            let width = f64::from(seconds);
            assert!(most <= width && most > width * 0.6 && least < width * 0.4, "{least} to {most} of {seconds}");
            inner.hold().miss_turn();
            assert!(inner.hold().turn.is_none());
        }
    }

    #[test]
    fn a_long_lease_is_kept_at_half_of_it_and_no_later_than_another_sign_of_life_were_due() {
        let inner = among(10_000);
        let second = Duration::from_secs(1);
        let of_lease = inner.settings.lease;
        assert_eq!(inner.keep_after(of_lease), of_lease / 3);
        for (lasts, expected) in [(20, 10), (30, 15), (45, 15), (60, 20)] {
            let lasts = second * lasts;
            assert!(lasts > of_lease, "{of_lease:?}");
            assert_eq!(inner.keep_after(lasts), second * expected);
        }
        assert!(limits::STORE_KEEP_MOST < limits::STORE_QUIET * limits::STORE_SPREAD_MOST);
        assert!(limits::STORE_QUIET < limits::STORE_SILENCE);
    }

    #[test]
    fn how_many_there_are_is_said_when_a_tenth_came_or_went() {
        for (told, sees, expected) in [
            (None, 100, false),
            (None, 101, true),
            (Some(101), 111, false),
            (Some(101), 112, true),
            (Some(10_000), 9_000, false),
            (Some(10_000), 8_999, true),
            (Some(500), 3, true),
        ] {
            assert_eq!(is_worth_telling(told, sees), expected, "{sees} where {told:?} was said");
        }
    }

    #[test]
    fn of_any_number_of_hosts_a_few_stand_first() {
        let mut rng = Rng::seeded(1);
        for (crowd, others, first, early) in [(200, 0, 2_000, 10), (10_000, 0, 600, 10), (10_000, 4, 6_000, 5)] {
            let mut waits: Vec<Duration> = (0..crowd).map(|_| before_standing(crowd, others, rng.unit())).collect();
            waits.sort_unstable();
            assert!(waits[0] < Duration::from_millis(first), "{crowd} hosts, {others} others: {:?}", waits[0]);
            // Within the time that a word takes through a busy store.
            let soon = waits.iter().filter(|wait| **wait < waits[0] + Duration::from_millis(100)).count();
            assert!(soon <= early, "{crowd} hosts, {others} others: {soon} at once");
        }
        assert_eq!(before_standing(100, 0, 0.9), Duration::ZERO);
        assert_eq!(before_standing(100, 1, 0.5), limits::STORE_STAND_FEW / 2);
    }
}
