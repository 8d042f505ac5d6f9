//! What must hold, whatever breaks.
//!
//! 1. **Legal paths.** A record's revision grows by one; a switch recovers one level at a time, and not before `min_hold`.
//! 2. **No flip because of a fault.** It goes to a worse level only when enough hosts of all, the dead and the cut off among
//!    them, have wanted it lately; and to a better one only when not so many have wanted to stay all the while. What hosts
//!    want is what their own rules say: faults make none of them sick.
//! 3. **One decides.** What rules decided is written under an office, and no host writes under another's.
//! 4. **Agreement.** Ten seconds after the last fault has ended everybody tells what the store has, and nothing is stale.
//! 5. **Recovery.** When all have been well for long enough the switch is.

use super::host::{Host, LADDER};
use super::world::{Fleet, STEP};

/// As the rule of the seeds has them.
pub const SHARE: f64 = 0.5;
pub const CLEAR: f64 = 0.2;
const MIN_HOLD: u64 = 2_000;
/// How long after a host changed its mind that may still be counted: the longest fault, a lease, and the way there.
pub const LATELY: u64 = 20_000;

/// What each host wanted at every step.
#[derive(Default)]
pub struct Judge {
    opinions: Vec<Vec<usize>>,
    judged: usize,
}

impl Judge {
    /// Takes what everybody wants now, and judges what was written since.
    pub fn look(&mut self, fleet: &Fleet, seed: u64) {
        self.opinions.resize_with(fleet.hosts.len(), Vec::new);
        for (opinions, host) in self.opinions.iter_mut().zip(&fleet.hosts) {
            // The dead think what they thought.
            let last = opinions.last().copied().unwrap_or(0);
            opinions.push(host.opinion().unwrap_or(last));
        }
        while self.judged < fleet.history.len() {
            self.change(fleet, self.judged, seed);
            self.judged += 1;
        }
    }

    fn change(&self, fleet: &Fleet, index: usize, seed: u64) {
        let (at, record) = &fleet.history[index];
        let before = index.checked_sub(1).map(|index| &fleet.history[index]);
        let (since, from, revision) =
            before.map_or((0, 0, 0), |(_, before)| (before.since.as_millis(), depth(&before.level), before.revision));
        let told = || format!("seed {seed} at {:.1} s: {before:?} -> {record:?}", fleet.seconds());
        // Several hosts may write one after the other within a step.
        assert!(record.revision > revision, "{}", told());
        let to = depth(&record.level);
        if record.pin.is_some() || before.is_some_and(|(_, before)| before.pin.is_some()) || to == from {
            return;
        }
        let steps = usize::try_from(LATELY / STEP).expect("a small number");
        let hosts = self.opinions.len() as f64;
        if to > from {
            let lately = |opinions: &&Vec<usize>| opinions.iter().rev().take(steps).any(|depth| *depth >= to);
            let wanted = self.opinions.iter().filter(lately).count();
            assert!(wanted as f64 >= SHARE * hosts, "{wanted} of {hosts} hosts wanted it: {}", told());
            return;
        }
        assert_eq!(to + 1, from, "one level at a time: {}", told());
        // What a pin hid meanwhile, the rule has held since it asked for it.
        let asks = before.map(|(_, before)| &before.asks).into_iter().flatten();
        let asked = asks.filter(|(_, ask)| depth(&ask.level) == from).map(|(_, ask)| ask.since.as_millis()).min();
        let stayed = (*at as i64 - asked.map_or(since, |asked| asked.min(since))).unsigned_abs() + 100;
        let clocks = fleet.hosts.iter().any(|host| host.clock != 0);
        assert!(clocks || stayed >= MIN_HOLD, "not before min_hold: {}", told());
        let always = |opinions: &&Vec<usize>| opinions.iter().rev().take(steps).all(|depth| *depth >= from);
        // One alone that vanished does not hold up a recovery.
        let wanted = self.opinions.iter().filter(always).count().saturating_sub(1);
        assert!((wanted as f64) < CLEAR * hosts, "{wanted} of {hosts} hosts wanted to stay: {}", told());
    }

    /// What is written under an office is written by its holder, and every office is one host's.
    pub fn offices(hosts: &[Host], seed: u64) {
        let mut holders = std::collections::BTreeMap::new();
        for host in hosts {
            for office in &host.offices {
                let number = office.unwrap_or_else(|| panic!("seed {seed}: {} decided without an office", host.name));
                let holder = holders.entry(number).or_insert(&host.name);
                assert_eq!(*holder, &host.name, "seed {seed}: two hosts wrote under office {number}");
            }
        }
    }

    pub fn agreed(fleet: &Fleet, seed: u64) {
        let level = fleet.level();
        for host in &fleet.hosts {
            assert_eq!(host.told().as_ref(), Some(&level), "seed {seed} at {:.1} s: {}", fleet.seconds(), host.name);
            assert!(!host.is_stale(), "seed {seed}: {} is stale", host.name);
        }
    }
}

pub fn depth(level: &str) -> usize {
    LADDER.iter().position(|known| *known == level).unwrap_or_else(|| panic!("no such level: {level}"))
}
