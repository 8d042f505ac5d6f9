//! What a law is told: the objective, what a degraded answer costs, and the constants, with their defaults and bounds.

/// Which law is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Law {
    /// Feed-forward, a share alone.
    FeedForward,
    /// Feed-forward with a standing limit.
    #[default]
    WithLimit,
    /// Feed-forward with a limit and a threshold for consumers that count their own requests in flight.
    FeedForwardArmed,
    /// Threshold and limit alone.
    Armed,
    /// Klein's controller on the 95th percentile of the latency.
    Klein,
    /// Additive increase, multiplicative decrease on the same.
    Aimd,
}

impl Law {
    /// Every law with its name in rule files.
    pub const NAMES: [(&'static str, Law); 6] = [
        ("ff", Law::FeedForward),
        ("ff+lim", Law::WithLimit),
        ("ff+armed", Law::FeedForwardArmed),
        ("armed", Law::Armed),
        ("klein", Law::Klein),
        ("aimd", Law::Aimd),
    ];

    /// The name in rule files.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, law)| *law == self).map_or("ff+lim", |(name, _)| name)
    }

    /// Whether it decides by the latency, and so needs to be given one.
    pub fn by_latency(self) -> bool {
        matches!(self, Law::Klein | Law::Aimd)
    }

    /// Whether it gives a threshold.
    pub fn arms(self) -> bool {
        matches!(self, Law::FeedForwardArmed | Law::Armed)
    }
}

/// The constants of a law. Times are seconds, work is in seconds of the capacity.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlSettings {
    pub law: Law,
    /// Time between two samples.
    pub interval: f64,
    /// What a request may take.
    pub objective: f64,
    /// The share of requests that may be slower than the early warning (half the objective).
    pub slow_share: f64,
    /// The use of the capacity to aim for, 0.5 to 0.9.
    pub target: f64,
    /// A degraded answer's cost against a full one's, 0.02 to 1.
    pub cost_ratio: f64,
    /// The backlog that is tolerated.
    pub backlog: f64,
    /// The time in which more is drained.
    pub drain: f64,
    /// How long more must have fitted before the share climbs, 2 to 120.
    pub hold: f64,
    /// The longest that undone climbs make it.
    pub longest_hold: f64,
    /// The climb a second.
    pub ramp: f64,
    /// A fall smaller than this does not happen.
    pub band: f64,
    /// A partial climb stays so far below what fits.
    pub margin: f64,
    /// The memory of what a request costs.
    pub cost_memory: f64,
    /// Requests below which nothing is concluded.
    pub evidence: f64,
    /// The correction by slow requests, a second.
    pub correction: f64,
    /// The limit in calm.
    pub work_full: f64,
    /// The limit while even degraded answers do not fit.
    pub work_tight: f64,
    /// The threshold.
    pub work_soft: f64,
    /// The limit never falls below; at least 4, or the number of processors.
    pub least_limit: f64,
    /// The latency that Klein's controller aims for.
    pub set_point: f64,
    /// The share never leaves these.
    pub floor: f64,
    pub ceiling: f64,
    /// The shares of a ladder's levels, from 1 falling; empty for a dimmer.
    pub levels: Vec<f64>,
}

impl ControlSettings {
    /// The defaults for an objective in seconds.
    pub fn new(law: Law, objective: f64) -> ControlSettings {
        ControlSettings {
            law,
            interval: 1.0,
            objective,
            slow_share: 0.05,
            target: 0.75,
            cost_ratio: 0.3,
            backlog: 0.25,
            drain: 2.0,
            hold: 10.0,
            longest_hold: 120.0,
            ramp: 0.2,
            band: 0.15,
            margin: 0.1,
            cost_memory: 10.0,
            evidence: 10.0,
            correction: 0.01,
            work_full: 0.8 * objective,
            work_tight: 0.15 * objective,
            work_soft: 0.15 * objective,
            least_limit: 4.0,
            set_point: 0.3 * objective,
            floor: 0.0,
            ceiling: 1.0,
            levels: Vec::new(),
        }
    }
}
