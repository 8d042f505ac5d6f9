//! The host's own metrics under node_exporter's names, types, labels and help.
//!
//! [`System::collect`] gives one [`crate::model::Batch`] with everything that the host tells; [`run`] does so at aligned
//! instants for ever. What is quick (most of /proc) is read at every instant; what may be slow (sysfs, sensors) is read
//! by a thread of its own at [`Settings::slow_interval`], and sizes of file systems are asked for in threads that may
//! hang without holding anything else up. Values of slow collectors are repeated in each batch, so no series looks ended.
//!
//! Not here: clock discipline (`timex`, which needs adjtimex(2)), systemd units (D-Bus), and the collectors of special
//! hardware and file systems (`zfs`, `infiniband`, ...) that [`collector_names`] does not list.

mod bytes;
mod collector;
mod collectors;
mod host;
mod lane;
mod reader;
mod settings;
mod sink;
mod slot;
mod statvfs;
mod task;
#[cfg(test)]
mod tests;

pub use collector::collector_names;
pub use host::System;
pub use settings::{Error, Filters, Roots, Settings};
pub use task::run;
