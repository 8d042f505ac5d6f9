//! One host of the crowd: a session of its own, and what it says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brownout::model::SwitchName;
use brownout::net::TlsSettings;
use brownout::rng::Rng;
use brownout::store::{Etcd, EtcdSettings, Mine, Store as _};
use brownout::switches::{Member, Vote};
use brownout::telemetry::Telemetry;
use brownout::time::{Clock, Timestamp};
use tokio::sync::watch;

use super::desk;

pub const LADDER: [&str; 3] = ["full", "cached", "off"];
/// The rule that is voted on, by its group and switch.
const RULE: &str = "g/recs";
/// As the daemon's own: a vote counts for three minutes and is renewed at half of that; presence is said every five.
const VOTE_LIFE: Duration = Duration::from_secs(180);
const PRESENCE_EVERY: Duration = Duration::from_secs(300);

pub fn switch() -> SwitchName {
    SwitchName::new("recs").unwrap_or_else(|error| panic!("{error}"))
}

/// What all hosts have in common.
pub struct Plan {
    pub endpoints: Vec<String>,
    pub prefix: String,
    pub lease: Duration,
    pub names: String,
    pub all_engines: bool,
    pub rules: watch::Sender<String>,
    pub clock: Clock,
    pub telemetry: Telemetry,
}

pub struct Host {
    pub name: String,
    pub zone: String,
    pub etcd: Etcd,
    pub plan: Arc<Plan>,
    pub trouble: watch::Sender<f64>,
    since: Timestamp,
    /// What applications on this host read, and since when: every change.
    levels: Mutex<Vec<(Timestamp, String)>>,
}

impl Host {
    pub fn open(plan: Arc<Plan>, index: usize) -> Arc<Host> {
        let name = format!("{}{index}", plan.names);
        let settings = EtcdSettings {
            endpoints: plan.endpoints.clone(),
            prefix: plan.prefix.clone(),
            host: name.clone(),
            lease: plan.lease,
            instance: name.clone(),
            address: String::new(),
            tls: TlsSettings::default(),
            user: None,
        };
        let etcd = Etcd::open(settings, None, plan.clock, plan.telemetry.clone());
        let (zone, since) = (format!("z{}", index % 3), plan.clock.now());
        let host = Host { name, zone, etcd, plan, trouble: watch::Sender::new(0.0), since, levels: Mutex::default() };
        let host = Arc::new(host);
        if host.plan.all_engines {
            tokio::spawn(desk::run(Arc::clone(&host), true));
        } else {
            tokio::spawn(watch_table(Arc::clone(&host)));
            tokio::spawn(speak(Arc::clone(&host), index as u64));
            tokio::spawn(stand_in(Arc::clone(&host)));
        }
        host
    }

    /// What this host measures, from now on.
    pub fn feels(&self, trouble: f64) {
        self.trouble.send_replace(trouble);
        if !self.plan.all_engines {
            self.etcd.put_mine(Mine::Vote(RULE.to_owned(), self.vote()));
        }
    }

    fn vote(&self) -> Option<Vote> {
        let depth = (*self.trouble.borrow() as usize).min(LADDER.len() - 1);
        let now = self.plan.clock.now();
        (depth > 0).then(|| Vote {
            rule: RULE.to_owned(),
            switch: switch(),
            level: LADDER[depth].to_owned(),
            value: None,
            since: now,
            expression: "trouble > 0".to_owned(),
            measured: Some(depth as f64),
            expires_at: now + VOTE_LIFE,
        })
    }

    pub fn now_reads(&self, level: &str) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.last().is_none_or(|(_, last)| last != level) {
            levels.push((self.plan.clock.now(), level.to_owned()));
        }
    }

    pub fn level(&self) -> String {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.last().map_or_else(|| LADDER[0].to_owned(), |(_, level)| level.clone())
    }

    /// When it first read that level after a time, in milliseconds.
    pub fn saw(&self, level: &str, since: i64) -> Option<i64> {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.iter().find(|(at, seen)| at.as_millis() >= since && seen == level).map(|(at, _)| at.as_millis())
    }

    pub fn is_connected(&self) -> bool {
        self.etcd.reach().borrow().is_connected()
    }

    pub fn is_elected(&self) -> bool {
        self.etcd.term().borrow().is_some()
    }

    /// How many hosts it knows of; only who counts, and a host of a small fleet, knows of any.
    pub fn known(&self) -> Option<usize> {
        let known = self.etcd.census().borrow().members.len();
        Some(known).filter(|known| *known > 0)
    }
}

/// Keeps what applications would read of the store's table.
async fn watch_table(host: Arc<Host>) {
    let mut tables = host.etcd.watch();
    tables.mark_changed();
    while tables.changed().await.is_ok() {
        let table = Arc::clone(&tables.borrow_and_update());
        if let Some(record) = table.switches.get(&switch()) {
            host.now_reads(&record.level);
        }
    }
}

/// Presence and votes, said again as the daemon does it.
async fn speak(host: Arc<Host>, seed: u64) {
    let mut rng = Rng::seeded(seed);
    let member = |at| Member {
        zone: host.zone.clone(),
        since: host.since,
        rules: BTreeSet::from([RULE.to_owned()]),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at,
        ..Member::default()
    };
    let mut renewed = 0_u32;
    loop {
        if renewed.is_multiple_of(4) {
            host.etcd.put_mine(Mine::Presence(member(host.plan.clock.now())));
        }
        renewed += 1;
        tokio::time::sleep((PRESENCE_EVERY / 4).mul_f64(0.9 + 0.2 * rng.unit())).await;
        if let Some(vote) = host.vote() {
            host.etcd.put_mine(Mine::Vote(RULE.to_owned(), Some(vote)));
        }
    }
}

/// A host that is elected gets an engine.
async fn stand_in(host: Arc<Host>) {
    let mut term = host.etcd.term();
    if term.wait_for(Option::is_some).await.is_ok() {
        desk::run(Arc::clone(&host), false).await;
    }
}
