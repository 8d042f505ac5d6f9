//! The fleet and its time: a step is a tenth of a second.

use std::time::Duration;

use brownout::rng::Rng;
use brownout::store::World;
use brownout::switches::Record;
use brownout::time::Timestamp;

use super::host::{Host, Plan, switch};

pub const STEP: u64 = 100;
/// A host that is out of reach so long has no vote.
pub const LEASE: Duration = Duration::from_secs(4);
/// Any time will do, as long as what lies before it is one.
const BEGIN: u64 = 1_000_000_000;

pub struct Fleet {
    pub at: u64,
    pub world: World,
    pub hosts: Vec<Host>,
    /// How the store's words travel.
    pub rng: Rng,
    /// The longest that a word takes, in milliseconds; with it words are doubled.
    pub late: u64,
    /// The record of the fleet's switch whenever it changed.
    pub history: Vec<(u64, Record)>,
}

impl Fleet {
    pub fn new(hosts: usize, zones: usize, plan: &Plan, seed: u64) -> Fleet {
        let world = World::new(Timestamp::from_millis(BEGIN as i64), LEASE);
        let host = |number: usize| {
            let zone = format!("z{}", number % zones);
            Host::new(format!("h{number:02}"), &zone, plan.clone(), seed ^ number as u64)
        };
        let hosts = (0..hosts).map(host).collect();
        let mut fleet = Fleet { at: BEGIN, world, hosts, rng: Rng::seeded(seed), late: 0, history: Vec::new() };
        for number in 0..fleet.hosts.len() {
            fleet.start(number);
        }
        fleet
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        (self.at - BEGIN) as f64 / 1000.0
    }

    pub fn start(&mut self, host: usize) {
        let (at, world) = (self.at, self.world.clone());
        self.hosts[host].start(at, &world);
    }

    pub fn kill(&mut self, host: usize) {
        let world = self.world.clone();
        self.hosts[host].kill(&world);
    }

    pub fn cut_off(&mut self, host: usize, cut_off: bool) {
        self.world.cut_off([self.hosts[host].name.as_str()], cut_off);
    }

    /// One step; true while the fleet's record was not written by it.
    pub fn step(&mut self) {
        self.at += STEP;
        self.world.advance(Duration::from_millis(STEP));
        for host in &mut self.hosts {
            let (rng, late) = (&mut self.rng, self.late);
            let mut delays = |again: bool| match (late, again) {
                (0, _) => 0,
                (late, false) => rng.below(late),
                (late, true) => {
                    if rng.below(10) == 0 {
                        rng.below(3 * late)
                    } else {
                        0
                    }
                }
            };
            host.hear(self.at, &mut delays, false);
            host.step(self.at);
        }
        let record = self.record();
        if let Some(record) = record.filter(|record| self.history.last().is_none_or(|(_, last)| last != record)) {
            self.history.push((self.at, record));
        }
    }

    pub fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 / STEP {
            self.step();
        }
    }

    /// The fleet's switch, as the store has it.
    pub fn record(&self) -> Option<Record> {
        self.world.table().switches.get(&switch()).cloned()
    }

    pub fn level(&self) -> String {
        self.record().map_or_else(|| "full".to_owned(), |record| record.level)
    }

    /// The host that counts, as the store sees it.
    pub fn counter(&self) -> Option<usize> {
        self.hosts.iter().position(|host| {
            host.engine.as_ref().and_then(|engine| engine.fleet()).is_some_and(|fleet| fleet.term().is_some())
        })
    }

    pub fn told(&self) -> Vec<Option<String>> {
        self.hosts.iter().map(Host::told).collect()
    }
}
