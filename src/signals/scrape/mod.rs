//! Scraping local `/metrics`: what Prometheus' scrape manager does, for the targets of one host.
//!
//! [`run`] follows one job. Each of its targets has a task of its own, so that a slow target never delays another, and an
//! offset of its own in the interval, so that not all are asked at once. A good scrape is a whole batch; a failed one is a
//! whole batch of nothing but `up 0` and the other report series, so that everything else of the target goes stale.
//! [`Board`] shows the state of all targets.

mod board;
mod files;
mod ingest;
mod parse;
mod scraper;
mod settings;
mod spellings;
mod target;

pub use board::{Board, Health, TargetState};
pub use files::DiscoveryFiles;
pub use parse::{Entry, Format, ParseError, Parser, RawSample, series_labels};
pub use scraper::run;
pub use settings::{FileDiscovery, Settings, TargetGroup};
