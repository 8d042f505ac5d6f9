//! Continuous control of a dimmer (or a ladder) and of the limit that stands behind it. Pure; times are seconds.
//!
//! The load decides, not the latency: from what a request costs, the law works out the share of full service that fits,
//! falls to it at once, and climbs only after it has fitted for some time. A latency that is good says nothing about
//! whether full service would be; a law that climbs on good latency must probe, and so it flaps or waits.
//!
//! | law | publishes | for whom |
//! | --- | --- | --- |
//! | `ff` | a share | comparisons only: nothing stands behind it |
//! | `ff+lim` | a share, and a standing limit of requests in flight | consumers that can reject, but not count for themselves |
//! | `ff+armed` | a share, a limit, and a threshold from which the consumer degrades by itself | the safest |
//! | `armed` | threshold and limit; the share stays 1 | where keeping optional work matters most, and a degraded answer is cheap |
//! | `klein` | a share by the latency's set point (Klein, Maggio, Arzen, Hernandez-Rodriguez, ICSE 2014), a limit | an alternative |
//! | `aimd` | a share, halved each second of bad latency, one hundredth back each second of good, a limit | an alternative |
//!
//! The limit is always published, before the crowd: one that is set after the fact does not see the backlog. No sample
//! freezes everything: neither share nor limit nor any estimate moves, and nothing ever climbs because time passed.

mod controller;
mod estimate;
mod latency;
mod publish;
mod settings;
#[cfg(test)]
mod tests;

pub use controller::{ControlMemory, ControlView, Controller, Published};
pub use estimate::Sample;
pub use settings::{ControlSettings, Law};
