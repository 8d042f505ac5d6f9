//! What a store holds, as its readers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::SwitchName;
use crate::switches::{Census, Member, Place, Record, Tables, Vote};
use crate::time::Timestamp;

/// All switches at one revision of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Grows with every write; never goes back, over restarts too.
    pub revision: u64,
    /// The fleet's.
    pub switches: BTreeMap<SwitchName, Record>,
    /// By zone.
    pub zones: BTreeMap<String, BTreeMap<SwitchName, Record>>,
}

impl Table {
    /// The records as the engine takes them.
    pub fn tables(&self) -> Tables {
        Tables { revision: self.revision, fleet: self.switches.clone(), zones: self.zones.clone() }
    }

    /// The records of one place, when there are any; a host's own are in no store.
    pub fn of(&self, place: &Place) -> Option<&BTreeMap<SwitchName, Record>> {
        match place {
            Place::Fleet => Some(&self.switches),
            Place::Zone(zone) => self.zones.get(zone),
            Place::Host => None,
        }
    }

    /// The record of one switch at one place.
    pub fn get(&self, place: &Place, name: &SwitchName) -> Option<&Record> {
        self.of(place)?.get(name)
    }

    /// Puts a record in its place; the revision stays. A host's own record has none.
    pub(super) fn put(&mut self, place: &Place, name: SwitchName, record: Record) {
        let records = match place {
            Place::Fleet => &mut self.switches,
            Place::Zone(zone) => self.zones.entry(zone.clone()).or_default(),
            Place::Host => return,
        };
        records.insert(name, record);
    }

    /// Takes a record out of its place; the revision stays.
    pub(super) fn remove(&mut self, place: &Place, name: &SwitchName) {
        match place {
            Place::Fleet => drop(self.switches.remove(name)),
            Place::Host => {}
            Place::Zone(zone) => {
                if let Some(records) = self.zones.get_mut(zone) {
                    records.remove(name);
                    if records.is_empty() {
                        self.zones.remove(zone);
                    }
                }
            }
        }
    }
}

/// Whether a table follows its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Connected,
    /// The table is stale: nothing was heard of the store since.
    Lost { since: Timestamp },
}

impl Reach {
    /// True while the table follows the store.
    pub fn is_connected(self) -> bool {
        self == Reach::Connected
    }
}

/// What a host says of itself; gone with it.
#[derive(Clone, Debug, PartialEq)]
pub enum Mine {
    Presence(Member),
    /// A rule's vote, by the rule's title; `None` takes it back.
    Vote(String, Option<Vote>),
    /// Its alerts, for the fleet to tell. These alone outlive it: a host that vanished has ended nothing.
    Alerts(Arc<serde_json::Value>),
}

impl Mine {
    /// Puts this into a census as what the host says last.
    pub(super) fn put_into(self, census: &mut Census, host: &str) {
        match self {
            Mine::Presence(member) => drop(census.members.insert(host.to_owned(), Arc::new(member))),
            Mine::Vote(rule, Some(vote)) => {
                Arc::make_mut(census.votes.entry(host.to_owned()).or_default()).insert(rule, vote);
            }
            Mine::Alerts(report) => drop(census.alerts.insert(host.to_owned(), report)),
            Mine::Vote(rule, None) => {
                if let Some(votes) = census.votes.get_mut(host).map(Arc::make_mut) {
                    votes.remove(&rule);
                    if votes.is_empty() {
                        census.votes.remove(host);
                    }
                }
            }
        }
        census.revision += 1;
    }
}
