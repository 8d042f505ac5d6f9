//! The hosts that are there, and those that lately were.
//!
//! A host that vanished is still counted where a share of the hosts is asked for, less and less: half after
//! [`HALF_LIFE`]. So a mass loss of hosts does not make agreement easy for those that remain. Its last votes still stand
//! where a switch would recover.
//!
//! A vote counts while its host is present and it has not expired. Of a host whose clock is wrong its age is not trusted:
//! there it counts from when it was seen here. A clock is wrong when it differs by more than [`CLOCK_TOLERANCE`] from the
//! median of all hosts'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::votes::{Census, Member, Vote};
use super::tally::Body;
use crate::limits;
use crate::time::{Timestamp, millis};

/// After this time a host that vanished counts half.
pub(super) const HALF_LIFE: Duration = Duration::from_secs(30 * 60);
/// Below this a host that vanished is forgotten.
const FORGOTTEN: f64 = 0.02;
/// Hosts' clocks may differ by this much, the way of their words through the store included.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// How long a vote counts without being renewed.
pub(super) const VOTE_LIFE: Duration = Duration::from_secs(3 * 60);

/// What is known of the fleet's hosts.
#[derive(Debug, Default)]
pub(super) struct Known {
    hosts: BTreeMap<String, Seen>,
    /// How many hosts ran a rule in a zone before this daemon was started, and when that was known.
    before: Before,
    /// What a census says is news: it was said lately. The first one after a break is not.
    follows: bool,
    /// As of the last census.
    wrong: (BTreeMap<String, i64>, Option<i64>),
}

/// How many hosts run each rule, by rule and zone: kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    pub at: Timestamp,
    pub rules: BTreeMap<String, BTreeMap<String, f64>>,
}

/// One host.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub member: Arc<Member>,
    pub gone_since: Option<Timestamp>,
    votes: BTreeMap<String, Heard>,
    /// The same as the census had them.
    said: Option<Arc<BTreeMap<String, Vote>>>,
    /// By how much its clock is ahead of ours, as far as it could be measured.
    ahead: Option<i64>,
}

/// A vote, and when it came.
#[derive(Clone, Debug)]
struct Heard {
    vote: Vote,
    at: Timestamp,
}

impl Known {
    /// Goes on from what was known before a restart.
    pub fn remember(&mut self, before: Before) {
        self.before = before;
    }

    /// The next census is the first after a break.
    pub fn lose(&mut self) {
        self.follows = false;
    }

    /// Takes a census.
    pub fn census(&mut self, now: Timestamp, census: &Census) {
        let follows = std::mem::replace(&mut self.follows, true);
        for (name, member) in &census.members {
            let known = self.hosts.get_mut(name);
            let ahead = millis_between(member.at, now);
            let seen = match known {
                Some(seen) => {
                    if follows && seen.member.at != member.at {
                        seen.ahead = Some(ahead);
                    }
                    (seen.gone_since, seen.member) = (None, Arc::clone(member));
                    seen
                }
                None => {
                    // How old its words are is not known; but nothing right was said in the future.
                    let ahead = Some(ahead).filter(|ahead| follows || *ahead > 0);
                    let member = Arc::clone(member);
                    let seen = Seen { member, gone_since: None, votes: BTreeMap::new(), said: None, ahead };
                    self.hosts.entry(name.clone()).or_insert(seen)
                }
            };
            seen.hear(now, census.votes.get(name), follows);
        }
        // All of the census are known now; are there more?
        let some_gone = self.hosts.len() > census.members.len();
        for (name, seen) in self.hosts.iter_mut().filter(|_| some_gone) {
            if !census.members.contains_key(name) {
                seen.gone_since.get_or_insert(now);
            }
        }
        self.forget(now);
        self.wrong = self.judge_clocks();
    }

    /// Forgets hosts that have been gone for long, and those gone longest where there are too many.
    pub fn forget(&mut self, now: Timestamp) {
        self.hosts.retain(|_, seen| seen.weight(now) >= FORGOTTEN);
        let most = limits::FLEET_HOSTS;
        while self.hosts.len() > most {
            let gone = self.hosts.iter().filter_map(|(name, seen)| Some((seen.gone_since?, name)));
            let Some(name) = gone.min().map(|(_, name)| name.clone()) else { break };
            self.hosts.remove(&name);
        }
    }

    /// What lies in the past moves along with a step of our own clock; others' clocks do not.
    pub fn clock_stepped(&mut self, by_millis: i64) {
        self.before.at = self.before.at.shifted(by_millis);
        for seen in self.hosts.values_mut() {
            seen.gone_since = seen.gone_since.map(|at| at.shifted(by_millis));
            seen.ahead = seen.ahead.map(|ahead| ahead - by_millis);
            seen.votes.values_mut().for_each(|heard| heard.at = heard.at.shifted(by_millis));
        }
        self.wrong = self.judge_clocks();
    }

    /// Every host that is known.
    pub fn hosts(&self) -> impl Iterator<Item = (&String, &Seen)> {
        self.hosts.iter()
    }

    /// The zones of hosts that run or ran a rule.
    pub fn zones(&self, rule: &str) -> Vec<String> {
        let running = self.hosts.values().filter(|seen| seen.member.rules.contains(rule));
        let zones: BTreeSet<&str> = running.map(|seen| seen.member.zone.as_str()).collect();
        zones.into_iter().map(str::to_owned).collect()
    }

    /// Whether any host that is present runs a rule.
    pub fn runs(&self, rule: &str) -> bool {
        self.hosts.values().any(|seen| seen.gone_since.is_none() && seen.member.rules.contains(rule))
    }

    /// The median of all clocks, our own among them, against ours; in milliseconds.
    fn median(&self) -> i64 {
        let live = self.hosts.values().filter(|seen| seen.gone_since.is_none());
        let mut ahead: Vec<i64> = live.filter_map(|seen| seen.ahead).collect();
        ahead.push(0);
        ahead.sort_unstable();
        ahead[(ahead.len() - 1) / 2]
    }

    /// By how much each host's clock is ahead of the median, where that is too much; and our own.
    pub fn wrong_clocks(&self) -> &(BTreeMap<String, i64>, Option<i64>) {
        &self.wrong
    }

    fn judge_clocks(&self) -> (BTreeMap<String, i64>, Option<i64>) {
        let (median, most) = (self.median(), millis(CLOCK_TOLERANCE));
        let wrong = |ahead: i64| Some(ahead - median).filter(|ahead| ahead.abs() > most);
        let live = self.hosts.iter().filter(|(_, seen)| seen.gone_since.is_none());
        let others = live.filter_map(|(name, seen)| Some((name.clone(), wrong(seen.ahead?)?)));
        (others.collect(), wrong(0))
    }

    /// The hosts that run a rule, in a zone or in all of them, with what `number` reads of their votes. Also the names of
    /// those whose votes count, with the number.
    pub fn body(
        &self,
        now: Timestamp,
        rule: &str,
        zone: Option<&str>,
        number: &impl Fn(&Vote) -> f64,
    ) -> (Body, Vec<(f64, &str)>) {
        let (wrong, own) = self.wrong_clocks();
        let (mut body, mut named, mut gone) = (Body::default(), Vec::new(), 0.0);
        let ran = |seen: &&Seen| seen.member.rules.contains(rule) && zone.is_none_or(|zone| seen.member.zone == zone);
        let mut missing: Vec<(f64, f64)> = Vec::new();
        for (name, seen) in self.hosts.iter().filter(|(_, seen)| ran(seen)) {
            let weight = seen.weight(now);
            let heard = seen.votes.get(rule);
            let trusted = own.is_none() && !wrong.contains_key(name);
            body.known += weight;
            match (seen.gone_since, heard) {
                (None, None) => body.live += 1,
                (None, Some(heard)) if heard.counts(now, trusted) => {
                    body.live += 1;
                    named.push((number(&heard.vote), name.as_str()));
                }
                (_, Some(heard)) => missing.push((number(&heard.vote), weight)),
                (Some(_), None) => gone += weight,
            }
        }
        named.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        body.votes = named.iter().map(|(number, _)| *number).collect();
        // As many as their weights make together: one alone that vanished does not hold up a recovery.
        missing.sort_by(|a, b| a.0.total_cmp(&b.0));
        let whole = missing.iter().map(|(_, weight)| weight).sum::<f64>().floor() as usize;
        body.missing = missing.iter().map(|(number, _)| *number).take(whole).collect();
        let unnamed = self.before.weight(now, rule, zone) - body.known;
        if unnamed > 0.0 {
            body.unknown = (unnamed + gone).floor() as usize;
            body.known += unnamed;
        }
        (body, named)
    }

    /// What a host voted.
    pub fn vote(&self, host: &str, rule: &str) -> Option<&Vote> {
        self.hosts.get(host)?.votes.get(rule).map(|heard| &heard.vote)
    }

    /// Who claims a rule of scope `host` for itself, first come first: those with a wrong clock last.
    pub fn claims(&self, now: Timestamp, rule: &str) -> (f64, Vec<&str>) {
        let (wrong, _) = self.wrong_clocks();
        let mut known = 0.0;
        let mut claims = Vec::new();
        for (name, seen) in self.hosts.iter().filter(|(_, seen)| seen.member.rules.contains(rule)) {
            known += seen.weight(now);
            if let Some(heard) = seen.votes.get(rule).filter(|_| seen.gone_since.is_none()) {
                claims.push((wrong.contains_key(name), heard.vote.since, name.as_str()));
            }
        }
        claims.sort();
        (known, claims.into_iter().map(|(_, _, name)| name).collect())
    }

    /// How many hosts run each rule, as it is to be kept over a restart.
    pub fn counts(&self, now: Timestamp) -> Before {
        let mut rules: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for seen in self.hosts.values() {
            for rule in &seen.member.rules {
                let zones = rules.entry(rule.clone()).or_default();
                *zones.entry(seen.member.zone.clone()).or_default() += seen.weight(now);
            }
        }
        for (rule, zones) in &self.before.rules {
            for zone in zones.keys() {
                let before = self.before.weight(now, rule, Some(zone));
                let count = rules.entry(rule.clone()).or_default().entry(zone.clone()).or_default();
                *count = count.max(before);
            }
        }
        for zones in rules.values_mut() {
            zones.retain(|_, count| *count >= 0.5);
            zones.values_mut().for_each(|count| *count = (*count * 10.0).round() / 10.0);
        }
        rules.retain(|_, zones| !zones.is_empty());
        Before { at: now, rules }
    }
}

impl Before {
    /// Whether the numbers are about the same: nothing that is worth keeping again.
    pub fn is_like(&self, other: &Before) -> bool {
        let count = |of: &Before, rule: &str, zone: &str| {
            of.rules.get(rule).and_then(|zones| zones.get(zone)).copied().unwrap_or(0.0)
        };
        let names = |of: &Before| -> Vec<(String, String)> {
            let pair = |(rule, zones): (&String, &BTreeMap<String, f64>)| {
                zones.keys().map(|zone| (rule.clone(), zone.clone())).collect::<Vec<_>>()
            };
            of.rules.iter().flat_map(pair).collect()
        };
        names(self).iter().chain(&names(other)).all(|(rule, zone)| {
            let (a, b) = (count(self, rule, zone), count(other, rule, zone));
            (a - b).abs() < 1.0_f64.max(0.05 * a.max(b))
        })
    }

    fn weight(&self, now: Timestamp, rule: &str, zone: Option<&str>) -> f64 {
        let Some(zones) = self.rules.get(rule) else { return 0.0 };
        let count: f64 = zones.iter().filter(|(name, _)| zone.is_none_or(|zone| zone == *name)).map(|(_, n)| n).sum();
        count * faded(now.since(self.at))
    }
}

impl Seen {
    fn hear(&mut self, now: Timestamp, votes: Option<&Arc<BTreeMap<String, Vote>>>, follows: bool) {
        let before = std::mem::replace(&mut self.said, votes.cloned());
        let Some(votes) = votes else { return self.votes.clear() };
        // Of thousands few said something since the last census.
        if before.is_some_and(|before| Arc::ptr_eq(&before, votes)) {
            return;
        }
        self.votes.retain(|rule, _| votes.contains_key(rule));
        for (rule, vote) in votes.iter() {
            match self.votes.get_mut(rule) {
                Some(heard) if heard.vote == *vote => {}
                before => {
                    // When it was said is known from when it ends.
                    if follows && before.is_none_or(|heard| heard.vote.expires_at != vote.expires_at) {
                        self.ahead = Some(millis_between(vote.expires_at, now + VOTE_LIFE));
                    }
                    drop(self.votes.insert(rule.clone(), Heard { vote: vote.clone(), at: now }));
                }
            }
        }
    }

    /// 1 while it is present; less and less afterwards.
    pub fn weight(&self, now: Timestamp) -> f64 {
        self.gone_since.map_or(1.0, |gone| faded(now.since(gone)))
    }

    /// Its votes, by rule, with whether each counts as far as its age goes.
    pub fn votes(&self, now: Timestamp, trusted: bool) -> impl Iterator<Item = (&String, &Vote, bool)> {
        self.votes.iter().map(move |(rule, heard)| (rule, &heard.vote, heard.counts(now, trusted)))
    }
}

impl Heard {
    fn counts(&self, now: Timestamp, trusted: bool) -> bool {
        if trusted { self.vote.expires_at > now } else { now.since(self.at) < VOTE_LIFE }
    }
}

fn faded(span: Duration) -> f64 {
    0.5_f64.powf(span.as_secs_f64() / HALF_LIFE.as_secs_f64())
}

fn millis_between(at: Timestamp, now: Timestamp) -> i64 {
    at.as_millis() - now.as_millis()
}
