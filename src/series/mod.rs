//! Bounded in-memory time series: append, staleness, chunks, retention on demand, and a cheap immutable [`View`].

mod chunk;
mod coarse;
mod history;
mod index;
mod needs;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod trail;
mod view;

pub use snapshot::{Progress, SnapshotError, SnapshotRun, SnapshotSum};
pub use store::{Appended, Need, Point, Refusal, SeriesData, Settings, Stats, Store};
pub use trail::{Course, Follower, Step, Trail};
pub use view::{SeriesRef, View};
