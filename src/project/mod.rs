//! Projections: the switches written out in forms that consumers already read, as files.
//!
//! What is promised: a file is replaced whole (a new file, fsync, rename), and only when its content changed; a folder of
//! Envoy's runtime is swapped by one rename of a link; a file that somebody else changed or removed is put back within
//! [`keeper::LOOK_AGAIN`]; a reload command is a fixed list of words without a shell, runs once for changes that come
//! together, never twice at one time, and is ended at its deadline.
//! What to write is pure ([`render`], [`sentinel`]); when a projection fails the others go on, and it is tried again.

mod keeper;
mod render;
mod sentinel;
mod write;

use std::path::PathBuf;

pub use keeper::keep;
pub use sentinel::{Kind as SentinelKind, Rule as SentinelRule};

/// The form of a projection.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// A folder with a file for each switch.
    Files,
    Json,
    /// `BROWNOUT_NAME=value` lines.
    Env,
    /// Lines for nginx's `map`.
    NginxMap,
    Flagd,
    /// A folder whose link `current` leads to Envoy's runtime values.
    EnvoyRuntime,
    Sentinel(SentinelKind, Vec<SentinelRule>),
}

/// One projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// The file, or the folder.
    pub path: PathBuf,
    pub format: Format,
    /// Permissions of the files.
    pub mode: u32,
    /// `user`, `user:group` or `:group`, by name or number; `None` leaves them to this daemon's own.
    pub owner: Option<String>,
    /// What is run after a change; empty for nothing.
    pub reload: Vec<String>,
}
