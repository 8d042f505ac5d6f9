//! What is observed. Each room below collects at the edge and parses in pure functions, and gives [`crate::model::Batch`]es.
//! They know nothing of series, rules or each other.

pub mod logs;
pub mod probes;
pub mod query;
pub mod scrape;
pub mod system;
