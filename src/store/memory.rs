//! A fleet's store in one process, for simulations: the semantics of etcd without its network, in virtual time.
//!
//! One [`World`] holds what etcd would; each host has a [`Memory`], its view of it. Nothing happens by itself: time is
//! moved by [`World::advance`], which keeps the leases of hosts in reach and ends those of others. A host that is cut
//! off sees nothing and writes nothing; a world that is lost does so to all. On return a host catches up at once, gets a
//! new lease when its own has ended, and says again what it said last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::bundles::{fits, old_bundles};
use super::embedded::{put_into, shelve};
use super::{Mine, Reach, Store, StoreError, Table};
use crate::limits;
use crate::switches::{
    Bundle, Census, Decision, HandOver, Member, Place, Shares, Shelf, StageWrite, Staged, Term, Write,
};
use crate::time::Timestamp;

/// What all hosts share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    lease: Duration,
    revision: u64,
    lost: bool,
    table: Arc<Table>,
    census: Arc<Census>,
    decisions: VecDeque<Decision>,
    outbox: BTreeMap<String, Value>,
    staged: Arc<Staged>,
    shares: Arc<Shares>,
    bundles: BTreeMap<u64, Bundle>,
    /// The hosts with a lease that stand for election, by the revision at which they stood.
    standing: BTreeMap<u64, String>,
    hosts: BTreeMap<String, Host>,
    /// Which of several hosts of one name has it, by name.
    owners: BTreeMap<String, String>,
    writes: u64,
}

#[derive(Debug)]
struct Host {
    name: String,
    instance: String,
    cut_off: bool,
    /// When the lease ends unless it is kept; `None` when it has ended.
    lease_until: Option<Timestamp>,
    said: Vec<Mine>,
    table: watch::Sender<Arc<Table>>,
    census: watch::Sender<Arc<Census>>,
    term: watch::Sender<Option<Term>>,
    reach: watch::Sender<Reach>,
    staged: watch::Sender<Arc<Staged>>,
    shares: watch::Sender<Arc<Shares>>,
    rival: watch::Sender<Option<Member>>,
}

/// One host's view of a [`World`].
#[derive(Clone, Debug)]
pub struct Memory {
    world: World,
    /// Its name; of another of that name, with its instance.
    host: String,
}

impl World {
    /// An empty store at a time; a host that is out of reach for `lease` is gone.
    pub fn new(now: Timestamp, lease: Duration) -> World {
        let state = State {
            now,
            lease,
            revision: 0,
            lost: false,
            table: Arc::default(),
            census: Arc::default(),
            decisions: VecDeque::new(),
            outbox: BTreeMap::new(),
            staged: Arc::default(),
            shares: Arc::default(),
            bundles: BTreeMap::new(),
            standing: BTreeMap::new(),
            hosts: BTreeMap::new(),
            owners: BTreeMap::new(),
            writes: 0,
        };
        World { state: Arc::new(Mutex::new(state)) }
    }

    /// A host joins; one that is here already begins anew, as after a restart.
    pub fn host(&self, name: &str) -> Memory {
        self.join(name, name, "")
    }

    /// Another host joins under a name that is somebody's already.
    pub fn namesake(&self, name: &str, instance: &str) -> Memory {
        self.join(&format!("{name} {instance}"), name, instance)
    }

    fn join(&self, id: &str, name: &str, instance: &str) -> Memory {
        let mut state = self.lock();
        let now = state.now;
        let host = Host {
            name: name.to_owned(),
            instance: if instance.is_empty() { "first".to_owned() } else { instance.to_owned() },
            cut_off: false,
            lease_until: None,
            said: Vec::new(),
            table: watch::Sender::new(Arc::default()),
            census: watch::Sender::new(Arc::default()),
            term: watch::Sender::new(None),
            reach: watch::Sender::new(Reach::Lost { since: now }),
            staged: watch::Sender::new(Arc::default()),
            shares: watch::Sender::new(Arc::default()),
            rival: watch::Sender::default(),
        };
        state.leave(id);
        state.hosts.insert(id.to_owned(), host);
        state.settle();
        drop(state);
        Memory { world: self.clone(), host: id.to_owned() }
    }

    /// A host ends without a word: its lease runs out.
    pub fn kill(&self, host: &str) {
        let mut state = self.lock();
        if let Some(host) = state.hosts.get_mut(host) {
            host.cut_off = true;
            host.said.clear();
        }
        state.settle();
    }

    /// Cuts hosts off, or lets them back.
    pub fn cut_off<'a>(&self, hosts: impl IntoIterator<Item = &'a str>, cut_off: bool) {
        let mut state = self.lock();
        for name in hosts {
            if let Some(host) = state.hosts.get_mut(name) {
                host.cut_off = cut_off;
            }
        }
        state.settle();
    }

    /// Loses the quorum, or finds it again. Leases begin anew then, as etcd's do with a new leader.
    pub fn lose(&self, lost: bool) {
        let mut state = self.lock();
        state.lost = lost;
        if !lost {
            let until = state.now + state.lease;
            state.hosts.values_mut().filter_map(|host| host.lease_until.as_mut()).for_each(|end| *end = until);
        }
        state.settle();
    }

    /// Moves the time.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now = state.now + by;
        state.settle();
    }

    /// How many writes the store has taken.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// The table as the store itself has it.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.lock().table)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reaches(&self, host: &str) -> bool {
        !self.lost && self.hosts.get(host).is_some_and(|host| !host.cut_off)
    }

    /// Keeps, ends and grants leases as far as the time and the faults say, and tells everybody in reach.
    fn settle(&mut self) {
        let (now, lease, lost) = (self.now, self.lease, self.lost);
        let mut ended = Vec::new();
        let mut granted = Vec::new();
        for (name, host) in &mut self.hosts {
            // Nothing ends while there is no leader to end it.
            if lost {
                continue;
            }
            if host.lease_until.is_some_and(|until| host.cut_off && until <= now) {
                host.lease_until = None;
                ended.push(name.clone());
            } else if !host.cut_off && self.owners.get(&host.name).is_none_or(|owner| owner == name) {
                self.owners.insert(host.name.clone(), name.clone());
                if host.lease_until.is_none() {
                    granted.push(name.clone());
                }
                host.lease_until = Some(now + lease);
            }
        }
        ended.iter().for_each(|name| self.leave(name));
        for name in &granted {
            self.revision += 1;
            self.standing.insert(self.revision, name.clone());
            let said = self.hosts.get(name).map(|host| host.said.clone()).unwrap_or_default();
            said.into_iter().for_each(|mine| self.say(name, mine));
        }
        let counter = self.standing.values().next().and_then(|id| Some(self.hosts.get(id)?.name.clone()));
        if self.census.counter != counter {
            Arc::make_mut(&mut self.census).counter = counter;
        }
        self.tell();
        if !ended.is_empty() {
            // A name that is free now is somebody else's at once.
            self.settle();
        }
    }

    /// Everything that hangs on a host's lease is gone.
    fn leave(&mut self, id: &str) {
        self.standing.retain(|_, host| host != id);
        self.owners.retain(|_, owner| owner != id);
        let Some(name) = self.hosts.get(id).map(|host| host.name.clone()) else { return };
        if self.owners.contains_key(&name) {
            return;
        }
        let census = Arc::make_mut(&mut self.census);
        let was = census.members.remove(&name).is_some() | census.votes.remove(&name).is_some();
        if was {
            self.revision += 1;
            census.revision = self.revision;
        }
    }

    fn say(&mut self, id: &str, mut mine: Mine) {
        let Some(host) = self.hosts.get(id) else { return };
        let (host, instance) = (host.name.clone(), host.instance.clone());
        if self.owners.get(&host).is_none_or(|owner| owner != id) {
            return;
        }
        if let Mine::Presence(member) = &mut mine {
            (member.address, member.instance) = (format!("{host} {instance}"), instance);
        }
        self.revision += 1;
        self.writes += 1;
        let census = Arc::make_mut(&mut self.census);
        mine.put_into(census, &host);
        census.revision = self.revision;
    }

    fn tell(&self) {
        let first = self.standing.iter().next();
        for (name, host) in &self.hosts {
            if !self.reaches(name) {
                let lost = Reach::Lost { since: self.now };
                host.reach.send_if_modified(|reach| {
                    let news = reach.is_connected();
                    if news {
                        *reach = lost;
                    }
                    news
                });
                // A host knows by its own clock when its lease is over at the latest.
                if host.lease_until.is_none_or(|until| until <= self.now) {
                    host.term.send_if_modified(|term| term.take().is_some());
                }
                continue;
            }
            let rival = self.owners.get(&host.name).filter(|owner| *owner != name);
            let rival = rival.and_then(|_| self.census.members.get(&host.name)).map(|rival| Member::clone(rival));
            host.rival.send_if_modified(|known| {
                let news = *known != rival;
                known.clone_from(&rival);
                news
            });
            send(&host.table, &self.table);
            send(&host.census, &self.census);
            send(&host.staged, &self.staged);
            send(&host.shares, &self.shares);
            let term = first.filter(|(_, elected)| *elected == name);
            let term = term.map(|(number, _)| Term { key: format!("counter/{number}"), number: *number });
            host.term.send_if_modified(|known| {
                let news = *known != term;
                known.clone_from(&term);
                news
            });
            host.reach.send_if_modified(|reach| !std::mem::replace(reach, Reach::Connected).is_connected());
        }
    }

    fn holds(&self, term: &Term) -> bool {
        self.standing.contains_key(&term.number)
    }

    fn put_stage(&mut self, write: StageWrite) -> Result<(), StoreError> {
        fits(write.bundle.as_ref())?;
        if write.term.as_ref().is_some_and(|term| !self.holds(term)) {
            return Err(StoreError::Deposed { what: "the stage".to_owned() });
        }
        if write.expected != self.staged.revision {
            return Err(StoreError::StageMoved);
        }
        self.revision += 1;
        self.writes += 1;
        self.staged = Arc::new(Staged { revision: self.revision, stage: write.stage });
        self.bundles.extend(write.bundle.map(|bundle| (bundle.revision, bundle)));
        let old = old_bundles(&self.staged.stage, self.bundles.keys().copied());
        old.iter().for_each(|revision| drop(self.bundles.remove(revision)));
        Ok(())
    }

    fn put(&mut self, write: &Write) -> Result<(), StoreError> {
        let name = &write.name;
        if write.place == Place::Host {
            return Err(StoreError::NotShared(name.clone()));
        }
        let known = self.table.get(&write.place, name);
        if known == Some(&write.record) {
            return Ok(());
        }
        if write.term.as_ref().is_some_and(|term| !self.standing.contains_key(&term.number)) {
            return Err(StoreError::Deposed { what: format!("switch {name}") });
        }
        let found = known.map_or(0, |record| record.revision);
        if found != write.expected {
            return Err(StoreError::Conflict { name: name.clone(), expected: write.expected, found });
        }
        let decided = known.and_then(|record| record.decision.as_ref());
        if let Some(decision) = write.record.decision.as_ref().filter(|decision| Some(*decision) != decided) {
            self.decisions.push_back(decision.clone());
            if self.decisions.len() > limits::DECISIONS_KEPT {
                self.decisions.pop_front();
            }
        }
        self.revision += 1;
        self.writes += 1;
        let table = Arc::make_mut(&mut self.table);
        table.revision = self.revision;
        table.put(&write.place, name.clone(), write.record.clone());
        Ok(())
    }
}

fn send<T: PartialEq>(to: &watch::Sender<Arc<T>>, what: &Arc<T>) {
    to.send_if_modified(|known| {
        let news = !Arc::ptr_eq(known, what) && *known != *what;
        *known = Arc::clone(what);
        news
    });
}

impl Memory {
    fn reached(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.world.lock();
        if state.reaches(&self.host) { Ok(state) } else { Err(StoreError::Unreachable("it is cut off".to_owned())) }
    }

    fn subscribe<T>(&self, to: impl Fn(&Host) -> &watch::Sender<T>) -> watch::Receiver<T> {
        let state = self.world.lock();
        to(&state.hosts[&self.host]).subscribe()
    }

    /// The writing itself, for simulations without a runtime.
    ///
    /// # Errors
    /// As [`Store::compare_and_put`].
    pub fn put(&self, write: &Write) -> Result<Arc<Table>, StoreError> {
        let mut state = self.reached()?;
        if let Some(host) = state.hosts.get(&self.host).filter(|host| host.rival.borrow().is_some()) {
            return Err(StoreError::SameName(host.name.clone()));
        }
        state.put(write)?;
        state.tell();
        Ok(Arc::clone(&state.table))
    }

    /// The same for a stage.
    ///
    /// # Errors
    /// As [`Store::put_stage`].
    pub fn stage(&self, write: StageWrite) -> Result<Arc<Staged>, StoreError> {
        let mut state = self.reached()?;
        state.put_stage(write)?;
        state.tell();
        Ok(Arc::clone(&state.staged))
    }

    /// The names of all hosts that ever joined.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.world.lock().hosts.keys().cloned().collect()
    }
}

impl Store for Memory {
    fn watch(&self) -> watch::Receiver<Arc<Table>> {
        self.subscribe(|host| &host.table)
    }

    async fn compare_and_put(&self, write: Write) -> Result<Arc<Table>, StoreError> {
        self.put(&write)
    }

    async fn decisions(&self, most: usize) -> Result<Vec<Decision>, StoreError> {
        let state = self.reached()?;
        let skipped = state.decisions.len().saturating_sub(most);
        Ok(state.decisions.iter().skip(skipped).cloned().collect())
    }

    fn census(&self) -> watch::Receiver<Arc<Census>> {
        self.subscribe(|host| &host.census)
    }

    fn term(&self) -> watch::Receiver<Option<Term>> {
        self.subscribe(|host| &host.term)
    }

    fn reach(&self) -> watch::Receiver<Reach> {
        self.subscribe(|host| &host.reach)
    }

    fn rival(&self) -> watch::Receiver<Option<Member>> {
        self.subscribe(|host| &host.rival)
    }

    fn put_mine(&self, mine: Mine) {
        let mut state = self.world.lock();
        let reached = state.reaches(&self.host);
        let Some(host) = state.hosts.get_mut(&self.host) else { return };
        host.said.retain(|said| match (said, &mine) {
            (Mine::Presence(_), Mine::Presence(_)) => false,
            (Mine::Vote(before, _), Mine::Vote(rule, _)) => before != rule,
            (Mine::Alerts(_), Mine::Alerts(_)) => false,
            _ => true,
        });
        host.said.push(mine.clone());
        if reached {
            state.say(&self.host, mine);
            state.tell();
        }
    }

    async fn hand_over(&self, what: Vec<HandOver>) -> Result<(), StoreError> {
        let mut state = self.reached()?;
        if let Some(late) = what.iter().find(|what| !state.standing.contains_key(&what.term.number)) {
            return Err(StoreError::Deposed { what: late.id.clone() });
        }
        for what in what {
            state.writes += 1;
            if what.shelf == Shelf::Outbox {
                put_into(&mut state.outbox, what)?;
                continue;
            }
            state.revision += 1;
            let revision = state.revision;
            let census = Arc::make_mut(&mut state.census);
            shelve(census, what);
            census.revision = revision;
        }
        state.tell();
        Ok(())
    }

    async fn outbox(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        Ok(self.reached()?.outbox.clone())
    }

    fn staged(&self) -> watch::Receiver<Arc<Staged>> {
        self.subscribe(|host| &host.staged)
    }

    async fn put_stage(&self, write: StageWrite) -> Result<Arc<Staged>, StoreError> {
        self.stage(write)
    }

    async fn bundle(&self, revision: u64) -> Result<Option<Bundle>, StoreError> {
        Ok(self.reached()?.bundles.get(&revision).cloned())
    }

    async fn put_bundle_again(&self, bundle: Bundle) -> Result<(), StoreError> {
        fits(Some(&bundle))?;
        self.reached()?.bundles.entry(bundle.revision).or_insert(bundle);
        Ok(())
    }

    fn shares(&self) -> watch::Receiver<Arc<Shares>> {
        self.subscribe(|host| &host.shares)
    }

    async fn put_shares(&self, shares: Shares, term: Term) -> Result<(), StoreError> {
        let mut state = self.reached()?;
        if !state.holds(&term) {
            return Err(StoreError::Deposed { what: "the shares".to_owned() });
        }
        state.writes += 1;
        state.shares = Arc::new(shares);
        state.tell();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{config_contract, contract, fleet_contract, same_name, vote, write};
    use super::*;
    use crate::model::SwitchName;

    fn world() -> World {
        World::new(Timestamp::ZERO, Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_world_keeps_the_contract() {
        let world = world();
        contract(&world.host("h1")).await;
        config_contract(&world.host("h1"), &world.host("h2")).await;
        fleet_contract(&world.host("h1"), &world.host("h2"), async || {
            world.kill("h1");
            world.advance(Duration::from_secs(11));
        })
        .await;
    }

    #[tokio::test]
    async fn two_hosts_of_one_name_are_told_apart() {
        let world = world();
        let first = world.host("h1");
        same_name(&first, &world.namesake("h1", "another"), async || {
            world.kill("h1");
            world.advance(Duration::from_secs(11));
        })
        .await;
    }

    #[test]
    fn a_host_that_is_cut_off_sees_and_writes_nothing_and_catches_up_on_return() {
        let world = world();
        let (one, two) = (world.host("h1"), world.host("h2"));
        let (mut table, mut reach, mut census) = (one.watch(), one.reach(), two.census());
        one.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
        table.mark_unchanged();
        world.cut_off(["h1"], true);
        two.put(&write("a", 1, "off")).expect("taken");
        assert!(!table.has_changed().expect("open"));
        assert!(!reach.borrow_and_update().is_connected());
        assert!(matches!(one.put(&write("b", 1, "off")), Err(StoreError::Unreachable(_))));
        // It keeps its vote until its lease ends, and says it again on return.
        world.advance(Duration::from_secs(9));
        assert_eq!(census.borrow_and_update().votes.len(), 1);
        world.advance(Duration::from_secs(1));
        assert_eq!(census.borrow_and_update().votes.len(), 0);
        world.cut_off(["h1"], false);
        assert_eq!(census.borrow_and_update().votes.len(), 1);
        assert!(table.borrow_and_update().switches.contains_key(&SwitchName::new("a").expect("a name")));
        assert!(reach.borrow_and_update().is_connected());
    }

    #[test]
    fn nothing_ends_while_there_is_no_quorum() {
        let world = world();
        let (one, two) = (world.host("h1"), world.host("h2"));
        one.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
        world.lose(true);
        world.advance(Duration::from_secs(300));
        assert!(two.put(&write("a", 1, "off")).is_err());
        world.lose(false);
        assert_eq!(two.census().borrow().votes.len(), 1);
        assert!(one.term().borrow().is_some() && two.term().borrow().is_none());
        assert_eq!(world.writes(), 1);
        assert_eq!(one.hosts().len(), 2);
    }
}
