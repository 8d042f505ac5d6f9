//! From what was written to each room's own settings, with the checks that need more than one place of the file.

pub mod alertmanager;
pub mod client;
pub mod delivery;
pub mod discovery;
pub mod edges;
pub mod forward;
pub mod logs;
pub mod probes;
pub mod query_api;
pub mod remote_write;
pub mod rules;
pub mod scrape;
mod services;
pub mod store;
pub mod switches;
pub mod system;
