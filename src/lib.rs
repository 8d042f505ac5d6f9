//! Brownout: watches a host, its links and its logs, judges by Prometheus-compatible rules, tells people, and dims
//! features until the trouble is over.
//!
//! The picture of the house is in `ARCHITECTURE.md`. Edges go only downward: shell -> edges -> engine -> pure -> ground.

// The ground.
pub mod limits;
pub mod model;
pub mod rng;
pub mod time;
pub mod yaml;
// Pure rooms: they decide.
pub mod alerts;
pub mod config;
pub mod engine;
pub mod promql;
pub mod rules;
pub mod series;
pub mod switches;
pub mod template;
// Edges: they do.
pub mod journal;
pub mod net;
pub mod notify;
pub mod remote;
pub mod serve;
pub mod signals;
pub mod store;
pub mod telemetry;
// The shell and the doors.
pub mod cli;
pub mod run;
