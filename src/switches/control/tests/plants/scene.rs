//! The scenes: how the load and the capacity go over time, and what is wrong with the measure.

/// One scene. Loads and capacities are shares of one host's full-service capacity.
#[derive(Clone)]
pub struct Scene {
    pub name: &'static str,
    pub load: fn(f64) -> f64,
    pub capacity: fn(f64) -> f64,
    /// The time that counts, and the end of the trouble.
    pub window: (f64, f64),
    pub end: f64,
    /// How much noise there is in the measure.
    pub noise: f64,
    /// How many intervals late it comes.
    pub late: usize,
    /// When it is absent.
    pub absent: (f64, f64),
    pub hosts: usize,
    /// The first host's capacity.
    pub slow_host: f64,
    /// Arrivals in bursts.
    pub bursts: bool,
    pub retries: bool,
}

/// When a scene ends, in seconds.
pub const LENGTH: f64 = 520.0;

fn crowd(t: f64, size: f64) -> f64 {
    if (100.0..300.0).contains(&t) { size } else { 0.5 }
}

fn ramp(t: f64) -> f64 {
    match t {
        t if t < 100.0 => 0.5,
        t if t < 250.0 => 0.5 + 3.5 * (t - 100.0) / 150.0,
        t if t < 300.0 => 4.0 - 3.5 * (t - 250.0) / 50.0,
        _ => 0.5,
    }
}

fn square(t: f64) -> f64 {
    if (100.0..300.0).contains(&t) && ((t - 100.0) / 10.0) as i64 % 2 == 0 { 2.0 } else { 0.5 }
}

fn sine(t: f64) -> f64 {
    if (100.0..340.0).contains(&t) { 1.1 - 0.7 * (std::f64::consts::TAU * (t - 100.0) / 60.0).cos() } else { 0.4 }
}

fn leak(t: f64) -> f64 {
    if (100.0..300.0).contains(&t) { 1.0 - 0.75 * (t - 100.0) / 200.0 } else { 1.0 }
}

fn fallen(t: f64) -> f64 {
    if (100.0..300.0).contains(&t) { 0.3 } else { 1.0 }
}

/// All of them.
pub fn scenes() -> Vec<Scene> {
    let base = Scene {
        name: "crowd 2x",
        load: |t| crowd(t, 2.0),
        capacity: |_| 1.0,
        window: (100.0, 300.0),
        end: 300.0,
        noise: 0.0,
        late: 1,
        absent: (f64::MAX, f64::MAX),
        hosts: 1,
        slow_host: 1.0,
        bursts: false,
        retries: false,
    };
    let with = |name, change: fn(&mut Scene)| {
        let mut scene = Scene { name, ..base.clone() };
        change(&mut scene);
        scene
    };
    vec![
        base.clone(),
        with("crowd 4x", |s| s.load = |t| crowd(t, 4.0)),
        with("crowd 10x", |s| s.load = |t| crowd(t, 10.0)),
        with("ramp to 4x", |s| s.load = ramp),
        with("capacity to 30 %", |s| (s.load, s.capacity) = (|_| 0.6, fallen)),
        with("slow leak", |s| (s.load, s.capacity) = (|_| 0.6, leak)),
        with("noisy 2x", |s| s.noise = 0.5),
        with("measure 10 s late", |s| s.late = 10),
        with("absent in the middle", |s| s.absent = (150.0, 210.0)),
        with("absent at the start", |s| s.absent = (90.0, 150.0)),
        with("absent at the end", |s| s.absent = (280.0, 340.0)),
        with("square 10 s / 10 s", |s| s.load = square),
        with("sine 60 s", |s| (s.load, s.end, s.window) = (sine, 340.0, (100.0, 340.0))),
        with("bursts at 1.2x", |s| (s.load, s.bursts) = (|t| crowd(t, 1.2), true)),
        with("retries at 4x", |s| (s.load, s.retries) = (|t| crowd(t, 4.0), true)),
        with("retries at 10x", |s| (s.load, s.retries) = (|t| crowd(t, 10.0), true)),
        with("fleet of 8", |s| s.hosts = 8),
        with("fleet of 8, one slow", |s| (s.hosts, s.slow_host) = (8, 0.5)),
        with("calm at 0.7x", |s| s.load = |_| 0.7),
    ]
}
