//! What a host of a fleet knows, and what it does with every word of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::arbiter::{Role, Settings, SharedRule, Switches};
use super::super::audit::Audited;
use super::super::state::{Decision, Record, Write};
use super::super::votes::{Census, FleetSettings, Member, Place, Tables, Term, Vote};
use super::known::{Before, Known};
use super::parts::{Demand, Parts, Shares};
use super::people::Intent;
use super::runs::Runs;
use super::stage::StageWrite;
use super::told::Told;
use crate::model::SwitchName;
use crate::rng::Rng;
use crate::time::{Timestamp, millis};

/// How long a decision of the fleet holds without being renewed.
pub const DECISION_LIFE: Duration = Duration::from_secs(10 * 60);
/// A host that is back waits so long at the most before it votes.
pub(super) const JITTER: Duration = Duration::from_secs(3);
/// Whoever has just been elected, or has just come back, first listens so long.
const LISTEN: Duration = Duration::from_secs(1);
/// Votes are counted at most this often.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// Everything is looked at this often without being told to.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A write of which nothing was heard for so long is taken for lost.
const UNHEARD: Duration = Duration::from_secs(10);
/// The number of hosts is kept for a restart, and for the host that is elected next, at most this often.
const KEPT_EVERY: Duration = Duration::from_secs(10);
/// How long whoever was elected waits for what the one before it left.
const HAND_OVER: Duration = Duration::from_secs(5);

/// The journal's keys.
const TABLES_KEY: &str = "fleet/tables";
const KNOWN_KEY: &str = "fleet/known";
pub(super) const SHARES_KEY: &str = "fleet/shares";
/// The same in the outbox.
const KNOWN_ID: &str = "known";

/// What a fleet asks of the world.
#[derive(Debug, Default)]
pub struct Asked {
    pub writes: Vec<Write>,
    /// By their keys; `None` withdraws a vote.
    pub votes: Vec<(String, Option<Vote>)>,
    pub presence: Option<Member>,
    /// The next stage of the fleet's configuration.
    pub stage: Option<StageWrite>,
    /// How limits are shared out, for hosts that are not told who is in the fleet.
    pub shares: Option<(Shares, Term)>,
}

/// This host in its fleet.
#[derive(Debug)]
pub struct Fleet {
    pub(super) settings: FleetSettings,
    pub(super) since: Timestamp,
    pub(super) rng: Rng,
    /// What every desk is told: declarations and guards; rollouts only for the fleet's.
    desk_settings: Settings,
    /// The rules that are voted on, by their votes' keys.
    pub(super) rules: BTreeMap<String, SharedRule>,
    /// As the store had them last.
    pub(super) tables: Tables,
    /// The fleet's, and one for each zone that is known.
    pub(super) desks: BTreeMap<Place, Switches>,
    /// Writes that the store has not answered: the revision they lead to, and when they were made.
    pub(super) pending: BTreeMap<(Place, SwitchName), (u64, Timestamp)>,
    pub(super) intents: BTreeMap<SwitchName, Intent>,
    pub(super) known: Known,
    pub(super) counter: Option<String>,
    pub(super) term: Option<Term>,
    pub(super) reach: bool,
    pub(super) lost_since: Option<Timestamp>,
    heard_tables: bool,
    heard_census: bool,
    census_revision: u64,
    /// The fleet is so large that this host is not told who is in it.
    pub(super) only_counter: bool,
    pub(super) vote_at: Timestamp,
    count_at: Timestamp,
    /// Something was heard since the votes were counted last.
    dirty: bool,
    counted: Option<Timestamp>,
    look_at: Timestamp,
    /// What the store was given.
    pub(super) sent: BTreeMap<String, Vote>,
    pub(super) presence: Option<Member>,
    /// Since when a rule's votes have been too few for what is in force.
    pub(super) clearing: BTreeMap<(Place, String), Timestamp>,
    /// When each record's end was first seen here: clocks differ.
    pub(super) ends_seen: BTreeMap<(Place, SwitchName), (Timestamp, Timestamp)>,
    /// When a rule's ask last changed by this host's clock; `None` where that was before it looked.
    pub(super) moves: BTreeMap<(Place, String), (Timestamp, Option<Timestamp>)>,
    pub(super) told: Arc<Told>,
    /// The fleet's configuration.
    pub(super) runs: Runs,
    pub(super) demand: Demand,
    pub(super) shares: Shares,
    /// They were heard since the start.
    pub(super) shares_heard: bool,
    pub(super) parts: Parts,
    /// The shares that were written for all, and when.
    pub(super) shares_given: Option<(Shares, Timestamp)>,
    outbox: Option<BTreeMap<String, Value>>,
    pub(super) changes: BTreeMap<String, Value>,
    /// How many hosts there are, as it was kept last.
    kept: Option<Before>,
    handed_over: Vec<(String, Value)>,
    /// Decisions from before the start, as the store has them.
    past: Vec<Decision>,
}

impl Fleet {
    /// Starts from what the journal kept. Nothing counts before the store was heard.
    pub fn restore(now: Timestamp, settings: FleetSettings, memory: &BTreeMap<String, Value>, seed: u64) -> Fleet {
        let read = |key: &str| memory.get(key).cloned();
        let tables: Tables = read(TABLES_KEY).and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default();
        let before: Before = read(KNOWN_KEY).and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default();
        let mut known = Known::default();
        known.remember(before);
        // Hosts that start at one moment do not speak at one moment.
        let of_host = settings.host.bytes().fold(seed, |sum, byte| sum.rotate_left(7) ^ u64::from(byte));
        Fleet {
            settings,
            since: now,
            rng: Rng::seeded(of_host),
            desk_settings: Settings::default(),
            rules: BTreeMap::new(),
            tables,
            desks: BTreeMap::new(),
            pending: BTreeMap::new(),
            intents: BTreeMap::new(),
            known,
            counter: None,
            term: None,
            reach: false,
            lost_since: Some(now),
            heard_tables: false,
            heard_census: false,
            census_revision: 0,
            only_counter: false,
            vote_at: now,
            count_at: now,
            dirty: false,
            counted: None,
            look_at: now,
            sent: BTreeMap::new(),
            presence: None,
            clearing: BTreeMap::new(),
            ends_seen: BTreeMap::new(),
            moves: BTreeMap::new(),
            told: Arc::default(),
            runs: Runs::restore(memory),
            demand: Demand::default(),
            shares: read(SHARES_KEY).and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default(),
            shares_heard: false,
            parts: Parts::default(),
            shares_given: None,
            outbox: None,
            changes: BTreeMap::new(),
            kept: None,
            handed_over: Vec::new(),
            past: Vec::new(),
        }
    }

    /// Takes a configuration into use: `settings` as the host's own arbiter has them, which has taken them already.
    pub fn configure(&mut self, now: Timestamp, fleet: FleetSettings, settings: Settings, own: &mut Switches) {
        self.settings = fleet;
        self.rules = own.shared_rules();
        self.desk_settings = Settings { ladders: Vec::new(), scales: Vec::new(), dials: Vec::new(), ..settings };
        let places: BTreeSet<Place> = self.desks.keys().cloned().chain([Place::Fleet, self.own_zone()]).collect();
        let places = places.into_iter().chain(self.tables.zones.keys().cloned().map(Place::Zone));
        for place in places.collect::<BTreeSet<_>>() {
            self.configure_desk(now, &place);
        }
        self.bound_host_rules(now, own);
        self.dirty = true;
    }

    pub(super) fn own_zone(&self) -> Place {
        Place::Zone(self.settings.zone.clone())
    }

    fn configure_desk(&mut self, now: Timestamp, place: &Place) {
        let mut settings = self.desk_settings.clone();
        if *place != Place::Fleet {
            settings.rollouts.clear();
        }
        let desk = self.desks.entry(place.clone()).or_insert_with(|| Switches::with_role(Role::Desk(place.clone())));
        // A desk never writes because of a configuration: its asks come from votes.
        drop(desk.configure(now, settings, &BTreeMap::new()));
        let stored = table(&self.tables, place);
        for (name, record) in stored.into_iter().flatten() {
            desk.adopt(name, record.clone(), false);
        }
    }

    pub(super) fn desk(&mut self, now: Timestamp, place: &Place) -> &mut Switches {
        if !self.desks.contains_key(place) {
            self.configure_desk(now, place);
        }
        self.desks.entry(place.clone()).or_default()
    }

    /// The store's tables.
    pub fn tables(&mut self, now: Timestamp, tables: Tables) {
        // A word that was late; after a break the store may really have gone back.
        if self.heard_tables && tables.revision < self.tables.revision {
            return;
        }
        self.heard_tables = true;
        let places: BTreeSet<Place> =
            self.desks.keys().cloned().chain(tables.zones.keys().cloned().map(Place::Zone)).collect();
        let before = std::mem::replace(&mut self.tables, tables);
        for place in places {
            self.desk(now, &place);
            let gone: Vec<SwitchName> = table(&before, &place)
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .filter(|name| table(&self.tables, &place).is_none_or(|table| !table.contains_key(name)))
                .collect();
            let stored: Vec<_> =
                table(&self.tables, &place).into_iter().flatten().map(|(n, r)| (n.clone(), r.clone())).collect();
            for (name, record) in stored {
                self.stored(now, &place, &name, record);
            }
            for name in gone {
                self.pending.remove(&(place.clone(), name.clone()));
                self.desk(now, &place).put_back(now, &name, None);
            }
        }
        if before != self.tables {
            let value = serde_json::to_value(&self.tables);
            self.changes.extend(value.ok().map(|value| (TABLES_KEY.to_owned(), value)));
        }
        self.dirty = true;
    }

    fn stored(&mut self, now: Timestamp, place: &Place, name: &SwitchName, record: Record) {
        let key = (place.clone(), name.clone());
        if let Some(end) = record.expires_at {
            let seen = self.ends_seen.entry(key.clone()).or_insert((end, now));
            if seen.0 != end {
                *seen = (end, now);
            }
        } else {
            self.ends_seen.remove(&key);
        }
        for (rule, ask) in &record.asks {
            let seen = self.moves.entry((place.clone(), rule.clone())).or_insert((ask.since, None));
            if seen.0 != ask.since {
                *seen = (ask.since, Some(now));
            }
        }
        let mut mine = false;
        if let Some((revision, _)) = self.pending.get(&key) {
            if record.revision < *revision {
                return;
            }
            mine = self.desks.get(place).and_then(|desk| desk.record(name)) == Some(&record);
            self.pending.remove(&key);
            if mine && *place == Place::Fleet {
                self.intents.remove(name);
            }
        }
        self.desk(now, place).adopt(name, record, mine);
    }

    /// The store did not take a write: what it has is in force. `moved`: somebody else wrote the switch since.
    pub fn refused(&mut self, now: Timestamp, place: &Place, name: &SwitchName, moved: bool) {
        self.pending.remove(&(place.clone(), name.clone()));
        let stored = table(&self.tables, place).and_then(|table| table.get(name)).cloned();
        self.desk(now, place).put_back(now, name, stored);
        if *place == Place::Fleet {
            self.intent_refused(now, name, moved);
        }
        self.dirty = true;
    }

    /// Who is there, and what everybody thinks.
    pub fn census(&mut self, now: Timestamp, census: &Census) {
        if self.heard_census && census.revision < self.census_revision {
            return;
        }
        self.counter.clone_from(&census.counter);
        // In a large fleet those that do not count may be told no more than who does.
        self.only_counter = census.members.is_empty() && self.term.is_none();
        if self.only_counter {
            return;
        }
        self.census_revision = census.revision;
        self.known.census(now, census);
        self.heard_census = true;
        self.dirty = true;
        self.share_out(Shares::of(census.members.values().map(Arc::as_ref)));
    }

    /// Whether this host counts. Another office than before begins with nothing but the records.
    pub fn elected(&mut self, now: Timestamp, own: &mut Switches, term: Option<Term>) {
        if self.term == term {
            return;
        }
        self.term = term;
        self.clearing.clear();
        (self.outbox, self.kept, self.shares_given) = (None, None, None);
        own.lead_scales(now, &BTreeMap::new());
        self.count_at = self.count_at.max(now + LISTEN);
        self.dirty = true;
    }

    /// What the outbox holds: scale calls go on from there.
    pub fn outbox(&mut self, now: Timestamp, own: &mut Switches, outbox: BTreeMap<String, Value>) {
        if self.term.is_some() && self.outbox.is_none() {
            own.lead_scales(now, &outbox);
            let known = outbox.get(KNOWN_ID).cloned();
            if let Some(before) = known.and_then(|value| serde_json::from_value(value).ok()) {
                self.known.remember(before);
            }
            self.outbox = Some(outbox);
            self.dirty = true;
        }
    }

    /// Whether the store answers.
    pub fn reach(&mut self, now: Timestamp, reach: bool) {
        if self.reach == reach {
            return;
        }
        self.reach = reach;
        self.clearing.clear();
        if reach {
            self.lost_since = None;
            self.vote_at = now + Duration::from_millis(self.rng.below(millis(JITTER).unsigned_abs()));
            self.count_at = self.count_at.max(now + JITTER + LISTEN);
        } else {
            self.lost_since = Some(now);
            (self.heard_tables, self.heard_census) = (false, false);
            self.known.lose();
            self.intents.clear();
            // The store may have taken them or not; it says so when it is back.
            let lost: Vec<_> = std::mem::take(&mut self.pending).into_keys().collect();
            for (place, name) in lost {
                self.refused(now, &place, &name, false);
            }
        }
        self.dirty = true;
    }

    /// True while this host decides for the fleet.
    pub fn counts(&self, now: Timestamp) -> bool {
        let handed_over = self.outbox.is_some() || now >= self.count_at + HAND_OVER;
        self.term.is_some()
            && self.reach
            && self.heard_tables
            && self.heard_census
            && handed_over
            && now >= self.count_at
    }

    /// True while this host makes the scale calls of the fleet.
    pub fn leads_calls(&self, now: Timestamp) -> bool {
        self.counts(now) && self.outbox.is_some()
    }

    /// The office that this host holds.
    pub fn term(&self) -> Option<&Term> {
        self.term.as_ref()
    }

    /// Does what is due: votes, counts, and works out what applications are told.
    pub fn tick(&mut self, now: Timestamp, own: &mut Switches, out: &mut Asked) {
        let looks = now >= self.look_at;
        if looks {
            self.look_at = now + LOOK_EVERY;
            self.known.forget(now);
            self.lose_unheard(now);
            self.keep_counts(now);
        }
        self.vote(now, own, out);
        if looks && self.counts(now) {
            self.lead_stage(now, own.frozen().is_some(), out);
            self.give_shares(now, out);
        }
        self.bound_host_rules(now, own);
        self.repeat_intents(now, out);
        let may = self.counted.is_none_or(|counted| now.since(counted) >= COUNT_EVERY);
        if (self.dirty && may) || looks {
            (self.dirty, self.counted) = (false, Some(now));
            if self.counts(now) && own.frozen().is_none() {
                self.count(now, out);
            }
        }
        self.tell(now, own);
        self.desks.values_mut().for_each(Switches::forget_changes);
    }

    fn lose_unheard(&mut self, now: Timestamp) {
        let unheard = |at: &Timestamp| now.since(*at) >= UNHEARD;
        let lost: Vec<_> = self.pending.iter().filter(|(_, (_, at))| unheard(at)).map(|(key, _)| key.clone()).collect();
        for (place, name) in lost {
            self.refused(now, &place, &name, false);
        }
    }

    fn keep_counts(&mut self, now: Timestamp) {
        if !self.heard_census || self.kept.as_ref().is_some_and(|kept| now.since(kept.at) < KEPT_EVERY) {
            return;
        }
        let counts = self.known.counts(now);
        if self.kept.as_ref().is_some_and(|kept| kept.is_like(&counts)) {
            return;
        }
        let value = serde_json::to_value(&counts).ok();
        self.kept = Some(counts);
        self.changes.extend(value.clone().map(|value| (KNOWN_KEY.to_owned(), value)));
        if self.outbox.is_some() {
            self.handed_over.extend(value.map(|value| (KNOWN_ID.to_owned(), value)));
        }
    }

    /// Remembers a write until the store has answered it.
    pub(super) fn write(&mut self, now: Timestamp, write: Write, out: &mut Asked) {
        self.pending.insert((write.place.clone(), write.name.clone()), (write.record.revision, now));
        out.writes.push(write);
    }

    /// When [`Fleet::tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let count = self.counted.filter(|_| self.dirty).map(|counted| counted + COUNT_EVERY);
        let vote = Some(self.vote_at).filter(|at| *at < self.look_at && self.reach && self.presence.is_none());
        [Some(self.look_at), count, vote, self.next_intent()].into_iter().flatten().min()
    }

    /// The system's clock was set.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        let shift = |at: &mut Timestamp| *at = at.shifted(by_millis);
        self.known.clock_stepped(by_millis);
        self.runs.clock_stepped(by_millis);
        self.demand.clock_stepped(by_millis);
        self.parts.clock_stepped(by_millis);
        self.desks.values_mut().for_each(|desk| desk.clock_stepped(by_millis));
        for at in [&mut self.since, &mut self.vote_at, &mut self.count_at, &mut self.look_at] {
            shift(at);
        }
        let times = self.lost_since.iter_mut().chain(&mut self.counted);
        let times = times.chain(self.shares_given.iter_mut().map(|(_, at)| at));
        times.chain(self.clearing.values_mut()).for_each(shift);
        self.pending.values_mut().for_each(|(_, at)| *at = at.shifted(by_millis));
        self.moves.values_mut().for_each(|(_, seen)| *seen = seen.map(|at| at.shifted(by_millis)));
        self.ends_seen.values_mut().for_each(|(_, at)| *at = at.shifted(by_millis));
        // What the others see of this host's clock must be right again.
        self.presence = None;
    }

    /// What must be kept for a restart and has changed since the last call.
    pub fn take_changes(&mut self) -> Vec<(String, Option<Value>)> {
        std::mem::take(&mut self.changes).into_iter().map(|(key, value)| (key, Some(value))).collect()
    }

    /// What the host that is elected next must know and has changed since the last call.
    pub fn take_handed_over(&mut self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.handed_over)
    }

    /// What the audit log is to be told since the last call.
    pub fn take_audit(&mut self) -> Vec<Audited> {
        self.desks.values_mut().flat_map(Switches::take_audit).collect()
    }

    /// What applications read.
    pub fn told(&self) -> &Arc<Told> {
        &self.told
    }

    /// The latest decisions of the fleet and its zones, oldest first within each; one may be there twice.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.desks.values().flat_map(|desk| desk.decisions()).chain(&self.past)
    }

    /// What was decided before this daemon was started.
    pub fn remember(&mut self, past: Vec<Decision>) {
        self.past = past;
    }

    /// How many of them since the start.
    pub fn decided(&self) -> u64 {
        self.desks.values().map(Switches::decided).sum()
    }
}

/// The records of one place.
pub(super) fn table<'a>(tables: &'a Tables, place: &Place) -> Option<&'a BTreeMap<SwitchName, Record>> {
    match place {
        Place::Host => None,
        Place::Zone(zone) => tables.zones.get(zone),
        Place::Fleet => Some(&tables.fleet),
    }
}
