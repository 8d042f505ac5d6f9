//! Bounded in-memory time series: append, staleness, chunks, retention on demand, and a cheap immutable [`View`].

mod store;

pub use store::{Appended, Need, Point, Refusal, SeriesData, Settings, Store, View};
