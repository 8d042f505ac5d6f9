//! A limit for the whole fleet, shared out over its hosts by demand.
//!
//! Of a limit that is declared with `share_out: demand` the fleet's value is a total. Every host says in its presence how
//! much it was asked for ([`Demand`]), and from the same census every host works out the same parts ([`Shares`]):
//!
//! > a host's part = total x max(floor / hosts, level x its demand), with the one level at which all parts make the total
//!
//! so every host has at least a tenth ([`FLOOR`]) of an equal part, and what a host does not ask for is there for those that
//! ask for more, in proportion. While nobody asks, parts are equal.
//!
//! **Whole numbers.** Of a limit of requests in flight parts are whole, and together the total (`whole.rs`). In a fleet so
//! large that its hosts are not told of each other each of them rounds down by itself.
//!
//! **Never more than the total.** A part that shrinks does so at once; one that grows waits ([`SETTLE`]) until the others have
//! heard of it, too, and shrunk. So while words of the store arrive within that time, the parts are no more than the total,
//! also while hosts come and go. A host that is cut off keeps its part until the others may count it as gone, and
//! from then on at most an equal part: so many hosts as are cut off, so many equal parts may be let in beyond the total.
//!
//! **Writes.** A demand is said again when it has changed by more than a fifth, at most every ten seconds a host, and it decays
//! slowly: noise makes no writes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::arbiter::Switches;
use super::super::state::{Declaration, Record};
use super::super::value::{LimitUnit, SwitchKind, SwitchValue};
use super::super::votes::{Member, Place};
use super::state::{Asked, Fleet, SHARES_KEY};
use super::whole::whole;
use crate::limits;
use crate::model::SwitchName;
use crate::time::Timestamp;

/// A host's part is never less than this share of an equal part.
const FLOOR: f64 = 0.1;
/// How long a part waits before it grows: where every host has the census, and where it has only the shares.
const SETTLE: Duration = Duration::from_secs(3);
const SETTLE_BLIND: Duration = Duration::from_secs(15);
/// A host that is cut off for so long has at most an equal part: sooner than its lease can end.
const CUT_OFF: Duration = Duration::from_secs(2);
/// How fast a demand is believed, and how slowly it is forgotten.
const RISE: Duration = Duration::from_secs(3);
const DECAY: Duration = Duration::from_secs(60);
/// A demand is said again when it differs by more than this share.
const TELLS: f64 = 0.2;
/// A demand below this, in requests a second, is none.
const NOTHING: f64 = 0.05;

/// How limits are shared out: what all hosts must know to work out their parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Hosts that are present.
    pub hosts: usize,
    /// Of each limit, the share of the total that a demand of one request a second gets.
    #[serde(default)]
    pub levels: BTreeMap<SwitchName, f64>,
}

impl Shares {
    /// From everybody's demands.
    pub(super) fn of<'a>(members: impl Iterator<Item = &'a Member>) -> Shares {
        let mut hosts = 0;
        let mut demands: BTreeMap<SwitchName, Vec<f64>> = BTreeMap::new();
        for member in members {
            hosts += 1;
            for (name, demand) in member.demand.iter().filter(|(_, demand)| demand.is_finite() && **demand > 0.0) {
                demands.entry(name.clone()).or_default().push(*demand);
            }
        }
        let levels = demands.into_iter().map(|(name, demands)| (name, level(hosts, demands)));
        Shares { hosts, levels: levels.collect() }
    }

    /// The share of the total that a host with this demand has.
    pub(super) fn share(&self, name: &SwitchName, demand: f64) -> f64 {
        let hosts = self.hosts.max(1) as f64;
        match self.levels.get(name) {
            Some(level) => (FLOOR / hosts).max(level * demand.max(0.0)),
            None => 1.0 / hosts,
        }
    }

    /// Whether the difference is worth a write.
    pub(super) fn differs(&self, other: &Shares) -> bool {
        let far = |(name, level): (&SwitchName, &f64)| {
            other.levels.get(name).is_none_or(|other| (level - other).abs() > 0.05 * level.max(*other))
        };
        self.hosts != other.hosts || self.levels.len() != other.levels.len() || self.levels.iter().any(far)
    }
}

/// The level at which the parts of these demands, and the floors of all hosts, make one.
fn level(hosts: usize, mut demands: Vec<f64>) -> f64 {
    demands.sort_by(f64::total_cmp);
    let floor = FLOOR / hosts.max(1) as f64;
    let mut sum: f64 = demands.iter().sum();
    let without = hosts.saturating_sub(demands.len());
    for (floors, demand) in (without..).zip(&demands) {
        let level = (1.0 - floors as f64 * floor) / sum;
        // The smallest demand that is left: when it is over the floor, all are.
        if level * demand >= floor {
            return level;
        }
        sum -= demand;
    }
    0.0
}

/// The part of one limit that this host has.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    share: f64,
    /// Since when more could be had, and the least of it.
    more: Option<(Timestamp, f64)>,
}

/// This host's parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    parts: BTreeMap<SwitchName, Part>,
}

/// What a host's part hangs on besides the shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Whether the shares come from this host's own census.
    pub census: bool,
    /// Whether they were heard since the start; before, the number of hosts is the last one that was known.
    pub heard: bool,
    /// Since when the store has been out of reach.
    pub lost_since: Option<Timestamp>,
}

impl Parts {
    /// The share of a total that this host lets in now, out of the one that it could have, and an equal one.
    pub fn share(&mut self, now: Timestamp, name: &SwitchName, could: f64, equal: f64, sight: Sight) -> f64 {
        let held = self.parts.get(name).map(|part| part.share);
        let target = match sight.lost_since {
            Some(lost) if now.since(lost) >= CUT_OFF => {
                held.filter(|_| sight.heard).map_or(equal, |held| held.min(equal))
            }
            None if sight.heard => could,
            _ => held.unwrap_or(FLOOR * equal),
        };
        // Whoever has just begun is in nobody's sum: it begins at the floor.
        let part = self.parts.entry(name.clone()).or_insert(Part { share: target.min(FLOOR * equal), more: None });
        if target <= part.share || sight.lost_since.is_some() {
            *part = Part { share: target, more: None };
            return part.share;
        }
        let (since, least) = part.more.unwrap_or((now, target));
        let least = least.min(target);
        let settle = if sight.census { SETTLE } else { SETTLE_BLIND };
        *part = match now.since(since) >= settle {
            true => Part { share: least, more: None },
            false => Part { more: Some((since, least)), ..*part },
        };
        part.share
    }

    /// Forgets limits that are not shared out any more.
    pub fn keep(&mut self, is: impl Fn(&SwitchName) -> bool) {
        self.parts.retain(|name, _| is(name));
    }

    pub fn clock_stepped(&mut self, by_millis: i64) {
        for (since, _) in self.parts.values_mut().filter_map(|part| part.more.as_mut()) {
            *since = since.shifted(by_millis);
        }
    }
}

/// How much this host is asked for, in requests a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    smooth: BTreeMap<SwitchName, f64>,
    heard_at: Option<Timestamp>,
    said: BTreeMap<SwitchName, f64>,
    said_at: Option<Timestamp>,
}

impl Demand {
    /// Takes how many requests have come for each limit since the last call.
    pub fn asked(&mut self, now: Timestamp, counts: &BTreeMap<SwitchName, f64>) {
        let took = self.heard_at.replace(now).map_or(Duration::from_secs(1), |before| now.since(before));
        let seconds = took.as_secs_f64().clamp(0.1, 60.0);
        for name in counts.keys() {
            self.smooth.entry(name.clone()).or_default();
        }
        for (name, smooth) in &mut self.smooth {
            let rate = counts.get(name).copied().unwrap_or(0.0).max(0.0) / seconds;
            let slowness = if rate > *smooth { RISE } else { DECAY };
            *smooth += (rate - *smooth) * (1.0 - (-seconds / slowness.as_secs_f64()).exp());
        }
        self.smooth.retain(|_, smooth| *smooth >= NOTHING);
    }

    /// What the host's presence says: what it said before, unless there is something new and enough time has passed.
    pub fn says(&mut self, now: Timestamp) -> &BTreeMap<SwitchName, f64> {
        let said_lately = self.said_at.is_some_and(|at| now.since(at) < limits::FLEET_DEMAND_EVERY);
        if !said_lately && self.has_news() {
            self.said = self.smooth.iter().map(|(name, demand)| (name.clone(), rounded(*demand))).collect();
            self.said_at = Some(now);
        }
        &self.said
    }

    fn has_news(&self) -> bool {
        let names = self.smooth.keys().chain(self.said.keys());
        let of = |all: &BTreeMap<SwitchName, f64>, name: &SwitchName| all.get(name).copied().unwrap_or(0.0);
        names.into_iter().any(|name| {
            let (now, said) = (of(&self.smooth, name), of(&self.said, name));
            (now - said).abs() > TELLS * now.max(said)
        })
    }

    /// As it is now.
    pub fn now(&self) -> &BTreeMap<SwitchName, f64> {
        &self.smooth
    }

    pub fn clock_stepped(&mut self, by_millis: i64) {
        for at in self.heard_at.iter_mut().chain(&mut self.said_at) {
            *at = at.shifted(by_millis);
        }
    }
}

impl Fleet {
    /// How many requests have come for each limit since the last call.
    pub fn asked_for(&mut self, now: Timestamp, counts: &BTreeMap<SwitchName, f64>) {
        self.demand.asked(now, counts);
    }

    /// The shares as the host that counts gives them; a host that sees everybody works them out itself.
    pub fn shares_given(&mut self, shares: &Shares) {
        if self.only_counter {
            self.share_out(shares.clone());
        }
    }

    pub(super) fn share_out(&mut self, shares: Shares) {
        if shares.hosts != self.shares.hosts {
            let kept = Shares { hosts: shares.hosts, levels: BTreeMap::new() };
            let kept = serde_json::to_value(kept).ok().map(|value| (SHARES_KEY.to_owned(), value));
            self.changes.extend(kept);
        }
        (self.shares, self.shares_heard) = (shares, true);
    }

    /// In a fleet so large that hosts are not told who is in it, the one that counts gives all of them the shares.
    pub(super) fn give_shares(&mut self, now: Timestamp, out: &mut Asked) {
        let crowd = self.shares.hosts as u64 > limits::STORE_CENSUS_FOR_ALL;
        let Some(term) = self.term.clone() else { return };
        if !crowd || self.shares.levels.is_empty() && self.shares_given.is_none() {
            return;
        }
        let due = self
            .shares_given
            .as_ref()
            .is_none_or(|(given, at)| now.since(*at) >= limits::FLEET_SHARES_EVERY && self.shares.differs(given));
        if due {
            self.shares_given = Some((self.shares.clone(), now));
            out.shares = Some((self.shares.clone(), term));
        }
    }

    /// The share of each limit that is shared out which this host lets in now.
    pub(super) fn own_shares(&mut self, now: Timestamp, own: &Switches) -> BTreeMap<SwitchName, f64> {
        let shared: Vec<&Declaration> = own.declarations().filter(|d| is_shared(&d.kind)).collect();
        self.parts.keep(|name| shared.iter().any(|declaration| declaration.name == *name));
        let (census, heard, lost_since) = (!self.only_counter, self.shares_heard, self.lost_since);
        let sight = Sight { census, heard, lost_since };
        let equal = 1.0 / self.shares.hosts.max(1) as f64;
        let mut out = BTreeMap::new();
        for declaration in shared {
            let name = &declaration.name;
            let demand = self.demand.said.get(name).copied().unwrap_or(0.0);
            let could = match self.whole_total(declaration) {
                // Whoever is not among those that are counted yet is in nobody's sum.
                Some(_) => self.live_shares(declaration).get(&self.settings.host).map_or(FLOOR * equal, |own| own.1),
                None => self.shares.share(name, demand),
            };
            out.insert(name.clone(), self.parts.share(now, name, could, equal, sight));
        }
        out
    }

    /// The fleet's value of a limit.
    fn total(&self, declaration: &Declaration) -> Option<f64> {
        let name = &declaration.name;
        let pending = self.pending.contains_key(&(Place::Fleet, name.clone()));
        let decided = || self.desks.get(&Place::Fleet).and_then(|desk| desk.record(name));
        let record = if pending { self.tables.fleet.get(name) } else { decided() };
        match declaration.value(record) {
            SwitchValue::Limit { value, .. } => value,
            _ => None,
        }
    }

    /// The total of a limit whose parts are whole numbers, where this host sees all others.
    fn whole_total(&self, declaration: &Declaration) -> Option<f64> {
        let small = !self.only_counter && self.shares.hosts as u64 <= limits::STORE_CENSUS_FOR_ALL;
        let counts = matches!(declaration.kind, SwitchKind::Limit { unit: LimitUnit::InFlight, .. });
        self.total(declaration).filter(|_| small && counts)
    }

    /// What the hosts that are present said they are asked for, and their shares.
    fn live_shares(&self, declaration: &Declaration) -> BTreeMap<String, (f64, f64)> {
        let name = &declaration.name;
        let live = self.known.hosts().filter(|(_, seen)| seen.gone_since.is_none());
        let demands = live.map(|(host, seen)| (host, seen.member.demand.get(name).copied().unwrap_or(0.0)));
        let demands: BTreeMap<&String, f64> = demands.collect();
        let mut shares: BTreeMap<String, f64> =
            demands.iter().map(|(host, demand)| ((*host).clone(), self.shares.share(name, *demand))).collect();
        if let Some(total) = self.whole_total(declaration) {
            shares = whole(total, &shares);
        }
        shares.into_iter().map(|(host, share)| (host.clone(), (demands[&host], share))).collect()
    }

    /// Each limit that is shared out: its switch, the share that this host lets in, and what it is asked for.
    pub fn limit_shares(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        self.parts.parts.iter().map(|(name, part)| {
            let demand = self.demand.now().get(name).copied().unwrap_or(0.0);
            (name.as_str(), part.share, demand)
        })
    }

    /// The limits that are shared out, as they are known here.
    pub(super) fn limit_pictures(&self, own: &Switches) -> BTreeMap<SwitchName, LimitPicture> {
        let picture = |declaration: &Declaration| {
            let name = &declaration.name;
            let picture = LimitPicture {
                total: self.total(declaration),
                share: self.parts.parts.get(name).map_or(0.0, |part| part.share),
                demand: self.demand.now().get(name).copied().unwrap_or(0.0),
                hosts: self.live_shares(declaration),
            };
            (name.clone(), picture)
        };
        own.declarations().filter(|declaration| is_shared(&declaration.kind)).map(picture).collect()
    }
}

/// A limit that is shared out.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitPicture {
    /// For the whole fleet; `None` while nothing is limited.
    pub total: Option<f64>,
    /// The share of it that this host lets in now.
    pub share: f64,
    /// What this host is asked for now, in requests a second.
    pub demand: f64,
    /// What each host said it is asked for, and the share that follows from it; empty where only the host that counts knows.
    pub hosts: BTreeMap<String, (f64, f64)>,
}

fn is_shared(kind: &SwitchKind) -> bool {
    matches!(kind, SwitchKind::Limit { share_out: true, .. })
}

/// The fleet's record of a limit that is shared out, as this host's part.
pub(super) fn part_of(declaration: &Declaration, mut record: Record, share: f64) -> Record {
    if let SwitchValue::Limit { value: Some(total), unit } = declaration.value(Some(&record)) {
        // Down to the thousandth: rounding gives nobody more than the total.
        let part = SwitchValue::Limit { value: Some((total * share * 1000.0 + 1e-6).floor() / 1000.0), unit };
        record.level = part.text();
        record.value = Some(part);
    }
    record
}

/// Three digits are enough.
fn rounded(demand: f64) -> f64 {
    let scale = 10_f64.powi(2 - demand.log10().floor() as i32);
    (demand * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> SwitchName {
        SwitchName::new("door").expect("a name")
    }

    fn member(demand: f64) -> Member {
        let demand = BTreeMap::from([(name(), demand)]);
        Member { demand, ..Member::default() }
    }

    fn shares(demands: &[f64]) -> Vec<f64> {
        let members: Vec<Member> = demands.iter().map(|demand| member(*demand)).collect();
        let shares = Shares::of(members.iter());
        demands.iter().map(|demand| shares.share(&name(), *demand)).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn share(parts: &mut Parts, second: i64, shares: &Shares, demand: f64, sight: Sight) -> f64 {
        let equal = 1.0 / shares.hosts.max(1) as f64;
        parts.share(at(second), &name(), shares.share(&name(), demand), equal, sight)
    }

    const SEES: Sight = Sight { census: true, heard: true, lost_since: None };

    #[test]
    fn parts_follow_demand_down_to_a_floor() {
        for (demands, expected) in [
            (&[90.0, 10.0][..], &[0.9, 0.1][..]),
            (&[5.0], &[1.0]),
            (&[0.0, 0.0], &[0.5, 0.5]),
            (&[100.0, 0.0], &[0.95, 0.05]),
            (&[100.0, 0.001, 0.0, 100.0], &[0.475, 0.025, 0.025, 0.475]),
            (&[f64::NAN, 1.0], &[0.05, 0.95]),
        ] {
            for (share, expected) in shares(demands).iter().zip(expected) {
                assert!((share - expected).abs() < 1e-9, "{demands:?}: {share} for {expected}");
            }
        }
    }

    proptest! {
        #[test]
        fn all_parts_make_the_total_and_nobody_has_less_than_the_floor(
            demands in prop::collection::vec(prop_oneof![Just(0.0), 0.001..1e6_f64, Just(1e-9)], 1..200)
        ) {
            let shares = shares(&demands);
            let sum: f64 = shares.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
            let floor = FLOOR / demands.len() as f64;
            prop_assert!(shares.iter().all(|share| *share >= floor - 1e-12));
            // Whoever asks for more has no less.
            for (a, b) in shares.iter().zip(&demands).flat_map(|a| shares.iter().zip(&demands).map(move |b| (a, b))) {
                prop_assert!(a.1 < b.1 || a.0 >= &(b.0 - 1e-12));
            }
        }

        #[test]
        fn asking_for_more_never_gives_less(
            demands in prop::collection::vec(0.0..1e3_f64, 2..50), more in 0.0..1e3_f64
        ) {
            let before = shares(&demands)[0];
            let mut asked = demands.clone();
            asked[0] += more;
            prop_assert!(shares(&asked)[0] >= before - 1e-12 || demands.iter().all(|demand| *demand == 0.0));
        }

        /// Hosts hear of each change up to two seconds late, each after a time of its own; what they let in together is
        /// never more than the total.
        #[test]
        fn late_words_let_no_more_in_than_the_total(
            changes in prop::collection::vec((0_usize..5, 0.0..100.0_f64), 1..20),
            late in prop::collection::vec(0_i64..3, 5),
        ) {
            let mut history = vec![[20.0; 5]];
            let mut hosts: Vec<Parts> = vec![Parts::default(); 5];
            let settled = 60;
            for second in 0..settled + 4 * changes.len() as i64 {
                let mut now = *history.last().expect("one");
                if second >= settled && (second - settled) % 4 == 0 {
                    let (host, demand) = changes[((second - settled) / 4) as usize];
                    now[host] = demand;
                }
                history.push(now);
                let shares = hosts.iter_mut().zip(&late).enumerate().map(|(index, (host, late))| {
                    let seen = history[(history.len() as i64 - 1 - late).max(0) as usize];
                    let members = seen.map(member);
                    share(host, second, &Shares::of(members.iter()), seen[index], SEES)
                });
                let sum: f64 = shares.sum();
                prop_assert!(sum <= 1.0 + 1e-9, "{sum} after {second} s");
            }
        }
    }

    #[test]
    fn whole_parts_hear_late_and_are_never_more_than_the_total() {
        let mut rng = crate::rng::Rng::seeded(5);
        for _ in 0..30 {
            let (mut hosts, mut history): (Vec<Parts>, _) = (vec![Parts::default(); 5], vec![([20.0; 5], 23.0)]);
            let late: Vec<usize> = (0..5).map(|_| rng.below(3) as usize).collect();
            let mut let_in = 0.0;
            for second in 0..120 {
                let (mut demands, total) = history[history.len() - 1];
                if (10..110).contains(&second) && second % 4 == 0 {
                    demands[rng.below(5) as usize] = rng.below(100) as f64;
                }
                history.push((demands, total));
                let_in = 0.0;
                for (index, (host, late)) in hosts.iter_mut().zip(&late).enumerate() {
                    let (demands, total) = history[(history.len() - 1).saturating_sub(*late)];
                    let shares = Shares::of(demands.map(member).iter());
                    let named = demands.iter().enumerate().map(|(i, d)| (format!("h{i}"), shares.share(&name(), *d)));
                    let could = whole(total, &named.collect())[&format!("h{index}")];
                    let share = host.share(at(second), &name(), could, 0.2, SEES);
                    let_in += (total * share + 1e-6).floor();
                }
                assert!(let_in <= 23.0, "{let_in} after {second} s");
            }
            assert_eq!(let_in, 23.0, "all of it, once everybody has heard");
        }
    }

    #[test]
    fn a_part_shrinks_at_once_and_grows_after_the_others_have_shrunk() {
        let even = Shares { hosts: 2, levels: BTreeMap::from([(name(), 0.5)]) };
        let mut parts = Parts::default();
        let mut share = |second, demand| share(&mut parts, second, &even, demand, SEES);
        assert_eq!(share(0, 1.0), 0.05, "it begins at the floor");
        assert_eq!(share(2, 1.0), 0.05);
        assert_eq!(share(3, 1.0), 0.5);
        assert_eq!(share(4, 0.2), 0.1);
        assert_eq!(share(5, 1.8), 0.1);
        assert_eq!(share(6, 1.0), 0.1);
        assert_eq!(share(8, 1.8), 0.5, "the least of what could be had");
        assert_eq!(share(11, 1.8), 0.5);
        assert_eq!(share(14, 1.8), 0.9);
    }

    #[test]
    fn a_host_that_is_cut_off_has_at_most_an_equal_part() {
        let even = Shares { hosts: 4, levels: BTreeMap::from([(name(), 1.0)]) };
        let mut parts = Parts::default();
        share(&mut parts, 0, &even, 0.7, SEES);
        assert_eq!(share(&mut parts, 3, &even, 0.7, SEES), 0.7);
        let lost = Sight { lost_since: Some(at(10)), ..SEES };
        assert_eq!(share(&mut parts, 11, &even, 0.7, lost), 0.7);
        assert_eq!(share(&mut parts, 12, &even, 0.7, lost), 0.25);
        // One that starts while the store is away.
        let (mut new, unheard) = (Parts::default(), Sight { heard: false, ..lost });
        assert_eq!(share(&mut new, 11, &even, 0.0, unheard), 0.025);
        assert_eq!(share(&mut new, 12, &even, 0.0, unheard), 0.25);
        // One with little keeps it.
        let mut little = Parts::default();
        share(&mut little, 0, &even, 0.1, SEES);
        share(&mut little, 3, &even, 0.1, SEES);
        assert_eq!(share(&mut little, 20, &even, 0.1, lost), 0.1);
    }

    #[test]
    fn a_demand_rises_fast_decays_slowly_and_is_said_when_it_matters() {
        let mut demand = Demand::default();
        let mut second = 0;
        let mut ask = |demand: &mut Demand, seconds: i64, rate: f64| {
            let mut writes = 0;
            for _ in 0..seconds {
                second += 1;
                demand.asked(at(second), &BTreeMap::from([(name(), rate)]));
                let before = demand.said.clone();
                writes += usize::from(*demand.says(at(second)) != before);
            }
            (writes, demand.said.get(&name()).copied().unwrap_or(0.0))
        };
        let (_, said) = ask(&mut demand, 30, 100.0);
        assert!((80.0..=100.0).contains(&said), "{said}");
        assert!(ask(&mut demand, 1, 100.0).1 > 0.0);
        // Noise of a tenth for five minutes.
        let mut noise = 0;
        for second in 0..300 {
            noise += ask(&mut demand, 1, if second % 2 == 0 { 90.0 } else { 110.0 }).0;
        }
        assert!(noise <= 1, "{noise} writes for noise");
        let quiet = ask(&mut demand, 20, 0.0).1;
        assert!(quiet > 50.0, "a pause is no end: {quiet}");
        let (writes, said) = ask(&mut demand, 600, 0.0);
        assert_eq!(said, 0.0);
        assert!(writes <= 40, "{writes} writes for an end");
    }
}
