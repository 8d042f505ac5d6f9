//! The fleet as people see it from any of its hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::votes::{Place, RunsConfig, Vote};
use super::parts::LimitPicture;
use super::quorum::Quorum;
use super::stage::Stage;
use super::state::Fleet;
use crate::limits;
use crate::model::SwitchName;
use crate::time::Timestamp;

/// How long a host that vanished is told of.
const LOST_FOR: Duration = Duration::from_secs(3600);

/// The fleet at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetPicture {
    /// This host.
    pub host: String,
    pub zone: String,
    /// The host that counts, as far as this one knows.
    pub counter: Option<String>,
    /// True when that is this one, and it decides.
    pub counting: bool,
    /// The number of its office.
    pub term: Option<u64>,
    pub revision: u64,
    /// Since when the shared store has been out of reach.
    pub stale_since: Option<Timestamp>,
    /// By how much this host's clock is ahead of the median of all, where that is too much; in milliseconds.
    pub own_clock_ahead: Option<i64>,
    /// By their names.
    pub hosts: BTreeMap<String, HostPicture>,
    /// By their votes' key.
    pub rules: BTreeMap<String, RulePicture>,
    pub config: ConfigPicture,
    /// Those that are shared out.
    pub limits: BTreeMap<SwitchName, LimitPicture>,
}

/// The fleet's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigPicture {
    pub stage: Stage,
    /// What this host runs.
    pub running: RunsConfig,
}

/// One host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPicture {
    pub zone: String,
    pub version: String,
    pub since: Timestamp,
    /// When it vanished; `None` while it is there.
    pub gone_since: Option<Timestamp>,
    /// As of this host.
    pub clock_ahead: Option<i64>,
    pub votes: Vec<VotePicture>,
    /// What it runs of the fleet's configuration.
    pub config: Option<RunsConfig>,
    /// Whether it is among the first hosts of what is on its way.
    pub first: bool,
}

/// One vote of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct VotePicture {
    pub vote: Vote,
    /// Whether it counts now.
    pub counts: bool,
}

/// A rule that is voted on.
#[derive(Clone, Debug, PartialEq)]
pub struct RulePicture {
    pub switch: SwitchName,
    pub scope: String,
    pub quorum: Quorum,
    /// The hosts that run it, those that vanished lately less and less.
    pub known: f64,
    /// Those that are there.
    pub live: usize,
    pub votes: usize,
    /// The votes that a change for the worse needs; of a rule that is counted zone by zone, if they were all one.
    pub needed: usize,
    /// What the votes have led to, by place: `fleet`, or the zone's name.
    pub asks: BTreeMap<String, String>,
}

impl Fleet {
    /// The fleet as it is known here.
    pub fn picture(&self, now: Timestamp, switches: &super::super::arbiter::Switches) -> FleetPicture {
        let (wrong, own) = self.known.wrong_clocks();
        let hosts = self.known.hosts().map(|(name, seen)| {
            let ahead = wrong.get(name).copied();
            let votes = seen.votes(now, ahead.is_none() && own.is_none());
            let here = seen.gone_since.is_none();
            let vote = |(_, vote, fresh): (_, &Vote, bool)| VotePicture { vote: vote.clone(), counts: here && fresh };
            let picture = HostPicture {
                zone: seen.member.zone.clone(),
                version: seen.member.version.clone(),
                since: seen.member.since,
                gone_since: seen.gone_since,
                clock_ahead: ahead,
                votes: votes.map(vote).collect(),
                config: seen.member.config.clone(),
                first: self.stage().candidate.as_ref().is_some_and(|candidate| candidate.is_for(name)),
            };
            (name.clone(), picture)
        });
        let rules = self.rules.iter().map(|(key, rule)| {
            let (body, named) = self.known.body(now, key, None, &|_: &Vote| 0.0);
            let asks = self.desks.iter().filter_map(|(place, desk)| {
                let ask = desk.record(&rule.switch)?.asks.get(key)?;
                let name = if let Place::Zone(zone) = place { zone.clone() } else { "fleet".to_owned() };
                Some((name, ask.level.clone()))
            });
            let picture = RulePicture {
                switch: rule.switch.clone(),
                scope: rule.scope.clone(),
                quorum: rule.quorum.clone(),
                known: body.known,
                live: body.live,
                votes: named.len(),
                needed: rule.quorum.needed(body.known),
                asks: asks.collect(),
            };
            (key.clone(), picture)
        });
        FleetPicture {
            host: self.settings.host.clone(),
            zone: self.settings.zone.clone(),
            counter: self.counter.clone(),
            counting: self.counts(now),
            term: self.term.as_ref().map(|term| term.number),
            revision: self.tables.revision,
            stale_since: self.lost_since,
            own_clock_ahead: *own,
            hosts: hosts.collect(),
            rules: rules.collect(),
            config: ConfigPicture { stage: self.stage().clone(), running: self.running().clone() },
            limits: self.limit_pictures(switches),
        }
    }

    /// This host's name.
    pub fn host(&self) -> &str {
        &self.settings.host
    }

    /// How many hosts are present.
    pub fn members(&self) -> usize {
        self.known.hosts().filter(|(_, seen)| seen.gone_since.is_none()).count()
    }

    /// Hosts that vanished less than an hour ago.
    pub fn lost(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let lately = move |gone: Timestamp| now.since(gone) < LOST_FOR;
        let lost = self.known.hosts().filter(move |(_, seen)| seen.gone_since.is_some_and(lately));
        lost.map(|(name, _)| name.as_str()).take(limits::FLEET_LOST)
    }

    /// The votes that count now: rule, switch, and how many.
    pub fn votes(&self, now: Timestamp) -> Vec<(String, String, usize)> {
        let votes = |key: &String| self.known.body(now, key, None, &|_: &Vote| 0.0).1.len();
        self.rules.iter().map(|(key, rule)| (key.clone(), rule.switch.to_string(), votes(key))).collect()
    }

    /// By how many milliseconds hosts' clocks are ahead of the median of all, where that is too much: the others', and
    /// our own.
    pub fn wrong_clocks(&self) -> (BTreeMap<String, i64>, Option<i64>) {
        let (mut others, own) = self.known.wrong_clocks().clone();
        others.remove(&self.settings.host);
        (others, own)
    }

    /// Why a rule of scope `host` does not degrade this host, too: the switch's name, and words.
    pub fn held_back(&self, own: &super::super::arbiter::Switches) -> BTreeMap<SwitchName, String> {
        let words = |title: &String| {
            format!("held back: {title} has degraded as many hosts as may be (quorum.max_degraded_share)")
        };
        let mut held: BTreeMap<SwitchName, String> =
            own.withheld().map(|(name, title)| (name.clone(), words(title))).collect();
        for desk in self.desks.values() {
            held.extend(desk.held_back().map(|(name, why)| (name.clone(), why.words())));
        }
        held
    }
}
