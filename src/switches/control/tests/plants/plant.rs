//! A simulated service: hosts with processors, requests that arrive by chance, answers full or degraded, and clients that
//! give up and try again. It knows no law: it gives observations and takes shares, thresholds and limits.
//!
//! Work is exponential: 50 ms for a full answer, 10 ms for a degraded one, and 0.2 ms to reject. `Sharing` divides its
//! processors among all requests in flight; `Queue` has one worker a processor.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::super::super::Published;

pub const FULL: f64 = 0.050;
pub const DEGRADED: f64 = 0.010;
pub const REJECTED: f64 = 0.0002;
pub const OBJECTIVE: f64 = 1.0;
/// The bounds of the histogram's buckets.
pub const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];
/// A client gives up after this, and tries so many times more, each after a pause of at least this.
const PATIENCE: f64 = 2.0;
const RETRIES: u8 = 2;
const PAUSE: f64 = 0.2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plant {
    Sharing { processors: usize },
    Queue { workers: usize },
}

impl Plant {
    pub fn processors(self) -> usize {
        match self {
            Plant::Sharing { processors } => processors,
            Plant::Queue { workers } => workers,
        }
    }
}

/// Chance: SplitMix64.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(7919).wrapping_add(12345))
    }

    /// Between 0 and 1, neither of them.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    /// Exponential with mean 1.
    pub fn wait(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Normal.
    pub fn bell(&mut self) -> f64 {
        let (a, b) = (self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// A time that can be ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At(pub f64);

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &At) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &At) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What was observed of one host in one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub arrivals: f64,
    pub full: f64,
    pub degraded: f64,
    pub buckets: [f64; 12],
    pub in_flight: f64,
    /// Seconds, until the interval ends: then a share.
    pub busy: f64,
    pub pressed: f64,
}

impl Observed {
    pub fn over(&self, bound: f64) -> Option<f64> {
        let all: f64 = self.buckets.iter().sum();
        let slow: f64 = BUCKETS.iter().zip(self.buckets).filter(|(le, _)| **le > bound).map(|(_, count)| count).sum();
        (all > 0.0).then(|| slow / all)
    }

    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: f64 = self.buckets.iter().sum();
        let (wanted, mut before) = (share * all, 0.0);
        for (index, count) in self.buckets.iter().enumerate() {
            if before + count >= wanted && all > 0.0 {
                let low = if index == 0 { 0.0 } else { BUCKETS[index - 1] };
                let high = BUCKETS[index];
                return Some(if high.is_finite() { low + (high - low) * (wanted - before) / count } else { low });
            }
            before += count;
        }
        None
    }
}

/// One request that was let in.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub at: f64,
    pub done: f64,
    pub full: bool,
    tries: u8,
}

struct Host {
    /// Requests at work, by the virtual time at which they are done.
    working: BinaryHeap<Reverse<(At, usize)>>,
    waiting: VecDeque<(usize, f64)>,
    virtual_time: f64,
    in_flight: usize,
    capacity: f64,
    rejected_work: f64,
    seen: Observed,
}

/// What a client does later: look whether it is answered, or try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    Look(usize),
    Again(u8),
}

/// The service.
pub struct Service {
    plant: Plant,
    hosts: Vec<Host>,
    pub requests: Vec<Request>,
    later: BinaryHeap<Reverse<(At, Later)>>,
    retries: bool,
    pub now: f64,
    pub rejected: u64,
}

impl Service {
    pub fn new(plant: Plant, hosts: usize, retries: bool) -> Service {
        let host = || Host {
            working: BinaryHeap::new(),
            waiting: VecDeque::new(),
            virtual_time: 0.0,
            in_flight: 0,
            capacity: 1.0,
            rejected_work: 0.0,
            seen: Observed::default(),
        };
        let hosts = (0..hosts).map(|_| host()).collect();
        Service { plant, hosts, requests: Vec::new(), later: BinaryHeap::new(), retries, now: 0.0, rejected: 0 }
    }

    fn speed(plant: Plant, host: &Host) -> f64 {
        match plant {
            Plant::Sharing { processors } => host.capacity * (processors as f64 / host.in_flight as f64).min(1.0),
            Plant::Queue { .. } => host.capacity,
        }
    }

    /// When the next answer of any host is ready, with the host.
    fn next_done(&self) -> Option<(f64, usize)> {
        let done = |(index, host): (usize, &Host)| {
            let Reverse((At(at), _)) = host.working.peek()?;
            Some(((self.now + (at - host.virtual_time) / Service::speed(self.plant, host)).max(self.now), index))
        };
        self.hosts.iter().enumerate().filter_map(done).min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Lets time pass up to `until`, with whatever happens by itself on the way; retries arrive under `acts`.
    pub fn run_until(&mut self, until: f64, acts: &[Published], chance: &mut Chance) {
        loop {
            let done = self.next_done().filter(|(at, _)| *at <= until);
            let later = self.later.peek().map(|Reverse((At(at), _))| *at).filter(|at| *at <= until);
            match (done, later) {
                (Some((at, host)), later) if later.is_none_or(|later| at <= later) => {
                    self.pass(at);
                    self.finish(host);
                }
                (_, Some(at)) => {
                    self.pass(at);
                    let Some(Reverse((_, later))) = self.later.pop() else { return };
                    match later {
                        Later::Again(tries) => self.arrive(tries, acts, chance),
                        Later::Look(request) => {
                            let Request { done, tries, .. } = self.requests[request];
                            if done > self.now && tries < RETRIES {
                                let at = self.now + PAUSE + 0.3 * chance.wait();
                                self.later.push(Reverse((At(at), Later::Again(tries + 1))));
                            }
                        }
                    }
                }
                _ => return self.pass(until),
            }
        }
    }

    fn pass(&mut self, to: f64) {
        let passed = (to - self.now).max(0.0);
        let processors = self.plant.processors();
        for host in self.hosts.iter_mut().filter(|host| host.in_flight > 0) {
            host.virtual_time += passed * Service::speed(self.plant, host);
            host.seen.busy += passed * (host.in_flight as f64 / processors as f64).min(1.0);
            if host.in_flight > processors {
                host.seen.pressed += passed;
            }
        }
        self.now = to;
    }

    fn finish(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let Some(Reverse((At(at), number))) = host.working.pop() else { return };
        host.virtual_time = host.virtual_time.max(at);
        host.in_flight -= 1;
        let request = &mut self.requests[number];
        request.done = self.now;
        let latency = self.now - request.at;
        let bucket = BUCKETS.iter().position(|bound| latency <= *bound).unwrap_or(11);
        host.seen.buckets[bucket] += 1.0;
        *(if request.full { &mut host.seen.full } else { &mut host.seen.degraded }) += 1.0;
        if let Some((number, work)) = host.waiting.pop_front() {
            host.working.push(Reverse((At(host.virtual_time + work), number)));
        }
    }

    /// A request arrives at some host.
    pub fn arrive(&mut self, tries: u8, acts: &[Published], chance: &mut Chance) {
        let index = if self.hosts.len() > 1 { (chance.uniform() * self.hosts.len() as f64) as usize } else { 0 };
        let (act, host) = (acts[index], &mut self.hosts[index]);
        host.seen.arrivals += 1.0;
        let (dice, work) = (chance.uniform(), chance.wait());
        let in_flight = host.in_flight as f64;
        if act.limit.is_some_and(|limit| in_flight >= limit.max(1.0)) {
            host.rejected_work += REJECTED;
            self.rejected += 1;
            if self.retries && tries < RETRIES {
                let at = self.now + PAUSE + 0.3 * chance.wait();
                self.later.push(Reverse((At(at), Later::Again(tries + 1))));
            }
            return;
        }
        let full = dice <= act.share && act.threshold.is_none_or(|threshold| in_flight < threshold);
        let work = work * if full { FULL } else { DEGRADED };
        let number = self.requests.len();
        self.requests.push(Request { at: self.now, done: f64::INFINITY, full, tries });
        host.in_flight += 1;
        match self.plant {
            Plant::Queue { workers } if host.working.len() >= workers => host.waiting.push_back((number, work)),
            _ => host.working.push(Reverse((At(host.virtual_time + work), number))),
        }
        if self.retries {
            self.later.push(Reverse((At(self.now + PATIENCE), Later::Look(number))));
        }
    }

    /// Sets the capacity of each host; what was rejected since `span` seconds costs its part of it.
    pub fn set_capacity(&mut self, span: f64, capacity: impl Fn(usize) -> f64) {
        let processors = self.plant.processors() as f64;
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let capacity = capacity(index);
            let lost = (host.rejected_work / span / processors / capacity).min(0.9);
            host.rejected_work = 0.0;
            host.capacity = capacity * (1.0 - lost);
        }
    }

    /// Ends an interval of `span` seconds: what was seen of each host in it.
    pub fn observe(&mut self, span: f64) -> Vec<Observed> {
        let end = |host: &mut Host| {
            let mut seen = std::mem::take(&mut host.seen);
            seen.in_flight = host.in_flight as f64;
            (seen.busy, seen.pressed) = ((seen.busy / span).min(1.0), seen.pressed / span);
            seen
        };
        self.hosts.iter_mut().map(end).collect()
    }
}
