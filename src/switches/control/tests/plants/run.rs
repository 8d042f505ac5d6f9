//! A law and a service together, through one scene.

use std::collections::VecDeque;

use super::super::super::{ControlSettings, Controller, Law, Published, Sample};
use super::plant::{BUCKETS, Chance, DEGRADED, FULL, OBJECTIVE, Observed, Plant, REJECTED, Service};
use super::scene::{LENGTH, Scene};

/// What counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Per cent of the requests that were let in during the trouble and took longer than the objective; and without those
    /// of its first five seconds.
    pub slow: f64,
    pub slow_later: f64,
    /// Per cent of what the best possible control could have answered in time, and of the optional work that it could
    /// have kept.
    pub good: f64,
    pub optional: f64,
    /// Per cent of the requests before and long after the trouble that were full.
    pub calm: f64,
    /// Turns of the share, of 0.1 and more.
    pub turns: f64,
    /// Seconds from the end of the trouble to full service.
    pub back: f64,
}

/// How the hosts of a fleet are ruled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ruled {
    /// By one law, on the medians.
    Shared,
    /// By the smaller of that and their own.
    SharedAndOwn,
}

struct Agent {
    law: Controller,
    own: Vec<Controller>,
    queue: VecDeque<(Observed, Vec<Observed>)>,
}

pub fn run(scene: &Scene, plant: Plant, settings: &ControlSettings, ruled: Ruled, seed: u64) -> Measured {
    let chance = &mut Chance::new(seed);
    let h = settings.interval;
    let own = if ruled == Ruled::SharedAndOwn { scene.hosts } else { 0 };
    let new = || Controller::new(settings.clone());
    let mut agent = Agent { law: new(), own: (0..own).map(|_| new()).collect(), queue: VecDeque::new() };
    let mut service = Service::new(plant, scene.hosts, scene.retries);
    let full = (scene.hosts * plant.processors()) as f64 / FULL;
    let peak = (0..(LENGTH * 4.0) as u32).map(|t| (scene.load)(f64::from(t) / 4.0)).fold(0.0, f64::max);
    let peak = peak * full * if scene.bursts { 2.2 } else { 1.0 };
    let mut acts = vec![Published { share: 1.0, level: 0, threshold: None, limit: None }; scene.hosts];
    let mut history = vec![(0.0, 1.0)];
    let mut best = Best::default();
    let (mut arrival, mut fine, mut tick) = (chance.wait() / peak, 0.25, h);
    let (mut burst, mut burst_ends) = (1.0, 6.0 * chance.wait());
    loop {
        let next = arrival.min(fine).min(tick).min(LENGTH);
        service.run_until(next, &acts, chance);
        if next >= LENGTH {
            break;
        }
        let troubled = next >= scene.window.0 && next < scene.window.1;
        if next == tick {
            tick += h;
            agent.tick(scene, settings, &mut service, &mut acts, chance);
            history.push((next, acts.iter().map(|act| act.share).sum::<f64>() / acts.len() as f64));
        } else if next == arrival {
            arrival += chance.wait() / peak;
            let load = (scene.load)(next) * full * if scene.bursts && troubled { burst } else { 1.0 };
            if chance.uniform() < load / peak {
                best.total += f64::from(u8::from(troubled));
                service.arrive(0, &acts, chance);
            }
        } else {
            fine += 0.25;
            if next > burst_ends {
                burst = if burst == 1.0 || burst == 2.2 { 0.4 } else { 2.2 };
                burst_ends = next + chance.wait() * if burst == 2.2 { 3.0 } else { 6.0 };
            }
            let capacity = |host: usize| (scene.capacity)(next) * if host == 0 { scene.slow_host } else { 1.0 };
            service.set_capacity(0.25, capacity);
            if troubled {
                let load = (scene.load)(next) * full / scene.hosts as f64 * if scene.bursts { burst } else { 1.0 };
                (0..scene.hosts).for_each(|host| best.add(capacity(host) * plant.processors() as f64, load));
            }
        }
    }
    measure(scene, h, &service, &history, &best)
}

impl Agent {
    fn tick(
        &mut self,
        scene: &Scene,
        settings: &ControlSettings,
        service: &mut Service,
        acts: &mut [Published],
        chance: &mut Chance,
    ) {
        let h = settings.interval;
        let mut seen = service.observe(h);
        if scene.noise > 0.0 {
            seen.iter_mut().for_each(|seen| spoil(seen, scene.noise, chance));
        }
        self.queue.push_back((median(&seen), seen));
        if self.queue.len() > scene.late + 1 {
            self.queue.pop_front();
        }
        let late = self.queue.front().filter(|_| self.queue.len() == scene.late + 1);
        let absent = service.now >= scene.absent.0 && service.now < scene.absent.1;
        let age = scene.late as f64 * h;
        let act = match late {
            Some((seen, _)) if absent => self.law.blind(h, seen.pressed),
            late => self.law.step(h, late.map(|(seen, _)| sample(seen, settings, age)).as_ref()),
        };
        acts.fill(act);
        let own = late.iter().flat_map(|(_, seen)| seen).zip(&mut self.own).zip(acts.iter_mut());
        for ((seen, law), act) in own {
            let mine = law.step(h, Some(&sample(seen, settings, age)));
            let smaller = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::min);
            act.share = act.share.min(mine.share);
            act.limit = smaller(act.limit, mine.limit);
            act.threshold = smaller(act.threshold, mine.threshold);
        }
    }
}

fn sample(seen: &Observed, settings: &ControlSettings, age: f64) -> Sample {
    Sample {
        arrivals: seen.arrivals,
        full: seen.full,
        degraded: seen.degraded,
        slow: seen.over(settings.objective / 2.0).unwrap_or(0.0),
        utilisation: seen.busy,
        in_flight: seen.in_flight,
        age,
        latency: seen.quantile(0.95),
    }
}

/// Noise: the histogram shifted (sometimes by far), the rest wrong by some per cent.
fn spoil(seen: &mut Observed, noise: f64, chance: &mut Chance) {
    let factor = (noise * chance.bell()).exp() * if chance.uniform() < 0.02 { 5.0 } else { 1.0 };
    let mut shifted = [0.0; 12];
    for (index, count) in seen.buckets.iter().enumerate() {
        let middle = if index == 11 { 12.0 } else { BUCKETS[index] * 0.75 };
        let bucket = BUCKETS.iter().position(|bound| middle * factor <= *bound).unwrap_or(11);
        shifted[bucket] += count;
    }
    seen.buckets = shifted;
    seen.arrivals = (seen.arrivals * (1.0 + 0.2 * chance.bell())).max(0.0);
    seen.in_flight = (seen.in_flight * (1.0 + 0.3 * chance.bell())).max(0.0);
    seen.busy = (seen.busy + 0.1 * chance.bell()).clamp(0.0, 1.0);
    seen.pressed = (seen.pressed + 0.1 * chance.bell()).clamp(0.0, 1.0);
}

/// A fleet's median host; the histograms are summed.
fn median(hosts: &[Observed]) -> Observed {
    let of = |field: fn(&Observed) -> f64| {
        let mut values: Vec<f64> = hosts.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    };
    let mut buckets = [0.0; 12];
    for host in hosts {
        buckets.iter_mut().zip(host.buckets).for_each(|(sum, count)| *sum += count);
    }
    Observed {
        arrivals: of(|host| host.arrivals),
        full: of(|host| host.full),
        degraded: of(|host| host.degraded),
        buckets,
        in_flight: of(|host| host.in_flight),
        busy: of(|host| host.busy),
        pressed: of(|host| host.pressed),
    }
}

/// What a control that knows everything could have done.
#[derive(Default)]
struct Best {
    total: f64,
    good: f64,
    optional: f64,
}

impl Best {
    /// A quarter of a second of one host.
    fn add(&mut self, capacity: f64, load: f64) {
        self.good += 0.25 * ((capacity - load * REJECTED) / (DEGRADED - REJECTED)).min(load).max(0.0);
        self.optional += 0.25 * ((capacity - load * DEGRADED) / (FULL - DEGRADED)).min(load).max(0.0);
    }
}

fn measure(scene: &Scene, h: f64, service: &Service, history: &[(f64, f64)], best: &Best) -> Measured {
    let took = |r: &super::plant::Request| if r.done.is_finite() { r.done - r.at } else { LENGTH - r.at + 1.0 };
    let (from, to) = scene.window;
    let share = |of: f64, all: f64| 100.0 * of / all.max(1.0);
    let count =
        |test: &dyn Fn(&super::plant::Request) -> bool| service.requests.iter().filter(|r| test(r)).count() as f64;
    let troubled = |r: &super::plant::Request| r.at >= from && r.at < to;
    let later = |r: &super::plant::Request| r.at >= from + 5.0 && r.at < to;
    let calm = |r: &super::plant::Request| (r.at < from || r.at > scene.end + 60.0) && r.at < LENGTH - 5.0;
    let in_time = count(&|r| troubled(r) && took(r) <= OBJECTIVE);
    let in_time_full = count(&|r| troubled(r) && r.full && took(r) <= OBJECTIVE);
    Measured {
        slow: share(count(&|r| troubled(r) && took(r) > OBJECTIVE), count(&|r| troubled(r))),
        slow_later: share(count(&|r| later(r) && took(r) > OBJECTIVE), count(&|r| later(r))),
        good: share(in_time, best.good.min(best.total.max(1.0))),
        optional: if best.optional > 1.0 { share(in_time_full, best.optional) } else { 100.0 },
        calm: share(count(&|r| calm(r) && r.full), count(&|r| calm(r))),
        turns: turns(history),
        back: back(scene, h, history),
    }
}

fn turns(history: &[(f64, f64)]) -> f64 {
    let (mut direction, mut extreme, mut turns) = (0, 1.0_f64, 0.0);
    for (_, share) in history {
        let (down, up) = (*share <= extreme - 0.1, *share >= extreme + 0.1);
        match direction {
            0 if down => (direction, extreme) = (-1, *share),
            0 if up => (direction, extreme) = (1, *share),
            -1 if up => (direction, extreme, turns) = (1, *share, turns + 1.0),
            1 if down => (direction, extreme, turns) = (-1, *share, turns + 1.0),
            -1 => extreme = extreme.min(*share),
            1 => extreme = extreme.max(*share),
            _ => {}
        }
    }
    turns
}

fn back(scene: &Scene, h: f64, history: &[(f64, f64)]) -> f64 {
    let mut since = None;
    for (at, share) in history.iter().filter(|(at, _)| *at > scene.end) {
        if *share < 0.95 {
            since = None;
        } else if *at - *since.get_or_insert(*at) >= 10.0 {
            return (since.unwrap_or(*at) - scene.end - h).max(0.0);
        }
    }
    LENGTH - scene.end
}

/// The law of this name, for plants with so many processors.
pub fn law(name: &str) -> (ControlSettings, Ruled) {
    let (ladder, name) = name.strip_prefix("ladder ").map_or((false, name), |name| (true, name));
    let (ruled, name) = match name.strip_suffix(" own") {
        Some(name) => (Ruled::SharedAndOwn, name),
        None => (Ruled::Shared, name),
    };
    let law = Law::NAMES.iter().find(|(known, _)| *known == name).map(|(_, law)| *law).expect("a law");
    let levels = if ladder { vec![1.0, 0.5, 0.0] } else { Vec::new() };
    (ControlSettings { levels, ..ControlSettings::new(law, OBJECTIVE) }, ruled)
}
