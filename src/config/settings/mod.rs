//! From what was written to each room's own settings, with the checks that need more than one place of the file.

pub(super) mod client;
pub(super) mod discovery;
pub(super) mod edges;
pub(super) mod rules;
pub(super) mod scrape;
pub(super) mod switches;
