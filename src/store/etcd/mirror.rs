//! What etcd holds for this fleet, as far as we have heard: pure, fed with lists and events.
//!
//! A list is everything at one revision; events up to that revision are old news. When a list is of another cluster, or of
//! a revision that was passed already, the store has lost something: what it lost stays in the table here, and is given
//! out to be put again, so that a store that was wiped changes no switch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::{Changed, Header, KeyValue};
use super::keys::{Key, Keys};
use serde::{Deserialize, Serialize};

use crate::model::SwitchName;
use crate::store::Table;
use crate::switches::{Census, Place, Record, Shares, Stage, Staged};

/// Everything at one revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    pub header: Header,
    pub switches: Vec<KeyValue>,
    pub counters: Vec<KeyValue>,
    /// The stage and the shares.
    pub config: Vec<KeyValue>,
    /// Presence, votes and reports of alerts, when they were asked for.
    pub census: Option<Vec<KeyValue>>,
    /// What was said of this host's alerts, and what query APIs answered.
    pub told: Vec<KeyValue>,
}

/// What a list or events changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct News {
    pub table: bool,
    pub census: bool,
    pub counters: bool,
    pub staged: bool,
    pub shares: bool,
    /// The store has no stage, although there was one.
    pub lost_stage: bool,
    /// What is no record, member or vote although its key says so.
    pub problems: Vec<String>,
    /// Records that the store has lost.
    pub lost: Vec<(Place, SwitchName, Record)>,
}

/// A host that stands for election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub host: String,
    pub created: u64,
    pub lease: u64,
    /// How many hosts it sees, when it counts them and they are many.
    pub hosts: Option<u64>,
}

/// What a host that counts thousands says of them in its candidacy, so that they need not be counted by each of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sees {
    pub hosts: u64,
}

impl Candidate {
    fn read(host: String, kv: &KeyValue) -> Candidate {
        // Before it counts, the name of the host stands there.
        let hosts = serde_json::from_slice::<Sees>(&kv.value).ok().map(|sees| sees.hosts);
        Candidate { host, created: kv.created, lease: kv.lease, hosts }
    }
}

#[derive(Debug)]
pub(super) struct Mirror {
    keys: Keys,
    cluster: u64,
    /// The revision of the last list.
    listed: u64,
    /// The last revision that we heard of.
    seen: u64,
    pub(super) table: Arc<Table>,
    pub(super) census: Census,
    pub(super) staged: Arc<Staged>,
    pub(super) shares: Arc<Shares>,
    /// When each record was last changed.
    modified: BTreeMap<(Place, SwitchName), u64>,
    candidates: BTreeMap<String, Candidate>,
}

impl Mirror {
    /// A mirror that shows an old table until the first list.
    pub(super) fn new(keys: Keys, table: Table) -> Mirror {
        Mirror {
            keys,
            cluster: 0,
            listed: 0,
            seen: 0,
            table: Arc::new(table),
            census: Census::default(),
            staged: Arc::default(),
            shares: Arc::default(),
            modified: BTreeMap::new(),
            candidates: BTreeMap::new(),
        }
    }

    /// A record, and the revision at which its key was last changed; 0: there is none.
    pub(super) fn known(&self, place: &Place, name: &SwitchName) -> (Option<&Record>, u64) {
        let modified = self.modified.get(&(place.clone(), name.clone())).copied().unwrap_or(0);
        (self.table.get(place, name), modified)
    }

    /// Who counts: the one who has stood longest.
    pub(super) fn elected(&self) -> Option<&Candidate> {
        self.candidates.values().min_by_key(|candidate| candidate.created)
    }

    pub(super) fn candidates(&self) -> &BTreeMap<String, Candidate> {
        &self.candidates
    }

    /// Forgets presence and votes: they are not followed any more.
    pub(super) fn forget_census(&mut self) -> bool {
        let before = std::mem::take(&mut self.census);
        let had = !before.members.is_empty() || !before.votes.is_empty() || !before.alerts.is_empty();
        let Census { counter, revision, told, queries, .. } = before;
        self.census = Census { counter, revision, told, queries, ..Census::default() };
        had
    }

    /// Takes everything at one revision in place of what was known.
    pub(super) fn list(&mut self, listed: Listed) -> News {
        let went_back =
            (self.cluster != 0 && self.cluster != listed.header.cluster) || listed.header.revision < self.seen;
        let mut news = News::default();
        let mut table = Table::default();
        let mut modified = BTreeMap::new();
        for kv in listed.switches {
            let Some(Key::Switch(place, name)) = self.keys.read(&kv.key) else { continue };
            match serde_json::from_slice::<Record>(&kv.value) {
                Ok(record) => {
                    table.put(&place, name.clone(), record);
                }
                Err(error) => {
                    news.problems.push(format!("switch {name}: {error}"));
                    if let Some(record) = self.table.get(&place, &name) {
                        table.put(&place, name.clone(), record.clone());
                    }
                }
            }
            modified.insert((place, name), kv.modified);
        }
        if !went_back {
            // A write of ours may be younger than the list that was on its way.
            for (key, at) in self.modified.iter().filter(|(_, at)| **at > listed.header.revision) {
                if let Some(record) = self.table.get(&key.0, &key.1) {
                    table.put(&key.0, key.1.clone(), record.clone());
                    modified.insert(key.clone(), *at);
                }
            }
        }
        if went_back {
            news.lost = self.lost_in(&table);
            for (place, name, record) in &news.lost {
                table.put(place, name.clone(), record.clone());
            }
        }
        self.cluster = listed.header.cluster;
        self.listed = listed.header.revision;
        self.seen = if went_back { self.listed } else { self.seen.max(self.listed) };
        self.modified = modified;
        table.revision = self.table.revision;
        if table != *self.table {
            table.revision = self.listed.max(self.table.revision + 1);
            self.table = Arc::new(table);
            news.table = true;
        }
        self.list_counters(&listed.counters, &mut news);
        self.list_config(&listed.config, went_back, &mut news);
        if let Some(kvs) = listed.census {
            let Census { counter, told, queries, .. } = self.census.clone();
            let mut census = Census { counter, told, queries, ..Census::default() };
            for kv in &kvs {
                self.said(&mut census, kv, &mut news);
            }
            census.revision = self.listed;
            let before = &self.census;
            news.census |=
                census.members != before.members || census.votes != before.votes || census.alerts != before.alerts;
            self.census = census;
        }
        let mut told = Census::default();
        listed.told.iter().for_each(|kv| self.said(&mut told, kv, &mut news));
        news.census |= told.told != self.census.told || told.queries != self.census.queries;
        (self.census.told, self.census.queries) = (told.told, told.queries);
        news
    }

    fn lost_in(&self, table: &Table) -> Vec<(Place, SwitchName, Record)> {
        let fleet = self.table.switches.iter().map(|(name, record)| (Place::Fleet, name, record));
        let zones =
            self.table.zones.iter().flat_map(|(zone, records)| {
                records.iter().map(|(name, record)| (Place::Zone(zone.clone()), name, record))
            });
        let known = fleet.chain(zones);
        let newer = |place: &Place, name: &SwitchName, record: &Record| {
            table.get(place, name).is_none_or(|theirs| theirs.revision < record.revision)
        };
        known
            .filter(|(place, name, record)| newer(place, name, record))
            .map(|(place, name, record)| (place, name.clone(), record.clone()))
            .collect()
    }

    fn list_counters(&mut self, kvs: &[KeyValue], news: &mut News) {
        let read = |kv: &KeyValue| match self.keys.read(&kv.key) {
            Some(Key::Counter(host)) => Some((host.clone(), Candidate::read(host, kv))),
            _ => None,
        };
        let candidates = kvs.iter().filter_map(read).collect();
        if candidates != self.candidates {
            self.candidates = candidates;
            self.counted(news);
        }
    }

    fn list_config(&mut self, kvs: &[KeyValue], went_back: bool, news: &mut News) {
        let read = |key: Key| kvs.iter().find(|kv| self.keys.read(&kv.key) == Some(key.clone())).cloned();
        let (stage, shares) = (read(Key::Stage), read(Key::Shares));
        if went_back {
            // Its revisions are counted anew.
            Arc::make_mut(&mut self.staged).revision = 0;
            news.staged = true;
        }
        news.lost_stage = stage.is_none() && self.staged.stage.last > 0;
        if let Some(kv) = stage {
            self.heard_stage(&kv, news);
        }
        if let Some(kv) = shares {
            self.heard_shares(&kv, news);
        }
    }

    /// A stage; one that is older than what is shown, of a store that lost some, is put right by the host that counts.
    fn heard_stage(&mut self, kv: &KeyValue, news: &mut News) {
        if kv.modified <= self.staged.revision {
            return;
        }
        match serde_json::from_slice::<Stage>(&kv.value) {
            Ok(stage) => {
                self.staged = Arc::new(Staged { revision: kv.modified, stage });
                news.staged = true;
            }
            Err(error) => news.problems.push(format!("the stage of the fleet's configuration: {error}")),
        }
    }

    fn heard_shares(&mut self, kv: &KeyValue, news: &mut News) {
        match serde_json::from_slice::<Shares>(&kv.value) {
            Ok(shares) if shares == *self.shares => {}
            Ok(shares) => {
                self.shares = Arc::new(shares);
                news.shares = true;
            }
            Err(error) => news.problems.push(format!("the shares of limits: {error}")),
        }
    }

    /// A stage as a write of ours left it.
    pub(super) fn found_stage(&mut self, stage: Stage, modified: u64) -> News {
        let mut news = News::default();
        if modified > self.staged.revision {
            self.staged = Arc::new(Staged { revision: modified, stage });
            news.staged = true;
        }
        news
    }

    fn counted(&mut self, news: &mut News) {
        let counter = self.elected().map(|candidate| candidate.host.clone());
        news.counters = true;
        news.census |= self.census.counter != counter;
        self.census.counter = counter;
    }

    fn said(&self, census: &mut Census, kv: &KeyValue, news: &mut News) {
        match self.keys.read(&kv.key) {
            Some(Key::Member(host)) => match serde_json::from_slice(&kv.value) {
                Ok(member) => drop(census.members.insert(host, Arc::new(member))),
                Err(error) => news.problems.push(format!("host {host}: {error}")),
            },
            Some(Key::Vote { host, rule }) => match serde_json::from_slice(&kv.value) {
                Ok(vote) => drop(Arc::make_mut(census.votes.entry(host).or_default()).insert(rule, vote)),
                Err(error) => news.problems.push(format!("vote of {host} for {rule}: {error}")),
            },
            Some(Key::Alerts(host)) => match serde_json::from_slice(&kv.value) {
                Ok(report) => drop(census.alerts.insert(host, Arc::new(report))),
                Err(error) => news.problems.push(format!("alerts of {host}: {error}")),
            },
            Some(Key::Query(name)) => match serde_json::from_slice(&kv.value) {
                Ok(answer) => drop(census.queries.insert(name, Arc::new(answer))),
                Err(error) => news.problems.push(format!("answer of {name}: {error}")),
            },
            Some(Key::Told(host)) => match serde_json::from_slice(&kv.value) {
                Ok(told) => drop(census.told.insert(host, Arc::new(told))),
                Err(error) => news.problems.push(format!("what was told of {host}: {error}")),
            },
            _ => {}
        }
    }

    /// Takes what a watch says.
    pub(super) fn hear(&mut self, events: &[Changed]) -> News {
        let mut news = News::default();
        for event in events {
            let kv = &event.kv;
            if kv.modified <= self.listed {
                continue;
            }
            self.seen = self.seen.max(kv.modified);
            match self.keys.read(&kv.key) {
                Some(Key::Switch(place, name)) => self.switch_changed(place, name, event, &mut news),
                Some(Key::Counter(host)) => {
                    if event.gone {
                        self.candidates.remove(&host);
                    } else {
                        self.candidates.insert(host.clone(), Candidate::read(host, kv));
                    }
                    self.counted(&mut news);
                }
                // One that somebody removed is still shown, and put there again with the next list.
                Some(Key::Stage) if event.gone => {
                    Arc::make_mut(&mut self.staged).revision = 0;
                    news.staged = true;
                }
                Some(Key::Stage) => self.heard_stage(kv, &mut news),
                Some(Key::Shares) if event.gone => {}
                Some(Key::Shares) => self.heard_shares(kv, &mut news),
                Some(Key::Bundle(_) | Key::Outbox(_)) => {}
                Some(Key::Alerts(host)) if event.gone => {
                    self.census.alerts.remove(&host);
                    news.census = true;
                }
                Some(Key::Query(name)) if event.gone => {
                    self.census.queries.remove(&name);
                    news.census = true;
                }
                Some(Key::Told(host)) if event.gone => {
                    self.census.told.remove(&host);
                    news.census = true;
                }
                Some(Key::Member(host)) if event.gone => {
                    self.census.members.remove(&host);
                    news.census = true;
                }
                Some(Key::Vote { host, rule }) if event.gone => {
                    if let Some(votes) = self.census.votes.get_mut(&host).map(Arc::make_mut) {
                        votes.remove(&rule);
                        if votes.is_empty() {
                            self.census.votes.remove(&host);
                        }
                    }
                    news.census = true;
                }
                Some(_) => {
                    let mut census = std::mem::take(&mut self.census);
                    self.said(&mut census, kv, &mut news);
                    self.census = census;
                    news.census = true;
                }
                None => {}
            }
        }
        if news.census {
            self.census.revision = self.seen;
        }
        news
    }

    fn switch_changed(&mut self, place: Place, name: SwitchName, event: &Changed, news: &mut News) {
        let kv = &event.kv;
        let key = (place, name);
        if self.modified.get(&key).is_some_and(|known| *known >= kv.modified) {
            return;
        }
        let (place, name) = &key;
        if event.gone {
            let table = Arc::make_mut(&mut self.table);
            table.remove(place, name);
            table.revision = kv.modified.max(table.revision + 1);
            self.modified.remove(&key);
            news.table = true;
            return;
        }
        match serde_json::from_slice::<Record>(&kv.value) {
            Ok(record) => self.put(place, name, record, kv.modified, news),
            Err(error) => news.problems.push(format!("switch {name}: {error}")),
        }
        self.modified.insert(key, kv.modified);
    }

    fn put(&mut self, place: &Place, name: &SwitchName, record: Record, modified: u64, news: &mut News) {
        if self.table.get(place, name) == Some(&record) {
            return;
        }
        let table = Arc::make_mut(&mut self.table);
        table.put(place, name.clone(), record);
        table.revision = modified.max(table.revision + 1);
        news.table = true;
    }

    /// Reading its key found none: the watch will say the same, and when.
    pub(super) fn vanished(&mut self, place: &Place, name: &SwitchName) {
        self.modified.remove(&(place.clone(), name.clone()));
    }

    /// A record as a write of ours, or reading its key, found it; of an older revision than we know it is old news.
    pub(super) fn found(&mut self, place: &Place, name: &SwitchName, record: Record, modified: u64) -> News {
        let mut news = News::default();
        let key = (place.clone(), name.clone());
        if self.modified.get(&key).is_none_or(|known| *known < modified) {
            self.put(place, name, record, modified, &mut news);
            self.modified.insert(key, modified);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::{vote, write};
    use super::*;

    fn kv(key: &str, value: &impl serde::Serialize, created: u64, modified: u64) -> KeyValue {
        let value = serde_json::to_vec(value).expect("JSON");
        KeyValue { key: key.as_bytes().to_vec(), value, created, modified, lease: 9 }
    }

    fn put(kv: KeyValue) -> Changed {
        Changed { gone: false, kv }
    }

    fn gone(key: &str, modified: u64) -> Changed {
        Changed { gone: true, kv: KeyValue { key: key.as_bytes().to_vec(), modified, ..KeyValue::default() } }
    }

    fn header(cluster: u64, revision: u64) -> Header {
        Header { cluster, revision }
    }

    fn record(revision: u64, level: &str) -> Record {
        write("a", revision, level).record
    }

    fn mirror() -> Mirror {
        Mirror::new(Keys::new("/b"), Table::default())
    }

    const A: &str = "/b/switches/fleet/a";

    fn level(mirror: &Mirror) -> Option<&str> {
        let name = SwitchName::new("a").expect("a name");
        mirror.table.get(&Place::Fleet, &name).map(|record| record.level.as_str())
    }

    #[test]
    fn events_that_a_list_has_already_are_old_news() {
        let mut mirror = mirror();
        let switches = vec![kv(A, &record(2, "off"), 3, 8)];
        let news = mirror.list(Listed { header: header(1, 10), switches, ..Listed::default() });
        assert!(news.table && mirror.table.revision == 10);
        assert!(!mirror.hear(&[put(kv(A, &record(1, "full"), 3, 7)), gone(A, 9)]).table);
        assert_eq!(level(&mirror), Some("off"));
        assert!(mirror.hear(&[put(kv(A, &record(3, "full"), 3, 11))]).table);
        assert_eq!((level(&mirror), mirror.table.revision), (Some("full"), 11));
        // Our own write was seen before the watch told it.
        let name = SwitchName::new("a").expect("a name");
        assert!(mirror.found(&Place::Fleet, &name, record(4, "off"), 12).table);
        // A list that was on its way meanwhile is older than our write.
        let switches = vec![kv(A, &record(3, "full"), 3, 11)];
        assert!(!mirror.list(Listed { header: header(1, 11), switches, ..Listed::default() }).table);
        assert_eq!((level(&mirror), mirror.known(&Place::Fleet, &name).1), (Some("off"), 12));
        assert!(!mirror.hear(&[put(kv(A, &record(4, "off"), 3, 12))]).table);
        assert!(!mirror.found(&Place::Fleet, &name, record(3, "full"), 11).table);
        assert_eq!(mirror.known(&Place::Fleet, &name), (Some(&record(4, "off")), 12));
        assert!(mirror.hear(&[gone(A, 13)]).table);
        assert_eq!((level(&mirror), mirror.table.revision), (None, 13));
    }

    #[test]
    fn a_store_that_lost_its_data_changes_no_switch() {
        let mut mirror = mirror();
        let switches = vec![kv(A, &record(2, "off"), 3, 8)];
        mirror.list(Listed { header: header(1, 10), switches, ..Listed::default() });
        for (cluster, revision) in [(2, 50), (2, 3)] {
            let news = mirror.list(Listed { header: header(cluster, revision), ..Listed::default() });
            assert_eq!((level(&mirror), news.lost.len(), news.table), (Some("off"), 1, false), "{cluster} {revision}");
        }
        // What somebody wrote since goes before.
        let switches = vec![kv(A, &record(5, "full"), 1, 2)];
        let news = mirror.list(Listed { header: header(2, 2), switches, ..Listed::default() });
        assert_eq!((level(&mirror), news.lost.len(), news.table), (Some("full"), 0, true));
        assert_eq!(mirror.table.revision, 11);
        // A key that is simply gone was removed by somebody.
        assert!(mirror.list(Listed { header: header(2, 9), ..Listed::default() }).table);
        assert_eq!(level(&mirror), None);
    }

    #[test]
    fn the_oldest_candidate_counts() {
        let mut mirror = mirror();
        let counters = vec![kv("/b/counter/h2", &Sees { hosts: 4_711 }, 5, 5), kv("/b/counter/h1", &"", 7, 7)];
        let news = mirror.list(Listed { header: header(1, 10), counters, ..Listed::default() });
        assert!(news.counters && news.census);
        assert_eq!(mirror.census.counter.as_deref(), Some("h2"));
        assert!(mirror.hear(&[gone("/b/counter/h2", 11)]).counters);
        assert_eq!(mirror.elected().map(|elected| (elected.created, elected.lease)), Some((7, 9)));
        assert!(mirror.hear(&[put(kv("/b/counter/h2", &"", 12, 12))]).counters);
        assert_eq!((mirror.census.counter.as_deref(), mirror.candidates().len()), (Some("h1"), 2));
    }

    #[test]
    fn votes_come_and_go_and_nonsense_is_told() {
        let mut mirror = mirror();
        let cast = kv("/b/votes/h1/g%2Fr", &vote("g/r", "off"), 5, 5);
        let listed = Listed { header: header(1, 10), census: Some(vec![cast]), ..Listed::default() };
        assert!(mirror.list(listed.clone()).census);
        assert!(!mirror.list(listed).census);
        assert_eq!(mirror.census.votes["h1"]["g/r"], vote("g/r", "off"));
        let news = mirror.hear(&[put(kv("/b/votes/h1/g%2Fr", &3, 5, 11)), put(kv(A, &"x", 12, 12))]);
        assert_eq!(news.problems.len(), 2);
        assert_eq!(mirror.census.votes["h1"]["g/r"], vote("g/r", "off"));
        assert!(mirror.hear(&[gone("/b/votes/h1/g%2Fr", 13)]).census);
        assert!(mirror.census.votes.is_empty());
        assert!(!mirror.forget_census());
    }
}
