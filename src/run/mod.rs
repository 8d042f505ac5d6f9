//! The shell: builds everything from the checked config, selects, performs effects, reloads, shuts down. It decides nothing.

mod beside;
mod central;
mod disk;
mod fleet;
mod forward;
mod identity;
mod jobs;
mod link_key;
mod own;
mod perform;
mod plan;
mod plots;
mod queries;
mod remotes;
mod render;
mod serving;
mod shell;
mod snapshots;
mod start;
mod supervise;
mod systemd;
mod watch;

pub use disk::DiskFiles;
pub use plan::engine_settings;
pub use start::{RunArgs, RunError, SetLogLevel, run};
